"""Runs console commands of nnU-Net and of this package one after another, each in a process of its own.

A command alone takes ten seconds to import torch and nnU-Net, and two to train. This process imports them once and forks: every
command is what its console script runs, with its own arguments, environment, output and exit code. Two things differ from a
shell: processes that nnU-Net spawns are forked, too, and the curves, which take longer than the training, are not drawn.

A request is a line of JSON on stdin: a list of {"words": [...], "log": file, "seconds": limit, "environment": {...}}, which all
run at once. The answer is a line with the list of exit codes.
"""

from __future__ import annotations

import atexit
import gc
import json
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import two_ranks  # beside this file: the server is run as a script

PACKAGES = ("nnunetv2", "nnunet-fess")


def commands() -> dict[str, Callable[[], Any]]:
    """The console scripts of both packages, imported."""
    found = {}
    for point in entry_points(group="console_scripts"):
        if point.dist is not None and point.dist.name.lower() in PACKAGES and point.name in NEEDED:
            found[point.name] = point.load()
    return {**found, two_ranks.COMMAND: two_ranks.train}


NEEDED = {
    "nnUNetv2_train",
    "nnUNetv2_predict",
    "nnUNetv2_plan_and_preprocess",
    "nnUNetv2_preprocess",
    "nnUNetv2_find_best_configuration",
    "nnUNetv2_ensemble",
    "nnUNetv2_export_model_to_zip",
    "nnUNetv2_install_pretrained_model_from_zip",
    "nnunet_fess",
}


def run(command: Callable[[], Any], words: list[str], log: str, environment: dict[str, str]) -> None:
    """In the child: the command, and nothing after it."""
    os.environ |= environment
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.setsid()
    sys.argv = words
    code: Any = 0
    try:
        code = command()
    except SystemExit as stopped:
        code = stopped.code
    except BaseException:
        sys.excepthook(*sys.exc_info())  # what a user would see
        code = 1
    finally:
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
        try:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        except BaseException:
            traceback.print_exc()
        os._exit(int(code or 0))


def wait(children: dict[int, float]) -> list[int]:
    """The exit codes of commands, by process and seconds that it may take; 124 for one that takes longer, as of `timeout`."""
    start, codes = time.monotonic(), dict[int, int]()
    while len(codes) < len(children):
        for child in children.keys() - codes.keys():
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
            elif time.monotonic() - start > children[child]:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                codes[child] = 124
        time.sleep(0.01)
    return [codes[child] for child in children]


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed is no answer
    import torch
    from matplotlib.figure import Figure
    from nnunetv2.training.logging.nnunet_logger import LocalLogger
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from nnunet_fess.trainers import components

    found = commands()
    recursive_find_trainer_class_by_name("nnUNetTrainerFESS")  # nnU-Net imports all that it has on the way
    torch.set_num_threads(1)
    gc.freeze()  # a collection in a child would otherwise write to, hence copy, every object that it shares with this process
    multiprocessing.cpu_count = lambda: 1  # what nnU-Net gives torch as its number of threads
    context = multiprocessing.get_context
    multiprocessing.get_context = lambda method=None: context("fork" if method == "spawn" else method)
    LocalLogger.plot_progress_png = lambda logger, folder: Path(folder, "progress.png").touch()  # a model's zip must hold it
    components.draw = lambda *_: Figure((1, 1))
    for line in sys.stdin:
        children = {}
        for request in json.loads(line):
            child = os.fork()
            if child == 0:
                run(found[request["words"][0]], request["words"], request["log"], request["environment"])
            children[child] = request["seconds"]
        print(json.dumps(wait(children)), file=answers, flush=True)
    os._exit(0)  # nothing of this process is to be tidied up


if __name__ == "__main__":
    main()
