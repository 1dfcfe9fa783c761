"""A Slurm of two nodes on this machine: munged, slurmctld and two slurmd of our own, in a directory of their own.

Nothing of the system's Slurm or munge is read or changed; any number of clusters run side by side. Works as root and as an ordinary
user, in a container without systemd or cgroups. Standard library only.
"""

import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

NODES = ("n1", "n2")
CPUS = 4  # declared for each node, whatever the machine has: ranks share cores
START_SECONDS = 60  # within which a daemon answers
STOP_SECONDS = 20  # within which jobs and daemons end

CONFIGURATION = """\
# Written by slurm/local-cluster. Two nodes that are this one machine.
ClusterName=couplet
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# cred_expire: seconds that a requeued job waits before it may start again (Slurm's default is 120).
AuthInfo=socket={run}/munge.socket,cred_expire=30
StateSaveLocation={run}/state
SlurmctldPidFile={run}/slurmctld.pid
SlurmdPidFile={run}/slurmd-%n.pid
SlurmdSpoolDir={run}/spool-%n
SlurmctldLogFile={log}/slurmctld.log
SlurmdLogFile={log}/slurmd-%n.log
# One for each node: pmix of two slurmd of one machine would collide in /tmp.
TmpFS={run}/tmp-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=100000,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=10
KillWait=10
UnkillableStepTimeout=60
MinJobAge=600
InactiveLimit=0
MailProg=/bin/true
SlurmctldDebug=info
SlurmdDebug=info
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20
# Its jobs push those of main out.
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


class ClusterError(Exception):
    """What went wrong, for the person who started the cluster."""


def missing_programs():
    """Names of the programs of Slurm and munge that are not installed."""
    names = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
    return [name for name in names if not find_program(name)]


def find_program(name):
    """Daemons stand in sbin, which is not on every user's PATH."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")


def free_port(used):
    """Below the range that the kernel gives to outgoing connections."""
    for port in random.sample(range(20000, 32000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        if port not in used:
            return port
    raise ClusterError("no free port between 20000 and 32000")


def last_lines(path, count=15):
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-count:])
    except OSError:
        return "(no log)"


def process_file(pid, name):
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended, or it is another user's
        return b""


def all_processes():
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def parent_of(pid):
    stat = process_file(pid, "stat")
    return int(stat[stat.rindex(b")") + 2 :].split()[1]) if stat else 0


def ancestors(pid):
    """`pid`, its parent, and so on."""
    found = []
    while pid > 0:
        found.append(pid)
        pid = parent_of(pid)
    return found


def is_alive(pid):
    stat = process_file(pid, "stat")
    return bool(stat) and stat[stat.rindex(b")") + 2 :][:1] not in (b"Z", b"X")


