"""What every loss must do, run over all of them: one skeleton, the same method names as in kornia."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nnunet_fess import losses

# Absolute and relative tolerance by dtype of the logits.
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 1e-5, torch.float64: 1e-7}

THIN = {"iterations": 1}
LOSSES: dict[str, Callable[..., nn.Module]] = {
    "CE": losses.CrossEntropyLoss,
    "CWCE": lambda **kw: losses.ContourWeightedCrossEntropyLoss(**THIN, **kw),
    "CWCE mm": lambda **kw: losses.ContourWeightedCrossEntropyLoss(thickness_mm=1.0, spacing=(1.0, 1.0, 1.0), **kw),
    "CWCE released": lambda **kw: losses.ContourWeightedCrossEntropyLoss(convention="released", **THIN, **kw),
    "DWCE": losses.DistanceWeightedCrossEntropyLoss,
    "Dice": losses.DiceLoss,
    "Dice batch": lambda **kw: losses.DiceLoss(batch_dice=True, **kw),
    "Dice released": lambda **kw: losses.DiceLoss("released", **kw),
    "SDL": lambda **kw: losses.SeparableDiceLoss(**THIN, **kw),
    "SDL released": lambda **kw: losses.SeparableDiceLoss(convention="released", **THIN, **kw),
    "CWCD": lambda **kw: losses.CWCDLoss(**THIN, **kw),
    "CWCD batch": lambda **kw: losses.CWCDLoss(batch_dice=True, **THIN, **kw),
    "CWCD adaptive": lambda **kw: losses.CWCDLoss(iterations=2, adaptive=True, **kw),
    "CWCD released": lambda **kw: losses.CWCDLoss(convention="released", **THIN, **kw),
    "GDL": losses.GDLoss,
    "GDL batch": lambda **kw: losses.GDLoss(batch_dice=True, **kw),
    "DiceCE": losses.DiceCELoss,
    "DiceCE batch": lambda **kw: losses.DiceCELoss(batch_dice=True, **kw),
    "FESS": lambda **kw: WithEmbeddings(losses.FESSLoss(**kw)),
    "FESS released": lambda **kw: WithEmbeddings(losses.FESSLoss(convention="released", **kw)),
}
SHAPES = {"3-D": (5, 4, 6), "2-D": (7, 6), "depth 1": (1, 6, 7)}
TARGETS = ("labels", "regions", "regions and ignore mask", "binary", "binary and ignore mask")


class WithEmbeddings(nn.Module):
    """A loss that needs embeddings, given fixed ones."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self.present, self.previous = torch.randn(2, 2, 4, 3, 3, 3, generator=torch.Generator().manual_seed(1))

    def forward(self, net_output: Tensor, target: Tensor) -> Tensor:
        return self.loss(net_output, target, self.present, self.previous)


