"""The contract with nnU-Net, which drifts from release to release: every trainer on every kind of label it supports."""

from __future__ import annotations

import json
import pickle
import threading
from contextlib import nullcontext
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_fess.testing.tiny_trainer import LABELS, tiny_plans
from nnunet_fess.trainers import build, composed_trainer
from nnunet_fess.trainers.catalogue import FEATURE, LOSSES
from nnunet_fess.trainers.errors import TrainingRefused

WITH_MEMORY = "nnUNetTrainerFESS_lambda0p5_eta1_seed1"


def steps(trainer, random_batch, count: int, start: int = 0) -> list[float]:
    trainer.network.train()
    return [float(trainer.train_step(random_batch(trainer, seed))["loss"]) for seed in range(start, start + count)]


# Terms are composed, never written out: each spatial and each feature term once on everything, then all pairs once. The fast
# tests take of 2-D plain labels, and of the pairs each map and feature term with one other term.
WITH_FEATURE = [f"nnUNetTrainer{feature}" for feature in FEATURE]
ONE_BY_ONE = [*(name for name, loss in LOSSES.items() if len(loss.terms) == 1), *WITH_FEATURE]
PAIRS = [name for name, loss in LOSSES.items() if len(loss.terms) == 2 and name not in ONE_BY_ONE]
FAST_PAIRS = tuple(name for name in PAIRS if name.endswith(("DiceCE", "RRW")))


def slow(those: bool) -> list[pytest.MarkDecorator]:
    return [pytest.mark.slow] * those


@pytest.mark.parametrize("name", [pytest.param(name, marks=slow(name not in FAST_PAIRS)) for name in PAIRS])
def test_every_pair_trains(make_trainer, random_batch, name):
    assert np.isfinite(steps(make_trainer(name), random_batch, 2)).all()


@pytest.mark.parametrize(
    ("labels", "dim"),
    [pytest.param(labels, dim, marks=slow(dim == 2 and labels != "plain")) for labels in LABELS for dim in (2, 3)],
)
@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_trains_and_validates(make_trainer, random_batch, name, dim, labels):
    trainer = make_trainer(name, labels, dim)
    losses = steps(trainer, random_batch, 3)
    trainer.network.eval()
    with torch.no_grad():
        losses.append(float(trainer.validation_step(random_batch(trainer))["loss"]))
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("name", WITH_FEATURE)
def test_residual_encoder(make_trainer, random_batch, name):
    assert np.isfinite(steps(make_trainer(name, network="ResidualEncoderUNet"), random_batch, 2)).all()


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_the_network_is_stock_nnunets(make_trainer, name):
    trainer = make_trainer(name)
    stock = nnUNetTrainer.build_network_architecture(trainer.plans_manager, trainer.configuration_manager, 1, 3)
    assert list(trainer.network.state_dict()) == list(stock.state_dict())


def test_dice_ce_is_nnunets_own_loss(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerDiceCE")
    batch = random_batch(trainer)
    output = trainer.network(batch["data"])
    stock = nnUNetTrainer._build_loss(trainer)
    assert torch.equal(trainer.loss(output, batch["target"]), stock(output, batch["target"]))


def test_without_deep_supervision_the_loss_takes_one_output(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerCWCD_noDS")
    assert isinstance(trainer.network(random_batch(trainer)["data"]), torch.Tensor)
    assert np.isfinite(steps(trainer, random_batch, 1)).all()


def test_options_reach_nnunet(make_trainer):
    trainer = make_trainer("nnUNetTrainerDiceCE_7epochs_5iters_3valiters_saveevery2_noDS", initialize=False)
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch) == (7, 5, 3)
    assert trainer.save_every == 2
    assert trainer.enable_deep_supervision is False


def test_without_options_everything_is_nnunets_default(make_trainer):
    trainer = make_trainer("nnUNetTrainerFESS", initialize=False)
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch) == (1000, 250, 50)
    assert trainer.save_every == 50
    assert trainer.enable_deep_supervision is True


