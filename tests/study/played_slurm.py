"""SLURM's commands played by a script: a queue in a file, which tests change at will."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

PROGRAM = r"""#!{python}
import json, os, re, subprocess, sys, time
name, args, path = os.path.basename(sys.argv[0]), sys.argv[1:], {state!r}
state = json.load(open(path))
wish = state["wish"].get(name, "")
with open(path + ".calls", "a") as calls:
    calls.write(json.dumps([name, *args]) + "\n")
if wish == "hangs":
    time.sleep(60)
if wish:
    sys.exit(wish)
jobs = state["jobs"]
if name == "sbatch":
    if "--test-only" in args:
        sys.stdin.read()
        sys.exit(0)
    if len(jobs) >= state["most"]:
        sys.exit("sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit)")
    text = open(args[-1]).read()
    after = [arg.split("=", 1)[1] for arg in args if arg.startswith("--dependency")]
    number = str(100 + len(jobs))
    jobs[number] = dict(state="PENDING", reason="Dependency" if after else "Priority", nodes="", script=args[-1],
                        comment=re.search("--comment=(.*)", text)[1], after=after[0] if after else "")
    json.dump(state, open(path, "w"))
    print(number)
elif name == "squeue":
    for number, job in jobs.items():
        if not job.get("forgotten"):
            print("|".join([number, job["state"], job["reason"], job["nodes"], "0:10", "1:00:00", "N/A", job["comment"]]))
elif name == "scancel":
    for number in args:
        if number in jobs:
            jobs[number]["state"] = "CANCELLED"
    json.dump(state, open(path, "w"))
elif name == "srun":
    if state["blind"]:
        print("not there: " + state["blind"])
    else:
        sys.stdout.write(subprocess.run(args[args.index("bash"):], capture_output=True, text=True).stdout)
    print("looked on node7")
elif name == "sacct":
    wanted = args[-1].split("=")[1].split(",")
    for number in wanted:
        if number in jobs:
            print("|".join([number, jobs[number]["state"], jobs[number]["nodes"], "0:10"]))
"""


class PlayedSlurm:
    """The queue.

    Attributes:
        file: its state.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "queue.json"
        self.programs = folder / "slurm_bin"
        self.programs.mkdir()
        self._write({"jobs": {}, "wish": {}, "most": 1000, "blind": ""})
        for name in ("sbatch", "squeue", "scancel", "srun", "scontrol"):
            self.install(name)

    def install(self, name: str) -> None:
        path = self.programs / name
        path.write_text(PROGRAM.format(python=sys.executable, state=str(self.file)))
        path.chmod(path.stat().st_mode | stat.S_IEXEC)

    def _write(self, state: dict) -> None:
        self.file.write_text(json.dumps(state))

    @property
    def jobs(self) -> dict[str, dict]:
        """Number → state, reason, nodes, script, comment, after."""
        return dict(json.loads(self.file.read_text())["jobs"])

    def calls(self, name: str) -> list[list[str]]:
        path = Path(f"{self.file}.calls")
        lines = path.read_text().splitlines() if path.exists() else []
        return [call[1:] for call in map(json.loads, lines) if call[0] == name]

    def job_of(self, name: str) -> str:
        """Number of the last job of a script."""
        return [number for number, job in self.jobs.items() if Path(job["script"]).stem == name][-1]

    def change(self, number: str, **what: object) -> None:
        state = json.loads(self.file.read_text())
        state["jobs"][number] |= what
        self._write(state)

    def wish(self, **what: object) -> None:
        """`most` jobs, what nodes are `blind` to, or a program's last words, `hangs` among them."""
        state = json.loads(self.file.read_text())
        for key, value in what.items():
            if key in ("most", "blind"):
                state[key] = value
            else:
                state["wish"][key] = value
        self._write(state)
