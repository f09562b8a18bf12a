"""What our own losses are tested with, for losses of other packages too; needs pytest.

`checks` is the list of everything that a loss must do: values and gradients in every dtype, empty and full classes, ignored
voxels, regions, deep supervision, torch.compile, convergence, two ranks, and trainings on nnU-Net's own networks.
"""

try:
    import pytest  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError("nnunet_fess.testing needs pytest:  pip install pytest", name="pytest") from error

from nnunet_fess.testing.checks import Check, checks, feature_host, host, spatial_checks
from nnunet_fess.testing.ranks import run_on_two_ranks
from nnunet_fess.testing.tiny_trainer import random_batch, tiny_folders, tiny_trainer

__all__ = [
    "Check",
    "checks",
    "feature_host",
    "host",
    "random_batch",
    "run_on_two_ranks",
    "spatial_checks",
    "tiny_folders",
    "tiny_trainer",
]
