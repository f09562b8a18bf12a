"""Which networks plans can name beside the planned one. Imports no torch: listing and planning need none."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_fess.errors import UserError


@dataclass(frozen=True)
class Network:
    """A network as `nnunet_fess plans --network` offers it.

    Attributes:
        name: on the command line.
        label: in the default name of plans.
        summary: one line.
        class_name: what plans name; nnU-Net imports it when it builds the network.
        divisor: of every axis of the patch.
        smallest: voxels per axis.
        full: arguments of the class for a GPU.
        small: arguments for a CPU.
        knows_patch: the class must be told the patch size.
        needs: the module it is made of, beside torch.
    """

    name: str
    label: str
    summary: str
    class_name: str
    divisor: int
    smallest: int
    full: dict[str, Any]
    small: dict[str, Any]
    knows_patch: bool = False
    needs: str | None = None

    def architecture(self, patch: Sequence[int], *, cpu: bool = False, features: Sequence[int] | None = None) -> dict[str, Any]:
        """What plans say under `architecture`.

        Args:
            patch: voxels per axis.
            cpu: the small sizes.
            features: one number, of the first stage; None takes the usual one.

        Raises:
            UserError: a patch size that the network cannot take, several features, or its package is not installed.
        """
        if self.needs and importlib.util.find_spec(self.needs) is None:
            raise UserError(
                f"--network {self.name} needs {self.needs}, which is not installed:  pip install 'nnunet-fess[networks]'"
            )
        self._refuse_patch(patch)
        arguments: dict[str, Any] = {**(self.small if cpu else self.full)}
        if features is not None:
            if len(features) != 1:
                raise UserError(
                    f"--features names {len(features)} stages, and --network {self.name} takes one number, of its first stage "
                    f"(usual: {arguments['features']}); the others follow from it."
                )
            arguments["features"] = features[0]
        axes = len(patch)
        size = {"patch_size": list(patch)} if self.knows_patch else {"dim": axes}
        strides = [[1] * axes, [2] * axes, [2] * axes]  # see EncoderDecoder
        return {
            "network_class_name": self.class_name,
            "arch_kwargs": {**size, **arguments, "strides": strides},
            "_kw_requires_import": [],
        }

    def resized(
        self, planned: dict[str, Any], patch: Sequence[int], *, cpu: bool = False, features: Sequence[int] | None = None
    ) -> dict[str, Any]:
        """What plans of this network say of it at another patch size or width; the rest of its sizes stays.

        Args:
            planned: what they say under `architecture`.
            patch: voxels per axis.
            cpu: the small sizes instead.
            features: one number, of the first stage; None keeps it.

        Raises:
            UserError: as `architecture` does.
        """
        made = self.architecture(patch, cpu=cpu, features=features)
        if not cpu:
            changed = {"patch_size"} | ({"features"} if features is not None else set())
            taken = {key: value for key, value in made["arch_kwargs"].items() if key in changed}
            made["arch_kwargs"] = {**planned["arch_kwargs"], **taken}
        return made

    def _refuse_patch(self, patch: Sequence[int]) -> None:
        fits = all(size % self.divisor == 0 and size >= self.smallest for size in patch)
        cells = math.prod(-(-size // 16) for size in patch)
        if fits and cells > 1:
            return

        def nearest(size: int, up: bool) -> int:
            steps = size / self.divisor
            return max(self.smallest, self.divisor * (math.ceil(steps) if up else math.floor(steps)))

        works = [[nearest(size, up) for size in patch] for up in (True, False)]
        for sizes in works:
            if math.prod(-(-size // 16) for size in sizes) < 2:
                sizes[-1] += 16
        named = " or ".join(dict.fromkeys(",".join(map(str, sizes)) for sizes in works))
        rule = f"multiples of {self.divisor}" if self.divisor > 1 else "any number"
        asked = ",".join(map(str, patch))
        raise UserError(
            f"--network {self.name} cannot take patches of {asked}: it needs {rule} from {self.smallest} on every axis, and "
            f"more than one cell of 16. Near it: --patch-size {named}."
        )


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        Network(
            "vnet",
            "VNet",
            "V-Net (arXiv 1606.04797), from MONAI",
            "nnunet_fess.networks.vnet.VNet",
            divisor=16,
            smallest=16,
            full={"features": 16},
            small={"features": 4},
            needs="monai",
        ),
        Network(
            "deeplabv3",
            "DeepLabV3",
            "DeepLabV3 on a ResNet-50 (arXiv 1706.05587)",
            "nnunet_fess.networks.deeplabv3.DeepLabV3",
            divisor=1,
            smallest=2,  # nnU-Net halves it for its second scale
            full={"features": 64, "blocks": [3, 4, 6, 3], "pyramid": 256},
            small={"features": 8, "blocks": [1, 1, 1, 1], "pyramid": 32},
        ),
        Network(
            "unetr",
            "UNETR",
            "UNETR (arXiv 2103.10504), from MONAI",
            "nnunet_fess.networks.unetr.UNETR",
            divisor=16,
            smallest=16,
            full={"features": 16, "hidden": 768, "mlp": 3072, "heads": 12},
            small={"features": 4, "hidden": 96, "mlp": 192, "heads": 4},
            knows_patch=True,
            needs="monai",
        ),
    )
}


def made_by(architecture: dict[str, Any]) -> Network | None:
    """Which of ours the plans name; None for nnU-Net's own and others."""
    return next((network for network in NETWORKS.values() if network.class_name == architecture["network_class_name"]), None)
