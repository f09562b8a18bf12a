from __future__ import annotations

import importlib

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
