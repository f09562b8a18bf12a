"""Whatever ends the process: the dataset is whole or absent, and the next run makes it whole."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dataset_conversion.cli import main
from dataset_conversion.staging import staged
from nnunet_fess.errors import UserError

TARGET = "Dataset516_BraTS2016"


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def start(laid_out: Path, raw: Path, workers: int, slow: str) -> subprocess.Popen:
    """The converter in a process of its own, in which `slow` takes a while so that a signal can hit it."""
    code = (
        "import sys, time, dataset_conversion.write as w, dataset_conversion.pipeline as c\n"
        f"original = w.{slow}\n"
        f"def slowly(*a):\n    r = original(*a)\n    time.sleep(0.15)\n    return r\n"
        f"w.{slow} = slowly\n"
        "from dataset_conversion.cli import main\n"
        f"sys.exit(main(['brats2016', {str(laid_out / 'brats2016')!r}, '--raw', {str(raw)!r}, '-np', '{workers}']))\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the process ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def expected(laid_out: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted run writes."""
    raw = tmp_path_factory.mktemp("expected")
    assert main(["brats2016", str(laid_out / "brats2016"), "--raw", str(raw), "-np", "1"]) == 0
    return files(raw / TARGET)


@pytest.mark.parametrize("written", [1, 7, 20])
def test_killed_while_writing(written: int, laid_out: Path, raw: Path, expected: dict[str, bytes], capsys) -> None:
    process = start(laid_out, raw, 1, "_replace")
    wait_for(lambda: len(list(raw.rglob("*.nii.gz"))) >= written, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (raw / TARGET).exists()
    assert main(["brats2016", str(laid_out / "brats2016"), "-np", "1"]) == 0
    assert "going on with an unfinished conversion" in capsys.readouterr().out
    assert files(raw / TARGET) == expected
    assert [path.name for path in raw.iterdir()] == [TARGET]


def test_killed_while_checking(laid_out: Path, raw: Path, expected: dict[str, bytes]) -> None:
    process = start(laid_out, raw, 1, "_replace")
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main(["brats2016", str(laid_out / "brats2016"), "-np", "1"]) == 0
    assert files(raw / TARGET) == expected


def test_workers_end_with_the_converter(laid_out: Path, raw: Path, expected: dict[str, bytes]) -> None:
    command = [sys.executable, "-m", "dataset_conversion", "brats2016", str(laid_out / "brats2016")]
    process = subprocess.Popen([*command, "--raw", str(raw), "-np", "2"], stderr=subprocess.DEVNULL)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.wait()
        pytest.skip("needs /proc to see the workers")
    wait_for(lambda: len(children.read_text().split()) >= 3, process)  # two workers and the resource tracker
    workers = children.read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()

    def running(pid: str) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    end = time.monotonic() + 20
    while any(map(running, workers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(running, workers))
    assert main(["brats2016", str(laid_out / "brats2016"), "-np", "1"]) == 0
    assert files(raw / TARGET) == expected


def test_interrupted_run_is_continued(laid_out: Path, raw: Path, expected: dict[str, bytes]) -> None:
    process = start(laid_out, raw, 1, "_replace")
    wait_for(lambda: len(list(raw.rglob("*.nii.gz"))) >= 2, process)
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert not (raw / TARGET).exists()
    assert main(["brats2016", str(laid_out / "brats2016"), "-np", "1"]) == 0
    assert files(raw / TARGET) == expected


def test_killed_between_removing_the_old_and_placing_the_new(
    laid_out: Path, raw: Path, expected: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["brats2016", str(laid_out / "brats2016"), "-np", "1"]
    assert main([*arguments, "--seed", "9"]) == 0
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if target.name == TARGET:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    assert main([*arguments, "--overwrite"]) == 130
    assert not (raw / TARGET).exists()
    monkeypatch.undo()
    assert main([*arguments, "--raw", str(raw)]) == 0
    assert files(raw / TARGET) == expected
    assert [path.name for path in raw.iterdir()] == [TARGET]


def test_other_options_after_a_kill_are_noticed(laid_out: Path, raw: Path, capsys) -> None:
    process = start(laid_out, raw, 1, "_replace")
    wait_for(lambda: len(list(raw.rglob("*.nii.gz"))) >= 2, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert main(["brats2016", str(laid_out / "brats2016"), "-np", "1", "--seed", "9"]) == 0
    assert "unfinished conversion of another source or with other options was found and removed" in capsys.readouterr().out
    assert [path.name for path in raw.iterdir()] == [TARGET]


def test_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), staged(tmp_path / "target", "id", print) as folder:
        (folder / "file").write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_old_dataset_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "old").touch()
    with staged(tmp_path / "target", "id", print) as folder:
        (folder / "new").touch()
        assert (tmp_path / "target" / "old").exists()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["target", "target/new"]


@pytest.mark.parametrize("other", ["id", "other options"])
def test_two_at_a_time_are_refused(other: str, tmp_path: Path) -> None:
    with (
        staged(tmp_path / "target", "id", print),
        pytest.raises(UserError, match="another process is writing"),
        staged(tmp_path / "target", other, print),
    ):
        pass
