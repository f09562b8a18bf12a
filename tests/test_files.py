"""Files are whole or not there, and what cannot be read is told."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest

from nnunet_fess import files
from nnunet_fess.errors import UserError


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_takes_its_name_when_it_is_whole(tmp_path, durable):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with files.whole(target, durable=durable) as unfinished:
        unfinished.write_text("new")
        assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "new"


def test_a_failure_leaves_the_old_file_and_no_part(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), files.whole(target) as unfinished:
        unfinished.write_text("ne")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert target.read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_kill_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    code = (
        "import os, signal, sys; from nnunet_fess import files\n"
        "with files.whole(sys.argv[1]) as part: part.write_text('n'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    files.write_text(target, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_several_processes_may_write_the_same_file_at_once(tmp_path):
    code = (
        "import sys; from nnunet_fess import files\n"
        "for turn in range(300): files.write_text(sys.argv[1], sys.argv[2] * (1 + turn) + '\\n')"
    )
    target = tmp_path / "a.txt"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(target), letter]) for letter in "abcd"]
    while any(writer.poll() is None for writer in writers):
        if target.exists():
            text = target.read_text()
            assert text == text[0] * (len(text) - 1) + "\n"
    assert [writer.returncode for writer in writers] == [0] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_writer_leaves_anothers_part_alone(tmp_path):
    target = tmp_path / "a.txt"
    with files.whole(target) as ours:
        ours.write_text("ours")
        with files.whole(target) as theirs:
            theirs.write_text("theirs")
        assert target.read_text() == "theirs"
        with pytest.raises(RuntimeError), files.whole(target) as theirs:
            raise RuntimeError
    assert target.read_text() == "ours"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_json_keeps_the_order_of_keys_and_is_ascii(tmp_path):
    files.write_json(tmp_path / "a.json", {"b": "ä", "a": 1})
    assert (tmp_path / "a.json").read_bytes().isascii()
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["b", "a"]
    assert files.read_json(tmp_path / "a.json") == {"b": "ä", "a": 1}


def test_what_is_no_number_in_json_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", float("nan"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{\n1", "line 2"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"", "no JSON"),
        (None, "does not exist"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_json_that_cannot_be_read_is_named(tmp_path, content, message):
    path = tmp_path / "ä b.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        files.read_json(path)
    assert str(path) in str(caught.value)


def test_a_folder_in_the_place_of_json_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        files.read_json(tmp_path)


def test_a_lock_is_held_by_one(tmp_path):
    code = (
        "import sys; from nnunet_fess import files; from nnunet_fess.errors import UserError\n"
        "try:\n  with files.held_alone(sys.argv[1], 'busy'): print('held')\n"
        "except UserError as error: print(error)"
    )

    def other():
        command = [sys.executable, "-c", code, str(tmp_path / "lock")]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with files.held_alone(tmp_path / "lock", "busy"):
        assert other() == "busy"
    assert other() == "held"


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.skipif(os.name != "posix", reason="flock is POSIX's")
def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch):
    def lacking(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", lacking)
    with files.held_alone(tmp_path / "lock", "busy"):
        pass
    with files.whole(tmp_path / "a.txt") as ours, files.whole(tmp_path / "a.txt") as theirs:
        for part in (ours, theirs):
            part.write_text(part.name)
    assert (tmp_path / "a.txt").read_text() == ours.name
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "lock") == ["a.txt"]


def test_whether_a_lock_is_held(tmp_path):
    lock = tmp_path / "lock"
    assert not files.is_held(lock)
    assert not lock.exists()
    with files.held_alone(lock, "busy"):
        assert files.is_held(lock)
    assert not files.is_held(lock)


def test_a_failure_names_the_file_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        files.write_text(tmp_path / "missing" / "a.txt", "x")
    assert caught.value.filename == str(tmp_path / "missing" / "a.txt")


def _in_its_place(kind, part, target):
    target.write_text("precious")
    if kind == "symbolic link":
        part.symlink_to(target)
    elif kind == "hard link":
        part.hardlink_to(target)
    elif kind == "pipe":
        os.mkfifo(part)
    elif kind == "folder":
        part.mkdir()
    else:
        part.symlink_to(part)


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "pipe", "folder", "link to itself"])
def test_what_stands_in_a_parts_place_is_not_written_through(tmp_path, kind):
    part = files.partial_of(tmp_path / "a.txt")
    _in_its_place(kind, part, tmp_path / "other")
    files.write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new"
    assert not (tmp_path / "a.txt").is_symlink() and (tmp_path / "a.txt").stat().st_nlink == 1
    assert (tmp_path / "other").read_text() == "precious"
    assert os.path.lexists(part) and len(list(tmp_path.iterdir())) == 3
    files.remove_partials(tmp_path / "a.txt")


@pytest.mark.skipif(os.name != "posix", reason="POSIX's locks")
def test_another_users_part_is_no_obstacle(tmp_path, monkeypatch):
    part = files.partial_of(tmp_path / "a.txt")
    part.write_text("theirs")
    real = os.open

    def refusing(path, *args, **kwargs):
        if str(path) == str(part):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refusing)
    files.write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "new" and part.read_text() == "theirs"


def test_a_folder_that_may_not_be_written_to_is_told(tmp_path, monkeypatch):
    def refusing(path, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(PermissionError) as caught, files.whole(tmp_path / "a.txt"):
        pass
    assert caught.value.filename == str(tmp_path / "a.txt")


@pytest.mark.skipif(os.name != "posix", reason="POSIX's locks")
def test_a_part_that_is_taken_over_is_empty(tmp_path):
    files.partial_of(tmp_path / "a.txt").write_text("left by a kill")
    with files.whole(tmp_path / "a.txt") as unfinished, unfinished.open("a") as file:
        file.write("new")
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_kills_beside_another_writer_do_not_pile_up(tmp_path):
    target = tmp_path / "a.txt"
    code = (
        "import os, signal, sys; from nnunet_fess import files\n"
        "with files.whole(sys.argv[1]) as part: part.write_text('n'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    with files.whole(target) as ours:
        ours.write_text("ours")
        for _ in range(3):
            subprocess.run([sys.executable, "-c", code, str(target)], check=False)
        assert len(list(tmp_path.iterdir())) == 2
    assert target.read_text() == "ours"
    files.remove_partials(target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_only_parts_of_the_file_itself_are_removed(tmp_path):
    names = ["a", "a.txt", "a[1].txt", "a.txt.b"]
    for name in names:
        files.partial_of(tmp_path / name).write_text("part")
    files.remove_partials(tmp_path / "a.txt")
    files.remove_partials(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.txt.b.part", ".a[1].txt.part"]
