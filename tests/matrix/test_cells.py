"""The list itself, and a step of the chosen cells within this process."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matrix.cells import CONFIGURATIONS, NETWORKS, covering, every_cell

from nnunet_fess.testing.tiny_trainer import LABELS, random_batch, tiny_folders, tiny_trainer
from nnunet_fess.trainers.catalogue import FEATURE, MAP, REGION


@pytest.fixture
def tiny_root(tmp_path):
    with tiny_folders(tmp_path):
        yield tmp_path


def test_every_term_is_in_every_setting():
    met = {(term, cell.setting) for cell in every_cell() for term in cell.terms}
    settings = {setting for _, setting in met}
    assert len(settings) == len(LABELS) * len(CONFIGURATIONS) * len(NETWORKS) * 2
    assert met == {(term, setting) for term in (*REGION, *MAP, *FEATURE) for setting in settings}


def test_the_chosen_cells_hold_every_pair():
    chosen = covering()
    assert set().union(*(cell.pairs for cell in chosen)) == set().union(*(cell.pairs for cell in every_cell()))
    assert len(chosen) < len(every_cell()) / 8


@pytest.mark.parametrize("cell", covering(), ids=str)
def test_a_step_of_training_and_one_of_validation(tiny_root, cell):
    """The second training of a cascade: the first is one of 3d_fullres on other voxels."""
    setting = cell.setting
    network = "PlainConvUNet" if setting.network == "UNet" else "ResidualEncoderUNet"
    cascade = {"previous_stage": "tiny"} if "cascade" in setting.configuration else {}
    dim = 2 if setting.configuration == "2d" else 3
    trainer = tiny_trainer(cell.trainer, setting.labels, dim, network, **cascade)
    assert trainer.is_cascaded == bool(cascade)
    assert trainer.enable_deep_supervision == setting.deep_supervision
    trainer.network.train()
    losses = [float(trainer.train_step(random_batch(trainer, seed))["loss"]) for seed in (0, 1)]
    trainer.network.eval()
    with torch.no_grad():
        losses.append(float(trainer.validation_step(random_batch(trainer))["loss"]))
    assert np.isfinite(losses).all()
