"""`nnunet_fess convert`: the converters of `dataset_conversion`, under the package's own command."""

from __future__ import annotations

from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """Hand over to `dataset_conversion`, which stands beside this package and imports nothing of it."""
    from dataset_conversion.cli import main as convert

    return convert(argv, prog="nnunet_fess convert")
