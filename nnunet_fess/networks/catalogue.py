"""Which networks plans can name beside the planned one. Imports no torch: listing and planning need none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """A network as `nnunet_fess plans --network` offers it.

    Attributes:
        name: on the command line.
        label: in the default name of plans.
        summary: one line.
    """

    name: str
    label: str
    summary: str


NETWORKS: dict[str, Network] = {}
