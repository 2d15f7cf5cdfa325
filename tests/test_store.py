"""The run file: what is written comes back, and nothing damaged, foreign or half made is ever used."""

import errno
import itertools
import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import mpi_command, mpi_environment, require, require_program
from functions import NORM
from mpi4py import MPI

from hpcsim import store
from hpcsim.methods import Dim, Output
from hpcsim.store import StoreError, disk, lock, whole
from hpcsim.store.states import HISTORY, places

RECORDS = 12
NOTE = 8192 + 20  # where HDF5 notes that the file is open
OUTPUTS = (
    Output("Sz", (Dim("sublattice", ("a", "b")),), "ħ", "mean of ⟨Sz⟩", reduce="mean"),
    Output("eigenvalues", (Dim("eigenvalue", (0, 1, 2)),), "g", dtype="c16", reduce="merge"),
    Output("gap", (), "g", reduce="min"),
    Output("S_perp", (Dim("sublattice", ("a", "b")),), reduce="function", function=NORM, sources=("Sz", "Sz")),
)


def layout(outputs=OUTPUTS, **config):
    """3 points of 4 records; `config` replaces whole sections."""
    sections = {
        "title": "a test, S⊥",
        "model": {"name": "m", "S": 1.5, "size": [2, 3]},
        "method": {"name": "x"},
        "sweep": [{"model.gain": [0.1, 0.2, 0.3], "model.loss": [1, 2, 3]}],
        "run": {"seed": 1, "flush_seconds": 60.0},
        "figures": [],
    } | config
    return store.Layout(
        sections, tuple(sections["sweep"]), outputs, np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3)
    )


def arrays(record):
    """What record `record` returns: two of the three eigenvalues that the slab has room for."""
    x = np.random.default_rng(record)
    eigenvalues = x.normal(size=2) + 1j * x.normal(size=2)
    return {"Sz": x.normal(size=2), "eigenvalues": eigenvalues, "gap": x.normal()}


def written(path, records=range(RECORDS), **config):
    """A run file with some records done."""
    with store.open_run(path, layout(**config), MPI.COMM_SELF) as run:
        for record in records:
            run.write(record, arrays(record), 0.5)
    return path


def extents(path):
    """{dataset: (offset, bytes)} of all that is written after the creation."""
    with h5py.File(path, "r", locking=False) as file:
        return {name: (place.offset, place.row(place.shape[0]) - place.offset) for name, place in places(file).items()}


def flip(path, offset):
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 1
    path.write_bytes(raw)


def check_records(path, done):
    """Exactly the records `done` are done, and bit-identical; the rest is NaN."""
    [run] = store.read_runs(path)
    assert np.flatnonzero(run.done).tolist() == sorted(done)
    for record in range(RECORDS):
        expected = arrays(record)
        if record in done:
            assert run.arrays["Sz"][record].tobytes() == expected["Sz"].tobytes()
            assert run.arrays["eigenvalues"][record, :2].tobytes() == expected["eigenvalues"].tobytes()
            assert run.arrays["gap"][record] == expected["gap"]
        padding = run.arrays["eigenvalues"][record, 2]
        assert np.isnan(padding.real) and np.isnan(padding.imag)
    assert np.isnan(run.arrays["gap"][~run.done]).all()
    return run


def test_records_come_back_with_padding(tmp_path):
    run = check_records(written(tmp_path / "r.h5", [0, 5, 11]), {0, 5, 11})
    assert run.layout.config == layout().config
    assert run.layout.axes == layout().axes and run.layout.shape == (3,)
    assert [o.name for o in run.layout.outputs] == [o.name for o in OUTPUTS]
    assert run.layout.outputs[0].dims[0].values == ["a", "b"] and not run.layout.outputs[3].stored
    assert (run.layout.point == layout().point).all() and (run.layout.index == layout().index).all()
    assert run.seconds[5] == 0.5 and run.versions["hpcsim"]


def test_nothing_but_the_slabs_changes_after_the_creation(tmp_path):
    path = written(tmp_path / "r.h5", [])
    before = path.read_bytes()
    changing = extents(path)
    with store.open_run(path, layout(), MPI.COMM_SELF) as run:
        run.write(3, arrays(3), 1.0)
        run.sync()
        run.finish({"started": 1.0, "ended": "complete"})
        assert run.io_seconds > 0
    after = path.read_bytes()
    assert len(before) == len(after)
    may = {i for offset, size in [*changing.values(), (NOTE, 4)] for i in range(offset, offset + size)}
    assert {i for i, (a, b) in enumerate(zip(before, after)) if a != b} <= may


