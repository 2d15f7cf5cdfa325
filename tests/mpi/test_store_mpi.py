"""The run file written by all ranks; parts, F.g000.h5 and so on, come from former versions."""

import errno
import tempfile
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from mpi4py import MPI
from test_store import OUTPUTS, RECORDS, arrays, layout

from hpcsim import store
from hpcsim.store import StoreError, disk
from hpcsim.store.collect import collect

WORLD = MPI.COMM_WORLD


@pytest.fixture
def folder():
    """One folder for all ranks."""
    with tempfile.TemporaryDirectory() as own:
        yield Path(WORLD.bcast(own))
        WORLD.Barrier()


def write(path, records, comm=WORLD, **kw):
    """Share the records among the ranks; the done flags each rank saw at the start."""
    with store.open_run(path, layout(**kw), comm) as run:
        for record in list(records)[comm.rank :: comm.size]:
            run.write(record, arrays(record), 0.5)
        run.sync()
        run.finish({"started": 1e9, "ended": "test", "busy_fraction": [1.0] * comm.size, "ranks": comm.size})
    comm.Barrier()
    return run.done


def test_results_that_others_need_are_read_again(folder):
    """Those of an earlier session, on the first rank; those that are written come back to who writes them."""
    needed, path = {0, 5, 7}, folder / "r.h5"
    for records, known in (range(6), set()), (range(6, 9), {0, 5}), ((), needed):
        with store.open_run(path, layout(), WORLD, needed) as run:
            run.todo()
            assert run.values.keys() == (known if WORLD.rank == 0 else set())
            for record in list(records)[WORLD.rank :: WORLD.size]:
                assert bool(run.write(record, arrays(record), 0.5)) == (record in needed)
        for record, slabs in run.values.items():
            assert slabs["gap"] == arrays(record)["gap"] and np.array_equal(slabs["Sz"], arrays(record)["Sz"])
        WORLD.Barrier()


def union(path):
    """{record: its arrays} over all files of the run."""
    return {
        int(r): {name: run.arrays[name][r] for name in run.arrays}
        for run in store.read_runs(path)
        for r in np.flatnonzero(run.done)
    }


def same(found, records):
    assert sorted(found) == sorted(records)
    for record, got in found.items():
        expected = arrays(record)
        assert got["Sz"].tobytes() == expected["Sz"].tobytes() and got["gap"] == expected["gap"]
        assert got["eigenvalues"][:2].tobytes() == expected["eigenvalues"].tobytes()


def test_all_ranks_write_and_resume(folder):
    path = folder / "r.h5"
    assert not write(path, range(5)).any()
    assert store.run_files(path) == [path]
    same(union(path), range(5))
    seen = write(path, range(5, RECORDS))
    assert np.flatnonzero(seen).tolist() == [0, 1, 2, 3, 4]
    same(union(path), range(RECORDS))
    status = store.read_status(path)
    assert (status["done"], status["points_done"]) == (RECORDS, 3)
    assert [entry["records_done"] for entry in status["history"]] == [5, RECORDS]
    assert status["history"][0]["ranks"] == WORLD.size
    WORLD.Barrier()
    assert not list(folder.glob("*.lock"))


def test_a_run_resumes_on_any_number_of_ranks(folder):
    """First on all ranks, then on the first alone, then on all again."""
    path, alone = folder / "r.h5", WORLD.Split(WORLD.rank, 0)
    write(path, range(4))
    if WORLD.rank == 0:
        assert np.flatnonzero(write(path, [4, 5], alone)).tolist() == [0, 1, 2, 3]
    WORLD.Barrier()
    assert np.flatnonzero(write(path, range(6, RECORDS))).tolist() == [0, 1, 2, 3, 4, 5]
    same(union(path), range(RECORDS))
    alone.Free()


