"""What the package offers. No torch here: names are read and listed without it."""

from nnunet_fess.plugin import Option, RegionTerm, at_least

FP = Option("fp", "fpX", 0.3, "weight of what is predicted and not there", accepts=at_least(0))
FN = Option("fn", "fnX", 0.7, "weight of what is there and not predicted", accepts=at_least(0))

TERMS = (RegionTerm("LogTversky", "-log of the Tversky index", "tversky_plugin.loss:build", (FP, FN)),)
