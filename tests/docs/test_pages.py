"""What README and docs show: Python that runs, commands that exist with these options, links that lead somewhere."""

from __future__ import annotations

import argparse
import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import pytest

import dataset_conversion
import nnunet_fess
from nnunet_fess.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path, *languages: str) -> list[str]:
    """The code blocks of a page in one of these languages."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^\1```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [
        "\n".join(line.removeprefix(indent) for line in code.splitlines()) for indent, kind, code in found if kind in languages
    ]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# CONTRIBUTING shows the form of a test, with a loss that does not exist.
SNIPPETS = [
    (page, code)
    for page in PAGES
    if page.name != "CONTRIBUTING.md"
    for code in blocks(page, "python")
    if "nnunet_fess" in code  # else it is a part of another program
]


@pytest.mark.parametrize(("page", "code"), SNIPPETS, ids=[name(page) for page, _ in SNIPPETS])
def test_python_runs(page, code):
    exec(code, {"__name__": "snippet"})


def test_the_readme_has_python_to_run():
    assert any(page.name == "README.md" for page, _ in SNIPPETS)


def anchors(page: Path) -> set[str]:
    """GitHub's names of a page's headings."""
    headings = re.findall(r"^#+ +(.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)}: {target}"
        assert not anchor or anchor in anchors(file), f"{name(page)}: {target}: no such heading"


def shown_commands() -> list[tuple[Path, list[str]]]:
    """Every `nnunet_fess …` of the pages, one word list each, comments and continuation lines taken care of."""
    found = []
    for page in PAGES:
        if page.name == "CHANGELOG.md":
            continue
        for block in blocks(page, "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|;|\||\$\(|\beval \"", line):
                    try:
                        words = shlex.split(part.strip().removeprefix("$ ").rstrip('")'), comments=True)
                    except ValueError:
                        continue
                    if words[:1] == ["nnunet_fess"]:
                        found.append((page, words[1:]))
    return found


class ParsedError(Exception):
    """Stops a command once its arguments are understood."""


@pytest.mark.parametrize(
    ("page", "words"), shown_commands(), ids=lambda value: name(value) if isinstance(value, Path) else None
)
def test_commands_take_what_is_shown(page, words, monkeypatch):
    """Only the arguments are parsed. `…` stands for words that the reader fills in."""
    real = argparse.ArgumentParser.parse_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", lambda *given, **more: _stop(real(*given, **more)))
    command, *rest = words
    assert command in COMMANDS, f"{name(page)}: {words}"
    module = importlib.import_module(COMMANDS[command][0])
    if "…" in rest or not rest:
        return
    with pytest.raises((ParsedError, SystemExit)) as stopped:
        module.main(rest)
    if stopped.type is SystemExit:
        assert rest[-1] == "--help" or stopped.value.code == 0, f"{name(page)}: nnunet_fess {' '.join(words)}"


def _stop(parsed: argparse.Namespace) -> None:
    raise ParsedError(parsed)


def modules() -> list[str]:
    found = []
    for package in (nnunet_fess, dataset_conversion):
        found += [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    # Run by nnU-Net or Python in other ways; importing them does something.
    return [module for module in found if not any(part in module for part in ("ext_trainer", "sitecustomize", "__main__"))]


@pytest.mark.parametrize(
    "module", [found for found in modules() if ">>>" in Path(importlib.util.find_spec(found).origin).read_text("utf-8")]
)
def test_examples_in_docstrings(module):
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_index_names_every_how_to_and_explanation():
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = [*(ROOT / "docs" / "how-to").glob("*.md"), *(ROOT / "docs" / "explanation").glob("*.md")]
    missing = [page.name for page in pages if page.name not in index and not page.name.startswith("convert-")]
    assert missing == []
