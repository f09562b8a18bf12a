"""Command line of the package: `nnunet_fess COMMAND …`; one module per command."""

from nnunet_fess.cli.main import main

__all__ = ["main"]