def example(kind: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Logits (2, C, *shape) and a target of the kind."""
    generator = torch.Generator().manual_seed(0)
    channels = 1 if kind.startswith("binary") else 3
    logits = torch.randn(2, channels, *shape, generator=generator, dtype=torch.float64)
    if kind in ("labels", "binary"):
        values = 3 if kind == "labels" else 2
        return logits.to(dtype), torch.randint(0, values, (2, 1, *shape), generator=generator, dtype=torch.int16)
    masks = channels + ("ignore" in kind)
    return logits.to(dtype), torch.rand(2, masks, *shape, generator=generator) > 0.6


@pytest.fixture(params=LOSSES)
def make(request: pytest.FixtureRequest) -> Callable[..., nn.Module]:
    return LOSSES[request.param]


def spatial_axes_of(loss: nn.Module) -> int | None:
    """How many axes a loss is bound to by its spacing."""
    contour = getattr(loss, "contour", None)
    return len(contour.spacing) if contour is not None and contour.spacing else None


class TestLosses:
    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
    @pytest.mark.parametrize("kind", TARGETS)
    def test_smoke(self, make, kind, shape):
        loss = make()
        if spatial_axes_of(loss) not in (None, len(shape)):
            pytest.skip("its spacing has three axes")
        logits, target = example(kind, shape)
        value = loss(logits.requires_grad_(), target)
        value.backward()
        assert value.shape == ()
        assert value.dtype == torch.float32
        assert 0 <= value < torch.inf
        assert logits.grad.isfinite().all()
        assert logits.grad.any()

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("kind", ["labels", "regions"])
    def test_half_precision(self, make, kind, dtype):
        logits, target = example(kind, SHAPES["3-D"], dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = make()(logits.requires_grad_(), target)
        value.backward()
        assert value.dtype == torch.float32
        assert logits.grad.dtype == dtype
        exact = logits.detach().float().requires_grad_()
        expected = make()(exact, target)
        expected.backward()
        assert value.item() == pytest.approx(expected.item(), rel=1e-6), "all arithmetic is in float32"
        assert torch.allclose(logits.grad.float(), exact.grad, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float16, torch.float32])
    def test_target_dtype(self, make, dtype):
        for kind in ("labels", "regions"):
            logits, target = example(kind, SHAPES["3-D"])
            assert torch.equal(make()(logits, target.to(dtype)), make()(logits, target))

    @pytest.mark.parametrize(
        ("logits", "target", "found"),
        [
            ((1, 3, 4, 4, 4), (1, 2, 4, 4, 4), r"Got: \(1, 2, 4, 4, 4\)"),
            ((1, 3, 4, 4, 4), (2, 1, 4, 4, 4), r"Got: \(2, 1, 4, 4, 4\)"),
            ((1, 3, 4, 4, 4), (1, 1, 4, 4, 3), r"Got: \(1, 1, 4, 4, 3\)"),
            ((1, 3), (1, 1), r"Got: \(1, 3\)"),
        ],
    )
    def test_exception(self, make, logits, target, found):
        with pytest.raises(ValueError, match=found):
            make()(torch.zeros(logits), torch.zeros(target))

    @pytest.mark.parametrize(("label", "found"), [(3, "exceed 2.*Got: 3"), (-1, "negative.*Got: -1"), (0.5, "Got: 0.5")])
    def test_exception_of_labels(self, make, label, found):
        target = torch.zeros(1, 1, 4, 4, 4)
        target[..., 1] = label
        with pytest.raises(ValueError, match=found):
            make()(torch.zeros(1, 3, 4, 4, 4), target)

    @pytest.mark.parametrize("kind", TARGETS)
    def test_ignore_index(self, make, kind):
        logits, target = example(kind, SHAPES["3-D"], torch.float64)
        loss = make(ignore_label=3)
        if kind in ("labels", "binary"):
            ignored = torch.rand(target.shape, generator=torch.Generator().manual_seed(2)) < 0.3
            target = target.masked_fill(ignored, 3)
        elif kind.endswith("mask"):
            ignored = target[:, -1:].clone()
        else:
            pytest.skip("no voxel is ignored")
        logits.requires_grad_()
        value = loss(logits, target)
        (gradient,) = torch.autograd.grad(value, logits)
        assert not gradient.masked_select(ignored).any()
        wild = logits.detach().masked_fill(ignored, torch.inf).requires_grad_()
        again = loss(wild, target)
        (gradient_again,) = torch.autograd.grad(again, wild)
        assert torch.equal(value, again)
        assert torch.equal(gradient, gradient_again)
        if kind.endswith("mask"):
            other = torch.cat((target[:, :-1] ^ ignored, target[:, -1:]), 1)
            assert torch.equal(loss(logits, other), value)

    @pytest.mark.parametrize("kind", TARGETS)
    def test_gradcheck(self, make, kind):
        logits, target = example(kind, (3, 3, 4), torch.float64)
        if kind == "labels":
            target[0, 0, 0] = 3
        loss = make(ignore_label=3)
        assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_(), fast_mode=True)

    @pytest.mark.parametrize("kind", ["labels", "regions and ignore mask"])
    def test_dynamo(self, make, kind):
        logits, target = example(kind, SHAPES["3-D"])
        loss = make()
        torch.compiler.reset()
        compiled = torch.compile(loss, backend="eager", fullgraph=True)
        gradients = []
        for function in (loss, compiled):
            x = logits.clone().requires_grad_()
            value = function(x, target)
            gradients.append(torch.autograd.grad(value, x)[0])
        assert torch.allclose(*gradients)
        assert torch.allclose(value, loss(logits, target))

    def test_module(self, make):
        loss = make(ignore_label=7, distributed=True)
        holder = loss.loss.dice if isinstance(loss, WithEmbeddings) else loss
        assert holder.ignore_label == 7
        assert holder.distributed
        assert not list(loss.parameters()), "a loss of the network's output has nothing to learn"
        assert not loss.state_dict()

    @pytest.mark.parametrize(
        "target",
        [
            torch.zeros(2, 1, 4, 4, 4),
            torch.ones(2, 1, 4, 4, 4),
            torch.full((2, 1, 4, 4, 4), 9),
            torch.zeros(2, 3, 4, 4, 4),
            torch.ones(2, 3, 4, 4, 4),
            torch.ones(2, 4, 4, 4, 4),
        ],
        ids=["background", "one class", "ignored", "no region", "all regions", "ignored regions"],
    )
    @pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
    def test_degenerate_patches(self, make, target, scale):
        for batch in (1, 2):
            logits = scale * torch.randn(batch, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
            value = make(ignore_label=9)(logits.requires_grad_(), target[:batch])
            value.backward()
            assert value.isfinite()
            assert value >= 0
            assert logits.grad.isfinite().all()

    def test_predicting_an_absent_class_never_pays(self, make):
        target = torch.zeros(1, 1, 6, 6, 6)
        target[..., 3:] = 1
        values = []
        for certainty in (0.0, 1.0, 2.0, 4.0):
            logits = torch.zeros(1, 3, 6, 6, 6)
            logits[:, 0, ..., :3] = logits[:, 1, ..., 3:] = 6.0
            logits[:, 2, :2] = certainty
            values.append(make()(logits, target).item())
        assert values == sorted(values)

    @pytest.mark.parametrize("kind", ["labels", "regions", "binary"])
    def test_convergence(self, make, kind):
        # After MONAI: one linear layer must fit one tiny volume within 40 Adam steps. Some public losses cannot.
        labels = torch.zeros(1, 1, 8, 8, 8)
        labels[..., 1:7, 1:7, 1:7] = 1
        target = {"labels": labels.clone(), "binary": labels, "regions": torch.cat((labels, labels), 1)}[kind]
        half = target[:, -1:, 4:] if kind != "binary" else None
        if half is not None:  # a class, or a nested region, that is half of the cube
            half[half > 0] = 2 if kind == "labels" else 0
        channels = {"labels": 3, "regions": 2, "binary": 1}[kind]
        torch.manual_seed(0)
        image = labels.flatten() + 0.1 * torch.randn(512)
        net, loss = nn.Linear(512, channels * 512), make()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        for _ in range(40):
            optimizer.zero_grad()
            loss(net(image).view(1, channels, 8, 8, 8), target).backward()
            optimizer.step()
        logits = net(image).view(1, channels, 8, 8, 8)
        predicted = logits.argmax(1, keepdim=True) if kind == "labels" else logits > 0
        assert torch.equal(predicted, target.to(predicted.dtype))


def test_every_loss_of_logits_is_in_the_skeleton():
    made = {type(make()) for make in LOSSES.values()} - {WithEmbeddings}
    spatial = {cls for cls in vars(losses).values() if isinstance(cls, type) and issubclass(cls, losses.SpatialLoss)}
    assert made == spatial - {losses.SpatialLoss}
