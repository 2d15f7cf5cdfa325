"""Groups of MPI ranks, who computes what, how a run stops, and how an error reaches every rank."""

import logging
import math
import os
import signal
import sys
import time
import traceback
from contextlib import ExitStack, contextmanager

from mpi4py import MPI

from hpcsim.run.interrupt import STOPPING, Again, Watcher
from hpcsim.store.records import on_rank0

log = logging.getLogger("hpcsim")
TAG_STOP, TAG_DONE = 1, 2
RESUMABLE = 75


class Groups:
    """`world` split into groups of `size` consecutive ranks.

    comm    : the communicator of this rank's group
    leaders : the communicator of all first ranks of groups (None on the other ranks)
    index   : of this group; count : of groups
    """

    def __init__(self, world: MPI.Comm, size: int):
        self.world = world.Dup()
        self.count = world.size // size
        self.index = world.rank // size
        self.comm = world.Split(self.index, world.rank) if size > 1 else MPI.COMM_SELF
        leader = self.comm.rank == 0
        leaders = world.Split(0 if leader else MPI.UNDEFINED, world.rank)
        self.leaders = leaders if leader else None
        self.leader_ranks = range(0, world.size, size)
        node = world.Split_type(MPI.COMM_TYPE_SHARED)
        self.nodes = world.allreduce(1 if node.rank == 0 else 0)
        node.Free()

    def free(self):
        """Give the communicators back, but for that of the group: PETSc may live on it. Collective."""
        if self.leaders is not None:
            self.leaders.Free()
        self.world.Free()


class Stop:
    """Whether the run should end early: SIGUSR1, SIGTERM or SIGINT on any rank, or the wall time.

    A call is collective over the group. The first group to know tells the other leaders with an
    empty message, so no group waits for another before the end. With a limit, a group also stops
    when the longest record it has seen would no longer fit, if another is ahead.
    """

    def __init__(self, max_walltime: float | None):
        self.groups: Groups | None = None  # set once known; signals count from now on
        # durations by a clock that nobody sets; `started` is for people
        self.started, self._began, self._limit = time.time(), time.monotonic(), max_walltime
        self.longest = 0.0
        self.reason = None
        self._told = False
        self._sends = []
        self._watcher: Watcher | None = None

    @contextmanager
    def at_signals(self, world: MPI.Comm, out: str):
        """Within, the signals STOPPING end the run `out`; a second SIGINT or SIGTERM ends it at once, on all ranks."""
        again = Again()

        def handle(number, frame):
            self.reason = self.reason or signal.Signals(number).name
            if again(number):
                _leave(world)

        with ExitStack() as stack:
            for number in STOPPING:
                stack.callback(signal.signal, number, signal.signal(number, handle))
            if world.rank == 0:
                # one that Python handles is seen by the watcher
                stack.callback(signal.signal, signal.SIGCONT, signal.signal(signal.SIGCONT, lambda number, frame: None))
                try:
                    self._watcher = stack.enter_context(Watcher(out))
                except OSError as error:
                    log.warning("no process to answer signals can be started here (%s)", error)
            # one that came before, see interrupt.hold, is answered now
            stack.callback(
                signal.pthread_sigmask, signal.SIG_SETMASK, signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            )
            yield

    def under_way(self, records: int, seconds: float):
        """So many records are being computed, about so many seconds more: what a signal will tell (on rank 0)."""
        if self._watcher is not None:
            self._watcher.tell(records, seconds)

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def __call__(self, record_ahead: bool = True) -> bool:
        world, group = self.groups.world, self.groups.comm
        needed = self.longest if record_ahead else 0.0
        if self.reason is None and self._limit is not None and self.elapsed() + needed > self._limit:
            self.reason = "--max-walltime"
        if self.reason is None and world.Iprobe(tag=TAG_STOP):
            self.reason = world.recv(tag=TAG_STOP)
            self._told = True
        reasons = [r for r in (group.allgather(self.reason) if group.size > 1 else [self.reason]) if r]
        if not reasons:
            return False
        self.reason = reasons[0]
        if not any(group.allgather(self._told)) and group.rank == 0:
            self._sends += [
                world.isend(self.reason, dest=rank, tag=TAG_STOP)
                for rank in self.groups.leader_ranks
                if rank != world.rank
            ]
        self._told = True
        return True

    def settle(self) -> str | None:
        """After all groups have ended: receive what was told too late to matter. The reason that all agree on."""
        world = self.groups.world
        MPI.Request.waitall(self._sends)
        world.Barrier()
        while world.Iprobe(tag=TAG_STOP):
            told = world.recv(tag=TAG_STOP)
            self.reason = self.reason or told
        self.reason = next((r for r in world.allgather(self.reason) if r), None)
        return self.reason


