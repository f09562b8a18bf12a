"""All checks, in the order in which a user would mend what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from nnunet_fess.doctor import machine, packages, places, trainers
from nnunet_fess.doctor.finding import Finding, wrong
from nnunet_fess.folders import HOLDS

Check = Callable[[], Finding | list[Finding]]

CHECKS: tuple[Check, ...] = (
    machine.system,
    packages.python,
    packages.dependencies,
    packages.torch,
    packages.torchvision,
    machine.workers,
    packages.nnunet,
    *(partial(places.variable, name) for name in HOLDS),
    places.apart,
    places.disk,
    places.shared_memory,
    trainers.variable,
    trainers.found,
    trainers.plugins,
    machine.gpu,
    machine.compilation,
    machine.output,
)


def examine(checks: Sequence[Check] = CHECKS) -> Iterator[Finding]:
    """What the checks find, each as soon as it is known; one that fails is a finding, too."""
    for check in checks:
        try:
            found = check()
        except (Exception, SystemExit) as error:  # a broken package may end the process from its import
            found = wrong(_name(check), f"the check itself failed: {type(error).__name__}: {error}", "Please report this.")
        yield from found if isinstance(found, list) else [found]


def _name(check: Check) -> str:
    if isinstance(check, partial):
        return f"{_name(check.func)} {' '.join(map(str, check.args))}"
    return getattr(check, "__name__", None) or repr(check)