def test_a_run_resumes_and_may_change_what_results_do_not_depend_on(tmp_path):
    path = written(tmp_path / "r.h5", [1, 2])
    changed = layout(title="other", figures=[{"a": 1}], run={"seed": 1, "flush_seconds": 1.0})
    with store.open_run(path, changed, MPI.COMM_SELF) as run:
        assert np.flatnonzero(run.done).tolist() == [1, 2]
        run.write(4, arrays(4), 0.5)
    check_records(path, {1, 2, 4})


@pytest.mark.parametrize(
    "change, names",
    [
        ({"model": {"name": "m", "S": 2.5, "size": [2, 3]}}, ["model.S", "1.5", "2.5"]),
        ({"model": {"name": "m", "S": 1.5, "size": [2, 4]}}, ["model.size.1", "3", "4"]),
        ({"method": {"name": "x", "dt": 0.1}}, ["method.dt", "absent", "0.1"]),
        (
            {"sweep": [{"model.gain": [0.1, 0.2, 0.4], "model.loss": [1, 2, 3]}]},
            ["holds points at model.gain = 0.3, model.loss = 3", "hpcsim collect OUT.h5"],
        ),
        ({"run": {"seed": 2, "flush_seconds": 60.0}}, ["run.seed", "1", "2"]),
    ],
)
def test_another_config_is_refused_with_the_difference(tmp_path, change, names):
    path = written(tmp_path / "r.h5", [0])
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        store.open_run(path, layout(**change), MPI.COMM_SELF)
    assert caught.value.status == 2
    for name in [str(path), *names]:
        assert name in str(caught.value)
    assert path.read_bytes() == before and not (tmp_path / "r.h5.lock").exists()


def test_the_first_value_of_an_axis_is_named_by_its_axis(tmp_path):
    path = written(tmp_path / "r.h5", [0], model={"name": "m", "gain": 0.1})
    axis = {"model.gain": [0.0, 0.2, 0.3], "model.loss": [1, 2, 3]}
    moved = layout(model={"name": "m", "gain": 0.0}, sweep=[axis])
    with pytest.raises(StoreError, match=r"holds points at model\.gain = 0\.1, model\.loss = 1,"):
        store.open_run(path, moved, MPI.COMM_SELF)


def more(n=3, first=0.05):
    """The layout with one more point in front, one more axis, and room for n eigenvalues."""
    sweep = [{"model.S": [1.0, 1.5]}, {"model.loss": [7, 1, 2, 3], "model.gain": [first, 0.1, 0.2, 0.3]}]
    outputs = (OUTPUTS[0], replace(OUTPUTS[1], dims=(Dim("eigenvalue", tuple(range(n))),)), *OUTPUTS[2:])
    return replace(
        layout(outputs, sweep=sweep),
        axes=tuple(sweep),
        point=np.repeat(np.arange(8), 4),
        index=np.tile(np.arange(4), 8),
    )


def test_points_added_to_the_sweep_come_into_the_same_file(tmp_path, caplog):
    """Records are where their points now are, bit for bit, with failures and history; the others are to be computed."""
    path = tmp_path / "r.h5"
    with store.open_run(path, layout(), MPI.COMM_SELF) as run:
        for record in (0, 5):
            run.write(record, arrays(record), 0.5)
        run.fail(6, "RuntimeError: singular", 0.25)
        run.finish({"started": 1.0, "ended": "signal"})
    with caplog.at_level(logging.INFO, "hpcsim"), store.open_run(path, more(5), MPI.COMM_SELF) as run:
        assert np.flatnonzero(run.done).tolist() == [20, 25] and np.flatnonzero(run.failed).tolist() == [26]
        run.write(0, arrays(0), 0.5)
    assert "5 points added to its sweep; the 2 records that it has are kept" in caplog.text
    [run] = store.read_runs(path)
    assert np.flatnonzero(run.done).tolist() == [0, 20, 25] and run.failures == {26: "RuntimeError: singular"}
    for record, old in ((20, 0), (25, 5)):
        assert run.arrays["eigenvalues"][record, :2].tobytes() == arrays(old)["eigenvalues"].tobytes()
        assert run.arrays["gap"][record] == arrays(old)["gap"] and run.seconds[record] == 0.5
    assert np.isnan(run.arrays["eigenvalues"][:, 2:]).all()
    assert [entry["ended"] for entry in run.history] == ["signal"] and run.history[0]["session"] == 1
    assert run.layout.axes == more(5).axes and run.layout.config["sweep"] == [*more(5).axes]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.h5"]
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"holds points at model\.loss = 7, model\.gain = 0\.05, which the sweep"):
        store.open_run(path, more(5, first=0.06), MPI.COMM_SELF)
    assert path.read_bytes() == before


