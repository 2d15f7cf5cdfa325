"""A real Slurm cluster of one node or of several on this machine, of Debian's packages, in a directory of its own.

    with SlurmCluster() as cluster:
        job = cluster.sbatch("--time=1", "jobs/run.sbatch", "config.yaml")
        cluster.wait(job, timeout=100)

munged, slurmctld and slurmd run as the present user with their own key, ports, state and
configuration, beside any Slurm of the machine, and are ended by their process ids. Of several nodes each has a slurmd
with a name and a port of its own (Debian builds Slurm with --enable-multiple-slurmd), and can lose its power.
"""

import contextlib
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from conftest import ROOT, require_program

NODE = "SLURM_TEST_NODE"  # in the environment of what a node's slurmd starts for itself
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT")

# cred_expire: a requeued job may start again only when its credential has expired, 120 s by default.
SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=1,sched_interval=1
SlurmdParameters=config_overrides
JobRequeue=1
KillWait=5
MinJobAge=600
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def _free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class SlurmCluster:
    """Context manager; `environment` is what its commands run with (SLURM_CONF points at it)."""

    def __init__(self, cpus=2, nodes=1):
        self.programs = {
            name: require_program(name)
            for name in ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel", "sinfo")
        }
        self.cpus = cpus
        self.processes = []
        host = socket.gethostname().split(".")[0]  # the name by which mpirun knows this node
        self.nodes = [host] if nodes == 1 else [f"node{i}" for i in range(nodes)]

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: sockets have short paths
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "SBATCH"))}
        self.environment["SLURM_CONF"] = str(self.directory / "slurm.conf")
        self._configure()
        try:
            self._start_munge()
            self._start("slurmctld", "-D", "-i")
            for node in self.nodes:
                self._boot(node)
            self._until(lambda: self._command("sinfo", "-h", "-o", "%T", check=False).stdout.strip() == "idle", 30)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception):
        """End all jobs, and the daemons after them: without slurmd no one would end a job's processes."""
        self._command("scontrol", "update", "PartitionName=main", "State=DOWN", check=False)  # no job starts
        self._command("scancel", "--user", getpass.getuser(), check=False)
        end = time.monotonic() + 20
        while self._command("squeue", "-h", "-t", "running,completing", check=False).stdout.strip():
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        self._stop()
        shutil.rmtree(self.directory)

    def _configure(self):
        for name in ("state", *(f"spool-{node}" for node in self.nodes)):
            (self.directory / name).mkdir()
        self.directory.chmod(0o755)
        host = socket.gethostname().split(".")[0]
        slurmctld_port, *ports = _free_ports(1 + len(self.nodes))
        line = "NodeName={} NodeHostname={} NodeAddr=127.0.0.1 Port={} CPUs={} State=UNKNOWN"
        nodes = [line.format(node, host, port, self.cpus) for node, port in zip(self.nodes, ports)]
        (self.directory / "slurm.conf").write_text(
            SLURM_CONF.format(
                host=host,
                user=getpass.getuser(),
                directory=self.directory,
                nodes="\n".join(nodes),
                slurmctld_port=slurmctld_port,
            )
        )
        # control groups are not used, and in a container may not be there to be found; before 23.02
        # there was no word for that, but the plugin of version 1 does not look for them unasked
        version = subprocess.run([self.programs["slurmd"], "-V"], capture_output=True, text=True).stdout
        numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:2])
        plugin = "disabled" if numbers >= (23, 2) else "cgroup/v1"
        (self.directory / "cgroup.conf").write_text(f"CgroupPlugin={plugin}\n")
        key = self.directory / "munge.key"
        key.touch(0o600)
        key.write_bytes(os.urandom(64))

    def _boot(self, node):
        self._start("slurmd", "-D", "-N", node, environment={NODE: node})

    def power_cut(self, node):
        """No process of a node does anything any more. Slurm is told what it finds out itself after SlurmdTimeout."""
        for pid in self._processes_of(node):
            os.kill(pid, signal.SIGSTOP)
        self._command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def reboot(self, node):
        """After a power cut: none of its processes is left, and slurmd starts anew."""
        for pid in self._processes_of(node):
            os.kill(pid, signal.SIGKILL)
        self.processes = [process for process in self.processes if process.poll() is None]
        self._boot(node)

    def _processes_of(self, node) -> list[int]:
        """slurmd and what it has started: Slurm's own processes of a job, and those of the user."""
        found, mine = [], f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        for folder in Path("/proc").glob("[1-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "environ").read_bytes().split(b"\0")
                if mine in words and {f"{name}={node}".encode() for name in (NODE, "SLURMD_NODENAME")} & {*words}:
                    found.append(int(folder.name))
        return found

    def _start(self, name, *arguments, environment=None):
        with open(self.directory / f"{name}.out", "a") as out:
            self.processes.append(
                subprocess.Popen(
                    [self.programs[name], *map(str, arguments)],
                    env=self.environment | (environment or {}),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                )
            )

    def _start_munge(self):
        d = self.directory
        self._start(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={d}/munge.key",
            f"--socket={d}/munge.socket",
            f"--pid-file={d}/munge.pid",
            f"--log-file={d}/munge.log",
            f"--seed-file={d}/munge.seed",
        )
        self._until((d / "munge.socket").exists, 10)

    def _until(self, condition, timeout):
        """Wait until condition() holds; an ended daemon or the timeout is an error with the logs."""
        end = time.monotonic() + timeout
        while not condition():
            dead = [p.args[0] for p in self.processes if p.poll() is not None]
            if dead or time.monotonic() > end:
                raise RuntimeError(f"Slurm is not ready ({dead or timeout}):\n{self.logs()}")
            time.sleep(0.1)

    def _stop(self):
        """End the daemons, the last started first."""
        for process in reversed(self.processes):
            process.terminate()
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _command(self, name, *arguments, check=True):
        done = subprocess.run(
            [self.programs[name], *map(str, arguments)],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if check and done.returncode:
            raise RuntimeError(f"{name} {arguments}: {done.stderr}\n{self.logs()}")
        return done

    def logs(self):
        """The last lines of what every daemon said."""
        files = sorted(self.directory.glob("*.log")) + sorted(self.directory.glob("*.out"))
        return "\n".join(f"== {f.name}\n" + "\n".join(f.read_text().splitlines()[-20:]) for f in files)

    def scancel(self, number):
        self._command("scancel", number)

    def warn(self, number):
        """Send a job's script what --signal=B:USR1@SECONDS sends it before its time limit."""
        self._command("scancel", "--batch", "--signal=USR1", number)

    def sbatch(self, *arguments, cwd=ROOT, env=None):
        """Submit a batch job; its number."""
        done = subprocess.run(
            [self.programs["sbatch"], "--parsable", *map(str, arguments)],
            cwd=cwd,
            env=self.environment | (env or {}),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise RuntimeError(f"sbatch {arguments}: {done.stderr}")
        return int(done.stdout.split(";")[0])

    def job(self, number):
        """What `scontrol show job` says of a job: JobState, Restarts, ExitCode, ... as a dict."""
        return dict(re.findall(r"(\S+?)=(\S*)", self._command("scontrol", "show", "job", number).stdout))

    def wait(self, number, timeout):
        """Wait until a job has ended for good; its `job()`. A requeued job has not ended."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            job = self.job(number)
            if job["JobState"] in ENDED:
                return job
            time.sleep(0.3)
        raise TimeoutError(f"job {number} is still {job['JobState']} ({job['Reason']}):\n{self.logs()}")
