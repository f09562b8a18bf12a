"""What a training's loss is, with all its settings and the versions of the code: for nnU-Net's log, debug.json and wandb."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nnunet_fess.machine import versions
from nnunet_fess.trainers.naming import TrainerName
from nnunet_fess.trainers.registry import registry

PACKAGES = ("nnunet-fess", "nnunetv2", "torch", "numpy", "batchgenerators", "dynamic-network-architectures")


class Description(dict[str, Any]):
    """A dictionary that is JSON as text: nnU-Net writes every attribute of a trainer into debug.json as text."""

    def __str__(self) -> str:
        """JSON."""
        return json.dumps(self)

    def lines(self) -> list[str]:
        """As a reader of the log wants it."""
        spelt = set(self["spelt out"])
        settings = [f"{key} = {value}{'' if key in spelt else ' (default)'}" for key, value in self["settings"].items()]
        packages = ", ".join(f"{name} {version}" for name, version in self["packages"].items())
        return [
            f"Loss of {self['trainer']}: {self['loss']}",
            *(f"  {name}: {summary}" for name, summary in self["terms"].items()),
            f"Settings: {', '.join(settings)}",
            f"Versions: {packages}",
        ]


def describe(name: TrainerName, in_use: Mapping[str, Any], built: bool = True) -> Description:
    """Everything about the loss that a reader needs to run the training again.

    Args:
        name: of the trainer.
        in_use: key → value of the settings that nnU-Net decides when the name does not, such as "epochs".
        built: the loss is that of the name; False where a subclass overrides `_build_loss`.
    """
    loss = name.loss
    spatial = " and ".join(term.name for term in loss.terms if term is not loss.feature)
    formula = spatial if loss.feature is None else f"lambda * {spatial} + (1 - lambda) * {loss.feature.name}"
    packages = versions(PACKAGES)
    for term, origin in registry().provenance(loss).items():
        packages[f"{term} of {origin['distribution']}"] = origin["version"]
    settings = {key: in_use.get(key) if value is None else value for key, value in name.settings.items()}
    return Description(
        {
            "trainer": name.name,
            "loss": formula if built else "that of _build_loss, which a subclass overrides",
            "terms": {term.name: term.summary for term in loss.terms} if built else {},
            "settings": {key: value for key, value in settings.items() if value is not None},
            "spelt out": list(name.options),
            "packages": packages,
        }
    )
