"""From a trainer as the user names it to the one the demo trains: short, seeded, without mirroring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnunet_fess.errors import UserError
from nnunet_fess.trainers.naming import NotOurs, parse
from nnunet_fess.trainers.registry import registry, stock_trainers

DEFAULT = ("nnUNetTrainerDiceCE", "nnUNetTrainerFESS", "nnUNetTrainerCWCD")

# Enough for whole-tumour Dice well above what the demo asks for, on two cores in about a minute per trainer. No mirroring: it
# makes the task harder than so few steps can learn, and prediction would average eight unfinished answers.
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
    suffixes = {
        **{key: f"{count}{key}" for key, count in LENGTH.items()},
        "seed": f"seed{seed}",
        "noMirroring": "noMirroring",
        **dict(zip(parsed.options, spelt, strict=True)),
    }
    ordered = [suffixes[option.key] for option in parsed.loss.options if option.key in suffixes]
    full = parse("_".join([base, *ordered]), catalogue)
    return DemoTrainer(name, full.name, int(full["epochs"] or 0))
