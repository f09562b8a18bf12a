"""The former name of `nnunet_fess.testing.tiny_trainer`."""

from nnunet_fess.testing.tiny_trainer import LABELS, network_plans, tiny_dataset, tiny_plans

__all__ = ["LABELS", "network_plans", "tiny_dataset", "tiny_plans"]
