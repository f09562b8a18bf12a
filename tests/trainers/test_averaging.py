from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import Tensor, nn

from nnunet_fess.trainers import parse
from nnunet_fess.trainers.averaging import WeightAverage
from nnunet_fess.trainers.checkpoints import KEY


def network() -> nn.Module:
    """With statistics, a counter, and a layer under two names, as nnU-Net's decoder holds the encoder."""
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    made.again = made[0]
    return made


def change(module: nn.Module, step: int) -> None:
    with torch.no_grad():
        for number, values in enumerate(module.state_dict().values()):
            values.fill_(10 * step + number)


@pytest.mark.parametrize("momentum", [0.3, 0.999])
def test_equals_the_formula(momentum):
    module = network()
    average = WeightAverage(module, momentum)
    expected = {name: values.double().clone() for name, values in module.state_dict().items()}
    for step in range(1, 6):
        average.train()
        change(module, step)
        average.update()
        share = min(momentum, step / (step + 9))
        for name, values in module.state_dict().items():
            whole = not values.is_floating_point()
            expected[name] = values.double() if whole else share * expected[name] + (1 - share) * values.double()
    own = {name: values.clone() for name, values in module.state_dict().items()}
    average.validate()
    for name, values in module.state_dict().items():
        assert torch.allclose(values.double(), expected[name]), name
    average.train()
    assert all(torch.equal(values, own[name]) for name, values in module.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda module: torch.compile(module, backend="eager"),
        lambda module: nn.ModuleDict({"module": module}),
        lambda module: nn.ModuleDict({"module": torch.compile(module, backend="eager")}),
    ],
    ids=["compiled", "DDP", "both"],
)
def test_a_wrapped_network_is_averaged_in_place(wrap):
    module = network()
    before, tensors = module[0].weight.detach().clone(), [*module.parameters()]
    average = WeightAverage(wrap(module), 0.5)
    average.train()
    change(module, 1)
    own = module[0].weight.detach().clone()
    average.update()
    average.validate()
    assert torch.allclose(module[0].weight, 0.1 * before + 0.9 * own)
    assert all(mine is theirs for mine, theirs in zip(module.parameters(), tensors, strict=True))
    assert set(average.state_dict()["weights"]) == {name for name in module.state_dict() if not name.startswith("again")}


def test_validation_within_training_leaves_the_weights():
    module = network()
    average = WeightAverage(module, 0.5)
    with average.validated():
        pass
    assert average.state_dict()["weights"] == {}, "nothing was trained"
    average.train()
    change(module, 1)
    average.update()
    own = module[0].weight.detach().clone()
    for _ in range(2):
        with average.validated():
            assert not torch.equal(module[0].weight, own)
        assert torch.equal(module[0].weight, own)
    average.validate()
    average.validate()
    shown = module[0].weight.detach().clone()
    with average.validated():
        assert torch.equal(module[0].weight, shown)
    assert torch.equal(module[0].weight, shown)


@pytest.mark.parametrize("value", ["0", "1", "1p5"])
def test_no_momentum_is_refused(value):
    with pytest.raises(ValueError, match="emaX takes more than 0, less than 1"):
        parse(f"nnUNetTrainerDiceCE_ema{value}")


def weights(trainer: Any) -> dict[str, Tensor]:
    return {name: values.clone() for name, values in trainer.network.state_dict().items()}


def are_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(values, other[name]) for name, values in one.items())


def trained(make_trainer: Any, random_batch: Any, name: str, steps: int = 3) -> tuple[Any, list[float]]:
    """A trainer that holds its own weights, and its losses."""
    trainer = make_trainer(name)
    trainer.network.train()
    return trainer, [float(trainer.train_step(random_batch(trainer, seed))["loss"]) for seed in range(steps)]


def test_it_trains_as_without(make_trainer, random_batch):
    (plain, expected), (with_average, losses) = (
        trained(make_trainer, random_batch, f"nnUNetTrainerDice_seed0{option}") for option in ("", "_ema0p9")
    )
    assert losses == expected
    assert are_equal(weights(plain), weights(with_average))


def test_validation_and_checkpoint_have_the_average_and_training_goes_on_with_the_weights(make_trainer, random_batch):
    trainer, _ = trained(make_trainer, random_batch, "nnUNetTrainerDice_seed0_ema0p9")
    own = weights(trainer)
    path = Path(trainer.output_folder) / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(path))
    assert are_equal(weights(trainer), own), "saving between two steps disturbs nothing"
    trainer.dataloader_val = None
    trainer.on_validation_epoch_start()
    average = weights(trainer)
    assert not are_equal(average, own)
    with torch.no_grad():
        validated = float(trainer.validation_step(random_batch(trainer))["loss"])
    saved = torch.load(path, weights_only=False)
    assert are_equal(saved["network_weights"], average)
    assert saved[KEY]["average"]["steps"] == 3
    assert all(torch.equal(values, own[name]) for name, values in saved[KEY]["average"]["weights"].items())

    stock = make_trainer(nnUNetTrainer)
    stock.load_checkpoint(str(path))
    assert are_equal(weights(stock), average)

    resumed = make_trainer("nnUNetTrainerDice_seed0_ema0p9")
    resumed.load_checkpoint(str(path))
    assert are_equal(weights(resumed), average), "--val and --val_best predict with what stock nnU-Net would"
    with torch.no_grad():
        resumed.network.eval()
        assert float(resumed.validation_step(random_batch(resumed))["loss"]) == validated
    for each in (trainer, resumed):
        each.network.train()
        each.train_step(random_batch(each, 7))
    assert are_equal(weights(trainer), weights(resumed))
    assert trainer._average is not None
    trainer._average.validate()
    resumed._average.validate()
    assert are_equal(weights(trainer), weights(resumed))


def test_a_checkpoint_without_average_begins_one_and_one_with_is_continued_by_others(make_trainer, random_batch, monkeypatch):
    plain, _ = trained(make_trainer, random_batch, "nnUNetTrainerDice_seed0")
    path = str(Path(plain.output_folder) / "checkpoint_latest.pth")
    plain.save_checkpoint(path)
    begun = make_trainer("nnUNetTrainerDice_seed1_ema0p9")
    begun.train_step(random_batch(begun))
    begun.load_checkpoint(path)
    assert are_equal(weights(begun), weights(plain))
    begun.save_checkpoint(path)
    assert torch.load(path, weights_only=False)[KEY]["average"] == {"weights": {}, "steps": 0}
    begun.train_step(random_batch(begun))
    own = weights(begun)
    begun._average.validate()
    for name, values in weights(begun).items():
        assert torch.allclose(values, 0.1 * weights(plain)[name] + 0.9 * own[name], atol=1e-6)
    begun.save_checkpoint(path)
    lines: list[str] = []
    back = make_trainer("nnUNetTrainerDice")
    monkeypatch.setattr(back, "print_to_log_file", lambda *words, **_: lines.append(" ".join(map(str, words))))
    back.load_checkpoint(path)
    assert are_equal(weights(back), weights(begun))
    assert sum("running average" in line for line in lines) == 1


@pytest.mark.parametrize("name", ["FESS_seed0_bf16_ema0p9", "SupCon_seed0_noDS_cutmix1_ema0p9"])
def test_other_options_and_feature_terms_go_with_it(make_trainer, random_batch, name):
    trainer, losses = trained(make_trainer, random_batch, f"nnUNetTrainer{name}")
    own = weights(trainer)
    with trainer._average.validated():
        assert not are_equal(weights(trainer), own)
    assert np.isfinite(losses).all()
