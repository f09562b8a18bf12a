"""Options that no single term owns: how much each term weighs, and what every trainer has.

The order is that of suffixes in a name; a new option takes any place here, it moves no other.
"""

from __future__ import annotations

from nnunet_fess.plugin import Accepts, Option, at_least, between

# Two options share a name: with a feature term λ is its share against the spatial loss, without one SDL's of the contour.
LAMBDA = Option(
    "lambda",
    "lambdaX",
    0.5,
    "λ: share of the spatial loss, the feature term gets the rest",
    accepts=between(0, 1),
    remarks=(
        (0, "λ = 0: the spatial loss counts nothing, and no other part of the loss teaches the network to segment."),
        (1, "λ = 1: the feature term counts nothing. The spatial loss alone is a trainer, too, and a faster one."),
    ),
)
CONTOUR_SHARE = Option(
    "lambda",
    "lambdaX",
    0.5,
    "λ: share of the contour in separable Dice; beside a feature term λ is that term's, and this share stays at its default",
    accepts=between(0, 1),
    remarks=(
        (0, "λ = 0: what lies on the contour counts nothing in separable Dice."),
        (1, "λ = 1: what lies off the contour counts nothing in separable Dice."),
    ),
)
ALPHA = Option(
    "alpha",
    "alphaX",
    0.5,
    "α: share of the region's loss, the map's gets the rest",
    accepts=between(0, 1),
    excludes=frozenset({"equal", "gradual", "linear", "step", "cosine", "balanced"}),
    remarks=(
        (0, "α = 0: the region's loss counts nothing and is not computed. The map alone is a trainer, too."),
        (1, "α = 1: the map counts nothing and is not drawn. The region's loss alone is a trainer, too, and a faster one."),
    ),
)


def _schedule(key: str, text: str) -> Option:
    others = {"alpha", "equal", "gradual", "linear", "step", "cosine", "balanced"} - {key}
    return Option(key, key, False, text, "switch", excludes=frozenset(others))


SCHEDULES = (
    _schedule("equal", "region and map both weigh 1"),
    _schedule("gradual", "α falls from 1 by 1/epochs each epoch, not below 0.01 (region-wise paper)"),
    _schedule("linear", "α falls from 1 in the first epoch to 0 in the last"),
    _schedule("step", "α is 1, ¾, ½, ¼, 0, each for a fifth of the epochs"),
    _schedule("cosine", "α falls from 1 to 0 along half a cosine (GSL paper)"),
    _schedule("balanced", "α makes both means of the epoch before equal (Hausdorff paper)"),
)
# The shares of terms, which stand first.
SHARES: tuple[Option, ...] = (LAMBDA, CONTOUR_SHARE, ALPHA, *SCHEDULES)
# What a combination brings along, whatever its terms: every feature term is weighed against the spatial loss by λ, and a map
# with a region is blended with it by α.
OF_FEATURES: tuple[Option, ...] = (LAMBDA,)
OF_BLENDS: tuple[Option, ...] = (ALPHA, *SCHEDULES)
# What every trainer has, whatever its terms; these stand last.
EVERYWHERE: tuple[Option, ...] = (
    Option("epochs", "Nepochs", None, "number of epochs (nnU-Net: 1000)", "whole number", at_least(1), everywhere=True),
    Option(
        "iters",
        "Niters",
        None,
        "training iterations per epoch (nnU-Net: 250)",
        "whole number",
        at_least(1),
        everywhere=True,
    ),
    Option(
        "valiters",
        "Nvaliters",
        None,
        "validation iterations per epoch (nnU-Net: 50)",
        "whole number",
        at_least(1),
        everywhere=True,
    ),
    Option(
        "saveevery",
        "saveeveryN",
        None,
        "epochs between two checkpoints to continue from (nnU-Net: 50)",
        "whole number",
        at_least(1),
        everywhere=True,
    ),
    Option(
        "seed",
        "seedN",
        None,
        "seeds weights, batches and augmentation (nnU-Net: unseeded)",
        "whole number",
        between(0, 2**32 - 1),
        everywhere=True,
    ),
    Option(
        "bf16",
        "bf16",
        False,
        "train in bfloat16 on a CPU that has it (nnU-Net: float32 on a CPU)",
        "switch",
        everywhere=True,
    ),
    Option("noDS", "noDS", False, "no deep supervision", "switch", everywhere=True),
    Option(
        "noMirroring",
        "noMirroring",
        False,
        "no mirroring, neither in augmentation nor at prediction",
        "switch",
        everywhere=True,
    ),
    Option(
        "cutmix",
        "cutmixX",
        None,
        "a control, no loss: probability that a step pastes a box of another patch of the batch into each (CutMix)",
        accepts=Accepts(lambda value: 0 < value <= 1, "more than 0, at most 1"),
        everywhere=True,
    ),
    Option(
        "ema",
        "emaX",
        None,
        "a control, no loss: momentum of a running average of the weights, which validates and predicts in their place",
        accepts=Accepts(lambda value: 0 < value < 1, "more than 0, less than 1"),
        everywhere=True,
    ),
)