def test_a_file_that_cannot_be_extended_is_left_as_it_was(tmp_path, monkeypatch):
    path = written(tmp_path / "r.h5", [0, 1])
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.slots, "write_at", fail)
    with pytest.raises(StoreError, match="no room for the points that were added"):
        store.open_run(path, more(), MPI.COMM_SELF)
    assert path.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["r.h5"]


def test_other_outputs_are_refused(tmp_path):
    path = written(tmp_path / "r.h5", [0])
    other = layout(outputs=(replace(OUTPUTS[0], units="1"), *OUTPUTS[1:]))
    with pytest.raises(StoreError, match=r"laid out differently.*outputs\.Sz\.units"):
        store.open_run(path, other, MPI.COMM_SELF)


def test_what_is_not_an_output_is_refused(tmp_path):
    with store.open_run(tmp_path / "r.h5", layout(), MPI.COMM_SELF) as run:
        good = arrays(0)
        for bad in (
            good | {"gip": 1.0},
            good | {"Sz": np.zeros(3)},
            good | {"gap": 1j},
            good | {"Sz": np.zeros((2, 2))},
        ):
            with pytest.raises(ValueError, match="output"):
                run.write(0, bad, 0.1)
    check_records(tmp_path / "r.h5", set())
    with pytest.raises(ValueError, match="Sz is single, but a point has several records"):
        layout(outputs=(replace(OUTPUTS[0], reduce="single"),))


