"""`nnunet_fess trainers`: how a trainer's name is made, of which terms and options, ours and those of other packages."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from nnunet_fess import arguments
from nnunet_fess.plugin import Option, Term
from nnunet_fess.trainers.catalogue import OF_BLENDS, OF_FEATURES, OPTIONS, Catalogue
from nnunet_fess.trainers.registry import VARIABLE, Registry, registry

_EXAMPLES = (
    ("nnUNetTrainerDiceCE_100epochs_seed3", "nnU-Net's own loss, 100 epochs, seeded: a baseline for any of the others"),
    ("nnUNetTrainerCWCD_3mm_adaptive", "contour-weighted, 3 mm on either side of a border, less in small structures"),
    ("nnUNetTrainerSupConDiceCE_lambda0p9", "0.9 of nnU-Net's own loss and 0.1 of a feature term"),
)


def main(argv: Sequence[str]) -> int:
    """Print the tables, the names, or JSON."""
    parser = arguments.parser("nnunet_fess trainers", "How a trainer's name is made, and of what.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--all", action="store_true", help="every trainer's name, without options, one a line")
    what.add_argument("--json", action="store_true", help="every trainer with its options, machine-readable")
    args = parser.parse_args(argv)
    found = registry()
    if args.all or args.json:
        listing = trainer_list(found)
        print(json.dumps(listing, indent=2) if args.json else "\n".join(trainer["name"] for trainer in listing))
        for refusal in found.refused:
            print(refusal, file=sys.stderr)
    else:
        print("\n".join(_text(found)))
    return 0


def trainer_list(found: Registry) -> list[dict[str, Any]]:
    """One entry per trainer: name, summary, and its options in the order in which a name must give them."""
    return [
        {
            "name": name,
            "summary": loss.summary,
            "options": [
                {
                    "suffix": f"_{option.form}",
                    "default": option.default,
                    "accepts": option.accepts.words,
                    "help": option.help,
                }
                for option in loss.options
            ],
        }
        for name, loss in found.catalogue.losses.items()
    ]


def _text(found: Registry) -> list[str]:
    terms = found.catalogue
    lines = [
        "A trainer's name is  nnUNetTrainer + feature + map + region + options,  such as "
        "nnUNetTrainer FESS CWCD _lambda0p8 _100epochs",
        "without the spaces. A region, a map or both, with or without a feature; a feature alone means: with Dice.",
    ]
    for title, group in (
        ("Regions: losses of the network's output", terms.regions),
        ("Maps: losses that weigh the output by a map of the labels, alone or with a region", terms.maps),
        ("Features: λ·(region or map) + (1 - λ)·feature, which looks at the encoder's features", terms.features),
    ):
        if group:
            lines += ["", title, *_table([(term.name, _summary(term, found)) for term in group.values()])]
    lines += ["", "Options, in this order; X is a number (0p8 = 0.8, 1em4 = 0.0001), N a whole number"]
    for option, owners in _owners(terms):
        lines += _table([(f"_{option.form}", option.help), ("", _facts(option, owners, terms))])
    lines += ["", "Examples, for  nnUNetv2_train DATASET CONFIGURATION FOLD -tr …", *_table(_EXAMPLES)]
    if found.refused:
        lines += ["", "Terms of other packages that cannot be used", *(f"  {refusal}" for refusal in found.refused)]
    lines += ["", f"These are {len(terms.losses)} trainers without their options: nnunet_fess trainers --all"]
    lines += [f"A loss of your own joins them from a package, or from a file:  export {VARIABLE}=/path/my_losses.py"]
    return lines


def _table(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(12, *(len(left) for left, _ in rows))
    return [f"  {left:<{width}}  {right}" for left, right in rows]


def _summary(term: Term, found: Registry) -> str:
    origin = found.origins.get(term.name)
    return f"{term.summary}  [{origin}]" if origin else term.summary


def _owners(terms: Catalogue) -> list[tuple[Option, list[Term]]]:
    """Every option, in the order of a name, with the terms that have it; none for those that every trainer has."""
    found: list[tuple[Option, list[Term]]] = [(option, []) for option in OPTIONS if not option.everywhere]
    for term in terms.terms:
        slot = {"feature": OF_FEATURES, "map": OF_BLENDS, "region": ()}[term.slot]
        for option in (*slot, *term.options):
            owners = next((owners for known, owners in found if known.says_the_same_as(option)), None)
            if owners is None:
                found.append((option, owners := []))
            owners.append(term)
    used = [(option, owners) for option, owners in found if owners]
    return [*used, *((option, []) for option in OPTIONS if option.everywhere)]


def _facts(option: Option, owners: list[Term], terms: Catalogue) -> str:
    """Default, range and owners, in one line that is made of what is declared."""
    special = {term.name: term.default(option) for term in owners if term.default(option) != option.default}
    default = _said(option.default, option) + "".join(f", {name}: {_said(value, option)}" for name, value in special.items())
    facts = ["a switch"] if option.kind == "switch" else [f"default: {default}", option.accepts.words]
    return "; ".join([*facts, _whose(option, owners, terms)])


def _said(value: object, option: Option) -> str:
    if value is None:
        return "nnU-Net's" if option.everywhere else "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _whose(option: Option, owners: list[Term], terms: Catalogue) -> str:
    if not owners:
        return "every trainer"
    if option in OF_BLENDS:
        return "a map with a region"
    names = [term.name for term in owners]
    if names == list(terms.features):
        return "every feature"
    return ", ".join(names)
