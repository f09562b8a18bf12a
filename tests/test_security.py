"""What `docs/explanation/security.md` claims, over every file of both packages."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from nnunet_fess.cli.main import main
from nnunet_fess.errors import UserError
from nnunet_fess.share import Model, find_model, folds_of

ROOT = Path(__file__).resolve().parents[1]
# `nnunet_fess.testing` runs what a developer's test hands it.
FILES = sorted(
    file
    for package in ("nnunet_fess", "dataset_conversion")
    for file in (ROOT / package).rglob("*.py")
    if ROOT / "nnunet_fess" / "testing" not in file.parents
)

# Where checkpoints are read, and nothing else.
CHECKPOINTS = {"share.py", "composed_trainer.py", "missing.py", "checkpoints.py"}
# Where a module is imported by a name that is not written there: commands, our own converters, entry points and files that
# the user names, and the doctor, which looks whether an import works.
IMPORTS = {
    "nnunet_fess/cli/main.py",
    "nnunet_fess/cli/study.py",
    "nnunet_fess/plugin.py",
    "nnunet_fess/trainers/registry.py",
    "nnunet_fess/ext_trainer/nnunet_fess_trainers.py",
    "nnunet_fess/processes/cpu_count/sitecustomize.py",
    "nnunet_fess/doctor/packages.py",
    "dataset_conversion/datasets/__init__.py",
}
NETWORK = {"urllib", "requests", "http", "httpx", "ftplib", "smtplib", "telnetlib", "xmlrpc", "aiohttp"}


def calls(file: Path) -> list[tuple[str, ast.Call]]:
    """Every call in a file with the dotted name of what is called."""
    return [
        (ast.unparse(node.func), node) for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call)
    ]


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


CALLS = [(file, called, node) for file in FILES for called, node in calls(file)]


def where(found) -> list[str]:
    return [f"{name(file)}:{node.lineno}: {called}" for file, called, node in found]


def test_no_text_is_run_as_code():
    forbidden = {
        "eval",
        "exec",
        "compile",
        "os.system",
        "os.popen",
        "pickle.load",
        "pickle.loads",
        "marshal.loads",
        "yaml.load",
    }
    assert where(call for call in CALLS if call[1] in forbidden) == []


def test_only_checkpoints_are_unpickled():
    assert where(call for call in CALLS if call[1] == "torch.load" and call[0].name not in CHECKPOINTS) == []


def test_numpy_files_are_read_without_objects():
    loads = [call for call in CALLS if call[1] in ("np.load", "numpy.load")]
    assert where(call for call in loads if any(key.arg == "allow_pickle" for key in call[2].keywords)) == []


def test_yaml_makes_no_objects():
    """ruamel's round-trip and safe loaders make plain values; `unsafe` and `full` make what a file names."""
    makers = [call for call in CALLS if call[1].endswith("YAML")]
    kinds = [[ast.unparse(key.value) for key in node.keywords if key.arg == "typ"] for _, _, node in makers]
    assert all(kind in (["'rt'"], ["'safe'"], []) for kind in kinds)


def test_no_shell():
    assert where(call for call in CALLS if any(key.arg == "shell" for key in call[2].keywords)) == []


def test_imports_by_name_are_where_we_know_of_them():
    dynamic = {"import_module", "spec_from_file_location", "__import__", "run_path"}
    found = [call for call in CALLS if call[1].split(".")[-1] in dynamic]
    assert where(call for call in found if name(call[0]) not in IMPORTS) == []


def test_nothing_is_downloaded_or_sent():
    for file in FILES:
        tree = ast.parse(file.read_text("utf-8"))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        names.discard("urllib.parse")  # quotes text in links
        assert not {found.split(".")[0] for found in names} & NETWORK, name(file)


def test_archives_are_not_unpacked():
    """A zip or tar can hold paths that lead elsewhere; we read downloads that the user has unpacked."""
    assert where(call for call in CALLS if call[1].endswith((".extractall", ".extract", "unpack_archive"))) == []


@pytest.mark.parametrize("evil", ["x'; touch gone; '", '"$(touch gone)"', "a b`touch gone`", "line\ntouch gone"])
def test_what_a_shell_is_to_run_is_quoted(tmp_path, monkeypatch, capfd, evil):
    monkeypatch.setenv("nnUNet_extTrainer", evil)
    assert main(["env", "--shell", "bash"]) == 0
    line = capfd.readouterr().out
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=False)
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("evil", ["../elsewhere", "/etc", "a/b", "..\\b", ""])
def test_names_of_models_are_not_paths(tmp_path, monkeypatch, evil):
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    (tmp_path / "results" / "Dataset001_A").mkdir(parents=True)
    for names in ((evil, "nnUNetPlans", "2d"), ("nnUNetTrainerFESS", evil, "2d"), ("nnUNetTrainerFESS", "nnUNetPlans", evil)):
        with pytest.raises(UserError, match="is not the name of"):
            find_model("1", *names)


@pytest.mark.parametrize("evil", ["../../other/fold_0/checkpoint_final.pth", "../fold_0/x.pth", "/x.pth", "..", ""])
def test_a_checkpoint_is_no_path_either(tmp_path, evil):
    """It is read from, and in the copy written to, the folder of its fold."""
    for model in ("model", "other"):
        (tmp_path / model / "fold_0").mkdir(parents=True)
        (tmp_path / model / "fold_0" / "checkpoint_final.pth").touch()
    model = Model(tmp_path / "model", "Dataset001_A", "nnUNetTrainerFESS", "nnUNetPlans", "2d")
    with pytest.raises(UserError, match="is not the name of a checkpoint"):
        folds_of(model, None, evil)