@pytest.mark.parametrize(("name", "axes"), [("nnUNetTrainerCWCD", (0, 1, 2)), ("nnUNetTrainerCWCD_noMirroring", None)])
def test_mirroring(make_trainer, name, axes):
    trainer = make_trainer(name)
    *_, mirror_axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert mirror_axes == trainer.inference_allowed_mirroring_axes == axes


def test_a_seed_repeats_the_initial_weights(make_trainer):
    first, second = (make_trainer("nnUNetTrainerCWCD_seed3").network.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_another_seed_gives_other_weights(make_trainer):
    first, second = (make_trainer(f"nnUNetTrainerCWCD_seed{seed}").network.state_dict() for seed in (3, 4))
    assert not all(torch.equal(first[key], second[key]) for key in first)


def test_eta_is_a_constant_or_the_present_learning_rate(make_trainer):
    for name, expected in (("nnUNetTrainerFESS_eta1em4", 1e-4), ("nnUNetTrainerFESS_etalr", 5e-3)):
        trainer = make_trainer(name)
        trainer.optimizer.param_groups[0]["lr"] = 5e-3
        assert trainer.loss.feature.learning_rate() == expected


def test_the_projection_head_is_optimised(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerSimCLR_seed1")
    before = [parameter.clone() for parameter in trainer.loss.feature.head.parameters()]
    steps(trainer, random_batch, 1)
    assert not any(torch.equal(old, new) for old, new in zip(before, trainer.loss.feature.head.parameters(), strict=True))


def test_the_projection_head_follows_the_learning_rate_schedule(make_trainer):
    trainer = make_trainer("nnUNetTrainerSimCLR_10epochs")
    trainer.lr_scheduler.step(5)
    first, second = (group["lr"] for group in trainer.optimizer.param_groups)
    assert first == second < trainer.initial_lr


@pytest.mark.parametrize(
    "name",
    [
        "nnUNetTrainerFESS_eta1",
        *(f"nnUNetTrainer{feature}" for feature in ("SimCLR", "InfoNCE", "SupCon", "PixelCon", "Prototypes")),
    ],
)
def test_a_checkpoint_brings_memory_and_projection_head_back(make_trainer, random_batch, name):
    trainer, resumed = (make_trainer(f"{name}_seed{seed}") for seed in (1, 1))
    steps(trainer, random_batch, 2)
    path = str(Path(trainer.output_folder) / "checkpoint_latest.pth")
    trainer.save_checkpoint(path)
    resumed.load_checkpoint(path)
    continued = []
    for each in (trainer, resumed):
        torch.manual_seed(0)  # of the second view
        continued.append(steps(each, random_batch, 2, start=2))
    assert continued[0] == continued[1]
    assert all(
        torch.equal(one, other)
        for one, other in zip(trainer.loss.feature.parameters(), resumed.loss.feature.parameters(), strict=True)
    )


@pytest.mark.parametrize("name", WITH_FEATURE)
def test_a_checkpoint_without_our_state_loads(make_trainer, random_batch, name):
    stock = make_trainer("nnUNetTrainerDiceCE")
    steps(stock, random_batch, 2)
    path = str(Path(stock.output_folder) / "stock.pth")
    nnUNetTrainer.save_checkpoint(stock, path)
    resumed = make_trainer(name)
    resumed.load_checkpoint(path)
    assert np.isfinite(steps(resumed, random_batch, 2)).all()


def test_the_state_of_another_feature_term_is_left_alone(make_trainer, random_batch):
    trainer, other = make_trainer("nnUNetTrainerSupCon"), make_trainer("nnUNetTrainerSimCLR")
    steps(trainer, random_batch, 2)
    path = str(Path(trainer.output_folder) / "checkpoint_latest.pth")
    trainer.save_checkpoint(path)
    other.load_checkpoint(path)
    assert np.isfinite(steps(other, random_batch, 2)).all()


@pytest.mark.parametrize("name", WITH_FEATURE)
def test_stock_nnunet_continues_and_predicts_from_our_checkpoint(make_trainer, random_batch, name):
    trainer = make_trainer(name)
    steps(trainer, random_batch, 2)
    path = str(Path(trainer.output_folder) / "checkpoint_final.pth")
    trainer.save_checkpoint(path)
    stock = make_trainer("nnUNetTrainerDiceCE")
    nnUNetTrainer.load_checkpoint(stock, path)
    batch = random_batch(trainer)["data"]
    assert torch.equal(stock.network.eval()(batch)[0], trainer.network.eval()(batch)[0])
    assert np.isfinite(steps(stock, random_batch, 1)).all()


@pytest.mark.parametrize("kept", [0, 0.5, 0.999])
def test_a_truncated_checkpoint_ends_with_a_message(make_trainer, random_batch, kept):
    trainer = make_trainer("nnUNetTrainerSupCon")
    path = Path(trainer.output_folder) / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(path))
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    with pytest.raises(TrainingRefused, match=r"checkpoint_latest.pth cannot be read: .* Delete or move the file"):
        trainer.load_checkpoint(str(path))


def test_the_components_of_nnunets_own_loss_add_up(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerDiceCE")
    (loss,) = steps(trainer, random_batch, 1)
    row = trainer.loss.components.close_epoch(0)
    assert row["dc"] + row["ce"] == pytest.approx(row["spatial"]) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("labels", ["plain", "regions and ignore"])
def test_the_components_of_our_own_loss_add_up(make_trainer, random_batch, labels):
    trainer = make_trainer("nnUNetTrainerCWCD", labels)
    (loss,) = steps(trainer, random_batch, 1)
    row = trainer.loss.components.close_epoch(0)
    parts = row["sdl_contour"] + row["sdl_rest"] + row["cwce"]
    assert parts == pytest.approx(row["spatial"]) == pytest.approx(loss, rel=1e-5)


def test_a_single_term_has_no_parts(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerCE")
    steps(trainer, random_batch, 1)
    assert trainer.loss.components.close_epoch(0).keys() == {"epoch", "spatial"}


def test_bfloat16_is_for_cpus(make_trainer):
    trainer = make_trainer("nnUNetTrainerCE_bf16", initialize=False)
    trainer.device = torch.device("cuda")
    with pytest.raises(TrainingRefused, match=r"_bf16 is for trainings with -device cpu\. Found: cuda"):
        trainer.on_train_start()


def test_the_batchs_gradient_share_is_sampled_once_per_epoch(make_trainer, random_batch, monkeypatch):
    trainer = make_trainer("nnUNetTrainerSupCon_seed0")
    looks = []
    monkeypatch.setattr(trainer, "_look_at_gradient_share", lambda batch: looks.append(batch) or 0.0)
    trainer._first_step = True  # as on_train_epoch_start leaves it
    steps(trainer, random_batch, 3)
    assert len(looks) == 1


@pytest.mark.parametrize("name", WITH_FEATURE)
def test_looking_at_the_gradient_share_changes_no_step(make_trainer, random_batch, name):
    seen, unseen = (make_trainer(f"{name}_seed0") for _ in range(2))
    for trainer in (seen, unseen):
        torch.manual_seed(0)
        steps(trainer, random_batch, 1)
    share = seen._look_at_gradient_share(random_batch(seen, 1))
    assert np.isfinite(share)
    assert share > 0
    losses = []
    for trainer in (seen, unseen):
        torch.manual_seed(0)
        losses.append(steps(trainer, random_batch, 2, start=1))
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", ["SupCon", "PixelCon", "Prototypes"])
def test_more_regions_than_can_be_told_apart_are_refused(make_trainer, monkeypatch, name):
    monkeypatch.setitem(LABELS, "many regions", {"background": 0, **{f"from {i}": list(range(i, 10)) for i in range(1, 10)}})
    with pytest.raises(TrainingRefused, match=f"{name} takes at most 8 regions, the dataset has 9"):
        make_trainer(f"nnUNetTrainer{name}", "many regions")


@pytest.mark.parametrize("name", WITH_FEATURE)
def test_half_precision(make_trainer, random_batch, name):
    trainer = make_trainer(name)
    trainer.network.train()
    for seed in range(2):
        batch = random_batch(trainer, seed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = trainer.loss(trainer.network(batch["data"]), batch["target"])
        loss.backward()
    assert loss.dtype == torch.float32
    assert all(torch.isfinite(p.grad).all() for p in trainer.network.parameters() if p.grad is not None)


@pytest.fixture
def compiling(monkeypatch):
    """nnU-Net compiles as it does on a GPU, without graph breaks; the code that comes out is run as it is."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager", fullgraph=True))
    monkeypatch.setattr(nnUNetTrainer, "_do_i_compile", lambda self: True)


@pytest.mark.parametrize("name", ["nnUNetTrainerDiceCE", *(f"{name}DiceCE" for name in WITH_FEATURE)])
def test_compiled_training_equals_uncompiled(make_trainer, random_batch, compiling, monkeypatch, name):
    losses = []
    for compiled in (True, False):
        monkeypatch.setattr(nnUNetTrainer, "_do_i_compile", lambda self, compiled=compiled: compiled)
        trainer = make_trainer(f"{name}_seed0")
        losses.append(steps(trainer, random_batch, 3))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_sub_terms_and_gradient_share_of_a_compiled_network(make_trainer, random_batch, compiling):
    trainer = make_trainer("nnUNetTrainerSupConDiceCE_seed0")
    steps(trainer, random_batch, 1)
    row = trainer.loss.components.close_epoch(0)
    assert row["dc"] + row["ce"] == pytest.approx(row["spatial"], abs=1e-6)
    assert trainer._look_at_gradient_share(random_batch(trainer, 1)) > 0


def test_non_finite_embeddings_are_reported_once(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerInfoNCE_seed0")
    steps(trainer, random_batch, 1)
    trainer.loss.feature.memory.rejected = 3
    for trainer.current_epoch in (0, 1):
        trainer.on_train_epoch_end([{"loss": np.float32(1)}])
    log = Path(trainer.log_file).read_text()
    assert log.count("embeddings of this epoch were not finite") == 1
    assert "3 embeddings" in log
    assert [row["rejected_embeddings"] for row in trainer.loss.components.history] == [3, 3]


def test_the_components_go_to_wandb_when_nnunets_is_on(make_trainer, random_batch, monkeypatch):
    logged = {}

    class Wandb:
        def log(self, key, value, step):
            logged[key] = value, step

    monkeypatch.setattr(nnUNetTrainer, "on_epoch_end", lambda self: None)
    trainer = make_trainer("nnUNetTrainerDiceCE")
    (loss,) = steps(trainer, random_batch, 1)
    trainer.on_train_epoch_end([{"loss": np.float32(loss)}])
    trainer.logger.loggers.append(Wandb())
    trainer.on_epoch_end()
    value, step = logged["loss_components/spatial"]
    assert (value, step) == (pytest.approx(loss), 0)
    assert logged.keys() == {f"loss_components/{name}" for name in ("spatial", "dc", "ce")}
    assert (Path(trainer.output_folder) / "loss_components.csv").is_file()


def test_a_queue_that_is_too_long_to_compare_is_refused(make_trainer):
    with pytest.raises(TrainingRefused, match=r"queue4097 is too long for PixelCon.* Use queue4096 or less"):
        make_trainer("nnUNetTrainerPixelCon_queue4097")


def test_mixed_patches_are_of_no_single_case(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerPixelCon_cutmix1")
    trainer.network.train()
    trainer.train_step(random_batch(trainer) | {"keys": ["a", "b"]})
    assert trainer.loss.cases is None


@pytest.mark.parametrize("feature", ["PixelCon", "Prototypes"])
def test_at_the_beginning_a_term_of_voxels_pulls_less_than_the_spatial_term(make_trainer, random_batch, feature):
    trainer = make_trainer(f"nnUNetTrainer{feature}DiceCE_seed0")
    steps(trainer, random_batch, 1)
    assert 0.01 < trainer._look_at_gradient_share(random_batch(trainer, 1)) < 1


def test_the_loaders_names_of_cases_reach_the_memory(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerPixelCon")
    trainer.network.train()
    for keys in (np.array(["a", "b"]), ["b", "a"]):  # nnU-Net's loader gives an array or a list
        trainer.train_step(random_batch(trainer) | {"keys": keys})
    cases = trainer.loss.feature.memory.content["cases"]
    a, b = cases[0], cases[30]
    assert a != b
    assert cases.tolist() == [each.item() for each in (a, b, b, a) for _ in range(30)]  # ten voxels of each of three classes


def test_a_level_that_the_network_does_not_have_is_refused(make_trainer):
    with pytest.raises(TrainingRefused, match=r"level4 does not exist, the network's encoder has 3 stages"):
        make_trainer("nnUNetTrainerSupCon_level4")


def test_a_checkpoint_is_never_seen_half_written(make_trainer, random_batch, monkeypatch):
    trainer = make_trainer(WITH_MEMORY)
    steps(trainer, random_batch, 1)
    path = Path(trainer.output_folder) / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(path))
    complete = path.read_bytes()

    def killed(checkpoint, file):
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        trainer.save_checkpoint(str(path))
    assert path.read_bytes() == complete


def test_two_lookups_give_one_class():
    assert build("nnUNetTrainerFESS_100epochs") is build("nnUNetTrainerFESS_100epochs")


def test_the_class_can_be_pickled():
    trainer = build("nnUNetTrainerFESS_100epochs")
    assert pickle.loads(pickle.dumps(trainer)) is trainer


def test_an_architecture_without_encoder_is_refused_before_training(make_trainer, monkeypatch):
    def without_encoder(plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision):
        return torch.nn.Conv3d(num_input_channels, num_output_channels, 1)

    monkeypatch.setattr(nnUNetTrainer, "build_network_architecture", staticmethod(without_encoder))
    with pytest.raises(TrainingRefused, match="Conv3d has no convolutional encoder"):
        make_trainer("nnUNetTrainerFESS")


def test_the_look_at_the_gradient_share_is_not_counted(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerFESSDiceCE_eta1_seed0")
    trainer._first_step = True
    losses = steps(trainer, random_batch, 3)
    row = trainer.loss.components.close_epoch(0)
    assert row["dc"] + row["ce"] == pytest.approx(row["spatial"], abs=1e-6)
    assert 0.5 * 3 * row["spatial"] + 0.5 * 2 * row["feature"] == pytest.approx(sum(losses), rel=1e-5)


def test_a_step_of_ignored_voxels_counts_in_the_parts(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerDiceCE", "ignore")
    trainer.network.train()
    for seed in range(2):
        batch = random_batch(trainer, seed)
        if seed:
            batch["target"] = [torch.full_like(scale, 3) for scale in batch["target"]]
        trainer.train_step(batch)
    row = trainer.loss.components.close_epoch(0)
    assert row["dc"] + row["ce"] == pytest.approx(row["spatial"], abs=1e-6)
    assert "other" not in row


def log(trainer) -> str:
    return Path(trainer.log_file).read_text()


def test_no_feature_term_in_a_batch_of_one_is_told_before_the_training(make_trainer, random_batch, monkeypatch):
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    trainer = make_trainer("nnUNetTrainerSimCLR", plans=tiny_plans(batch_size=1))
    trainer.on_train_start()
    assert "there is no feature term SimCLR: A batch has 1 patch(es)" in log(trainer)
    trainer._first_step = True
    losses = steps(trainer, random_batch, 2)
    trainer.on_train_epoch_end([{"loss": np.float32(loss)} for loss in losses])
    assert "feature" not in trainer.loss.components.history[-1]
    assert log(trainer).count("there is no feature term") == 1


@pytest.mark.parametrize("name", ["nnUNetTrainerInfoNCE", "nnUNetTrainerSupCon", "nnUNetTrainerFESS", "nnUNetTrainerCE"])
def test_what_works_in_a_batch_of_one_says_nothing(make_trainer, random_batch, monkeypatch, name):
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", lambda self: None)
    trainer = make_trainer(name, plans=tiny_plans(batch_size=1))
    trainer.on_train_start()
    losses = steps(trainer, random_batch, 2)
    trainer.on_train_epoch_end([{"loss": np.float32(loss)} for loss in losses])
    assert "there is no feature term" not in log(trainer)


def test_a_feature_term_that_is_never_defined_is_told_once(make_trainer, random_batch, monkeypatch):
    trainer = make_trainer("nnUNetTrainerFESS")
    monkeypatch.setattr(trainer.loss.feature, "forward", lambda *args, **kwargs: None)
    for trainer.current_epoch in (0, 1):
        losses = steps(trainer, random_batch, 1)
        trainer.on_train_epoch_end([{"loss": np.float32(loss)} for loss in losses])
    assert log(trainer).count("no feature term FESS: It was not defined in any step of this epoch") == 1


@pytest.mark.parametrize("name", ONE_BY_ONE)
def test_a_loss_that_is_not_finite_is_told_once_and_named(make_trainer, random_batch, name):
    trainer = make_trainer(name)
    trainer.network.train()
    for seed in range(12):
        batch = random_batch(trainer, seed)
        batch["data"][0, 0, 0, 0, 0] = float("nan")
        trainer.train_step(batch)
    assert log(trainer).count("in 10 training steps in a row the loss was NaN or infinite. It began with: spatial") == 1


def test_the_log_and_debug_json_tell_the_loss_and_all_its_settings(make_trainer, monkeypatch):
    monkeypatch.setattr(nnUNetTrainer, "on_train_start", nnUNetTrainer._save_debug_information)
    trainer = make_trainer("nnUNetTrainerFESSCWCD_lambda0p8_100epochs")
    trainer.on_train_start()
    assert "Loss of nnUNetTrainerFESSCWCD_lambda0p8_100epochs: lambda * CWCD + (1 - lambda) * FESS" in log(trainer)
    for setting in ("lambda = 0.8,", "temp = 0.5 (default)", "eta = 1e-05 (default)", "mm = 6.0 (default)", "epochs = 100,"):
        assert setting in log(trainer)
    assert f"nnunetv2 {metadata.version('nnunetv2')}" in log(trainer)
    debug = json.loads((Path(trainer.output_folder) / "debug.json").read_text())
    description = json.loads(debug["description"])
    assert description["settings"].keys() == set(trainer.trainer_name.settings) - {"erosions", "seed", "cutmix", "ema"}
    assert description["settings"]["iters"] == 250
    assert description["packages"].keys() >= {"nnunet-fess", "nnunetv2", "torch", "python"}


def test_splits_that_another_training_writes_are_waited_for(make_trainer):
    trainer = make_trainer("nnUNetTrainerCE")
    file = Path(trainer.preprocessed_dataset_folder_base) / "splits_final.json"
    whole = json.dumps([{"train": ["a", "b"], "val": ["c"]}])
    file.write_text(whole[:9])  # nnU-Net writes it in place
    threading.Timer(0.5, lambda: file.write_text(whole)).start()
    assert trainer.do_split() == (["a", "b"], ["c"])


def test_splits_that_stay_broken_are_told(make_trainer, monkeypatch):
    monkeypatch.setattr(composed_trainer, "_PATIENCE", 0.0)
    trainer = make_trainer("nnUNetTrainerCE")
    file = Path(trainer.preprocessed_dataset_folder_base) / "splits_final.json"
    file.write_text("[{")
    with pytest.raises(TrainingRefused, match=r"splits_final.json is no JSON: .* Delete it"):
        trainer.do_split()


@pytest.mark.parametrize("name", ["nnUNetTrainerDiceCE", "nnUNetTrainerFESSDiceCE", "nnUNetTrainerBoundaryDiceCE"])
def test_nnunets_own_loss_is_refused_on_gpus_with_unequal_batches(make_trainer, monkeypatch, name):
    """nnU-Net gathers (patches, classes) from every rank: unequal ones end in a crash of gloo, or in NCCL's silence."""
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    for batch, refused in ((3, True), (4, False)):
        plans = tiny_plans(batch_size=batch)
        plans["configurations"]["tiny"]["batch_dice"] = True
        trainer = make_trainer(name, plans=plans)
        trainer.is_ddp = True
        with pytest.raises(NotImplementedError, match="a batch of 3 on 2 GPUs") if refused else nullcontext():
            trainer._build_loss()
