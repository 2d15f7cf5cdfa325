"""The process that keeps the queue of a run, and the groups' line to it.

    python -m hpcsim.run.dispatch

takes the queue from its standard input, prints the number of its port and answers datagrams until its input ends,
which it does with rank 0, however that ends. A datagram counts only with the run's own token in front. A group numbers
its questions: one that comes again, since an answer was lost, gets the same answer.
"""

import io
import math
import os
import selectors
import socket
import struct
import subprocess
import sys
import time

import numpy as np

from hpcsim.run.costs import Work
from hpcsim.run.interrupt import end, start_beside
from hpcsim.run.schedule import LARGEST_SHARE, FixedShare, OwnQueue, Queue

TOKEN = 16  # bytes
QUESTION = struct.Struct("<IIIH")  # group, number of the queue, number of the question, finished records
FINISHED = struct.Struct("<qd")  # record, seconds
ANSWER = struct.Struct("<IdIdH")  # number of the question, seconds left, records under way, seconds, records
LARGEST = TOKEN + QUESTION.size + FINISHED.size * 2 * LARGEST_SHARE
WAITS = (0.1, 0.2, 0.5, 1, 2, 5, 5, 5, 5, 5)  # seconds for an answer, before the question is sent again
GREETING = 0xFFFFFFFF  # number of a question that takes nothing


class Unreachable(Exception):
    """The process that keeps the queue does not answer."""


def serve():
    """Answer until standard input ends."""
    stdin, token = sys.stdin.buffer, sys.stdin.buffer.read(TOKEN)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line, selectors.DefaultSelector() as selector:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**22)
        line.bind(("", 0))
        _say(line.getsockname()[1])
        selector.register(line, selectors.EVENT_READ)
        selector.register(stdin, selectors.EVENT_READ)
        rounds, queue, answered = 0, Queue(Work.of([], [], [])), {}  # the last question of each group, and its answer
        while True:
            for key, _ in selector.select():
                if key.fileobj is line:
                    message, sender = line.recvfrom(LARGEST)
                    if message[:TOKEN] == token and (answer := _answer(rounds, queue, message[TOKEN:], answered)):
                        line.sendto(answer, sender)
                elif (found := _read_queue(stdin, queue)) is None:
                    return
                else:
                    rounds, queue, answered = rounds + 1, found, {}
                    _say(rounds)


def _say(number: int):
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _read_queue(stream, before: Queue) -> Queue | None:
    """What `_send_queue` wrote, and what was learned by the queue before; None at the end."""
    if len(head := stream.read(8)) < 8:
        return None
    with np.load(io.BytesIO(stream.read(struct.unpack("<Q", head)[0])), allow_pickle=False) as arrays:
        now, later = (Work(*(arrays[f"{when}_{name}"] for name in Work._fields)) for when in ("now", "later"))
        return Queue(now, int(arrays["groups"]), later=later, costs=before.costs)


def _send_queue(stream, work: Work, groups: int, later: Work | None = None):
    packed = io.BytesIO()
    parts = {"now": work, "later": later or Work.of([], [], [])}
    arrays = {f"{when}_{name}": array for when, part in parts.items() for name, array in part._asdict().items()}
    np.savez(packed, groups=groups, **arrays)
    content = packed.getvalue()
    stream.write(struct.pack("<Q", len(content)) + content)
    stream.flush()


def _answer(rounds: int, queue: Queue, message: bytes, answered: dict) -> bytes | None:
    """The answer to one question; None for what is none of this round."""
    if len(message) < QUESTION.size:
        return None
    group, turn, number, count = QUESTION.unpack_from(message)
    if len(message) != QUESTION.size + count * FINISHED.size or (turn != rounds and number != GREETING):
        return None
    if number == GREETING:
        return ANSWER.pack(number, queue.time_left(), *queue.under_way(), 0)
    before, answer = answered.get(group, (-1, b""))
    if number > before:
        for i in range(count):
            queue.finished(*FINISHED.unpack_from(message, QUESTION.size + i * FINISHED.size))
        records = queue.take()
        head = ANSWER.pack(number, queue.time_left(), *queue.under_way(), len(records))
        answer = head + struct.pack(f"<{len(records)}q", *records)
        answered[group] = number, answer
    return answer if number >= before else None


