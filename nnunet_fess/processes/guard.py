"""Runs a command on behalf of another process, and ends it with all its workers when that process is gone; for POSIX.

A demo or study killed by SIGKILL cannot end what it waits for, and nnU-Net would train on for hours. The kernel tells us: it
closes its end of the pipe that is our standard input. Linux's PR_SET_PDEATHSIG would reach the command, not its workers.

Called as `python guard.py PROGRAM ARGUMENT …` by a path, without the package around it, as the leader of a process group.
"""

import os
import signal
import subprocess
import sys
import threading


def _end_with_our_master() -> None:
    os.read(0, 1)  # nobody writes: this returns when the last writer is gone
    os.killpg(0, signal.SIGKILL)


def main(command: list[str]) -> int:
    """Run the command to its end; its exit code, as a shell has it: 128 + n if signal n ended it."""
    # Whoever ends the group asks first: stay to reap the command. A handler, unlike SIG_IGN, is not inherited by it.
    signal.signal(signal.SIGTERM, lambda *_: None)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_our_master, daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
