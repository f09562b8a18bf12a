"""Nothing is read, and nothing created, where the result could not be written or would meet what is not ours."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from pathlib import Path

import downloads
import pytest
from defects import (
    HGG,
    T1,
    edited,
)

from dataset_conversion import check, pipeline, places, write
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


def told(source: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
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
    assert message.format(other=other) in told(source, capsys)
    assert not list(raw.iterdir())


@pytest.mark.usefixtures("unread")
@pytest.mark.parametrize("value", ['"{}"', "'{}'", '{}"', "${{HOME}}/raw"])
def test_value_that_a_shell_would_have_changed(value: str, source: str, raw: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    monkeypatch.setenv("nnUNet_raw", value.format(raw))
    assert "nnUNet_raw is " in told(source, capsys)
    assert set(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("unread")
def test_typo_in_the_variable_is_not_created(source: str, raw: Path, monkeypatch, capsys) -> None:
    typo = raw.with_name("nnUNet_rwa")
    monkeypatch.setenv("nnUNet_raw", str(typo))
    said = told(source, capsys)
    assert f"nnUNet_raw is {typo}, which does not exist. {raw} does: was that meant?" in said
    assert f"mkdir -p {typo}" in said
    assert not typo.exists()


@pytest.mark.usefixtures("unread")
def test_given_folder_in_a_place_that_is_not_there(source: str, raw: Path, capsys) -> None:
    said = told(source, capsys, "--raw", str(raw / "typo" / "raw"))
    assert f"--raw is {raw / 'typo' / 'raw'}, which does not exist" in said
    assert not list(raw.iterdir())


def test_new_given_folder_is_made_and_told(source: str, raw: Path, capsys) -> None:
    assert main(["brats2017", source, "-np", "1", "--raw", str(raw / "new")]) == 0
    assert f"making {raw / 'new'}" in capsys.readouterr().out


@pytest.mark.usefixtures("unread")
def test_raw_folder_that_is_a_file(source: str, raw: Path, capsys) -> None:
    (raw / "file").touch()
    assert f"{raw / 'file'} is a file; give a folder" in told(source, capsys, "--raw", str(raw / "file"))


@pytest.mark.usefixtures("unread")
def test_unwritable_folder_is_refused_first(source: str, raw: Path, monkeypatch, capsys) -> None:
    def deny(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", deny)  # root may write anywhere
    said = told(source, capsys)
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
    assert "dataset id 517 is taken by" in told(source, capsys)


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said to arguments that are refused."""
    assert main([*arguments, "-np", "1"]) == 1
    return capsys.readouterr().err