@pytest.mark.parametrize("failure", ["another config", "damaged", "full disk", "in use"])
def test_an_error_on_rank_0_is_raised_on_all(folder, monkeypatch, failure):
    path, kw, status = folder / "r.h5", {}, 1
    held = None
    if failure == "full disk":
        calls = []

        def allocate(fd, start, length):  # the disk has no room
            calls.append(fd)
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(disk.os, "posix_fallocate", allocate)
    else:
        write(path, [0])
    if failure == "another config":
        kw, status = {"method": {"name": "y"}}, 2
    if failure == "damaged" and WORLD.rank == 0:
        file = store.run_files(path)[0]
        file.write_bytes(file.read_bytes()[:-1])
    if failure == "in use":
        status = 2
        held = store.lock.Lock(path) if WORLD.rank == 0 else None
        WORLD.Barrier()
    with pytest.raises(StoreError) as caught:
        store.open_run(path, layout(**kw), WORLD)
    messages = WORLD.allgather(str(caught.value))
    assert len(set(messages)) == 1 and "r." in messages[0]
    assert caught.value.status == status
    if failure == "full disk":
        assert not list(folder.glob("*"))
    WORLD.Barrier()
    if held:
        held.release()


def test_an_error_while_writing_on_one_rank_leaves_the_others_free(folder):
    """Leaving the file with an error does not wait for the ranks that have none."""
    path = folder / "r.h5"
    run = store.open_run(path, layout(), WORLD)
    last = WORLD.rank == WORLD.size - 1
    if last:
        with pytest.raises(KeyError), run:
            raise KeyError("only here")
    WORLD.Barrier()
    if WORLD.size > 1 or not last:
        run.close()
    WORLD.Barrier()
    assert not list(folder.glob("*.lock"))


def test_parts_of_a_former_version_are_read_and_completed(folder):
    """A part is a run file of the same layout, whose records no other file has."""
    path = folder / "r.h5"
    if WORLD.rank == 0:
        for n, records in enumerate(([0, 1, 2], [3, 4])):
            with store.open_run(folder / f"r.g{n:03d}.h5", layout(), MPI.COMM_SELF) as run:
                for record in records:
                    run.write(record, arrays(record), 0.5)
    WORLD.Barrier()
    assert np.flatnonzero(write(path, range(5, RECORDS))).tolist() == [0, 1, 2, 3, 4]
    same(union(path), range(RECORDS))
    if WORLD.rank == 0:
        collect(folder / "c.h5", [path])
        assert store.load(folder / "c.h5").variables["records_done"].values.tolist() == [4, 4, 4]


MOST, TARGET = 120, 0.2  # records of a point, and the error of their average


def test_ranks_agree_on_the_records_that_a_target_needs(folder):
    """Each rank writes its share of a round; opened anew after every round, the file tells the next one."""
    axes = ({"model.gain": [1, 2]},)
    sections = {"method": {"name": "x", "target_error": {"Sz": TARGET}}, "model": {}, "run": {"seed": 1}}
    sections["sweep"] = list(axes)
    wide = store.Layout(sections, axes, OUTPUTS, np.repeat([0, 1], MOST), np.tile(range(MOST), 2))
    rounds, todo = [], np.zeros(1)
    while len(todo):
        with store.open_run(folder / "r.h5", wide, WORLD) as run:
            todo = run.todo()
            rounds.append(len(todo))
            for record in todo[WORLD.rank :: WORLD.size]:
                run.write(record, arrays(record), 0.5)
            again = run.todo()
            assert not set(again) & set(todo)
        WORLD.Barrier()
    needed = []
    for p in range(2):
        values, n = np.array([arrays(MOST * p + r)["Sz"] for r in range(MOST)]), 48
        while n < MOST:
            d = n // 6
            expected = values[:d].var(0, ddof=1).max() / TARGET**2 * (d - 1) / scipy.stats.chi2.ppf(0.1, d - 1)
            if expected <= n:
                break
            n = min(MOST, max(n + n // 8, int(np.ceil(min(expected, 2 * n)))))
        needed.append(n)
    assert needed[0] != needed[1] and max(needed) < MOST and sum(rounds) == sum(needed)
    done = [MOST * p + r for p in range(2) for r in range(needed[p])]
    if WORLD.rank == 0:
        assert sorted(union(folder / "r.h5")) == done
        status = store.read_status(folder / "r.h5")
        assert (status["done"], status["records"], status["skipped"]) == (len(done), len(done), 2 * MOST - len(done))
    WORLD.Barrier()
