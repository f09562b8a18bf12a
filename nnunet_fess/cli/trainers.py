"""`nnunet_fess trainers`: every trainer with one line, its options and their defaults."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from nnunet_fess.trainers.catalogue import LOSSES, OPTIONS, Option


def main(argv: Sequence[str]) -> int:
    """Print the list, as text or JSON."""
    parser = argparse.ArgumentParser(prog="nnunet_fess trainers", description=__doc__)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    args = parser.parse_args(argv)
    listing = trainer_list()
    print(json.dumps(listing, indent=2) if args.json else _as_text(listing))
    return 0


def trainer_list() -> list[dict[str, Any]]:
    """One entry per trainer: name, summary, and its options in the order in which a name must give them."""
    return [
        {
            "name": name,
            "summary": loss.summary,
            "options": [
                {
                    "suffix": f"_{option.form}",
                    "default": option.default,
                    "accepts": option.accepts[1],
                    "help": option.help,
                }
                for option in loss.options
            ],
        }
        for name, loss in LOSSES.items()
    ]


def _default(option: Option) -> object:
    if option.default is None and not option.excludes:
        return "nnU-Net's"
    return option.default or "off"


def _as_text(listing: list[dict[str, Any]]) -> str:
    width = max(len(trainer["name"]) for trainer in listing)
    lines = []
    for trainer in listing:
        lines.append(f"{trainer['name']:<{width}}  {trainer['summary']}")
        lines.append(f"{'':<{width}}  {' '.join(option['suffix'] for option in trainer['options'])}")
    lines += [
        "",
        "Options, in the order in which a name gives them (X: a number, 0p8 = 0.8, 1em4 = 1e-4; N: a whole number):",
    ]
    for option in OPTIONS:
        default = _default(option)
        accepts = "" if option.kind == "switch" else f"; {option.accepts[1]}"
        lines.append(f"  {'_' + option.form:<14} {option.help}  [default: {default}{accepts}]")
    lines += ["", "Example: nnUNetv2_train 517 3d_fullres 0 -tr nnUNetTrainerFESS_lambda0p8_100epochs"]
    return "\n".join(lines)
