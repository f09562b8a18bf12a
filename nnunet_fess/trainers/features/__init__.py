"""The losses of the encoder's and the decoder's features: what each reads off a training pass, remembers, and contrasts.

All of them gather over the ranks of a DDP training first and then compute what one process with the whole batch would: loss,
gradient and memory are the same on every rank, and the checkpoint that rank 0 writes is everybody's.
"""

from nnunet_fess.trainers.features.feature_loss import FeatureLoss

__all__ = ["FeatureLoss"]