READERS = {
    "run": lambda path: store.open_run(path, layout(), MPI.COMM_SELF),
    "read": store.read_runs,
    "status": store.read_status,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kept", [0.99, 0.5, 0.03, 0.01])
def test_a_truncated_file_is_named(tmp_path, reader, kept):
    path = written(tmp_path / "r.h5")
    raw = path.read_bytes()
    path.write_bytes(raw[: int(kept * len(raw))])
    with pytest.raises(StoreError, match="r.h5: is (truncated or )?damaged") as caught:
        READERS[reader](path)
    assert caught.value.status == 1
    assert len(path.read_bytes()) == int(kept * len(raw))


@pytest.mark.parametrize(
    "where", ["data/Sz", "data/eigenvalues", "data/gap", "records/crc", "records/seconds", "records/done"]
)
def test_a_flipped_byte_in_a_record_is_named_and_the_record_computed_again(tmp_path, caplog, where):
    path = written(tmp_path / "r.h5", range(RECORDS - 1))
    offset, size = extents(path)[where]
    record = RECORDS - 1 if where == "records/done" else 7  # a flag that says done of what is not
    flip(path, offset + record * size // RECORDS)
    with pytest.raises(StoreError, match=rf"r\.h5.*record {record};") as caught:
        store.read_runs(path)
    assert caught.value.status == 1
    with caplog.at_level(logging.WARNING, "hpcsim"), store.open_run(path, layout(), MPI.COMM_SELF) as run:
        assert np.flatnonzero(~run.done).tolist() == sorted({record, RECORDS - 1})
        for again in np.flatnonzero(~run.done):
            run.write(again, arrays(again), 0.5)
    assert [m for m in caplog.messages if f"record {record} " in m and "r.h5" in m]
    check_records(path, set(range(RECORDS)))


def test_a_flipped_byte_anywhere_else_is_found(tmp_path):
    path = written(tmp_path / "r.h5")
    raw = path.read_bytes()
    skip = [*extents(path).values(), (NOTE, 4)]
    tables = [i for i in range(len(raw)) if not any(offset <= i < offset + size for offset, size in skip)]
    for position in [0, 20, 100, *random.Random(1).sample(tables, 400)]:
        flip(path, position)
        with pytest.raises(StoreError) as caught:
            store.read_runs(path)
        assert "r.h5" in str(caught.value)
        path.write_bytes(raw)
    check_records(path, set(range(RECORDS)))


@pytest.mark.parametrize("reader", READERS)
def test_what_is_not_a_run_file_is_refused_and_left_alone(tmp_path, reader):
    text, foreign = tmp_path / "text.h5", tmp_path / "foreign.h5"
    text.write_text("not HDF5")
    with h5py.File(foreign, "w") as file:
        file["x"] = 1
    for path in (text, foreign):
        before = path.read_bytes()
        with pytest.raises(StoreError, match=path.name) as caught:
            READERS[reader](path)
        assert caught.value.status == 2 and path.read_bytes() == before
    if reader != "run":
        with pytest.raises(StoreError, match="no such file"):
            READERS[reader](tmp_path / "nothing.h5")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--out") as caught:
        store.open_run(tmp_path / "file" / "r.h5", layout(), MPI.COMM_SELF)
    assert caught.value.status == 2


SIDE = Dim("i", tuple(range(300)))
LARGE = (Output("large", (SIDE, replace(SIDE, name="j")), reduce="mean"),)  # 720 kB: kills hit writes
WRITER = """
import sys, time
sys.path[:0] = [{tests!r}]
from mpi4py import MPI
import numpy as np
from hpcsim import store
from test_store import LARGE, RECORDS, arrays, layout
comm = MPI.COMM_WORLD
if {large}:
    run = store.open_run(sys.argv[1], layout(LARGE), comm)
    for record in range(comm.rank, RECORDS, comm.size):
        run.write(record, {{"large": np.full((300, 300), record + 0.5)}}, 0.5)
else:
    run = store.open_run(sys.argv[1], layout(), comm)
    run.write(comm.rank, arrays(comm.rank), 0.5)
print("written", flush=True)
time.sleep(60)
"""


class Writer:
    """Processes that write a run file until they are killed."""

    def __init__(self, path, ranks=None, large=False):
        script = path.parent / "writer.py"
        script.write_text(WRITER.format(tests=os.path.dirname(__file__), large=large))
        args = [str(script), str(path)]
        command = mpi_command(ranks, args) if ranks else [sys.executable, *args]
        self.process = subprocess.Popen(
            command, env=mpi_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.ranks = bool(ranks)

    def wait(self):
        assert self.process.stdout.readline() == "written\n"

    def kill(self):
        targets = [self.process.pid]
        if self.ranks:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
                targets = [int(pid) for pid in children.read().split()]
        for pid in targets:
            os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=30)


def test_a_second_run_is_refused_until_the_first_is_killed(tmp_path):
    path = tmp_path / "r.h5"
    first = Writer(path)
    try:
        first.wait()
        before = path.read_bytes()
        with pytest.raises(StoreError) as caught:
            store.open_run(path, layout(), MPI.COMM_SELF)
        assert caught.value.status == 2
        assert f"process {first.process.pid}" in str(caught.value) and "r.h5" in str(caught.value)
        assert path.read_bytes() == before
        status = store.read_status(path)  # reads beside the writer, and does not stop it
        assert (status["running"], status["done"], status["records"]) == (True, 1, RECORDS)
        assert str(first.process.pid) in status["holder"]
        assert first.process.poll() is None
    finally:
        first.kill()
    assert (tmp_path / "r.h5.lock").exists()
    assert store.read_status(path)["running"] is False
    assert "killed" in store.format_status(store.read_status(path))
    with store.open_run(path, layout(), MPI.COMM_SELF) as run:
        assert run.done.sum() == 1
    assert not (tmp_path / "r.h5.lock").exists()


def test_a_lock_file_removed_under_us_is_no_lock(tmp_path, monkeypatch):
    path, real = tmp_path / "r.h5", lock.fcntl.flock
    owners = []

    def flock(fd, how):  # the former owner ends, and another run starts, between our open and our flock
        monkeypatch.setattr(lock.fcntl, "flock", real)
        os.unlink(f"{path}.lock")
        owners.append(lock.Lock(path))
        real(fd, how)

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(StoreError, match="another run"):
        lock.Lock(path)
    owners[0].release()
    lock.Lock(path).release()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b'{"pid": 1}', b"[" * 10**5])
