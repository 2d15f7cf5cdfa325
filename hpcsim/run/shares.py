"""Where the groups of a run get their records from: one queue for all, or shares that are fixed beforehand."""

import os
import socket
import subprocess
import sys

from hpcsim.run.board import Board
from hpcsim.run.costs import Work
from hpcsim.run.dispatch import TOKEN, Line, Unreachable, send_queue
from hpcsim.run.interrupt import end, start_beside
from hpcsim.run.schedule import FixedShare, OwnQueue


class Shares:
    """What the first ranks of the groups ask for records.

    One queue for all where every group reaches it, else fixed shares, and the log says so. The process is started
    at once, to be ready when it is needed.
    """

    def __init__(self, groups, log):
        self._groups, self._log, self._token = groups, log, os.urandom(TOKEN)
        self._process = self._line = self._reached = None
        self._results: dict[int, dict] = {}  # of records that have ended, where there is no queue
        self._share: FixedShare | None = None
        if groups.count > 1 and groups.world.rank == 0:
            try:
                self._process = _start(self._token)
            except OSError as error:
                log.warning("no process to share out records can be started here (%s)", error)

    def begin(self, work: Work, needs: dict, looks=None, results=None):
        """The source of the records of `work`: next(finished), put, get, time_left(). Collective over the leaders.

        needs, looks, results : as `Board` takes them; on rank 0, as is `work`, None elsewhere
        """
        groups = self._groups
        if groups.count == 1:
            return OwnQueue(work, Board(work.records.tolist(), needs, looks, results))
        if self._reached is None:
            self._connect()
        if not self._reached:
            return self._begin_fixed(work, needs, looks, results)
        if groups.leaders.rank == 0:
            send_queue(self._process.stdin, work, groups.count, needs, looks, results)
            self._process.stdout.readline()
        groups.leaders.Barrier()
        self._line.begin()
        return self._line

    def _begin_fixed(self, work: Work | None, needs, looks, results) -> FixedShare:
        """Shares of the records that wait for nothing: the others follow when all these are done."""
        groups, ready = self._groups, None
        if work is not None:
            board = Board(work.records.tolist(), needs, looks)
            unwanted = board.unwanted
            now = [r not in unwanted and not board.waits(r) for r in work.records.tolist()]
            ready = work.records[now], work.seconds[now]
        for fresh in groups.leaders.allgather(self._share.fresh if self._share else results or {}):
            self._results |= fresh
        self._share = FixedShare(*groups.leaders.bcast(ready), groups.count, groups.index, self._results)
        return self._share

    def _connect(self):
        """Find out, together, whether all groups reach the process."""
        leaders, addresses = self._groups.leaders, []
        if self._process is not None:
            port = self._process.stdout.readline().strip()
            addresses = [(address, int(port)) for address in _addresses()] if port.isdigit() else []
        self._token, addresses, host = leaders.bcast((self._token, addresses, socket.gethostname()))
        if socket.gethostname() == host:
            addresses = [("127.0.0.1", port) for _, port in addresses[:1]]
        try:
            self._line = Line(self._groups.index, self._token, addresses)
        except Unreachable:
            self._line = None
        apart = leaders.allreduce(int(self._line is None))
        self._reached = not apart
        if apart and leaders.rank == 0:
            self._log.warning(
                "%d of %d groups cannot ask for records: they are shared out beforehand", apart, leaders.size
            )

    def close(self):
        """After all groups have had their last answer."""
        if self._line is not None:
            self._line.close()
        if self._process is not None:
            _end(self._process)


def _start(token: bytes):
    """The process; the first line that it prints is its port."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMI", "PRTE_"))}
    command = [sys.executable, "-m", "hpcsim.run.dispatch"]
    process = start_beside(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own)
    process.stdin.write(token)
    process.stdin.flush()
    return process


def _addresses() -> list[str]:
    """The IPv4 addresses of this host, those that other hosts may know first."""
    found = []
    try:
        found = [info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing: asks which address the default route has
            found.append(probe.getsockname()[0])
    except OSError:
        pass
    return sorted(dict.fromkeys([*found, "127.0.0.1"]), key=lambda address: address.startswith("127."))


def _end(process):
    """The end of its input ends it."""
    if process is not None:
        process.stdin.close()
        process.stdout.close()
        end(process)
