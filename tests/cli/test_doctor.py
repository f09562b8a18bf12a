from __future__ import annotations

import json

import pytest

from nnunet_fess.cli import doctor
from nnunet_fess.cli.main import main
from nnunet_fess.doctor.finding import fine, warning, wrong


@pytest.fixture(params=[("fine", 0), ("warning", 0), ("wrong", 1)])
def examined(request, monkeypatch):
    level, code = request.param
    last = {"fine": fine("b", "well"), "warning": warning("b", "so so", "Rest."), "wrong": wrong("b", "ill", "See one.")}[level]
    monkeypatch.setattr(doctor, "examine", lambda: iter([fine("a", "λ"), last]))
    return level, code


def test_one_line_each_and_the_exit_code(examined, capsys):
    level, code = examined
    assert main(["doctor"]) == code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "fine     a: λ"
    assert lines[1].startswith(level)
    assert lines[1].endswith({"fine": "well", "warning": "so so. Rest.", "wrong": "ill. See one."}[level])


def test_json_for_bug_reports(examined, capsys):
    level, code = examined
    assert main(["doctor", "--json"]) == code
    content = json.loads(capsys.readouterr().out)
    assert content["findings"][1]["level"] == level
    assert {"python", "torch", "nnunetv2"} <= content["versions"].keys()