def test_a_damaged_lock_file_keeps_nobody_out(tmp_path, content):
    written(tmp_path / "r.h5", [0])
    (tmp_path / "r.h5.lock").write_bytes(content)
    assert store.read_status(tmp_path / "r.h5")["running"] is False
    written(tmp_path / "r.h5", [1])
    assert not (tmp_path / "r.h5.lock").exists()


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, caplog):
    def flock(fd, how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    written(tmp_path / "r.h5", [0])
    assert "no locks" in caplog.text


def done_flags(path):
    if not path.exists():
        return np.zeros(RECORDS, bool)
    with h5py.File(path, "r", locking=False) as file:
        return file["records/done"][:].astype(bool)


@pytest.mark.parametrize("ranks, kills", [(None, 3), (2, 2)])
def test_sigkill_leaves_every_done_record_intact(tmp_path, ranks, kills):
    path = tmp_path / "r.h5"
    counts = []
    for wanted in np.random.default_rng(5).integers(1, 8, kills):
        path.unlink(missing_ok=True)
        writer = Writer(path, ranks, large=True)
        until = time.time() + 30
        while done_flags(path).sum() < wanted and time.time() < until:
            time.sleep(1e-4)
        seen = done_flags(path)
        writer.kill()
        [run] = store.read_runs(path)  # raises if what is done were damaged
        assert (seen <= run.done).all()
        counts.append(run.done.sum())
        for record in range(RECORDS):
            assert not run.done[record] or (run.arrays["large"][record] == record + 0.5).all()
    assert min(counts) < RECORDS


def test_each_record_is_in_the_file_as_soon_as_it_is_written(tmp_path):
    """No buffer of HDF5 holds a record that a kill would lose."""
    writer = Writer(tmp_path / "r.h5")
    writer.wait()
    writer.kill()
    check_records(tmp_path / "r.h5", {0})


def test_a_kill_during_the_creation_leaves_nothing_half_made(tmp_path):
    path = tmp_path / "r.h5"
    script = """
import os, pathlib, signal, sys
sys.path[:0] = [sys.argv[1]]
from test_store import written
os.replace = lambda *names: os.kill(os.getpid(), signal.SIGKILL)
written(pathlib.Path(sys.argv[2]))
"""
    ended = subprocess.run([sys.executable, "-c", script, os.path.dirname(__file__), path], env=mpi_environment())
    assert ended.returncode == -signal.SIGKILL
    assert not path.exists()
    check_records(written(path, [2]), {2})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.h5"]


def no_room(path):
    with pytest.raises(StoreError) as caught:
        written(path)
    assert caught.value.status == 1
    message = str(caught.value)
    assert path.name in message and "disk" in message and "bytes" in message and "free" in message
    assert not list(path.parent.glob(f"{path.name}*"))


def test_a_full_disk_is_named_and_leaves_no_debris(tmp_path):
    require(os.geteuid() == 0, "mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run([require_program("mount"), "-t", "tmpfs", "-o", "size=320k", "tmpfs", disk], check=True)
    try:
        written(disk / "first.h5", range(6))
        before = (disk / "first.h5").read_bytes()
        no_room(disk / "second.h5")
        assert (disk / "first.h5").read_bytes() == before
        (disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 8192))
        written(disk / "first.h5", range(6, RECORDS))  # its bytes are its own
        check_records(disk / "first.h5", set(range(RECORDS)))
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_limit_that_the_free_space_does_not_show_is_named(tmp_path):
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, old[1]))
    try:
        no_room(tmp_path / "r.h5")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    check_records(written(tmp_path / "r.h5", [0]), {0})


