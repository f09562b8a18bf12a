"""nnU-Net's commands one after the other in one process that has imported everything once, and pools of threads in it.

A command of nnU-Net's spends seconds on its imports and as many in each process of its pools; its own work on a tiny dataset
takes less than one. What runs is what the console script of that name runs.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import sys
import traceback
from collections.abc import Mapping
from importlib.metadata import entry_points
from multiprocessing.pool import ThreadPool
from pathlib import Path


def begin() -> None:
    """To be called first."""
    import torch
    from nnunetv2.training.logging.nnunet_logger import LocalLogger

    torch.set_num_threads(1)
    torch.set_num_threads = lambda _: None  # nnU-Net takes all cores, whose threads wait for each other on a busy machine
    # Drawing takes seconds; the export of a model wants the file.
    LocalLogger.plot_progress_png = lambda _, folder: Path(folder, "progress.png").touch()
    real = multiprocessing.get_context

    def context(method=None):
        found = real(method)
        found.Pool = lambda processes=None, *_, **__: ThreadPool(processes)
        return found

    multiprocessing.get_context = context


def play(command: str, environment: Mapping[str, str], stopped_at: int | None = None) -> tuple[int, str]:
    """Run a command; its exit code and what it printed.

    Args:
        command: as in a shell.
        environment: its variables, on top of what there is.
        stopped_at: the epoch at whose beginning Ctrl-C comes.
    """
    os.environ.update(environment)
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    begins = nnUNetTrainer.on_epoch_start

    def on_epoch_start(trainer):
        if trainer.current_epoch == stopped_at:
            raise KeyboardInterrupt
        begins(trainer)

    program, *arguments = command.split()
    (script,) = entry_points(group="console_scripts", name=program)
    told, argv = io.StringIO(), sys.argv
    sys.argv = [program, *arguments]
    nnUNetTrainer.on_epoch_start = on_epoch_start
    try:
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            try:
                code = script.load()()
            except SystemExit as end:
                code = end.code
            except KeyboardInterrupt:
                code = 130
            except Exception:
                traceback.print_exc()
                code = 1
    finally:
        nnUNetTrainer.on_epoch_start, sys.argv = begins, argv
    return (code if isinstance(code, int) else 0 if code is None else 1), told.getvalue()
