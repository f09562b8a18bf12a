from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from nnunet_fess.cli import env


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


def test_other_extensions_stay_and_ours_comes_once(capsys, monkeypatch):
    monkeypatch.setenv(env.VARIABLE, os.pathsep.join(["/other", str(env.DIRECTORY), "/third"]))
    assert printed(capsys, "--shell", "bash").split("=")[1] == os.pathsep.join([str(env.DIRECTORY), "/other", "/third"])