@pytest.mark.parametrize("first", [1, 7, 30])
def test_a_write_that_fails_while_hdf5_lays_out_the_file_is_named(tmp_path, monkeypatch, first):
    """HDF5 crashes at the end where it is told of one."""
    calls = itertools.count(1)

    def write_at(*arguments):
        if next(calls) >= first:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return whole.write_at(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_at", write_at)
        no_room(tmp_path / "r.h5")
    assert next(calls) > first
    check_records(written(tmp_path / "r.h5", [0]), {0})


def test_the_history_keeps_the_last_sessions_and_shortens_long_lists(tmp_path):
    path, sessions = tmp_path / "r.h5", HISTORY[0]
    for i in range(sessions + 2):
        with store.open_run(path, layout(), MPI.COMM_SELF) as run:
            run.write(i % RECORDS, arrays(i % RECORDS), 0.5)
            busy = [0.1, 0.5] * (1500 if i == 30 else 1)
            run.finish(
                {
                    "started": 1e9 + i,
                    "wall_seconds": 2.0,
                    "loop_seconds": 2.0,
                    "busy_fraction": busy,
                    "io_seconds": np.float64(0.25),
                    "ranks": 3,
                    "ended": f"stop {i}",
                }
            )
    history = store.read_status(path)["history"]
    assert [entry["ended"] for entry in history] == [f"stop {i}" for i in range(2, sessions + 2)]
    assert history[0]["busy_fraction"] == [0.1, 0.5]
    assert np.allclose(history[28]["busy_fraction"], [0.1, 0.3, 0.5])
    assert history[28]["lists"] == "min, mean, max"
    assert (history[0]["records_before"], history[0]["records_done"]) == (2, 3)
    assert history[0]["versions"]["hdf5"] and history[0]["io_seconds"] == 0.25
    assert "0.25 s (4.2%) in I/O, stop 33" in store.format_status(store.read_status(path))


def test_the_status_counts_points_and_rate(tmp_path):
    with store.open_run(tmp_path / "r.h5", layout(), MPI.COMM_SELF) as run:
        for record in (0, 1, 2, 3, 4):
            run.write(record, arrays(record), 0.5)
        run.finish({"started": 1e9, "wall_seconds": 10.0, "ended": "SIGUSR1"})
    status = store.read_status(tmp_path / "r.h5")
    assert (status["points"], status["points_done"], status["done"], status["records"]) == (3, 1, 5, RECORDS)
    assert status["progress"].tolist() == [[4, 4], [1, 4], [0, 4]]
    assert status["rate"] == 0.5 and status["elapsed_seconds"] == 10.0 and status["running"] is False
    text = store.format_status(status)
    assert "5/12 records, 1/3 points" in text and "SIGUSR1" in text and "stopped" in text and "S⊥" in text
    written(tmp_path / "r.h5")
    assert "complete" in store.format_status(store.read_status(tmp_path / "r.h5"))


def test_a_long_config_has_room(tmp_path):
    assert written(tmp_path / "s.h5").stat().st_size <= store.disk.file_bytes(layout()) < 250_000
    long = layout(model={"name": "m", "note": "ψ" * 200_000})
    store.open_run(tmp_path / "r.h5", long, MPI.COMM_SELF).close()
    assert store.read_runs(tmp_path / "r.h5")[0].layout.config == long.config
    assert (tmp_path / "r.h5").stat().st_size <= store.disk.file_bytes(long)
    many = tuple(Output(f"x{i}", reduce="mean") for i in range(1000))
    with pytest.raises(ValueError, match="too many"):
        store.open_run(tmp_path / "m.h5", layout(many), MPI.COMM_SELF)


DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("number", disk.READABLE)
@pytest.mark.parametrize("reader", READERS)
def test_a_file_of_each_format_opens(tmp_path, reader, number):
    """As the first version of the format wrote it."""
    path = shutil.copy(DATA / f"run_format_{number}.h5", tmp_path / "r.h5")
    check_records(path, {0, 1, 2, 3, 7})
    if reader == "run":  # with the outputs that its version declared
        store.open_run(path, store.read_runs(path)[0].layout, MPI.COMM_SELF).close()
    else:
        READERS[reader](path)
    assert [entry["ended"] for entry in store.read_status(path)["history"]] == ["SIGTERM"]


def test_a_file_of_format_1_resumes(tmp_path):
    path = shutil.copy(DATA / "run_format_1.h5", tmp_path / "r.h5")
    with pytest.raises(StoreError, match="laid out differently by another version of hpcsim"):
        store.open_run(path, layout(), MPI.COMM_SELF)  # S_perp means another thing since
    with store.open_run(path, store.read_runs(path)[0].layout, MPI.COMM_SELF) as run:
        assert np.flatnonzero(run.done).tolist() == [0, 1, 2, 3, 7]
        run.write(4, arrays(4), 0.5)
        run.finish({"started": 2e9, "ended": "complete"})
    check_records(path, {0, 1, 2, 3, 4, 7})
    assert [entry["ended"] for entry in store.read_status(path)["history"]] == ["SIGTERM", "complete"]


@pytest.mark.parametrize("flag", [3, 4, 255])
def test_an_unknown_flag_of_format_1_is_damage(tmp_path, flag):
    path = shutil.copy(DATA / "run_format_1.h5", tmp_path / "r.h5")
    put(path, "records/done", 2, bytes([flag]))
    with pytest.raises(StoreError, match="record 2;"):
        store.read_runs(path)


def test_another_format_says_which_version_made_it(tmp_path):
    path = written(tmp_path / "r.h5")
    raw = bytearray(path.read_bytes())
    body = raw[len(store.disk.MAGIC) + 8 : 8192].replace(b'"format": 2', b'"format": 3')
    body = body.replace(b'"version": "', b'"version": "9').rstrip().ljust(8192 - len(store.disk.MAGIC) - 9) + b"\n"
    raw[len(store.disk.MAGIC) : 8192] = b"%08x" % zlib.crc32(body) + body
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"format 3, written by hpcsim 9") as caught:
        store.read_status(path)
    assert caught.value.status == 2