class Line:
    """One group's line to the queue. Raises Unreachable where nobody answers."""

    def __init__(self, group: int, token: bytes, addresses):
        self._group, self._token, self._rounds, self._number = group, token, 0, 0
        self._left, self._under_way = math.nan, (0, 0.0)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for address in addresses:
            self._address = tuple(address)
            try:
                self._ask(QUESTION.pack(group, 0, GREETING, 0), GREETING, WAITS[:4])
                return
            except (OSError, Unreachable):
                continue
        self._socket.close()
        raise Unreachable

    def begin(self):
        """The next queue is there."""
        self._rounds, self._number = self._rounds + 1, 0

    def next(self, finished: list[tuple[int, float]]) -> list[int]:
        """The records to compute next; finished: those computed since, with their seconds."""
        self._number += 1
        told = b"".join(FINISHED.pack(*each) for each in finished)
        question = QUESTION.pack(self._group, self._rounds, self._number, len(finished)) + told
        try:
            return self._ask(question, self._number, WAITS)
        except Unreachable:
            raise RuntimeError(
                f"the process that shares out the records, started by rank 0, has not answered for {sum(WAITS):.0f} s; "
                "what is done is in the file: give the same command again"
            ) from None

    def _ask(self, question: bytes, number: int, waits) -> list[int]:
        for wait in waits:
            self._socket.sendto(self._token + question, self._address)
            ends = time.monotonic() + wait
            while (remaining := ends - time.monotonic()) > 0:
                self._socket.settimeout(remaining)
                try:
                    answer = self._socket.recv(LARGEST)
                except TimeoutError:
                    break
                except ConnectionError:  # nobody there: the next try comes after the wait
                    time.sleep(max(0.0, ends - time.monotonic()))
                    break
                same, self._left, *self._under_way, count = ANSWER.unpack_from(answer)
                if same == number:
                    return list(struct.unpack_from(f"<{count}q", answer, ANSWER.size))
        raise Unreachable

    def time_left(self) -> float | None:
        """Seconds until all records are done, by the last answer; None: it told none."""
        return None if math.isnan(self._left) else self._left

    def under_way(self) -> tuple[int, float]:
        """How many records groups are at, and in how many seconds all are done, as of the last answer."""
        records, seconds = self._under_way
        return records, seconds

    def close(self):
        self._socket.close()


class Shares:
    """Where the groups of a run get their records from, on their first ranks.

    One queue for all where every group reaches it, else fixed shares, and the log says so. The process is started
    at once, to be ready when it is needed.
    """

    def __init__(self, groups, log):
        self._groups, self._log, self._token = groups, log, os.urandom(TOKEN)
        self._process = self._line = self._reached = self._costs = None
        if groups.count > 1 and groups.world.rank == 0:
            try:
                self._process = _start(self._token)
            except OSError as error:
                log.warning("no process to share out records can be started here (%s)", error)

    def begin(self, records, work: Work | None = None, later: Work | None = None):
        """The source of some records: next(finished) -> what to compute, time_left(). Collective over the leaders.

        work, later : these records, and those that are to follow, as `schedule.Queue` takes them; on rank 0
        """
        groups = self._groups
        if groups.count == 1:
            source = OwnQueue(work, later, self._costs)
            self._costs = source.costs
            return source
        if self._reached is None:
            self._connect()
        if not self._reached:
            return FixedShare(records, groups.leaders.bcast(work and work.seconds), groups.count, groups.index)
        if groups.leaders.rank == 0:
            _send_queue(self._process.stdin, work, groups.count, later)
            self._process.stdout.readline()
        groups.leaders.Barrier()
        self._line.begin()
        return self._line

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


if __name__ == "__main__":
    try:
        serve()
    except BrokenPipeError:  # whoever started it is gone, or had nothing to share out
        os._exit(0)
