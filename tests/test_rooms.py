"""The rooms of the house: imports only look down, none in a circle, and what is imported is declared.

Read from the source as text, so that a lazy import inside a function counts too.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]

# From the ground up; a room may import the rooms of the lines above its own, and itself. A new room gets its place here.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("nnunet_fess", "nnunet_fess.errors"),
    ("nnunet_fess.files", "nnunet_fess.folders", "nnunet_fess.machine", "nnunet_fess.extension", "nnunet_fess.streams"),
    ("nnunet_fess.arguments", "nnunet_fess.program", "nnunet_fess.plugin", "nnunet_fess.processes", "nnunet_fess.pictures"),
    ("nnunet_fess.losses", "nnunet_fess.networks", "dataset_conversion"),
    ("nnunet_fess.trainers", "nnunet_fess.plans"),
    ("nnunet_fess.search",),
    ("nnunet_fess.ext_trainer", "nnunet_fess.share", "nnunet_fess.testing", "nnunet_fess.preview", "nnunet_fess.study"),
    ("nnunet_fess.demo", "nnunet_fess.doctor"),
    ("nnunet_fess.cli",),
    ("nnunet_fess.__main__",),
)
# These need no import of the package's own to be found by nnU-Net or Python.
DISTRIBUTIONS = {"yaml": "pyyaml", "nibabel": "nibabel", "acvl_utils": "acvl-utils", "ruamel": "ruamel.yaml"}


def _modules(package: str) -> dict[str, Path]:
    files = sorted((ROOT / package).rglob("*.py"))
    parts = {file: file.relative_to(ROOT).with_suffix("").parts for file in files}
    return {".".join(p[:-1] if p[-1] == "__init__" else p): file for file, p in parts.items()}


MODULES = _modules("nnunet_fess") | _modules("dataset_conversion")


def _imports(file: Path) -> set[str]:
    """Dotted names that a file imports, those for type checkers alone left out."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found


def _room(module: str) -> str:
    """The longest room name that the module lies in."""
    rooms = [room for floor in FLOORS for room in floor if module == room or module.startswith(f"{room}.")]
    room = max(rooms, key=len)
    assert room != "nnunet_fess" or module == "nnunet_fess", f"{module} has no place in FLOORS"
    return room


def _floor(room: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if room in floor)


OURS = {name: {other for other in _imports(file) if other in MODULES} for name, file in MODULES.items()}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_look_down(module):
    room = _room(module)
    upward = [other for other in OURS[module] if _room(other) != room and _floor(_room(other)) >= _floor(room)]
    assert not upward, f"{module} on floor {_floor(room)} imports {upward}"


def test_no_circle_between_modules():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for other in OURS[module]:
            visit(other, (*path, module))
        done.add(module)

    for module in MODULES:
        visit(module, ())


def test_losses_are_torch_and_numpy_only():
    # NumPy: the distance transform on a CPU
    theirs = {
        name.split(".")[0]
        for module in MODULES
        if module.startswith("nnunet_fess.losses")
        for name in _imports(MODULES[module])
    }
    assert theirs - set(sys.stdlib_module_names) <= {"torch", "numpy", "nnunet_fess"}


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [line for name, lines in project["optional-dependencies"].items() if name not in ("test", "dev") for line in lines]
    return {re.split(r"[\s<>=!;\[]", line)[0].lower().replace("_", "-") for line in [*project["dependencies"], *extras]}


def _imported() -> set[str]:
    """Distributions that the packages import, by their declared names."""
    tops = {name.split(".")[0] for file in MODULES.values() for name in _imports(file)}
    return {
        DISTRIBUTIONS.get(top, top).lower().replace("_", "-")
        for top in tops - set(sys.stdlib_module_names) - {"nnunet_fess", "dataset_conversion", "nnunet_fess_trainers"}
    }


# Imported only where the user has it: nnU-Net's own wandb logger decides; `nnunet_fess.testing` is for those who test.
OPTIONAL = {"wandb", "pytest"}
# Declared for others: nnU-Net's preprocessing needs distutils, and takes its resampling from acvl-utils.
FOR_OTHERS = {"setuptools", "acvl-utils"}


def test_what_is_imported_is_declared():
    assert _imported() - OPTIONAL - _declared() == set()


def test_what_is_declared_is_imported():
    assert _declared() - FOR_OTHERS - _imported() == set()