def put(path, name, record, content):
    """Overwrite the first bytes of one record in a dataset."""
    offset, size = extents(path)[name]
    with open(path, "r+b") as file:
        file.seek(offset + record * size // RECORDS)
        file.write(content)


@pytest.mark.parametrize("flag", [2, 3, 4, 255])
def test_a_flag_that_has_changed_is_named(tmp_path, flag):
    """A record must not be left out of a minimum in silence."""
    path = written(tmp_path / "r.h5")
    put(path, "records/done", 5, bytes([flag]))
    with pytest.raises(StoreError, match="record 5;"):
        store.read_runs(path)
    with store.open_run(path, layout(), MPI.COMM_SELF) as run:
        assert np.flatnonzero(~run.done).tolist() == [5] and not run.failed.any()
    [data] = store.read_runs(path)  # its flag has been taken back
    assert not data.done[5] and not data.skipped.any()


def test_a_lost_flag_is_found_again(tmp_path):
    """The record's CRC says what the flag would."""
    path = written(tmp_path / "r.h5", range(7))
    put(path, "records/done", 5, b"\0")
    check_records(path, set(range(7)))
    put(path, "data/gap", 5, bytes(8))
    check_records_done(path, set(range(7)) - {5})


def check_records_done(path, done):
    [run] = store.read_runs(path)
    assert set(np.flatnonzero(run.done).tolist()) == done


def test_a_damaged_history_says_so(tmp_path):
    path = written(tmp_path / "r.h5")
    with store.open_run(path, layout(), MPI.COMM_SELF) as run:
        run.finish({"started": 1e9, "wall_seconds": 12.0, "ended": "complete"})
    offset, _ = extents(path)["history"]
    flip(path, offset + 4096 + 30)
    assert store.read_status(path)["history"] == [{"ended": "this entry of the history is damaged"}]


def test_a_failed_record_is_stored_with_its_reason(tmp_path):
    path = written(tmp_path / "r.h5", range(4))
    with store.open_run(path, layout(), MPI.COMM_SELF) as run:
        run.fail(4, "RuntimeError: the steady state is not unique", 1.5)
        run.fail(5, "x\0" * 5000, 1.5)
        assert run.failures() == {4: "RuntimeError: the steady state is not unique", 5: "x\0" * 5000}
        assert run.todo().tolist() == list(range(6, RECORDS))
    [data] = store.read_runs(path)
    assert data.failures[4] == "RuntimeError: the steady state is not unique"
    assert len(data.failures[5]) <= 512 and data.failures[5].startswith("x\0x")
    assert np.flatnonzero(data.done).tolist() == [0, 1, 2, 3]
    text = store.format_status(store.read_status(path))
    assert (
        "4/12 records, 2 failed" in text
        and "record 4 of point 1 (model.gain = 0.2, model.loss = 2) failed: RuntimeError: the steady" in text
    )
    with store.open_run(path, layout(), MPI.COMM_SELF) as run:
        assert np.flatnonzero(run.failed).tolist() == [4, 5] and 4 not in run.todo()
    with store.open_run(path, layout(), MPI.COMM_SELF, retry_failed=True) as run:
        assert not run.failed.any() and run.todo().tolist() == list(range(4, RECORDS))
        run.write(4, arrays(4), 0.5)
    check_records(path, {0, 1, 2, 3, 4})


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_second_name_of_the_file_is_no_second_lock(tmp_path, link):
    path, other = written(tmp_path / "r.h5", [0]), tmp_path / "below" / "other.h5"
    other.parent.mkdir()
    link(path, other)
    with store.open_run(path, layout(), MPI.COMM_SELF):
        with pytest.raises(StoreError, match="another run is writing it"):
            store.open_run(other, layout(), MPI.COMM_SELF)
        with h5py.File(path, "r") as file:  # a reader who locks is not kept out
            assert file["records/done"][0] == 1
    with store.open_run(other, layout(), MPI.COMM_SELF) as run:
        run.write(1, arrays(1), 0.5)
    check_records(path, {0, 1})


def test_a_dangling_link_is_written_through(tmp_path):
    (tmp_path / "link.h5").symlink_to(tmp_path / "below" / "r.h5")
    written(tmp_path / "link.h5", [3])
    assert (tmp_path / "link.h5").is_symlink()
    check_records(tmp_path / "below" / "r.h5", {3})


def test_a_write_error_is_one_message_and_loses_nothing(tmp_path, monkeypatch):
    path, whole = tmp_path / "r.h5", store.slots.write_at
    for error in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
        path.unlink(missing_ok=True)
        run, calls = store.open_run(path, layout(), MPI.COMM_SELF), []
        for record in range(5):
            run.write(record, arrays(record), 0.5)

        def fail(fd, content, offset, error=error, calls=calls):
            calls.append(offset)
            if len(calls) > 2:
                raise OSError(error, os.strerror(error))
            whole(fd, content, offset)

        monkeypatch.setattr(store.slots, "write_at", fail)
        with pytest.raises(StoreError, match="record 5 cannot be written") as caught, run:
            run.write(5, arrays(5), 0.5)
        monkeypatch.setattr(store.slots, "write_at", whole)
        assert caught.value.status == 1 and os.strerror(error) in str(caught.value)
        check_records(written(path, [5, 6]), set(range(7)))


def test_files_that_fail_when_they_are_closed(tmp_path, monkeypatch):
    """As on NFS: that of the run says so, that of its lock has nothing to lose. One that stays is taken over."""
    close, failing = os.close, []

    def closing(fd):
        close(fd)
        if fd in failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def unlinking(path, missing_ok=False):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    held = lock.Lock(tmp_path / "r.h5")
    failing.append(held._fd)
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", closing)
        patch.setattr(Path, "unlink", unlinking)
        held.release()
        run = store.open_run(tmp_path / "r.h5", layout(), MPI.COMM_SELF)
        failing[:] = [run._slots._fd]
        with pytest.raises(StoreError, match="r.h5: what was written last cannot be written"):
            run.close()
    run.cleanup.close()
    check_records(written(tmp_path / "r.h5", [0]), {0})


def test_short_writes_are_completed(tmp_path, monkeypatch):
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, content, offset: whole(fd, content[:3], offset))
    check_records(written(tmp_path / "r.h5"), set(range(RECORDS)))


