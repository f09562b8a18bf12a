"""The loss."""

from torch import Tensor

from nnunet_fess.losses import SumsLoss
from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.plugin import Host, Settings


class LogTverskyLoss(SumsLoss):
    """Mean of -log T over classes and samples, T = (TP + ε) / (TP + fp·FP + fn·FN + ε); 0 for a perfect prediction."""

    def __init__(self, fp: float = 0.3, fn: float = 0.7, **common: object) -> None:
        super().__init__(**common)  # ignore_label, distributed, batch_dice
        self.fp, self.fn = fp, fn

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """The components by name, here one; their sum is the loss, and `loss_components.csv` shows several apart."""
        wrong = self.fp * sums.false + self.fn * sums.missed[:, 0]
        return {"log_tversky": (1 + wrong / (sums.hit[:, 0] + self.smooth)).log().mean()}


def build(settings: Settings, host: Host) -> LogTverskyLoss:
    """What nnunet-fess calls, once for a training: `settings` are those of the trainer's name."""
    return LogTverskyLoss(settings.number("fp"), settings.number("fn"), **host.dice)
