"""How large the largest tensor is that a computation makes: memory that grows with pairs of pairs shows here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Watch(TorchDispatchMode):
    largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.largest = max(self.largest, *sizes, 0)
        return result


def largest_tensor(compute: Callable[[], Any]) -> int:
    """Entries of the largest tensor made by the computation, its backward pass included if it runs that."""
    with _Watch() as watch:
        compute()
    return watch.largest
