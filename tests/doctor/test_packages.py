from __future__ import annotations

import importlib
from importlib import metadata

import pytest

from nnunet_fess.doctor import packages


def pretend(monkeypatch, versions: dict[str, str | None], requires: dict[str, list[str]] | None = None):
    """Other installed versions than the real ones; None: not installed."""
    real_version, real_requires = metadata.version, metadata.requires

    def version(name):
        if name not in versions:
            return real_version(name)
        if versions[name] is None:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda name: (requires or {}).get(name) or real_requires(name))


def fail_to_import(monkeypatch, name: str, error: Exception):
    real = importlib.import_module

    def import_module(wanted, package=None):
        if wanted == name:
            raise error
        return real(wanted, package)

    monkeypatch.setattr(importlib, "import_module", import_module)


def test_a_torch_that_nnunet_excludes(monkeypatch):
    pretend(monkeypatch, {"torch": "2.9.1"})
    (nnunet,) = packages.dependencies(("nnunetv2",))
    assert nnunet.level == "wrong"
    assert "2.9.1 is there" in nnunet.found
    assert "!=2.9.*" in nnunet.advice


def test_an_nnunet_below_2_8(monkeypatch):
    needs = {"nnunet-fess": ["nnunetv2<3,>=2.8", "never; extra == 'test'"]}
    pretend(monkeypatch, {"nnunetv2": "2.7.0", "nnunet-fess": "0.1.0"}, needs)
    (ours,) = packages.dependencies(("nnunet-fess",))
    assert (ours.level, ours.advice) == ("wrong", "pip install 'nnunetv2<3,>=2.8'")


def test_a_missing_package(monkeypatch):
    pretend(monkeypatch, {"filelock": None, "nnunet-fess": "0.1.0"}, {"nnunet-fess": ["filelock>=3.12"]})
    (ours,) = packages.dependencies(("nnunet-fess",))
    assert ours.found == "filelock>=3.12 is needed, and not there"


def test_a_distribution_that_is_not_installed():
    assert packages.dependencies(("no-such-distribution",))[0].level == "wrong"


def test_a_torchvision_of_another_torch(monkeypatch):
    pretend(monkeypatch, {"torchvision": "0.20.0", "torch": "2.8.0"}, {"torchvision": ["torch==2.5.0"]})
    fail_to_import(monkeypatch, "torchvision", RuntimeError("operator torchvision::nms does not exist"))
    found = packages.torchvision()
    assert found.level == "wrong"
    assert "operator torchvision::nms does not exist. torch==2.5.0 is needed, and 2.8.0 is there" in found.found


def test_a_torchvision_of_another_torch_that_imports_is_a_warning(monkeypatch):
    pretend(monkeypatch, {"torchvision": "0.20.0", "torch": "2.8.0"}, {"torchvision": ["torch==2.5.0"]})
    monkeypatch.setattr(importlib, "import_module", lambda name: None)
    assert packages.torchvision().level == "warning"


def test_no_torchvision_is_fine(monkeypatch):
    pretend(monkeypatch, {"torchvision": None})
    assert packages.torchvision().level == "fine"


@pytest.mark.parametrize(
    ("check", "module"),
    [(packages.torch, "torch"), (packages.nnunet, "nnunetv2.training.nnUNetTrainer.nnUNetTrainer")],
)
def test_what_does_not_import_is_told_in_one_line(monkeypatch, check, module):
    fail_to_import(monkeypatch, module, OSError("libcudart.so.12: cannot open\nmore"))
    found = check()
    assert found.level == "wrong"
    assert "libcudart.so.12: cannot open" in found.found
    assert "\n" not in found.found


def test_this_environment_is_fine():
    checks = [packages.python(), packages.torch(), packages.nnunet()]
    assert [check.level for check in checks] == ["fine"] * 3


def test_python_without_distutils(monkeypatch):
    monkeypatch.setattr(packages.sys, "version_info", (3, 12, 0, "final", 0))
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    assert "pip install setuptools" in packages.python().advice


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(packages.sys, "version_info", (3, 9, 18, "final", 0))
    assert packages.python().level == "wrong"
