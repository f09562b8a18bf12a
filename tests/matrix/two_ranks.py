"""`nnUNetv2_train … -num_gpus 2` where there is no GPU, as a command of the server.

nnU-Net's DDP wants CUDA and NCCL. Of its own code, only these are other here: the backend is gloo, a rank's device is the CPU,
the network is wrapped without device numbers, and ranks are forked. The ranks' batches, trainer, barriers and validation are
nnU-Net's. What is replaced stays so: the process ends with the command.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

COMMAND = "nnUNetv2_train_on_two_ranks"
NOTES = "TWO_RANKS_NOTES"  # environment variable: a folder where each rank says what it saw


class _TorchWithoutCuda:
    """The module torch, whose CUDA devices are the CPU."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def device(type: str, index: int | None = None) -> torch.device:
        return torch.device("cpu" if type == "cuda" else type)


def train() -> None:
    """nnU-Net's entry point, with the arguments in sys.argv."""
    from nnunetv2.run import run_training
    from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module
    from torch.nn.parallel import DistributedDataParallel

    start, trainer = dist.init_process_group, module.nnUNetTrainer
    step, end = trainer.train_step, trainer.on_train_end
    sizes: list[int] = []

    def noted_step(self: Any, batch: dict[str, Any]) -> dict[str, Any]:
        sizes.append(len(batch["data"]))
        result: dict[str, Any] = step(self, batch)
        return result

    def noted_end(self: Any) -> None:
        weights = {name: value.clone() for name, value in self.network.module.state_dict().items()}
        torch.save({"sizes": sizes, "weights": weights}, Path(os.environ[NOTES]) / f"rank{self.local_rank}.pt")
        end(self)

    dist.init_process_group = lambda backend, **more: start("gloo", **more)
    torch.cuda.set_device = lambda device: None
    run_training.mp.spawn = lambda *args, **more: mp.start_processes(*args, **more, start_method="fork")
    module.torch = _TorchWithoutCuda()
    module.DDP = lambda network, device_ids: DistributedDataParallel(network)
    trainer.train_step, trainer.on_train_end = noted_step, noted_end
    run_training.run_training_entry()
