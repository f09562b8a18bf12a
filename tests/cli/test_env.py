from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from nnunet_fess.cli import env
from nnunet_fess.errors import UserError


def printed(capsys, *arguments: str) -> str:
    assert env.main(arguments) == 0
    return capsys.readouterr().out.strip()


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(env.VARIABLE, raising=False)


def test_path_is_the_directory_alone(capsys):
    assert printed(capsys, "--path") == str(env.DIRECTORY)


@pytest.mark.parametrize("folder", ["/plain", "/with space", "/with'quote", "/with$dollar", '/with"double'])
def test_bash_evaluates_the_line_to_the_directory(capsys, monkeypatch, folder):
    monkeypatch.setattr(env, "DIRECTORY", folder)
    monkeypatch.setenv(env.VARIABLE, "")
    line = printed(capsys, "--shell", "bash")
    shell = subprocess.run(["bash", "-c", f'{line}; printf %s "${env.VARIABLE}"'], capture_output=True, text=True, check=True)
    assert shell.stdout == folder


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_evaluates_the_line_to_the_directory(capsys):
    line = printed(capsys, "--shell", "fish")
    shell = subprocess.run(["fish", "-c", f"{line}; printf %s ${env.VARIABLE}"], capture_output=True, text=True, check=True)
    assert shell.stdout == str(env.DIRECTORY)


@pytest.mark.parametrize(
    ("shell", "line"), [("fish", "set -gx nnUNet_extTrainer '/a\\'b'"), ("powershell", "$env:nnUNet_extTrainer = '/a''b'")]
)
def test_quotes_of_other_shells(capsys, monkeypatch, shell, line):
    monkeypatch.setattr(env, "DIRECTORY", "/a'b")
    assert printed(capsys, "--shell", shell) == line


@pytest.mark.parametrize("shell", ["bash", "zsh", "sh"])
def test_posix_shells_share_the_line(capsys, shell):
    assert printed(capsys, "--shell", shell) == f"export nnUNet_extTrainer={env.DIRECTORY}"


@pytest.mark.parametrize(
    "value",
    ["", ":", " : ", "/a:/a", "~/mine", "./mine", '"/quoted"', "/new\nline", "/back\\slash", "/loop/loop", "/" + "x" * 5000],
)
def test_whatever_is_set_already_survives_once_and_only_once(capsys, monkeypatch, value, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    value = value.replace("/loop", str(tmp_path / "loop"), 1)
    monkeypatch.setenv(env.VARIABLE, value)
    line = printed(capsys)
    shell = subprocess.run(["bash", "-c", f'{line}; printf %s "${env.VARIABLE}"'], capture_output=True, text=True, check=True)
    others = list(dict.fromkeys(path for path in value.split(os.pathsep) if path.strip()))
    assert shell.stdout.split(os.pathsep) == [str(env.DIRECTORY), *others]


def test_a_value_that_is_no_text_survives(capfdbinary, monkeypatch):
    monkeypatch.setenv(env.VARIABLE, os.fsdecode(b"/latin-1/\xfc"))
    assert env.main([]) == 0
    assert b"/latin-1/\xfc" in capfdbinary.readouterr().out


def test_a_package_in_a_path_that_cannot_be_listed_is_refused(monkeypatch):
    monkeypatch.setattr(env, "DIRECTORY", f"/a{os.pathsep}b")
    with pytest.raises(UserError, match="set apart by"):
        env.main([])


def test_other_extensions_stay_and_ours_comes_once(capsys, monkeypatch):
    monkeypatch.setenv(env.VARIABLE, os.pathsep.join(["/other", str(env.DIRECTORY), "/third"]))
    assert printed(capsys, "--shell", "bash").split("=")[1] == os.pathsep.join([str(env.DIRECTORY), "/other", "/third"])
