"""Python and the packages: versions that fit each other, and imports that work."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import sys
from importlib import metadata

from packaging.requirements import Requirement

from nnunet_fess.doctor.finding import Finding, fine, warning, wrong

OLDEST_PYTHON = (3, 10)


def python() -> Finding:
    """Its version, and distutils, which nnU-Net's preprocessing imports and Python 3.12 dropped."""
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        return wrong("Python", found, "Python 3.10 or later is needed: make a new environment with it.")
    if sys.version_info >= (3, 12) and importlib.util.find_spec("setuptools") is None:
        return wrong(
            "Python", f"{found}, without setuptools", "pip install setuptools: nnU-Net's preprocessing needs distutils."
        )
    return fine("Python", found)


def dependencies(distributions: tuple[str, ...] = ("nnunet-fess", "nnunetv2")) -> list[Finding]:
    """Every requirement of ours and of nnU-Net's, torch's excluded versions among them."""
    found = []
    for distribution in distributions:
        try:
            needs = [Requirement(text) for text in metadata.requires(distribution) or []]
        except metadata.PackageNotFoundError:
            found.append(wrong(distribution, "not installed", "pip install nnunet-fess  brings nnU-Net along."))
            continue
        missing = [problem for need in needs if (problem := _unmet(need))]
        if missing:
            wishes = " ".join(f"'{need}'" for need, _ in missing)
            told = "; ".join(f"{need} is needed, {there}" for need, there in missing)
            found.append(wrong(distribution, told, f"pip install {wishes}"))
        else:
            found.append(fine(distribution, f"{metadata.version(distribution)}, and what it needs"))
    return found


def _unmet(need: Requirement) -> tuple[str, str] | None:
    """The requirement and what is there instead; None if it is met or does not apply here."""
    if need.marker is not None and not need.marker.evaluate({"extra": ""}):
        return None
    wish = f"{need.name}{need.specifier}"
    try:
        version = metadata.version(need.name)
    except metadata.PackageNotFoundError:
        return wish, "and not there"
    return None if need.specifier.contains(version, prereleases=True) else (wish, f"and {version} is there")


def torch() -> Finding:
    """That it imports, and how many cores it uses."""
    try:
        module = importlib.import_module("torch")
    except Exception as error:
        return wrong(
            "torch", _first_line(error), "Install torch anew, with the command that pytorch.org shows for this machine."
        )
    return fine("torch", f"{module.__version__}, {module.get_num_threads()} threads")


def torchvision() -> Finding:
    """That it belongs to this torch: nnU-Net's built-in Primus imports it, and with it every external trainer would fail."""
    try:
        version = metadata.version("torchvision")
    except metadata.PackageNotFoundError:
        return fine("torchvision", "not installed, and not needed")
    need = next((need for text in metadata.requires("torchvision") or [] if (need := Requirement(text)).name == "torch"), None)
    unmet = _unmet(need) if need is not None else None
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # "operator torchvision::nms does not exist"
        unmet = unmet or ("the torch it was built for", "another is there")
        return wrong(
            "torchvision",
            f"{version} does not import: {_first_line(error)}. {unmet[0]} is needed, {unmet[1]}",
            "Install the two together: pip install --upgrade torch torchvision. nnU-Net finds no external trainer until then.",
        )
    if unmet is not None:
        return warning(
            "torchvision",
            f"{version}: {unmet[0]} is needed, {unmet[1]}",
            "Install the two together: pip install --upgrade torch torchvision",
        )
    return fine("torchvision", f"{version}, of this torch")


def nnunet() -> Finding:
    """That nnU-Net's trainer imports."""
    try:
        importlib.import_module("nnunetv2.training.nnUNetTrainer.nnUNetTrainer")
    except Exception as error:
        return wrong("nnU-Net", f"does not import: {_first_line(error)}", "pip install --upgrade 'nnunetv2>=2.8,<3'")
    return fine("nnU-Net", f"{metadata.version('nnunetv2')} imports")


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
