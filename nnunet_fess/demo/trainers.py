"""From a trainer as the user names it to the one the demo trains: short, seeded, without mirroring."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_fess.errors import UserError
from nnunet_fess.study.trainers import PREFIX
from nnunet_fess.trainers.naming import NotOurs, parse
from nnunet_fess.trainers.registry import registry, stock_trainers

DEFAULT = ("nnUNetTrainerDiceCE", "nnUNetTrainerFESS", "nnUNetTrainerCWCD")

# Those of the preset `quick`, in nnunet_fess/study/presets/quick.yaml. Enough for whole-tumour Dice well above what the demo
# asks for, on two cores in about a minute per trainer. No mirroring: it makes the task harder than so few steps can learn, and
# prediction would average eight unfinished answers.
LENGTH = {"epochs": 6, "iters": 50, "valiters": 2}


@dataclass(frozen=True)
class DemoTrainer:
    """A trainer of the demo.

    Attributes:
        name: as the user gave it; its name in the table and in `demo_results.json`.
        full_name: what `nnUNetv2_train -tr` is given.
        epochs: how many epochs it has; None for nnU-Net's own trainers.
    """

    name: str
    full_name: str
    epochs: int | None


def choose(names: Sequence[str], seed: int) -> list[DemoTrainer]:
    """Give every trainer the demo's options, save those that its name spells out itself.

    Args:
        names: of this package, with or without options, or of nnU-Net; the latter have no options and train as long as they do.
        seed: of the trainings.

    Raises:
        UserError: no such trainer, an ill option, or one trainer given twice.
    """
    chosen = [_choose(name, seed) for name in names]
    full_names = [trainer.full_name for trainer in chosen]
    for trainer in chosen:
        if full_names.count(trainer.full_name) > 1:
            raise UserError(f"--trainers names {trainer.full_name} twice; their results would share one folder.")
    return chosen


def _choose(name: str, seed: int) -> DemoTrainer:
    catalogue = registry().catalogue
    try:
        parsed = parse(name, catalogue)
    except NotOurs as error:
        if name in stock_trainers():
            return DemoTrainer(name, name, None)
        raise UserError(f"--trainers: {error}; nor is it one of nnU-Net's.") from None
    except ValueError as error:
        raise UserError(f"--trainers: {error}") from None
    base, *spelt = name.split("_")
    if "seed" in parsed.options and parsed["seed"] != seed:
        raise UserError(f"--trainers: {name} has a seed of its own. All trainers of a demo have the same one: --seed.")
    suffixes = {
        **_suffixes(),
        "seed": f"seed{seed}",
        **dict(zip(parsed.options, spelt, strict=True)),
    }
    ordered = [suffixes[option.key] for option in parsed.loss.options if option.key in suffixes]
    full = parse("_".join([base, *ordered]), catalogue)
    return DemoTrainer(name, full.name, int(full["epochs"] or 0))


def for_study(trainers: Sequence[DemoTrainer]) -> tuple[list[str], str]:
    """The trainers as a study's file names them, and the options that it gives to all of ours.

    A study's results are named after what is in the trainers' names: what all share stands in the options.
    """
    ours = [trainer for trainer in trainers if trainer.epochs is not None]
    shared = [set(trainer.full_name.split("_")[1:]) & {*_suffixes().values()} for trainer in ours]
    common = set.intersection(*shared) if shared else set()
    names = []
    for trainer in trainers:
        parts = trainer.full_name.split("_")
        kept = [part for part in parts[1:] if part not in common and not re.fullmatch(r"seed\d+", part)]
        names.append("_".join([parts[0].removeprefix(PREFIX), *kept]) if trainer in ours else trainer.full_name)
    return names, "_".join(suffix for suffix in _suffixes().values() if suffix in common)


def _suffixes() -> dict[str, str]:
    """Option → suffix of what all trainers get."""
    return {**{key: f"{count}{key}" for key, count in LENGTH.items()}, "noMirroring": "noMirroring"}