def is_pending(pid, number):
    """Whether a signal waits for a process that is stopped."""
    masks = [line.split()[1] for line in process_file(pid, "status").splitlines() if line.startswith(b"ShdPnd:")]
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def kill(pids, number=signal.SIGKILL):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def wait_until(condition, seconds, interval=0.1):
    """Whether `condition` came to hold within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)
    return True


class Cluster:
    """directory/slurm.conf, directory/log, and directory/run: a link to a short path, because sockets' names are bounded."""

    def __init__(self, directory):
        self.directory = Path(directory).absolute()
        self.conf = self.directory / "slurm.conf"
        self.log = self.directory / "log"
        self.run_link = self.directory / "run"

    @property
    def run(self):
        return Path(os.readlink(self.run_link))

    def environment(self):
        """What a user's shell, or a test, sets to use this cluster."""
        values = {"SLURM_CONF": str(self.conf)}
        if os.geteuid() == 0:
            values |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        return values

    def ask(self, *words, check=True, seconds=30):
        """Runs a command of Slurm on this cluster; its output."""
        result = subprocess.run(
            words, env=os.environ | self.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
        if check and result.returncode != 0:
            raise ClusterError(f"{shlex.join(words)} failed: {result.stderr.strip()}")
        return result.stdout.strip()

    # Starting

    def start(self):
        missing = missing_programs()
        if missing:
            raise ClusterError(f"not installed: {', '.join(missing)}; on Debian: scripts/setup slurm")
        if self.daemons():
            raise ClusterError(f"a cluster runs in {self.directory} already; `slurm/local-cluster stop {self.directory}` ends it")
        self.remove_state()
        self.write_configuration()
        try:
            self.start_munged()
            self.start_controller("-c")
            for node in NODES:
                self.start_node(node)
            self.wait_for_nodes()
        except BaseException:
            self.stop()
            raise

    def write_configuration(self):
        self.log.mkdir(parents=True, exist_ok=True)
        for old in self.log.iterdir():
            old.unlink()
        run = Path(tempfile.mkdtemp(prefix="couplet-slurm-", dir="/tmp"))
        run.chmod(0o755)
        self.run_link.symlink_to(run)
        for name in ["state"] + [f"{kind}-{node}" for kind in ("spool", "tmp") for node in NODES]:
            (run / name).mkdir()
        ports = []
        for _ in range(1 + len(NODES)):
            ports.append(free_port(ports))
        host = socket.gethostname().split(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} RealMemory=1000 State=UNKNOWN"
            for node, port in zip(NODES, ports[1:])
        )
        user = f"{os.geteuid()}"
        self.conf.write_text(
            CONFIGURATION.format(host=host, ctld_port=ports[0], user=user, run=run, log=self.log, nodes=nodes)
        )

    def start_munged(self):
        key = self.run / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"key-file": key, "socket": self.run / "munge.socket", "pid-file": self.run / "munged.pid"}
        files |= {"log-file": self.log / "munged.log", "seed-file": self.run / "munge.seed"}
        # --force: a directory that others may write to, such as a group's, is a warning.
        words = [find_program("munged"), "--force", "--num-threads", "2"] + [f"--{name}={path}" for name, path in files.items()]
        self.start_daemon("munged", words, self.run / "munged.pid")

    def start_controller(self, *words):
        self.start_daemon("slurmctld", [find_program("slurmctld"), *words, "-f", str(self.conf)], self.run / "slurmctld.pid")

    def revive(self):
        """Starts a slurmctld that has crashed again, with the jobs it knew, as a service manager would. True if it had: 22.05 does at
        times when a node of a job over several comes back."""
        if "slurmctld" in self.daemons():
            return False
        self.start_controller()
        return True

    def start_node(self, node):
        """A slurmd as this node; also brings back one that was killed, with what a machine that starts anew would not have."""
        for stale in [*(self.run / f"spool-{node}").glob("*pmix*"), *(self.run / f"tmp-{node}").iterdir()]:
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
        self.start_daemon(f"slurmd-{node}", [find_program("slurmd"), "-f", str(self.conf), "-N", node], self.run / f"slurmd-{node}.pid")

    def start_daemon(self, name, words, pid_file):
        pid_file.unlink(missing_ok=True)
        with open(self.log / f"{name}.start", "w") as said:
            result = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=said, stderr=said, timeout=START_SECONDS)
        if result.returncode == 0 and wait_until(lambda: self.daemon(pid_file), START_SECONDS):
            return
        said = last_lines(self.log / f"{name}.start")
        raise ClusterError(f"{name} did not start ({shlex.join(words)}): {said}\n{self.log / name}.log ends:\n{last_lines(self.log / f'{name}.log')}")

    def wait_for_nodes(self, wanted=("idle",)):
        states = lambda: dict(line.split() for line in self.ask("sinfo", "-h", "-N", "-p", "main", "-o", "%N %t", check=False).splitlines())
        if wait_until(lambda: list(states()) == list(NODES) and set(states().values()) <= set(wanted), START_SECONDS, 0.3):
            return
        logs = "\n".join(f"{path} ends:\n{last_lines(path)}" for path in sorted(self.log.glob("slurm*.log")))
        raise ClusterError(f"after {START_SECONDS} s the nodes are not {' or '.join(wanted)}: {states()}\n{logs}")

    # Processes

    def daemon(self, pid_file):
        """The daemon's process, if it is alive and ours."""
        try:
            pid = int(pid_file.read_text())
        except (OSError, ValueError):
            return None
        return pid if is_alive(pid) and bytes(pid_file.parent.name, "ascii") in self.marks(pid) else None

    def marks(self, pid):
        """Where this cluster's name stands in a daemon: munged's words, the configuration file of the others."""
        words = process_file(pid, "cmdline")
        return words + bytes(self.run.name, "ascii") if bytes(self.conf) in words else words

    def daemons(self):
        if not self.run_link.is_symlink():
            return {}
        found = {path.stem: self.daemon(path) for path in self.run.glob("*.pid")}
        return {name: pid for name, pid in found.items() if pid}

    def job_processes(self):
        """pid -> node of slurmstepd, batch scripts, launchers and ranks; a slurmstepd's node is that of what it started."""
        conf = b"SLURM_CONF=" + bytes(self.conf)
        ours = ancestors(os.getpid())
        nodes, daemons = {}, []
        for pid in all_processes():
            words = process_file(pid, "environ").split(b"\0")
            if pid in ours or conf not in words or not is_alive(pid):
                continue
            node = next((word.split(b"=", 1)[1].decode() for word in words if word.startswith(b"SLURMD_NODENAME=")), None)
            if node:
                nodes[pid] = node
            elif process_file(pid, "comm").strip() == b"slurmstepd":
                daemons.append(pid)
        started = {parent_of(pid): node for pid, node in nodes.items()}
        return nodes | {pid: started.get(pid) for pid in daemons}

    def kill_node(self, node):
        """As if its power failed: slurmd, its slurmstepd and all that they started, at once. `start_node` brings it back."""
        kill([pid for pid in (self.daemon(self.run / f"slurmd-{node}.pid"),) if pid])
        inside = lambda: [pid for pid, where in self.job_processes().items() if where == node]
        kill(inside())
        if not wait_until(lambda: not inside(), STOP_SECONDS):
            raise ClusterError(f"processes of {node} that do not end: {inside()}")

    # Stopping

    def stop(self):
        """Ends jobs and daemons, all of them, and removes what they kept."""
        if not self.run_link.is_symlink():
            return
        if "slurmctld" in self.daemons():
            self.cancel_all()
        daemons = self.daemons()
        kill((pid for name, pid in daemons.items() if name != "munged"), signal.SIGTERM)
        wait_until(lambda: not any(name != "munged" for name in self.daemons()), STOP_SECONDS)
        kill(self.daemons().values())
        kill(self.job_processes())
        if not wait_until(lambda: not self.daemons() and not self.job_processes(), STOP_SECONDS):
            raise ClusterError(f"processes that do not end: {self.daemons()} {self.job_processes()}")
        self.remove_state()

    def cancel_all(self):
        try:
            self.ask("scancel", "--full", "--me", check=False)
            self.ask("scancel", "--me", check=False)
            wait_until(lambda: not self.ask("squeue", "-h", "--me", check=False), STOP_SECONDS, 0.3)
        except subprocess.TimeoutExpired:
            pass  # a controller that hangs is killed

    def remove_state(self):
        if not self.run_link.is_symlink():
            return
        run = self.run
        if run.name.startswith("couplet-slurm-"):
            shutil.rmtree(run, ignore_errors=True)
        self.run_link.unlink()
