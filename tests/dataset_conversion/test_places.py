"""Nothing is read, and nothing created, where the result could not be written or would meet what is not ours."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import downloads
import pytest

from dataset_conversion import check, places
from dataset_conversion.cli import main


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(downloads.brats2017(tmp_path / "source"))


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a voxel is a failure."""

    def refuse(*_: object) -> None:
        pytest.fail("a volume was read before the folder was refused")

    monkeypatch.setattr(check.volumes, "read", refuse)


def refused(source: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert main(["brats2017", source, "-np", "1", *options]) == 1
    shown = capsys.readouterr()
    assert "delete" not in shown.out + shown.err
    return shown.err


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("other", ["nnUNet_preprocessed", "nnUNet_results"])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("", "are the same folder"),
        ("inside", "lies in nnUNet_raw"),
        ("..", "lies in {other}"),
        ("../link", "are the same folder"),
    ],
)
def test_raw_folder_that_is_not_apart(
    place: str, message: str, other: str, source: str, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (raw.parent / "link").symlink_to(raw)
    monkeypatch.setenv(other, str(raw / place))
    assert message.format(other=other) in refused(source, capsys)
    assert not list(raw.iterdir())


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("value", ['"{}"', "'{}'", '{}"', "${{HOME}}/raw"])
def test_value_that_a_shell_would_have_changed(value: str, source: str, raw: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    monkeypatch.setenv("nnUNet_raw", value.format(raw))
    assert "nnUNet_raw is " in refused(source, capsys)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("unread")
def test_typo_in_the_variable_is_not_created(source: str, raw: Path, monkeypatch, capsys) -> None:
    typo = raw.with_name("nnUNet_rwa")
    monkeypatch.setenv("nnUNet_raw", str(typo))
    said = refused(source, capsys)
    assert f"nnUNet_raw is {typo}, which does not exist. {raw} does: was that meant?" in said
    assert f"mkdir -p {typo}" in said
    assert not typo.exists()


@pytest.mark.usefixtures("unread")
def test_given_folder_in_a_place_that_is_not_there(source: str, raw: Path, capsys) -> None:
    said = refused(source, capsys, "--raw", str(raw / "typo" / "raw"))
    assert f"--raw is {raw / 'typo' / 'raw'}, which does not exist" in said
    assert not list(raw.iterdir())


def test_new_given_folder_is_made_and_told(source: str, raw: Path, capsys) -> None:
    assert main(["brats2017", source, "-np", "1", "--raw", str(raw / "new")]) == 0
    assert f"making {raw / 'new'}" in capsys.readouterr().out


@pytest.mark.usefixtures("unread")
def test_raw_folder_that_is_a_file(source: str, raw: Path, capsys) -> None:
    (raw / "file").touch()
    assert f"{raw / 'file'} is a file; give a folder" in refused(source, capsys, "--raw", str(raw / "file"))


@pytest.mark.usefixtures("unread")
def test_unwritable_folder_is_refused_first(source: str, raw: Path, monkeypatch, capsys) -> None:
    def deny(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", deny)  # root may write anywhere
    said = refused(source, capsys)
    assert f"nothing can be written in {raw}: Permission denied. Change its permissions" in said


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(places.ConversionError, match="Permission denied"):
        places.refuse_unwritable(tmp_path)


def test_preprocessed_folder_of_the_users_home_is_looked_into(source: str, raw: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HOME", str(raw.parent))
    monkeypatch.setenv("nnUNet_preprocessed", "~/preprocessed")
    (raw.parent / "preprocessed" / "Dataset517_Other").mkdir(parents=True)
    assert "dataset id 517 is taken by" in refused(source, capsys)