def test_a_disk_with_no_room_for_the_lock_resumes(tmp_path, monkeypatch, caplog):
    path, whole = written(tmp_path / "r.h5", [0]), os.open

    def full(name, *arguments, **keys):
        if str(name).endswith(".lock"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(name, *arguments, **keys)

    monkeypatch.setattr(os, "open", full)
    with store.open_run(path, layout(), MPI.COMM_SELF) as run:
        run.write(1, arrays(1), 0.5)
        with pytest.raises(StoreError, match="another run is writing it"):
            store.open_run(path, layout(), MPI.COMM_SELF)
    assert "the disk is full" in caplog.text
    check_records(path, {0, 1})


def test_what_is_read_beside_a_writer_is_what_was_done(tmp_path):
    """Flags first, arrays last: nothing that is being written counts, and nothing looks damaged."""
    path = tmp_path / "r.h5"
    writer, reads, last = Writer(path, large=True), 0, 0
    try:
        while last < RECORDS and writer.process.poll() is None:
            if not path.exists():
                time.sleep(0.01)
                continue
            [run] = store.read_runs(path)
            for record in np.flatnonzero(run.done):
                assert (run.arrays["large"][record] == record + 0.5).all()
            last, reads = run.done.sum(), reads + 1
    finally:
        writer.kill()
    assert last == RECORDS and reads


def test_arrays_are_read_after_the_flags(tmp_path, monkeypatch):
    """A record that is written in between, whole or in part, does not count."""
    path, whole = written(tmp_path / "r.h5", [0]), h5py.Dataset.__getitem__

    def write_before(dataset, what):
        if dataset.name == "/data/gap" and not written_since:
            written_since.append(1)
            written(path, [1])
            put(path, "data/gap", 2, b"\1\2\3")
        return whole(dataset, what)

    written_since = []
    monkeypatch.setattr(h5py.Dataset, "__getitem__", write_before)
    [run] = store.read_runs(path)
    assert np.flatnonzero(run.done).tolist() == [0] and written_since
