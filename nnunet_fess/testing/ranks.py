"""Runs a function in two processes that know each other, as DDP's do, on the CPU."""

from __future__ import annotations

import inspect
import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from nnunet_fess.trainers.registry import module_of

RANKS = 2


def run_on_two_ranks(function: Callable[..., Any], folder: Path, *args: Any) -> list[Any]:
    """What `function(rank, *args)` returns on rank 0 and on rank 1.

    Args:
        function: of a module's top level. If that cannot be imported, the new processes load it from its file: pytest's
            import mode gives test modules names that exist in pytest alone.
        folder: an empty one, for the results.
        args: passed on.
    """
    for rank in range(RANKS):
        (folder / f"rank{rank}.pt").unlink(missing_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = function.__module__, inspect.getfile(function), function.__name__
    mp.spawn(_run, args=(*place, folder, port, args), nprocs=RANKS)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(RANKS)]


def _run(rank: int, module_name: str, file: str, name: str, folder: Path, port: int, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    module = module_of(module_name, Path(file))
    function = getattr(module, name)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=RANKS)
    made = folder / f"rank{rank}.pt.part"
    torch.save(function(rank, *args), made)
    made.replace(folder / f"rank{rank}.pt")
    # The group is left without being taken apart. Its threads may still let go of the last exchange's tensors, for which they
    # need the interpreter; torch 2.4 waits for these threads without giving it to them, and neither goes on. So nobody
    # ends before all have what they came for; a rank that fails has the others ended by `mp.spawn`.
    while not all((folder / f"rank{other}.pt").exists() for other in range(RANKS)):
        time.sleep(0.01)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
