from __future__ import annotations

import subprocess
import sys

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.networks import catalogue
from nnunet_fess.networks.catalogue import NETWORKS


@pytest.mark.parametrize(
    ("name", "patch", "near"),
    [
        ("vnet", [40, 56, 40], "48,64,48 or 32,48,32"),
        ("vnet", [16, 16, 16], "16,16,32"),
        ("unetr", [20, 200], "32,208 or 16,192"),
        ("deeplabv3", [8, 16, 16], "8,16,32"),
        ("deeplabv3", [1, 64, 64], "2,64,64"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused_with_those_that_do(name, patch, near):
    with pytest.raises(UserError, match=f"cannot take patches of.*--patch-size {near}"):
        NETWORKS[name].architecture(patch)
    for size in near.split(" or "):
        NETWORKS[name].architecture([int(number) for number in size.split(",")])


def test_deeplabv3_takes_any_size():
    NETWORKS["deeplabv3"].architecture([40, 57, 41])
    NETWORKS["deeplabv3"].architecture([8, 320, 256])


def test_features_are_one_number():
    assert NETWORKS["vnet"].architecture([32, 32], features=[8])["arch_kwargs"]["features"] == 8
    with pytest.raises(UserError, match="takes one number, of its first stage"):
        NETWORKS["vnet"].architecture([32, 32], features=[8, 16])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(catalogue.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--network vnet needs monai.*pip install 'nnunet-fess\[networks\]'"):
        NETWORKS["vnet"].architecture([32, 32])


def test_listing_needs_no_torch():
    code = "import sys, nnunet_fess.networks.catalogue, nnunet_fess.plans; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
