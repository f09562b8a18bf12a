from __future__ import annotations

from importlib import metadata

import pytest

from nnunet_fess.trainers import build
from nnunet_fess.trainers.errors import TrainingRefused
from nnunet_fess.trainers.host_version import require_nnunet


def install(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: version)


@pytest.mark.parametrize("version", ["2.8", "2.8.0", "2.8.1", "2.10.0", "3.0", "2.9.0rc1"])
def test_later_releases_are_taken(monkeypatch, version):
    install(monkeypatch, version)
    require_nnunet()


@pytest.mark.parametrize("version", ["2.7.0", "2.6.4", "2.0", "1.7.1", "2"])
def test_earlier_releases_are_refused_with_what_to_do(monkeypatch, version):
    install(monkeypatch, version)
    with pytest.raises(TrainingRefused, match=rf"needs nnU-Net 2\.8 or later; installed is nnunetv2 {version}, .*pip install"):
        require_nnunet()


def test_a_trainer_is_not_built_in_them(monkeypatch):
    install(monkeypatch, "2.7.0")
    with pytest.raises(TrainingRefused, match=r"nnU-Net 2\.8"):
        build("nnUNetTrainerCE_77epochs")


def test_a_checkout_without_version_is_taken(monkeypatch):
    def not_installed(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", not_installed)
    require_nnunet()
