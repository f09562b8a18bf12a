"""Cores, GPU, compilation, and what the terminal can show."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys

from nnunet_fess.doctor.finding import Finding, fine, warning, wrong
from nnunet_fess.machine import cores


def system() -> Finding:
    """What it is."""
    found = f"{platform.system()} {platform.release()}, {cores()} cores"
    if platform.system() == "Linux":
        return fine("system", found)
    return warning("system", found, "Nobody has run our tests there; docs/troubleshooting.md says what to expect.")


def gpu() -> Finding:
    """Whether torch sees one."""
    try:
        import torch
    except Exception as error:
        return wrong("GPU", f"torch does not import: {type(error).__name__}", "See the line on torch.")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        memory = torch.cuda.get_device_properties(0).total_memory / 1e9
        advice = "Plans for 8 GB may not fit: nnunet_fess plans with a smaller --patch-size or --batch-size."
        return fine("GPU", f"{', '.join(names)}, {memory:.0f} GB") if memory > 7 else warning("GPU", names[0], advice)
    if torch.backends.mps.is_available():
        return warning("GPU", "Apple's (mps)", "Give -device mps to train and predict. Not tested with our losses.")
    built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "this torch is built without CUDA"
    return warning(
        "GPU",
        f"none is seen; {built}",
        "If there is one, install its driver and the torch for it (pytorch.org). Else: nnunet_fess plans --cpu, -device cpu.",
    )


def compilation() -> Finding:
    """nnU-Net compiles the network on a GPU under Linux unless nnUNet_compile says no; that takes triton and a C compiler."""
    value = os.environ.get("nnUNet_compile")
    if value is not None and value.lower() not in ("true", "1", "t", "false", "0", "f"):
        return warning("torch.compile", f"nnUNet_compile is {value!r}", "nnU-Net takes that as no. Set it to t or f.")
    if value is not None and value.lower() in ("false", "0", "f"):
        return fine("torch.compile", "switched off by nnUNet_compile")
    if platform.system() != "Linux" or not _has_cuda():
        return fine("torch.compile", "not used without a GPU under Linux")
    missing = [name for name in ("triton",) if importlib.util.find_spec(name) is None]
    missing += [] if any(shutil.which(name) for name in (os.environ.get("CC") or "gcc", "cc", "clang")) else ["a C compiler"]
    if missing:
        return warning("torch.compile", f"{' and '.join(missing)} not found", "Install it, or set nnUNet_compile=f (slower).")
    return fine("torch.compile", "nnU-Net will use it")


def workers() -> Finding:
    """nnUNet_n_proc_DA, the number of augmentation processes."""
    value = os.environ.get("nnUNet_n_proc_DA")
    if value is None:
        return fine("augmentation", "as many processes as nnU-Net chooses")
    if not value.isdecimal():
        return wrong("augmentation", f"nnUNet_n_proc_DA is {value!r}", "Set it to a whole number, or unset it.")
    if value == "0":
        return warning("augmentation", "nnUNet_n_proc_DA is 0", "Trainings run, planning does not: unset it for planning.")
    return fine("augmentation", f"{value} processes (nnUNet_n_proc_DA)")


def output() -> Finding:
    """Whether the terminal can show what we print; what it cannot is spelt out."""
    encoding = getattr(sys.stdout, "encoding", None) or "unknown"
    try:
        "λ → ×".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return warning("output", f"its encoding is {encoding}", "Greek letters are spelt out. PYTHONUTF8=1 shows them.")
    return fine("output", encoding)


def _has_cuda() -> bool:
    try:
        import torch
    except Exception:
        return False
    return bool(torch.cuda.is_available())
