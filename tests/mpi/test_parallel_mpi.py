"""Groups of ranks, agreement and stopping, on however many ranks this is started with."""

import logging
import os
import signal
import time

import pytest
from mpi4py import MPI

from hpcsim.run.interrupt import STOPPING
from hpcsim.run.parallel import Groups, Stop, Tally, on_root
from hpcsim.run.watch import watching

WORLD = MPI.COMM_WORLD
TAG_PASSED = 7


def test_groups_of_one_and_of_all():
    singles, whole = Groups(WORLD, 1), Groups(WORLD, WORLD.size)
    assert (singles.count, singles.index, singles.comm.size) == (WORLD.size, WORLD.rank, 1)
    assert singles.leaders.size == WORLD.size
    assert (whole.count, whole.index, whole.comm.size) == (1, 0, WORLD.size)
    assert (whole.leaders is not None) == (WORLD.rank == 0)
    assert whole.nodes == 1


def test_an_error_on_root_is_raised_everywhere():
    def fail():
        raise KeyError("only rank 0 looks")

    with pytest.raises(KeyError, match="only rank 0 looks"):
        on_root(WORLD, fail, (KeyError,))
    assert on_root(WORLD, lambda: WORLD.rank, (KeyError,)) == 0


def test_a_signal_on_the_last_rank_stops_all_groups():
    stop = Stop(None)
    stop.groups = Groups(WORLD, 1)
    before = [signal.getsignal(number) for number in STOPPING]
    with stop.at_signals(WORLD, "run.h5"):
        assert not stop()
        WORLD.Barrier()
        if WORLD.rank == WORLD.size - 1:
            os.kill(os.getpid(), signal.SIGUSR1)
        until = time.time() + 20
        while not stop() and time.time() < until:
            time.sleep(0.001)
    assert [signal.getsignal(number) for number in STOPPING] == before
    assert stop.reason == "SIGUSR1"
    stop.settle()
    assert stop.reason == "SIGUSR1"


class Passed(logging.Handler):
    """What is logged here is sent to the last rank."""

    def emit(self, record):
        WORLD.send(record.getMessage(), dest=WORLD.size - 1, tag=TAG_PASSED)


def test_a_rank_that_does_not_begin_is_named():
    """The last one begins when it has been named by the one before."""
    last, log, passed = WORLD.size - 1, logging.getLogger("hpcsim"), Passed()
    if WORLD.rank == last > 0:
        assert WORLD.recv(source=last - 1, tag=TAG_PASSED).startswith(f"rank {last} has not begun ")
    if WORLD.rank == last - 1:
        log.addHandler(passed)
    with watching(WORLD, every=0.01):
        WORLD.Barrier()
    log.removeHandler(passed)


def test_a_record_that_would_not_fit_is_not_begun():
    stop = Stop(100.0)
    stop.groups = Groups(WORLD, WORLD.size)
    assert not stop()
    stop.longest = 101.0
    assert stop() and stop.reason == "--max-walltime"
    stop.settle()


def test_the_tally_counts_the_records_of_all_groups():
    counted = []
    tally = Tally(Groups(WORLD, 1), counted.append)
    for _ in range(1 + WORLD.rank):
        tally.add()
    tally.wait_for_all()
    if WORLD.rank == 0:
        assert sum(counted) == WORLD.size * (WORLD.size + 1) // 2
