"""What was run when, in a file that the page of the matrix is made of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_fess.files import write_text
from nnunet_fess.machine import commit, versions

FILE = Path(__file__).with_name("record.json")
_CHECKOUT = Path(__file__).resolve().parents[2]
_PACKAGES = ("nnunetv2", "torch", "numpy")


@dataclass(frozen=True)
class Outcome:
    """How a cell ended, and with which code."""

    status: str  # "runs", or "fails"
    reason: str
    commit: str
    versions: dict[str, str]


def stamp() -> dict[str, Any]:
    """The code that is there now."""
    return {"commit": commit(_CHECKOUT) or "unknown", "versions": versions(_PACKAGES)}


def outcome(error: BaseException | None, stamp: dict[str, Any]) -> Outcome:
    """Of a cell that was run with that code."""
    said = "" if error is None else " ".join(str(error).split())
    reason = said if len(said) < 400 else f"{said[:200]} … {said[-200:]}"
    return Outcome("runs" if error is None else "fails", reason, **stamp)


def read() -> dict[str, Outcome]:
    """By the cell's name."""
    if not FILE.is_file():
        return {}
    content = json.loads(FILE.read_text("utf-8"))
    stamps = content["stamps"]
    return {name: Outcome(status, reason, **stamps[stamp]) for name, (status, reason, stamp) in content["cells"].items()}


def write(outcomes: dict[str, Outcome]) -> None:
    """One line a cell; commit and versions once."""
    stamps: list[dict[str, object]] = []
    lines = []
    for name in sorted(outcomes):
        stamp = {key: value for key, value in asdict(outcomes[name]).items() if key in ("commit", "versions")}
        if stamp not in stamps:
            stamps.append(stamp)
        row = [outcomes[name].status, outcomes[name].reason, stamps.index(stamp)]
        lines.append(f"  {json.dumps(name)}: {json.dumps(row)}")
    head = ",\n".join(f"  {json.dumps(stamp)}" for stamp in stamps)
    write_text(FILE, '{"stamps": [\n' + head + '\n ],\n "cells": {\n' + ",\n".join(lines) + "\n }\n}\n")
