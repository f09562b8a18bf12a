"""The list of checks that a loss must pass: ours run it over every loss of `nnunet_fess.losses`, yours by one test."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from nnunet_fess.plugin import FeatureHost, FeatureTerm, Host, MapTerm, RegionTerm, Term, Value
from nnunet_fess.testing import skeleton
from nnunet_fess.testing.ranks import run_on_two_ranks
from nnunet_fess.testing.skeleton import DEGENERATE, SHAPES, TARGETS, TARGETS_THAT_IGNORE, Make
from nnunet_fess.testing.tiny_trainer import LABELS, check_resumed, check_trains
from nnunet_fess.trainers.catalogue import OF_FEATURES, PREFIX, Loss


@dataclass(frozen=True)
class Check:
    """One property of one loss.

    Attributes:
        name: what is checked, and on what.
        run: raises AssertionError, or whatever the loss raises, if it does not hold.
    """

    name: str
    run: Callable[[], None]

    def __call__(self) -> None:
        """Check it."""
        self.run()

    def __str__(self) -> str:
        """The name, which pytest shows with ``ids=str``."""
        return self.name


def host(kind: str = "labels", axes: int = 3, **changes: Any) -> Host:
    """What nnU-Net would tell a loss of a small dataset.

    Args:
        kind: of the target, one of `skeleton.TARGETS`.
        axes: spatial ones.
        changes: attributes of `Host` that differ.
    """
    names = [f"class {number}" for number in range(skeleton.channels_of(kind))]
    regions = kind.split()[0] in ("regions", "binary")
    shape = SHAPES["3-D" if axes == 3 else "2-D"]
    return replace(Host(spacing=[1.0] * axes, patch_size=shape, classes=names, has_regions=regions), **changes)


def feature_host(kind: str = "labels", axes: int = 3, **changes: Any) -> FeatureHost:
    """The same for a feature term: an encoder of three stages with 4, 8 and 8 channels."""
    stages = FeatureHost(
        **vars(host(kind, axes)), stages=[4, 8, 8], image_channels=1, learning_rate=lambda: 0.01, decoder_channels=lambda: 4
    )
    return replace(stages, **changes)


def checks(term: Term, **settings: Value) -> list[Check]:
    """Every check for a term of yours.

    Args:
        term: of a `TERMS` in a module or a file; the two processes of the last check read it from there.
        settings: of its options, by key, where they differ from the defaults.

    Example:
        ``@pytest.mark.parametrize("check", checks(TERMS[0]), ids=str)`` above ``def test_my_loss(check): check()``
    """
    if isinstance(term, FeatureTerm):
        return [*_trainings(term, settings), *_trainings(term, settings, "ResidualEncoderUNet"), *_resumed(term, settings)]
    assert isinstance(term, (RegionTerm, MapTerm))
    spatial = spatial_checks(partial(make_of, term, settings), ours=False)
    return [*spatial, *_trainings(term, settings), Check("two ranks", partial(check_two_ranks, term, settings))]


def make_of(term: Term, settings: dict[str, Value], kind: str, axes: int) -> Make:
    """How to make the loss of a term for a target of that kind, given what all losses are given."""
    loss = Loss(map=term) if isinstance(term, MapTerm) else Loss(region=term)  # type: ignore[arg-type]
    return lambda **common: term.make(loss.settings(settings, term), host(kind, axes, **common))


def spatial_checks(make_for: Callable[[str, int], Make], *, ours: bool = True) -> list[Check]:
    """The checks of a loss of (net_output, target).

    Args:
        make_for: what makes it for a kind of target (one of `skeleton.TARGETS`) and a number of spatial axes.
        ours: it has attributes `ignore_label` and `distributed`, shows them, takes one-hot labels for labels, and its messages
            say "Got: …", as all of `nnunet_fess.losses` do.
    """
    return [Check(name, run) for name, run in _spatial_checks(make_for, ours)]


def _spatial_checks(make_for: Callable[[str, int], Make], ours: bool) -> Iterator[tuple[str, Callable[[], None]]]:
    for kind in TARGETS:
        make = make_for(kind, 3)
        for place, shape in SHAPES.items():
            bound = skeleton.spatial_axes_of(make_for(kind, len(shape))())
            if bound in (None, len(shape)):
                yield f"smoke, {kind}, {place}", partial(skeleton.check_smoke, make_for(kind, len(shape)), kind, shape)
        if kind in ("labels", "regions"):
            for dtype in (torch.float16, torch.bfloat16):
                yield f"half precision, {kind}, {_short(dtype)}", partial(skeleton.check_half_precision, make, kind, dtype)
            for dtype in (torch.uint8, torch.int32, torch.int64, torch.float16, torch.float32):
                yield f"target dtype, {kind}, {_short(dtype)}", partial(skeleton.check_target_dtype, make, kind, dtype)
        if kind in ("labels", "two labels", "regions"):
            yield f"autocast, {kind}", partial(skeleton.check_autocast, make, kind)
        if kind in ("labels", "two labels", "regions and ignore mask"):
            yield f"memory format, {kind}", partial(skeleton.check_memory_format, make, kind)
            yield f"dynamo, {kind}", partial(skeleton.check_dynamo, make, kind)
        if kind in TARGETS_THAT_IGNORE:
            yield f"ignore index, {kind}", partial(skeleton.check_ignore_index, make, kind)
        if kind in ("labels", "regions", "binary"):
            yield f"convergence, {kind}", partial(skeleton.check_convergence, make, kind)
        yield f"gradcheck, {kind}", partial(skeleton.check_gradcheck, make, kind)
        yield f"deep supervision, {kind}", partial(skeleton.check_deep_supervision, make, kind)
    make = make_for("labels", 3)
    for name, (logits, target, found) in skeleton.ILL_SHAPES.items():
        yield f"exception, {name}", partial(skeleton.check_exception, make, logits, target, found if ours else "")
    for label, found in skeleton.ILL_LABELS.items():
        yield f"exception, label {label}", partial(skeleton.check_exception_of_labels, make, label, found if ours else "")
    for name, patch in DEGENERATE.items():
        labelled = make if patch.shape[1] == 1 else make_for("regions", 3)
        for scale in (0.0, 1.0, 100.0):
            yield f"degenerate, {name}, {scale:g}", partial(skeleton.check_degenerate_patches, labelled, patch, scale)
    yield "predicting an absent class never pays", partial(skeleton.check_predicting_an_absent_class_never_pays, make)
    yield "module", partial(skeleton.check_module, make)
    if ours:
        yield "settings", partial(skeleton.check_settings, make)
        yield "one-hot", partial(skeleton.check_one_hot, make)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


# What only a term has: a place in a trainer's name, and a module from which two processes can read it.


def _trainings(term: Term, settings: dict[str, Value], network: str = "PlainConvUNet") -> list[Check]:
    trainer = trainer_of(term, settings)
    return [
        Check(f"trains, {network}, {labels}, {axes}-D", partial(check_trains, trainer, term, labels, axes, network))
        for labels in LABELS
        for axes in (2, 3)
    ]


def _resumed(term: Term, settings: dict[str, Value]) -> list[Check]:
    return [Check("resumed", partial(check_resumed, trainer_of(term, settings), term))]


def trainer_of(term: Term, settings: dict[str, Value]) -> str:
    """The name of the trainer with that term and those settings."""
    from nnunet_fess.trainers.naming import number_text

    suffixes = [
        option.spelt("" if option.kind == "switch" else number_text(float(settings[option.key])))
        for option in (*(OF_FEATURES if term.slot == "feature" else ()), *term.options)
        if settings.get(option.key, False) is not False
    ]
    return "_".join([PREFIX + term.name, *suffixes])


def check_two_ranks(term: Term, settings: dict[str, Value]) -> None:
    """With half of the batch on either of two processes, loss and gradient are those of one with the whole batch."""
    module, number = _declared_in(term)
    whole = _on_part(term, settings, slice(0, 4), distributed=False)
    with tempfile.TemporaryDirectory() as folder:
        ranks = run_on_two_ranks(_on_rank, Path(folder), module.__name__, module.__file__, number, settings)
    for kind, (value, gradient) in whole.items():
        values, gradients = zip(*(rank[kind] for rank in ranks), strict=True)
        assert torch.allclose(torch.stack(values), value), f"{kind}: {values} on two ranks, {value} on one"
        assert torch.allclose(torch.cat(gradients) / 2, gradient), f"{kind}: the gradients differ (DDP takes their mean)"


def _declared_in(term: Term) -> tuple[ModuleType, int]:
    for module in list(sys.modules.values()):
        terms = getattr(module, "TERMS", None)
        if isinstance(terms, (tuple, list)) and any(each is term for each in terms) and getattr(module, "__file__", None):
            return module, next(number for number, each in enumerate(terms) if each is term)
    raise ValueError(f"{term.name} is in no TERMS of an imported module, where two processes could find it")


def _on_rank(rank: int, name: str, file: str, number: int, settings: dict[str, Value]) -> dict[str, Any]:
    from nnunet_fess.trainers.registry import module_of

    return _on_part(module_of(name, Path(file)).TERMS[number], settings, slice(2 * rank, 2 * rank + 2), distributed=True)


def _on_part(term: Term, settings: dict[str, Value], part: slice, distributed: bool) -> dict[str, Any]:
    found = {}
    for kind in ("labels", "two labels", "regions"):
        logits, target = (x[part].clone() for x in skeleton.four_samples(kind))
        make = make_of(term, settings, kind, 3)
        loss = make(ignore_label=None if kind == "regions" else 9, distributed=distributed, batch_dice=True)
        value = loss(logits.requires_grad_(), target)
        found[kind] = value.detach(), torch.autograd.grad(value, logits)[0]
    return found
