"""A real SLURM on this machine, as Debian's packages have it: controller, daemon and munge on loopback, two pretended GPUs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge.socket
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2,requeue_delay=1
KillWait=5
MinJobAge=600
GresTypes=gpu
SlurmctldParameters=preempt_send_user_signal
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobAcctGatherType=jobacct_gather/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=2000 Gres=gpu:2 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "srun", "scontrol")


def missing() -> str:
    """Why there can be no SLURM here; empty if there can."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
    lacking = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if lacking:
        return f"no SLURM here: {lacking[0]} is not installed (see .ci/slurm)"
    return "" if os.geteuid() == 0 else "no SLURM here: its daemons need root"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """SLURM's daemons, in a folder of their own.

    Attributes:
        root: with configuration, states and logs.
        environment: what makes SLURM's commands talk to it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = socket.gethostname().split(".")[0]
        self.environment = {"SLURM_CONF": str(root / "slurm.conf")}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.root / name).mkdir()
        for gpu in ("gpu0", "gpu1"):  # a count without files makes the node invalid
            (self.root / gpu).touch()
        conf = CONFIGURATION.format(
            host=self.host, root=self.root, controller=_free_port(), daemon=_free_port(), cores=os.cpu_count() or 1
        )
        (self.root / "slurm.conf").write_text(conf)
        (self.root / "gres.conf").write_text(f"NodeName={self.host} Name=gpu File={self.root}/gpu[0-1]\n")
        key = self.root / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        # its own socket and key: a munged that is at work here already is left alone
        own = {"key": key, "socket": "munge.socket", "log": "munged.log", "pid": "munged.pid", "seed": "munged.seed"}
        flags = [f"--{name}{'' if name == 'socket' else '-file'}={self.root / str(file)}" for name, file in own.items()]
        self._start(["munged", "--foreground", "--force", *flags])
        self._until(lambda: (self.root / "munge.socket").exists(), "munged's socket")
        self._start(["slurmctld", "-D", "-f", str(self.root / "slurm.conf")])
        self._until(lambda: self.ask("scontrol ping").returncode == 0, "the controller")
        self._start(["slurmd", "-D", "-f", str(self.root / "slurm.conf"), "-N", self.host])
        self._until(lambda: "idle" in self.ask("sinfo --noheader --partition=low --format=%T").stdout, "the node")

    def _start(self, command: list[str]) -> None:
        path = os.pathsep.join(["/usr/sbin", "/usr/local/sbin", os.environ["PATH"]])
        environment = {**os.environ, **self.environment, "PATH": path}
        with (self.root / f"{command[0]}.out").open("wb") as log:
            daemon = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
        self._daemons.append(daemon)

    def ask(self, command: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """What one of SLURM's commands answers."""
        environment = {**os.environ, **self.environment}
        return subprocess.run(command.split(), env=environment, capture_output=True, text=True, timeout=timeout, check=False)

    def _until(self, there, what: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not there():
            if time.monotonic() > end:
                logs = "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in self.root.glob("*.log"))
                raise RuntimeError(f"{what} did not come up\n{logs}")
            time.sleep(0.3)

    def stop(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.ask("scancel --user=root", 10)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


@contextlib.contextmanager
def running(root: Path) -> Iterator[Cluster]:
    """SLURM for the block."""
    cluster = Cluster(root)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
