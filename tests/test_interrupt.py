"""Ctrl-C and SIGTERM: what is said at once, whatever is computed, and the second one."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from test_survival import children, contents, hpcsim_run, started, wait_for_records

from hpcsim import cli
from hpcsim.run import interrupt

CONFIG = """
model: {name: collective_spin, S: 1/2, drive: 1, decay: 1}
method: {name: phase_space, task: evolve, times: [0.1], dt: 0.1, trajectories: 12, batch: 2}
"""
# the later records sleep, or keep Python's lock as a long factorisation does
SLOW = """
import collections, itertools, sys, time
from hpcsim import cli
from hpcsim.run import interrupt
from hpcsim.methods import phase_space
whole = phase_space.run
def run(system, options, record, context):
    if record > 1:
        {what}
    return whole(system, options, record, context)
phase_space.run = run
sys.exit(cli.main(sys.argv[1:]))
"""
SLEEPING, IN_C = "time.sleep(100)", "collections.deque(itertools.repeat(0), maxlen=0)"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG)
    return tmp_path


def script(folder, what):
    (folder / "slow.py").write_text(SLOW.format(what=what))
    return ["slow.py", *hpcsim_run("c.yaml", "r.h5")[2:]]


def read_until(stream, words):
    """The line that holds some words, or the end."""
    for line in stream:
        if words in line:
            return line
    raise AssertionError(f"the run has ended without a word of {words!r}")


@contextmanager
def launched(n, command, folder):
    """The run on n ranks, without a launcher for one; whatever is left of it is ended at the end."""
    if n > 1:
        with started(n, command, folder) as process:
            yield process
        return
    with subprocess.Popen([sys.executable, *command], cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def stop_twice(process, number):
    """A signal to all ranks, and the next once the first is answered; the answers."""
    below = [pid for pid in children(process.pid) if b"slow.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for words in ("again to stop now", "stopping now"):
        for pid in below or [process.pid]:
            os.kill(pid, number)
        yield read_until(process.stderr, words)
        time.sleep(interrupt.SAME + 0.1)


def resumes(folder):
    """The file is one that goes on to its end."""
    done = contents(folder / "r.h5")[1]
    assert 2 <= done.sum() < len(done)
    assert cli.main(["run", str(folder / "c.yaml"), "--out", str(folder / "r.h5")]) == 0
    assert contents(folder / "r.h5")[1].all()


@pytest.mark.parametrize("n, what, number, status", [(1, IN_C, signal.SIGINT, -9), (2, SLEEPING, signal.SIGTERM, 75)])
def test_the_first_is_answered_at_once_and_the_second_ends_the_run(folder, n, what, number, status):
    """In C code the process is killed; where Python can, it ends as a run that resumes."""
    command = script(folder, what)
    alone = (
        subprocess.Popen([sys.executable, *command], cwd=folder, stderr=subprocess.PIPE, text=True) if n == 1 else None
    )
    with alone or started(n, command, folder) as process:
        wait_for_records(folder / "r.h5", process, 2)
        time.sleep(0.2)  # all ranks are at their next ones
        first, second = stop_twice(process, number)
        records = f"finishing {n} record{'s' * (n > 1)}, "
        assert re.search(f"{number.name}: {records}(about [0-9]+ s|which takes? longer than estimated);", first)
        assert "what is finished is in r.h5, and the same command goes on from there" in second
        assert process.wait(60) == status
        assert "Traceback" not in process.stderr.read()
    resumes(folder)


def test_a_launcher_that_ends_its_ranks_is_told_of(tmp_path):
    """Ctrl-C to Open MPI's mpirun is SIGCONT and SIGTERM to the ranks, and a second later their end."""
    (tmp_path / "mpirun").write_text("#!/bin/bash\nsleep 60 & echo $!\nwait\n")
    (tmp_path / "mpirun").chmod(0o755)
    with subprocess.Popen([tmp_path / "mpirun"], stdout=subprocess.PIPE, text=True) as launcher:
        rank = int(launcher.stdout.readline())
        answer = {
            signals: subprocess.run(
                [sys.executable, interrupt.__file__, str(rank), "r.h5"],
                input=bytes(signals),
                capture_output=True,
            ).stderr.decode()
            for signals in ((signal.SIGCONT, signal.SIGTERM), (signal.SIGTERM,), (signal.SIGUSR1,))
        }
        os.kill(rank, signal.SIGKILL)
    ended, by_hand, warned = answer.values()
    assert "ends all ranks in a second; what is finished is in r.h5" in ended and f"kill -USR1 {launcher.pid}" in ended
    assert "ending before the next record; again to stop now" in by_hand
    assert warned == "hpcsim: SIGUSR1: ending before the next record; the same command goes on from there\n"


def test_signals_to_all_processes_of_a_job_do_not_end_it():
    command = [sys.executable, interrupt.__file__, str(os.getpid()), "r.h5"]
    with interrupt.start_beside(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as watcher:
        for number in interrupt.STOPPING:
            watcher.send_signal(number)
        assert b"SIGUSR1: ending before" in watcher.communicate(bytes([signal.SIGUSR1]))[1] and not watcher.returncode


def test_an_interrupted_command_is_one_line(folder, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_check", lambda *arguments: os.kill(os.getpid(), signal.SIGINT) or time.sleep(1))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it
    try:
        assert cli.main(["check", str(folder / "c.yaml")]) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "hpcsim: interrupted; the same command begins again\n"


@pytest.mark.parametrize("early, status, records", [(True, 75, 0), (False, 0, 6)])
def test_a_warning_finds_a_run_that_has_not_begun_or_is_complete(folder, early, status, records):
    """A batch system warns when it likes, also while the run is loaded and after its last record."""

    def warned_before():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        os.kill(os.getpid(), signal.SIGUSR1)

    warn = "import atexit, os, signal, sys; atexit.register(os.kill, os.getpid(), signal.SIGUSR1); "
    run = f"{'import sys; ' if early else warn}from hpcsim.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", run, *hpcsim_run("c.yaml", "r.h5")[2:]]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, preexec_fn=warned_before if early else None
    )
    assert done.returncode == status, done.stderr
    assert ("SIGUSR1: ending before the next record" in done.stderr) == early
    assert contents(folder / "r.h5")[1].sum() == records