def test_source_that_is_missing(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "SOURCE nowhere: no such folder" in refused(["brats2017", "nowhere"], capsys)


def test_source_that_is_an_archive(tmp_path: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Mask.7z").write_bytes(b"7z")
    said = refused(["abdomenct1k", str(tmp_path / "Mask.7z")], capsys)
    assert "is a file; unpack it first and give the folder" in said


def test_source_that_is_given_twice(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = laid_out / "brats2017"
    assert "give each folder once" in refused(["brats2017", str(root), str(root / HGG)], capsys)


def test_source_that_holds_another_dataset(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(["brats2016", str(laid_out / "brats2017")], capsys)
    assert "it holds BraTS 2017: try  convert brats2017" in said


def test_target_inside_source(download, capsys: pytest.CaptureFixture[str]) -> None:
    root = download("brats2017")
    said = refused(["brats2017", str(root), "--raw", str(root / "raw")], capsys)
    assert f"inside SOURCE {root}; choose another --raw" in said


def test_nowhere_to_write(laid_out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("nnUNet_raw", raising=False)
    said = refused(["brats2017", str(laid_out / "brats2017")], capsys)
    assert "Set the environment variable nnUNet_raw or give --raw DIR" in said


def test_id_that_is_taken(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raw / "Dataset517_Other").mkdir()
    said = refused(["brats2017", str(laid_out / "brats2017")], capsys)
    assert f"dataset id 517 is taken by {raw / 'Dataset517_Other'}; choose another one with -d" in said


def test_existing_dataset_with_other_options(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["brats2017", str(laid_out / "brats2017")]
    assert main([*arguments, "-np", "1"]) == 0
    said = refused([*arguments, "--target", "labels"], capsys)
    assert "exists and was made with other options (target); use --overwrite to replace it" in said


def test_existing_dataset_of_another_source(download, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = download("brats2017")
    assert main(["brats2017", str(root), "-np", "1"]) == 0
    with edited(root / T1) as volume:
        volume.voxels[0, 0, 0] += 1
    said = refused(["brats2017", str(root)], capsys)
    assert "exists and was made with other cases (BraTS17_TCIA_153_1_HGG); use --overwrite" in said


def test_existing_dataset_that_lost_a_file(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["brats2017", str(laid_out / "brats2017")]
    assert main([*arguments, "-np", "1"]) == 0
    next(raw.rglob("labelsTr/*")).unlink()
    assert "is missing (1 in all); use --overwrite" in refused(arguments, capsys)


def test_existing_dataset_that_is_the_same(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["brats2017", str(laid_out / "brats2017"), "-np", "1"]
    assert main(arguments) == main(arguments) == 0
    assert "is already there, complete and made of the same files with the same options" in capsys.readouterr().out


def test_overwrite_says_that_preprocessed_data_are_stale(
    laid_out: Path, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    stale = tmp_path / "preprocessed" / "Dataset517_BraTS2017"
    stale.mkdir(parents=True)
    arguments = ["brats2017", str(laid_out / "brats2017"), "-np", "1"]
    assert main(arguments) == 0
    assert main([*arguments, "--target", "whole-tumor", "--overwrite"]) == 0
    assert f"warning: {stale} holds data preprocessed from an earlier conversion" in capsys.readouterr().out
    assert [path.name for path in raw.iterdir()] == ["Dataset517_BraTS2017"]
    labels = json.loads((raw / "Dataset517_BraTS2017/dataset.json").read_text())["labels"]
    assert labels == {"background": 0, "whole tumor": 1}


@pytest.mark.parametrize("form", ["relative", "trailing slash", "spaces", "grade folder"])
def test_ways_to_name_the_source(form: str, download, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = download("brats2017")
    monkeypatch.chdir(root.parent)
    if form == "spaces":
        root = root.rename(root.with_name("BraTS 2017 (copy)"))
    training = root / "MICCAI_BraTS17_Data_Training"
    sources = {
        "relative": ["brats2017"],
        "trailing slash": [f"{root}/"],
        "spaces": [str(root)],
        "grade folder": [str(training / "HGG"), str(training / "LGG")],
    }
    assert main(["brats2017", *sources[form], "-np", "1"]) == 0
    assert len(list(raw.rglob("BraTS17_TCIA_621_1_LGG*"))) == 5


def test_read_only_source_is_not_touched(download, raw: Path) -> None:
    root = download("brats2017")
    before = {path: path.stat() for path in root.rglob("*")}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat() for path in root.rglob("*")}
    assert main(["brats2017", str(root), "-np", "1"]) == 0
    after = {path: path.stat() for path in root.rglob("*")}
    assert {path: (stat.st_mtime_ns, stat.st_size) for path, stat in before.items()} == {
        path: (stat.st_mtime_ns, stat.st_size) for path, stat in after.items()
    }


def test_too_little_room_is_told_before_writing(
    laid_out: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(raw)._replace(free=1000)
    monkeypatch.setattr(places.shutil, "disk_usage", lambda _: usage)
    said = refused(["brats2017", str(laid_out / "brats2017")], capsys)
    assert "GB are needed and 0.0 GB free on the disk of" in said
    assert not list(raw.iterdir())


def test_disk_that_fills_up_names_the_case_and_leaves_nothing(
    laid_out: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write.shutil, "copyfile", full)
    said = refused(["brats2017", str(laid_out / "brats2017")], capsys)
    assert "_t1.nii.gz  No space left on device" in said
    assert "1 case(s) could not be written; nothing was kept" in said
    assert not list(raw.iterdir())


def test_source_that_changes_meanwhile(
    download, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = download("brats2017")
    check = pipeline._check

    def change_after(*arguments: object) -> object:
        checked = check(*arguments)
        with edited(root / T1) as volume:
            volume.voxels += 1
        return checked

    monkeypatch.setattr(pipeline, "_check", change_after)
    assert "changed while it was being converted; leave SOURCE alone" in refused(["brats2017", str(root)], capsys)
    assert not list(raw.iterdir())


def test_source_inside_the_dataset_folder(laid_out: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = raw / "Dataset517_BraTS2017" / "download"
    shutil.copytree(laid_out / "brats2017", source)
    said = refused(["brats2017", str(source), "--overwrite"], capsys)
    assert "which is replaced; move it elsewhere" in said
    assert (source / T1).exists()


def test_file_names_that_are_not_text(download, raw: Path) -> None:
    root = download("brats2017")
    root = root.rename(os.fsdecode(os.fsencode(root) + b"\xe4"))
    assert main(["brats2017", str(root), "-np", "1", "--transfer", "reference"]) == 0
    entries = json.loads((raw / "Dataset517_BraTS2017/dataset.json").read_text())["dataset"]
    assert all(Path(image).exists() for entry in entries.values() for image in entry["images"])
