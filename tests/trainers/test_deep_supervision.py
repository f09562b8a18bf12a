"""Networks of other people's plans: the trainer asks the network, not a name."""

from __future__ import annotations

import pytest
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import nn

from nnunet_fess.networks.catalogue import NETWORKS
from nnunet_fess.trainers.deep_supervision import has_deep_supervision


class Plain(nn.Conv3d):
    """A network that knows nothing of nnU-Net: no encoder, no decoder."""

    def __init__(self, input_channels, num_classes, deep_supervision, strides):
        super().__init__(input_channels, num_classes, 3, padding=1)


@pytest.fixture
def other(make_trainer):
    def make(name, network, labels="plain", dim=3):
        trainer = make_trainer(name, labels=labels, dim=dim, initialize=False)
        configuration = trainer.configuration_manager.configuration
        configuration["patch_size"] = [32] * dim
        if network == "plain":
            configuration["architecture"] = {
                "network_class_name": f"{__name__}.Plain",
                "arch_kwargs": {"strides": [[1] * 3] * 3},
                "_kw_requires_import": [],
            }
        else:
            configuration["architecture"] = NETWORKS[network].architecture([32] * dim, cpu=True)
        trainer.initialize()
        return trainer

    return make


def batch(trainer):
    dim = len(trainer.configuration_manager.patch_size)
    channels = len(trainer.label_manager.foreground_regions) if trainer.label_manager.has_regions else 1
    target = torch.randint(0, 2, (2, channels, *[32] * dim), dtype=torch.int16)
    return {"data": torch.randn(2, 1, *[32] * dim), "target": target.bool() if trainer.label_manager.has_regions else target}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("labels", ["plain", "regions"])
@pytest.mark.parametrize("name", ["nnUNetTrainerDiceCE", "nnUNetTrainerCWCD", "nnUNetTrainerFESSDiceCE"])
def test_a_step_of_each_network_in_each_dimension(other, network, dim, labels, name):
    trainer = other(name, network, labels, dim)
    assert not trainer.enable_deep_supervision
    assert trainer._get_deep_supervision_scales() is None
    before = [parameter.clone() for parameter in trainer.network.parameters()]
    trainer.network.train()
    loss = trainer.train_step(batch(trainer))["loss"]
    assert torch.isfinite(torch.as_tensor(loss))
    changed = [not torch.equal(old, new) for old, new in zip(before, trainer.network.parameters(), strict=True)]
    assert sum(changed) > 0.5 * len(changed)


def test_a_network_without_decoder_trains_on_its_one_output(other, monkeypatch):
    import pydoc

    real = pydoc.locate
    monkeypatch.setattr(pydoc, "locate", lambda path: Plain if path.endswith(".Plain") else real(path))
    trainer = other("nnUNetTrainerCWCD", "plain")
    trainer.set_deep_supervision_enabled(True)  # as nnU-Net does after validation
    trainer.train_step(batch(trainer))
    assert not trainer.enable_deep_supervision


def test_nnunets_own_networks_keep_theirs(make_trainer):
    trainer = make_trainer("nnUNetTrainerCWCD")
    assert trainer.enable_deep_supervision
    assert has_deep_supervision(trainer.network)
    assert not make_trainer("nnUNetTrainerCWCD_noDS").enable_deep_supervision


def test_stock_nnunet_trains_them_with_the_second_scale_weighed_zero(other):
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    trainer = other("nnUNetTrainerDiceCE", "vnet")
    trainer.enable_deep_supervision = True
    loss = nnUNetTrainer._build_loss(trainer)
    assert isinstance(loss, DeepSupervisionWrapper)
    assert list(loss.weight_factors) == [1, 0]