def _leave(world: MPI.Comm):
    """End all ranks, in the middle of whatever they do."""
    if world.size > 1:
        time.sleep(0.3)  # the process beside rank 0 says so before the launcher closes its output
        world.Abort(RESUMABLE)
    os._exit(RESUMABLE)


class Tally:
    """Counts finished records of all groups on rank 0, without making any group wait.

    A group sends what it has counted at most once in SECONDS: rank 0 may be long at a record, and messages pile up.
    """

    SECONDS = 0.5

    def __init__(self, groups: Groups, report):
        self.world, self.report, self.leader = groups.world, report, groups.leaders is not None
        self._sends, self._count, self._sent = [], 0, -math.inf

    def add(self):
        """One record of this group is done (called on leaders)."""
        if self.world.rank == 0:
            self.report(1)
            self.collect()
            return
        self._count += 1
        if time.monotonic() - self._sent > self.SECONDS:
            self._send()

    def _send(self):
        self._sends = [send for send in self._sends if not send.Test()]
        self._sends.append(self.world.isend(self._count, dest=0, tag=TAG_DONE))
        self._count, self._sent = 0, time.monotonic()

    def collect(self):
        """Rank 0: receive what the other leaders have said."""
        while self.world.Iprobe(tag=TAG_DONE):
            self.report(self.world.recv(tag=TAG_DONE))

    def wait_for_all(self):
        """Collective over the world: sleep, not spin, until every rank arrives, and keep reporting."""
        if self._count:
            self._send()
        arrived = self.world.Ibarrier()
        while not arrived.Test():
            if self.world.rank == 0:
                self.collect()
            time.sleep(0.01)
        MPI.Request.waitall(self._sends)
        self.world.Barrier()
        if self.world.rank == 0:
            self.collect()


@contextmanager
def all_fall_together(world: MPI.Comm, expected: tuple[type[Exception], ...], stop: Stop):
    """An exception on one rank ends every rank within seconds with exit status 1.

    Errors of the `expected` kinds, and those with a `status`, explain themselves and are printed as one line,
    any other with its traceback. A rank that has already been told to end (SIGTERM from the launcher, which
    follows another rank's error) stays silent, so that the first error is the only one shown.
    Errors that all ranks agree on (`on_root`, `agree`) simply pass.
    """
    try:
        yield
    except BaseException as error:  # a library's SystemExit, too, would leave the others waiting
        if world.size == 1 or getattr(error, "agreed", False):
            raise
        try:
            # ranks of a group often fail together: the lowest speaks first and ends the rest
            time.sleep(0.2 * min(world.rank, 10))
            if stop.reason != "SIGTERM":
                text = f"hpcsim: error: {error}\n" if isinstance(error, expected) else traceback.format_exc()
                sys.stderr.write(f"[rank {world.rank}] {text}")
                sys.stderr.flush()
        finally:
            world.Abort(1)


def agree(world: MPI.Comm, error: Exception | None):
    """Raise rank 0's `error`, if any, on every rank."""
    error = world.bcast(error)
    if error is not None:
        error.agreed = True
        raise error


def on_root(world: MPI.Comm, action, errors: tuple[type[Exception], ...], told=lambda result: result):
    """`store.records.on_rank0`, whose errors all ranks agree on."""
    try:
        return on_rank0(world, action, errors, told)
    except errors as error:
        error.agreed = True  # type: ignore[attr-defined]
        raise
