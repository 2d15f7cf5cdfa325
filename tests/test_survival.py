"""What is computed is never lost: kills, signals, time limits, full disks, failing ranks, damaged files.

Every run here is a real one: `mpirun python -m hpcsim run`.
"""

import contextlib
import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.stats
from conftest import campaign, mpi_command, mpi_environment, mpirun, random_seed, require, require_program

from hpcsim import store
from hpcsim.run import watch

CONFIG = """
title: survival
model: {name: gain_loss_lattice, cells: 4, S: 10, gain: 1.5, h: 0.5, loss: 1.0}
method: {name: phase_space, task: steady_state, trajectories: 160, batch: 8, dt: 0.05, burn_in: 5, duration: %s}
sweep: [{model.loss: [0.4, 1.0]}]
run: {seed: 3}
"""
TARGET = """
title: target
model: {name: gain_loss_lattice, cells: 4, S: 10, gain: 1.5, h: 0.5}
method: {name: phase_space, task: steady_state, trajectories: 120, batch: 2, dt: 0.05, burn_in: 5, duration: %s,
         target_error: {Sz: %s}}
sweep: [{model.loss: [0.4, 1.0, 2.0]}]
run: {seed: 3}
"""
TARGETS = {20: 0.1, 300: 0.011}  # of each duration; the last point meets it early, the first never
RECORDS = 40
FAST, SLOW = 20, 1000  # durations: a record of a few ms, and one of about 0.1 s


@pytest.fixture
def config(tmp_path):
    def write(duration=FAST, name="c.yaml"):
        (tmp_path / name).write_text(CONFIG % duration)
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of the fast records."""
    return uninterrupted(FAST, tmp_path_factory)


@pytest.fixture(scope="module")
def whole_slow(tmp_path_factory):
    """An uninterrupted run of the slow records."""
    return uninterrupted(SLOW, tmp_path_factory)


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library that makes writes fail and clocks jump."""
    require_program("cc")
    return campaign("writes").library(tmp_path_factory.mktemp("shim"))


