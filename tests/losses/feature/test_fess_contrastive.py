from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nnunet_fess.losses import FESSContrastiveLoss, fess_contrastive_loss


def embeddings(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equals_plain_loops():
    present, previous = embeddings(2, 3, 2, 2, 2), embeddings(2, 3, 2, 2, 2, seed=1)
    scores = []
    for b in range(2):
        for c in range(3):
            z, other = present[b, c].flatten().tolist(), previous[b, c].flatten().tolist()
            norm, other_norm = math.hypot(*z), math.hypot(*other)
            scores.append(sum(x / norm * y / other_norm for x, y in zip(z, other, strict=True)))
    total = sum(math.exp(s / 0.3) for s in scores)
    expected = -0.1 * sum(math.log(math.exp(s / 0.3) / total) for s in scores) / 6
    assert FESSContrastiveLoss(0.3, 0.1)(present, previous).item() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (2, 5, 3, 3, 3)])
def test_the_same_batch_twice_costs_log_bc_and_teaches_nothing(shape):
    present = embeddings(*shape).requires_grad_()
    loss = fess_contrastive_loss(present, present.detach(), learning_rate=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(shape[0] * shape[1]))
    assert present.grad.abs().max() < 1e-12


def test_scale_of_an_embedding_does_not_matter():
    present, previous = embeddings(2, 3, 4, 4), embeddings(2, 3, 4, 4, seed=1)
    assert torch.allclose(fess_contrastive_loss(present * 1e3, previous), fess_contrastive_loss(present, previous))


@pytest.mark.parametrize("scale", [1e-30, 1e-7, 1e19, 1e37])
def test_scale_does_not_matter_in_float32_either(scale):
    present, previous = embeddings(2, 3, 4, 4).float(), embeddings(2, 3, 4, 4, seed=1).float()
    expected = fess_contrastive_loss(present, previous, learning_rate=1.0)
    assert expected > math.log(6) + 1e-3, "not the value of equal similarities"
    assert torch.allclose(fess_contrastive_loss(present * scale, previous, learning_rate=1.0), expected)
    assert torch.allclose(fess_contrastive_loss(present, previous * scale, learning_rate=1.0), expected)


def test_small_temperatures_do_not_overflow():
    present, previous = embeddings(2, 3, 4, 4).float(), embeddings(2, 3, 4, 4, seed=1).float()
    assert fess_contrastive_loss(present, previous, temperature=1e-4).isfinite()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    # The norm of 64³ entries of 20 overflows float16.
    present = torch.full((1, 2, 64, 64, 64), 20.0, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = fess_contrastive_loss(present, present, learning_rate=1.0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(2))


def test_a_dead_channel_is_similar_to_nothing_and_gets_no_gradient():
    present, previous = embeddings(1, 3, 4, 4), embeddings(1, 3, 4, 4, seed=1)
    present[:, 1] = 0.0
    loss = fess_contrastive_loss(present.requires_grad_(), previous, learning_rate=1.0)
    loss.backward()
    assert present.grad.isfinite().all()
    assert not present.grad[:, 1].any()


def test_gradcheck():
    present, previous = embeddings(2, 3, 2, 3), embeddings(2, 3, 2, 3, seed=1)
    loss = FESSContrastiveLoss(learning_rate=1.0)
    assert torch.autograd.gradcheck(loss, (present.requires_grad_(), previous.requires_grad_()))


def test_function_and_module_agree():
    present, previous = embeddings(2, 3, 4, 4), embeddings(2, 3, 4, 4, seed=1)
    module, function = FESSContrastiveLoss(0.2, 0.3), fess_contrastive_loss
    assert torch.equal(module(present, previous), function(present, previous, 0.2, 0.3))


@pytest.mark.parametrize(
    "previous", [(1, 3, 4, 4), (2, 4, 4, 4), (2, 3, 4, 5)], ids=["batch size", "channels", "spatial shape"]
)
def test_another_shape_is_refused(previous):
    with pytest.raises(ValueError, match=rf"Got: \(2, 3, 4, 4\) and \({', '.join(map(str, previous))}\)"):
        fess_contrastive_loss(torch.zeros(2, 3, 4, 4), torch.zeros(previous))


def test_embeddings_without_spatial_axes_are_refused():
    with pytest.raises(ValueError, match=r"Got: \(2, 3\)"):
        fess_contrastive_loss(torch.zeros(2, 3), torch.zeros(2, 3))


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"temperature": -1.0}, {"learning_rate": -1.0}])
def test_ill_options_are_refused(options):
    with pytest.raises(ValueError, match="Got: "):
        FESSContrastiveLoss(**options)


@pytest.mark.parametrize("index", range(4))
def test_equals_the_authors_value_and_gradient(golden, index):
    values = {key: torch.from_numpy(v) for key, v in golden("fess").items() if key.startswith(f"{index}_")}
    present, previous = (values[f"{index}_{key}"].movedim(-1, 1) for key in ("pres", "prev"))
    loss = fess_contrastive_loss(present.requires_grad_(), previous, 0.5, 1.0)
    loss.backward()
    expected = values[f"{index}_contrastive_T0.5_lr1_grad"].movedim(-1, 1)
    assert loss.item() == pytest.approx(values[f"{index}_contrastive_T0.5_lr1"].item(), rel=1e-5)
    assert (present.grad - expected).norm() <= 1e-5 * expected.norm()
    for key, options in {"T0.1_lr1": (0.1, 1.0), "T0.5_lr1e-4": (0.5, 1e-4)}.items():
        value = fess_contrastive_loss(present, previous, *options)
        assert value.item() == pytest.approx(values[f"{index}_contrastive_{key}"].item(), rel=1e-5)
