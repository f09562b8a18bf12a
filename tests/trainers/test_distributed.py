"""Two gloo processes against one with the whole batch. nnU-Net's trainer wants CUDA for DDP, hence network and loss alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch.nn.parallel import DistributedDataParallel

from nnunet_fess.losses import DiceLoss
from nnunet_fess.plugin import FeatureHost
from nnunet_fess.testing.ranks import run_on_two_ranks
from nnunet_fess.testing.tiny_trainer import network_plans
from nnunet_fess.trainers import parse
from nnunet_fess.trainers.catalogue import FEATURE
from nnunet_fess.trainers.composed_loss import ComposedLoss
from nnunet_fess.trainers.composed_trainer import ComposedTrainer
from nnunet_fess.trainers.embedding_tap import EmbeddingTap
from nnunet_fess.trainers.features import two_views
from nnunet_fess.trainers.features.projection_head import ProjectionHead
from nnunet_fess.trainers.terms import feature_loss

BATCH, STEPS = 4, 3


def batches() -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    made = []
    for _ in range(STEPS):
        image = torch.randn(BATCH, 1, 16, 16, generator=generator)
        made.append((image, [torch.randint(0, 3, (BATCH, 1, size, size), generator=generator) for size in (16, 8)]))
    return made


def train(feature: str, samples: slice) -> dict[str, Any]:
    """Some steps on the given samples of every batch; what came out of the last one."""
    two_views.intensity_view = lambda image, channels: 1.5 * image + 0.1  # chance would differ between the processes
    distributed = dist.is_initialized()
    torch.manual_seed(1)
    plans = network_plans(2)
    network: torch.nn.Module = get_network_from_plans(
        plans["network_class_name"], plans["arch_kwargs"], plans["_kw_requires_import"], 1, 3, deep_supervision=True
    )
    name = parse(f"nnUNetTrainer{feature}" + ("_eta1" if feature == "FESS" else ""))
    network = DistributedDataParallel(network) if distributed else network
    tap = EmbeddingTap(network)
    host = FeatureHost(
        spacing=[1, 1],
        patch_size=[16, 16],
        classes=["background", "one", "two"],
        stages=[4, 8, 8],
        image_channels=1,
        learning_rate=lambda: 0.0,
        decoder_channels=tap.decoder_channels,
    )
    term = feature_loss(name, host)
    spatial = DeepSupervisionWrapper(DiceLoss(batch_dice=True, distributed=distributed), [2 / 3, 1 / 3])
    loss = ComposedLoss(spatial, term, tap, weight=0.5)
    parameters = [*network.parameters(), *term.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    for step, (image, target) in enumerate(batches()):
        loss.cases = [f"case{(step + patch) % 5}" for patch in range(BATCH)][samples]
        optimizer.zero_grad()
        value = loss(network(image[samples]), [scale[samples] for scale in target])
        value.backward()
        optimizer.step()
    return {
        "loss": value.item(),
        "gradients": [parameter.grad for parameter in parameters],
        "weights": [parameter.detach() for parameter in parameters],
        "memory": {} if term.memory is None else term.memory.content,
        "row": loss.components.close_epoch(0),
    }


def adopted(rank: int) -> dict[str, Any]:
    """The values from which a projection head starts that every rank has initialised by chance."""
    torch.manual_seed(rank)
    head = list(ProjectionHead(4).parameters())
    trainer = SimpleNamespace(is_ddp=True, optimizer=torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]))
    ComposedTrainer._adopt(trainer, head)
    assert trainer.optimizer.param_groups[1]["params"] == head
    return {"weights": [parameter.detach() for parameter in head]}


SPLITS = {"even": 2, "uneven": 1}


def on_rank(rank: int) -> dict[tuple[str, str], dict[str, Any]]:
    trained = {
        (feature, split): train(feature, slice(0, first) if rank == 0 else slice(first, BATCH))
        for feature in FEATURE
        for split, first in SPLITS.items()
    }
    return {**trained, ("head", "adopted"): adopted(rank)}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory) -> list[dict[tuple[str, str], dict[str, Any]]]:
    """What both ranks got for everything; once, since starting the processes is what takes time."""
    return run_on_two_ranks(on_rank, tmp_path_factory.mktemp("ranks"))


@pytest.fixture
def one_process(monkeypatch):
    monkeypatch.setattr(two_views, "intensity_view", two_views.intensity_view)  # `train` replaces it; put back after the test
    return lambda feature: train(feature, slice(0, BATCH))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("feature", FEATURE)
def test_two_ranks_equal_one_process(ranks, one_process, feature, split):
    one = one_process(feature)
    for rank in (results[feature, split] for results in ranks):
        assert rank["loss"] == pytest.approx(one["loss"], rel=1e-5)
        for ours, theirs in zip(rank["gradients"], one["gradients"], strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6)
        for key, content in one["memory"].items():
            assert torch.allclose(rank["memory"][key], content, rtol=1e-3, atol=1e-5)
        assert rank["row"] == pytest.approx(one["row"], rel=1e-5)


def test_all_ranks_start_from_the_same_projection_head(ranks):
    first, second = (results["head", "adopted"]["weights"] for results in ranks)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("feature", FEATURE)
def test_the_ranks_stay_equal_to_the_last_bit(ranks, feature):
    first, second = (results[feature, "uneven"] for results in ranks)
    assert all(torch.equal(one, other) for one, other in zip(first["weights"], second["weights"], strict=True))
    assert all(torch.equal(first["memory"][key], second["memory"][key]) for key in first["memory"])
