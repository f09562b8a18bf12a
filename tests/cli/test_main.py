from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time

import pytest

from nnunet_fess import __version__
from nnunet_fess.cli import trainers
from nnunet_fess.cli.main import COMMANDS, main
from nnunet_fess.errors import UserError


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_module_and_its_help(command, capsys):
    module = importlib.import_module(COMMANDS[command][0])
    with pytest.raises(SystemExit) as exit_:
        module.main(["--help"])
    assert exit_.value.code == 0
    assert f"nnunet_fess {command}" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == f"nnunet-fess {__version__}"


@pytest.mark.parametrize(
    ("error", "code", "text"), [(UserError("wrong"), 1, "wrong"), (KeyboardInterrupt(), 130, "interrupted")]
)
def test_errors_become_one_line_and_an_exit_code(monkeypatch, capsys, error, code, text):
    def fail(_):
        raise error

    monkeypatch.setattr(trainers, "main", fail)
    assert main(["trainers"]) == code
    assert capsys.readouterr().err == f"nnunet_fess trainers: {text}\n"


def test_an_unknown_command_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["trian"])
    assert exit_.value.code == 2
    message = capsys.readouterr().err
    assert all(command in message for command in COMMANDS)


def test_without_a_command_it_helps(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


def _module(*arguments, **options):
    command = [sys.executable, "-m", "nnunet_fess", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "utf-16"])
@pytest.mark.parametrize("arguments", [["trainers"], ["splits", "--help"], ["demo", "--seed", "λ"], ["env"]], ids=" ".join)
def test_every_encoding_can_show_it(arguments, encoding):
    out, err = _module(*arguments, env={**os.environ, "PYTHONIOENCODING": encoding}).communicate()
    assert out + err
    assert b"Traceback" not in err


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("delay", [0.15, 0.3, 0.6])
def test_ctrl_c_during_the_imports_is_one_line(delay):
    process = _module("preview", "999", env={**os.environ, "nnUNet_preprocessed": "/"})
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    if process.returncode == 1 or b"site-packages" in err or b"frozen" in err:
        pytest.skip("it had finished, or Python itself had not started")
    assert process.returncode == 130
    assert err.decode() in ("nnunet_fess: interrupted\n", "nnunet_fess preview: interrupted\n")