def uninterrupted(duration, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    (folder / "c.yaml").write_text(CONFIG % duration)
    assert mpirun(2, hpcsim_run("c.yaml", "whole.h5"), cwd=folder).returncode == 0
    return folder / "whole.h5"


def hpcsim_run(config, out, *more):
    return ["-m", "hpcsim", "run", config, "--out", out, *more]


def contents(path):
    """(data of every output, done flags) of a run file."""
    with h5py.File(path, "r") as file:
        return {name: values[:] for name, values in file["data"].items()}, file["records/done"][:].astype(bool)


def same_bits(path, reference, where=slice(None)):
    data, _ = contents(path)
    expected, _ = contents(reference)
    assert data.keys() == expected.keys()
    return all(data[k][where].tobytes() == expected[k][where].tobytes() for k in data)


def children(pid):
    """Process ids below pid, from /proc."""
    found = []
    for task in (f"/proc/{pid}/task/{t}/children" for t in os.listdir(f"/proc/{pid}/task")):
        try:
            with open(task) as file:
                direct = [int(p) for p in file.read().split()]
        except FileNotFoundError:
            continue
        found += direct + [q for p in direct if os.path.exists(f"/proc/{p}") for q in children(p)]
    return found


def ranks(pid):
    """Process ids of the ranks below mpirun."""
    return [p for p in children(pid) if b"hpcsim\0run" in Path(f"/proc/{p}/cmdline").read_bytes()]


@contextmanager
def started(n, args, cwd):
    """mpirun in the background; whatever is left of it is ended at the end."""
    process = subprocess.Popen(
        mpi_command(n, args), env=mpi_environment(), cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            for pid in [*children(process.pid), process.pid]:
                os.kill(pid, signal.SIGKILL)
        process.communicate()


def wait_for_records(path, process, count):
    """Until `count` records of the run file are done (or the run has ended)."""
    for _ in range(3000):
        if process.poll() is not None:
            return
        if path.exists() and contents(path)[1].sum() >= count:
            return
        time.sleep(0.02)
    raise AssertionError(f"{path}: {count} records were not done in a minute")


def beside(pid):
    """Arguments and states of the other processes in the folder of a process: what a run has started works there."""
    folder, found = os.readlink(f"/proc/{pid}/cwd"), {}
    for other in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            if other != pid and os.readlink(f"/proc/{other}/cwd") == folder:
                found[other] = Path(f"/proc/{other}/cmdline").read_text(), Path(f"/proc/{other}/wchan").read_text()
    return found


def kill_ranks(process):
    for pid in children(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        assert not (left := beside(process.pid)), left
        process.kill()  # seen once: Open MPI 4 did not notice that all its ranks were gone at once


def test_sigkill_at_random_moments_loses_no_done_record(config, tmp_path, whole_slow):
    path, out = config(SLOW), tmp_path / "killed.h5"
    moments = random.Random(random_seed())
    done = np.zeros(RECORDS, bool)
    kills = 0
    while kills < 4:
        with started(2, hpcsim_run(path, out), tmp_path) as process:
            wait_for_records(out, process, 1)  # past the start; from here on any moment may come
            time.sleep(moments.uniform(0, 0.4))
            if process.poll() is None:
                kill_ranks(process)
        _, now = contents(out)
        assert (done <= now).all()
        assert same_bits(out, whole_slow, now)
        done, kills = now, kills + 1
        if done.all():  # start afresh: all kills fall into a run at work
            out.unlink()
            done[:] = False
    assert mpirun(2, hpcsim_run(path, out), cwd=tmp_path).returncode == 0
    assert contents(out)[1].all() and same_bits(out, whole_slow)


def test_any_number_of_ranks_gives_the_same_bits(config, tmp_path, whole):
    path = config()
    for n in (1, 3):
        assert mpirun(n, hpcsim_run(path, f"{n}.h5"), cwd=tmp_path).returncode == 0
    assert subprocess.run([sys.executable, *map(str, hpcsim_run(path, "serial.h5"))], cwd=tmp_path).returncode == 0
    assert contents(whole)[1].all()
    for name in ("1.h5", "3.h5", "serial.h5"):
        assert same_bits(tmp_path / name, whole)


def target_config(folder, duration):
    (folder / "t.yaml").write_text(TARGET % (duration, TARGETS[duration]))
    return folder / "t.yaml"


def needed(path, target):
    """(points, records) which records the target needs, from the numbers themselves, and whether they reach it."""
    found, met = np.zeros((3, 60), bool), []
    for p, values in enumerate(contents(path)[0]["Sz"].reshape(3, 60, -1)):
        n = 48
        while n < 60:
            decide = values[: n // 6]
            factor = (len(decide) - 1) / scipy.stats.chi2.ppf(0.1, len(decide) - 1)
            expected = factor * decide.var(axis=0, ddof=1).max() / target**2
            if expected <= n:
                break
            n = min(60, max(n + n // 8, int(np.ceil(expected))))
        found[p, :n] = True
        met.append(n < 60 or values.std(axis=0, ddof=1).max() / np.sqrt(60) <= target)
    return found, met


def test_target_error_needs_the_same_records_on_any_number_of_ranks(tmp_path):
    """Up to the first look that meets it, on one rank and on 3; and all that is told of it."""
    path = target_config(tmp_path, FAST)
    for n, size in ((1, 1), (3, 1)):
        out = tmp_path / f"{n}{size}.h5"
        ended = mpirun(n, hpcsim_run(path, out, "--set", f"run.ranks_per_point={size}"), cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "model.loss = 0.4: target_error not reached" in ended.stderr
        records, met = needed(out, TARGETS[FAST])
        assert not met[0] and met[2] and records.sum() < 170
        assert ended.stderr.count("not reached") == met.count(False) and "at most 180 records" in ended.stderr
        assert re.search(r"[0-9.]+ s compiling", ended.stderr)
        with h5py.File(out, "r") as file:
            assert file["records/done"][:].tolist() == np.where(records, 1, 2).ravel().tolist()
        assert same_bits(out, tmp_path / "11.h5")
    for command in (["status", out], ["collect", "c.h5", out], ["check", path]):
        ended = subprocess.run(
            [sys.executable, "-m", "hpcsim", *map(str, command)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=mpi_environment(),
        )
        assert ended.returncode == 0, ended.stderr
        if command[0] == "status":
            assert (
                f"{records.sum()}/{records.sum()} records ({180 - records.sum()} more not needed), 3/3 points"
                in ended.stdout
                and "; complete" in ended.stdout
            )
    assert re.search(r"records +at most 180", ended.stdout) and re.search(r"time +at most", ended.stdout)
    with h5py.File(tmp_path / "c.h5", "r") as file:
        assert file["target_met"][:].tolist() == met
        assert file["records_done"][:].tolist() == file["records_total"][:].tolist() == records.sum(1).tolist()
        data = contents(out)[0]["Sz"].reshape(3, 60, -1)
        averages = [values[which].mean(0) for values, which in zip(data, records)]
        np.testing.assert_allclose(file["Sz"][:], averages, rtol=1e-12)


def test_target_error_survives_kills_with_the_same_records(tmp_path):
    path = target_config(tmp_path, 300)
    assert mpirun(1, hpcsim_run(path, "whole.h5"), cwd=tmp_path).returncode == 0
    out = tmp_path / "killed.h5"
    with started(3, hpcsim_run(path, out), tmp_path) as process:
        wait_for_records(out, process, 1)
        time.sleep(random.Random(random_seed()).uniform(0, 0.5))
        if process.poll() is None:
            kill_ranks(process)
    ended = mpirun(2, hpcsim_run(path, out), cwd=tmp_path)
    assert ended.returncode == 0 and "model.loss = 0.4: target_error not reached" in ended.stderr
    records, met = needed(out, TARGETS[300])
    assert not met[0] and met[2] and records.sum() < 170
    assert contents(out)[1].all() and same_bits(out, tmp_path / "whole.h5")


TRAJECTORIES = """
title: quantum trajectories
model: {name: xyz_lattice, convention: lee2013, sites: 8, Jx: 0.8, Jy: 1.1, Jz: 1.0, decay: 1.0}
method: {name: trajectories, trajectories: 96, batch: 8, burn_in: auto, duration: 60, observables: [correlation]}
sweep: [{model.Jy: [1.1, 1.6]}]
run: {seed: 3}
"""


def test_killed_quantum_trajectories_resume_to_the_same_bits(tmp_path):
    (tmp_path / "q.yaml").write_text(TRAJECTORIES)
    assert mpirun(1, hpcsim_run("q.yaml", "whole.h5"), cwd=tmp_path).returncode == 0
    out = tmp_path / "killed.h5"
    with started(3, hpcsim_run("q.yaml", out), tmp_path) as process:
        wait_for_records(out, process, 4)
        if process.poll() is None:
            kill_ranks(process)
    assert not contents(out)[1].all()
    assert mpirun(2, hpcsim_run("q.yaml", out, "--set", "run.ranks_per_point=2"), cwd=tmp_path).returncode == 0
    assert contents(out)[1].all() and same_bits(out, tmp_path / "whole.h5")


BREAK_RANK_1 = """
import sys
from mpi4py import MPI
from hpcsim import cli
from hpcsim.methods import phase_space
whole = phase_space.run
def run(system, options, record, context):
    if MPI.COMM_WORLD.rank == 1:
        raise TypeError("broken on purpose")
    return whole(system, options, record, context)
phase_space.run = run
sys.exit(cli.main(sys.argv[1:]))
"""


def test_one_rank_raising_ends_all_with_one_traceback(config, tmp_path):
    (tmp_path / "broken.py").write_text(BREAK_RANK_1)
    path, out = config(SLOW), tmp_path / "r.h5"
    ended = mpirun(3, ["broken.py", "run", path, "--out", out], cwd=tmp_path, timeout=120)  # it does not hang
    assert ended.returncode == 1
    assert ended.stderr.count("Traceback") == 1 and "TypeError: broken on purpose" in ended.stderr
    for _ in range(1000):  # mpirun does not wait for those that it has killed
        if not store.read_status(out)["running"]:
            break
        time.sleep(0.05)
    assert "; the same command resumes" in store.format_status(store.read_status(out))
    assert mpirun(2, hpcsim_run(path, out, "--max-walltime", "0"), cwd=tmp_path).returncode == 75
    assert not [*tmp_path.glob("*.lock")]


def finish_and_compare(path, out, whole, n=2):
    """The run stopped early; on n ranks it goes on to the bits of the uninterrupted run `whole`."""
    assert contents(out)[1].sum() < RECORDS
    assert mpirun(n, hpcsim_run(path, out), cwd=path.parent).returncode == 0
    assert same_bits(out, whole)


@pytest.mark.parametrize("to_one_rank", [False, True])
def test_sigusr1_stops_at_a_record_and_resumes(config, tmp_path, to_one_rank, whole_slow):
    path, out = config(SLOW), tmp_path / "r.h5"
    with started(2, hpcsim_run(path, out), tmp_path) as process:
        wait_for_records(out, process, 3)
        os.kill(ranks(process.pid)[-1] if to_one_rank else process.pid, signal.SIGUSR1)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 75, err
    assert "stopped by SIGUSR1" in err and "Traceback" not in err
    finish_and_compare(path, out, whole_slow, n=3)


def test_walltime_stops_in_time_and_resumes(config, tmp_path, whole_slow):
    path, out = config(SLOW), tmp_path / "r.h5"
    ended = mpirun(2, hpcsim_run(path, out, "--max-walltime", "1.5s"), cwd=tmp_path)
    assert ended.returncode == 75 and "--max-walltime" in ended.stderr
    finish_and_compare(path, out, whole_slow)


def test_sigterm_stops_a_serial_run(config, tmp_path, whole_slow):
    path, out = config(SLOW), tmp_path / "r.h5"
    process = subprocess.Popen([sys.executable, *map(str, hpcsim_run(path, out))], cwd=tmp_path)
    wait_for_records(out, process, 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 75
    finish_and_compare(path, out, whole_slow)


@pytest.mark.parametrize("n", [1, 2])
def test_a_full_disk_is_a_clear_error(config, tmp_path, n):
    require(os.geteuid() == 0, "mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run([require_program("mount"), "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], check=True)
    try:
        path = config()
        assert mpirun(n, hpcsim_run(path, disk / "first.h5"), cwd=tmp_path).returncode == 0
        before = contents(disk / "first.h5")
        (disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 8192))
        ended = mpirun(n, hpcsim_run(path, disk / "second.h5"), cwd=tmp_path)
        assert ended.returncode == 1, ended.stderr
        assert len(re.findall("hpcsim: error: .*second.h5.*disk", ended.stderr)) == 1
        assert "Traceback" not in ended.stderr
        assert not list(disk.glob("*second*"))
        after = contents(disk / "first.h5")
        assert all(before[0][k].tobytes() == after[0][k].tobytes() for k in after[0]) and after[1].all()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_resumed_run_needs_no_more_disk(config, tmp_path, whole_slow):
    require(os.geteuid() == 0, "mounting a small tmpfs needs root")
    disk, path = tmp_path / "disk", config(SLOW)
    disk.mkdir()
    subprocess.run([require_program("mount"), "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], check=True)
    try:
        out = disk / "r.h5"
        assert mpirun(2, hpcsim_run(path, out, "--max-walltime", "1.5s"), cwd=tmp_path).returncode == 75
        (disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 8192))
        finish_and_compare(path, out, whole_slow)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_run_file_of_another_config_is_refused(config, tmp_path, whole):
    path, out = config(), tmp_path / "r.h5"
    shutil.copy(whole, out)
    before = out.read_bytes()
    ended = mpirun(2, hpcsim_run(path, out, "--set", "model.h=0.25"), cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.count("hpcsim: error:") == 1
    for word in ("model.h", "0.5", "0.25", str(out)):
        assert word in ended.stderr
    ended = mpirun(2, hpcsim_run(path, out, "--set", "run.seed=4"), cwd=tmp_path)
    assert ended.returncode == 2 and "run.seed" in ended.stderr
    assert out.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "flipped", "not HDF5"])
@pytest.mark.parametrize("command", ["run", "collect"])
def test_a_damaged_run_file_is_named_and_never_silently_used(config, tmp_path, whole, damage, command):
    path, out = config(), tmp_path / "r.h5"
    raw = bytearray(whole.read_bytes())
    if damage == "truncated":
        raw = raw[: len(raw) // 2]
    elif damage == "not HDF5":
        raw = b"something else" * 100
    else:
        with h5py.File(whole, "r") as file:
            raw[file["data/Sz"].id.get_offset() + 8 * file["data/Sz"][0].size * 5] ^= 1  # in record 5
    out.write_bytes(raw)
    if command == "collect":
        ended = subprocess.run(
            [sys.executable, "-m", "hpcsim", "collect", tmp_path / "c.h5", out],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=mpi_environment(),
        )
    else:
        ended = mpirun(2, hpcsim_run(path, out), cwd=tmp_path)
    assert "r.h5" in ended.stderr and "Traceback" not in ended.stderr
    if command == "run" and damage == "flipped":  # the one damaged record is named and computed again
        assert ended.returncode == 0 and re.search(r"record 5\b", ended.stderr)
        assert same_bits(out, whole)
    else:
        assert ended.returncode in (1, 2) and not (tmp_path / "c.h5").exists()


def test_two_runs_on_one_file_the_second_is_refused(config, tmp_path):
    path, out = config(SLOW), tmp_path / "r.h5"
    with started(2, hpcsim_run(path, out), tmp_path) as process:
        wait_for_records(out, process, 1)
        for pid in ranks(process.pid):  # so that the first is at work for as long as the second takes to begin
            os.kill(pid, signal.SIGSTOP)
        second = mpirun(2, hpcsim_run(path, out), cwd=tmp_path)
        assert second.returncode == 2
        assert second.stderr.count("hpcsim: error:") == 1 and "r.h5" in second.stderr
        status = subprocess.run(
            [sys.executable, "-m", "hpcsim", "status", out],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=mpi_environment(),
        )
        assert status.returncode == 0 and f"/{RECORDS}" in status.stdout
        for pid in ranks(process.pid):
            os.kill(pid, signal.SIGCONT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert contents(out)[1].all()


def test_wrong_group_size_is_refused_on_all_ranks(config, tmp_path):
    ended = mpirun(3, hpcsim_run(config(), tmp_path / "r.h5", "--set", "run.ranks_per_point=2"), cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.count("hpcsim: error:") == 1 and "run.ranks_per_point = 2" in ended.stderr
    assert not (tmp_path / "r.h5").exists()


ALONE_ON_RANK_1 = {
    "a library is missing": 'sys.modules["hpcsim.run.execute"] = None',
    "no memory at the start": "from hpcsim.run import parallel; parallel.Groups.__init__ = fail(MemoryError('none'))",
    "a library gives up": "from hpcsim.methods import phase_space; phase_space.run = fail(SystemExit(0))",
}
ONE_RANK = """
import sys
from mpi4py import MPI
from hpcsim import cli
def fail(error):
    def raising(*arguments, **keys):
        raise error
    return raising
if MPI.COMM_WORLD.rank == 1:
    {what}
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("what", ALONE_ON_RANK_1)
def test_one_rank_that_cannot_go_on_ends_all_with_its_reason(config, tmp_path, what):
    """Whatever the error is and wherever it comes from, after MPI has started."""
    (tmp_path / "broken.py").write_text(ONE_RANK.format(what=ALONE_ON_RANK_1[what]))
    ended = mpirun(2, ["broken.py", "run", config(SLOW), "--out", "r.h5"], cwd=tmp_path, timeout=60)
    assert ended.returncode == 1, ended.stderr
    assert "[rank 1]" in ended.stderr and ended.stderr.count("Traceback") == 1
    assert re.search("ModuleNotFoundError|MemoryError|SystemExit", ended.stderr)


def test_a_stopped_rank_is_named(caplog):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert watch.trouble(process.pid) is None
        process.send_signal(signal.SIGSTOP)
        ended = threading.Event()
        looking = threading.Thread(target=watch._look, args=(3, process.pid, "node7", 0.01, ended))
        looking.start()
        for _ in range(1000):
            if caplog.text:
                break
            time.sleep(0.01)
        ended.set()
        looking.join()
        assert f"rank 3 (process {process.pid} on node7) is stopped" in caplog.text
        assert len(caplog.messages) == 1
    finally:
        process.kill()
        process.communicate()
    assert watch.trouble(process.pid) is None


@pytest.mark.parametrize("swapped, said", [(50_000, None), (2_000_000, "has 2 GB of its memory in swap")])
def test_a_rank_in_swap_is_named(monkeypatch, swapped, said):
    text = f"State:\tS (sleeping)\nVmRSS:\t  1000 kB\nVmSwap:\t {swapped} kB\n"
    monkeypatch.setattr(Path, "read_text", lambda self: text)
    assert watch.trouble(1) == said


def test_a_clock_that_jumps_changes_no_limit_and_no_fraction(config, tmp_path, shim):
    command = [sys.executable, *map(str, hpcsim_run(config(SLOW), "r.h5", "--max-walltime", "1s"))]
    jumping = mpi_environment(LD_PRELOAD=shim, CLOCK_SEED=random_seed())
    ended = subprocess.run(command, cwd=tmp_path, env=jumping, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 75, ended.stderr
    [entry] = store.read_status(tmp_path / "r.h5")["history"]
    assert 0 <= entry["busy_fraction"][0] <= 1 and 0 < entry["wall_seconds"] < 100


@pytest.mark.parametrize("full", [False, True], ids=["head", "full disk"])
def test_progress_that_cannot_be_written_is_dropped(config, tmp_path, full):
    command = [sys.executable, *map(str, hpcsim_run(config(), "r.h5"))]
    if full:
        with open("/dev/full", "w") as nowhere:
            ended = subprocess.run(command, cwd=tmp_path, stdout=nowhere, stderr=nowhere, timeout=100)
    else:
        read, write = os.pipe()
        os.close(read)
        ended = subprocess.run(command, cwd=tmp_path, stdout=write, stderr=write, timeout=100)
        os.close(write)
    assert ended.returncode == 0
    assert contents(tmp_path / "r.h5")[1].all()


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_write_error_in_mid_run_is_one_message_and_the_run_resumes(config, tmp_path, whole, shim, error):
    path, out = config(), tmp_path / "r.h5"
    command = [sys.executable, *map(str, hpcsim_run(path, out))]
    after = random.Random(random_seed()).randrange(2, 200)
    fault = {"FAULT_FOLDER": tmp_path, "FAULT_AT": after, "FAULT_ERROR": int(error), "FAULT_ON": 1, "FAULT_SHORT": 1}
    faults = mpi_environment(LD_PRELOAD=shim, **fault)
    ended = subprocess.run(command, cwd=tmp_path, env=faults, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.count("hpcsim: error: ") == 1 and os.strerror(error) in ended.stderr
    assert "Traceback" not in ended.stderr and "Segmentation" not in ended.stderr
    before = contents(out)[1] if out.exists() else np.zeros(RECORDS, bool)
    if before.any():
        assert same_bits(out, whole, before)
    assert subprocess.run(command, cwd=tmp_path, env=mpi_environment()).returncode == 0
    assert contents(out)[1].all() and same_bits(out, whole)


FAILING = """
import sys
from hpcsim import cli
from hpcsim.methods import phase_space
whole = phase_space.run
def run(system, options, record, context):
    if record in (3, 7) and {fails}:
        raise RuntimeError("cannot be computed")
    return whole(system, options, record, context)
phase_space.run = run
sys.exit(cli.main(sys.argv[1:]))
"""


def test_records_that_fail_are_named_and_the_others_go_on(config, tmp_path, whole):
    path, out = config(), tmp_path / "r.h5"
    for name, fails in (("failing.py", True), ("working.py", False)):
        (tmp_path / name).write_text(FAILING.format(fails=fails))
    for _ in range(2):  # the second time nothing is left to do
        ended = mpirun(2, ["failing.py", "run", path, "--out", out], cwd=tmp_path)
        assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stderr
        assert ended.stderr.count("hpcsim: error: ") == 1
        told = "record 3 at model.loss = 0.4, record 7 at model.loss = 0.4, record 23 at model.loss = 1.0 and 1 more"
        assert f"4 of 40 records failed; the others are done. {told}: RuntimeError: cannot" in ended.stderr
        _, flags = contents(out)
        with h5py.File(out, "r") as file:
            assert np.flatnonzero(file["records/done"][:] == 3).tolist() == [3, 7, 23, 27] and flags.all()
    text = store.format_status(store.read_status(out))
    assert "36/40 records, 4 failed" in text
    assert "record 23 of point 1 (model.loss = 1.0) failed: RuntimeError: cannot be" in text
    [run] = store.read_runs(out)
    assert run.done.sum() == 36 and same_bits(out, whole, run.done)
    ended = mpirun(2, ["working.py", "run", path, "--out", out, "--retry-failed"], cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert same_bits(out, whole)
