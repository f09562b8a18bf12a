"""`python -m nnunet_fess`, and the program `nnunet_fess`: so small that Ctrl-C finds it at work from the first moment on."""

import sys


def main() -> int:
    """Run the command line; Ctrl-C while it is being imported is one line, too."""
    try:
        from nnunet_fess.cli.main import main as command_line
    except KeyboardInterrupt:
        print("nnunet_fess: interrupted", file=sys.stderr)
        return 130
    return command_line()


if __name__ == "__main__":
    sys.exit(main())
