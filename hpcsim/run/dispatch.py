"""The process that keeps the queue of a run, and the groups' line to it; `hpcsim.run.shares` starts it.

    python -m hpcsim.run.dispatch

takes the queue from its standard input, prints the number of its port and answers datagrams until its input ends,
which it does with rank 0, however that ends. A datagram counts only with the run's own token in front. A group numbers
its questions: one that comes again, since an answer was lost, gets the same answer. Where nothing can begin before
others have ended, a group is told so, and gets its answer when that is the case. What a record leaves for others comes
and goes in pieces.
"""

import io
import math
import os
import pickle
import selectors
import socket
import struct
import sys
import time

import numpy as np

from hpcsim.run.board import Board
from hpcsim.run.costs import Work
from hpcsim.run.schedule import LARGEST_SHARE, Queue

TOKEN = 16  # bytes
PIECE = 8192  # bytes of a result at once
KINDS = NEXT, PUT, GET, HELLO = range(4)
QUESTION = struct.Struct("<BIII")  # kind, group, number of the queue, number of the question
COUNT = struct.Struct("<H")  # finished records, which follow
FINISHED = struct.Struct("<qd")  # record, seconds
PART = struct.Struct("<qQQ")  # record, offset and bytes of what it has left
ANSWER = struct.Struct("<IB")  # number of the question, state
GIVEN, WAIT = range(2)  # records follow, none at the end; none can begin yet
RECORDS = struct.Struct("<dIdH")  # seconds left, records under way, seconds, records
LARGEST = TOKEN + QUESTION.size + max(PART.size + PIECE, COUNT.size + FINISHED.size * 2 * LARGEST_SHARE)
WAITS = (0.1, 0.2, 0.5, 1, 2, 5, 5, 5, 5, 5)  # seconds for an answer, before the question is sent again
PATIENCE, AGAIN = 0.3, 5.0  # seconds after which who waits looks up, and asks once more


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
        desk = _Desk(0, Queue(Work.of([], [], [])))
        while True:
            for key, _ in selector.select():
                if key.fileobj is line:
                    message, sender = line.recvfrom(LARGEST)
                    if message[:TOKEN] == token:
                        for answer, receiver in desk.answers(message[TOKEN:], sender):
                            line.sendto(answer, receiver)
                elif (found := _read_queue(stdin)) is None:
                    return
                else:
                    desk = _Desk(desk.turn + 1, found)
                    _say(desk.turn)


def _say(number: int):
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _read_queue(stream) -> Queue | None:
    """What `send_queue` wrote; None at the end. It comes from rank 0, which has started this process."""
    if len(head := stream.read(8)) < 8:
        return None
    work, groups, waiting = pickle.loads(stream.read(struct.unpack("<Q", head)[0]))
    return Queue(work, groups, board=Board(work.records.tolist(), *waiting))


def send_queue(stream, work: Work, groups: int, needs=None, looks=None, results=None):
    packed = {record: _packed(found) for record, found in (results or {}).items()}
    content = pickle.dumps((work, groups, (needs, looks, packed)))
    stream.write(struct.pack("<Q", len(content)) + content)
    stream.flush()


def _packed(result: dict[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **{f"_{name}": array for name, array in result.items()})
    return content.getvalue()


def _unpacked(content: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name[1:]: arrays[name] for name in arrays.files}


class _Desk:
    """Answers what is asked about one queue, the `turn`th of a run."""

    def __init__(self, turn: int, queue: Queue):
        self.turn, self._queue = turn, queue
        self._answered: dict[int, tuple[int, bytes]] = {}  # the last question of each group, and its answer
        self._waiting: dict[int, tuple[int, tuple]] = {}  # groups that wait: number of the question, and who asked it
        self._coming: dict[int, bytearray] = {}  # what is there of results that are not yet whole

    def answers(self, message: bytes, sender) -> list[tuple[bytes, tuple]]:
        """What is to be sent, and where to, after one question; nothing for what is none of this queue."""
        try:
            kind, group, turn, number = QUESTION.unpack_from(message)
            rest = message[QUESTION.size :]
            if kind == HELLO:
                return [(ANSWER.pack(number, GIVEN), sender)]
            if turn != self.turn:
                return []
            if kind == PUT:
                return [(ANSWER.pack(number, GIVEN) + PART.pack(*self._take_piece(rest)), sender)]
            if kind == GET:
                return [(ANSWER.pack(number, GIVEN) + self._piece(*PART.unpack(rest)), sender)]
            return self._next(group, number, rest, sender)
        except struct.error:
            return []

    def _next(self, group: int, number: int, rest: bytes, sender) -> list[tuple[bytes, tuple]]:
        (count,) = COUNT.unpack_from(rest)
        if len(rest) != COUNT.size + count * FINISHED.size:
            return []
        before, answer = self._answered.get(group, (-1, b""))
        if number < before:
            return []
        if number == before and group not in self._waiting:
            return [(answer, sender)]
        if number > before:
            for i in range(count):
                self._queue.finished(*FINISHED.unpack_from(rest, COUNT.size + i * FINISHED.size))
        self._answered[group] = number, b""
        self._waiting[group] = number, sender
        sent = self._serve_waiting()
        if group in self._waiting:
            sent.append((ANSWER.pack(number, WAIT) + self._head(group, 0), sender))
        return sent

    def _serve_waiting(self) -> list[tuple[bytes, tuple]]:
        """Answers to those who wait, as far as something can begin."""
        sent = []
        while self._waiting and ((records := self._queue.take()) or self._queue.over):
            group = next(iter(self._waiting))
            number, sender = self._waiting.pop(group)
            answer = ANSWER.pack(number, GIVEN) + self._head(group, len(records))
            answer += struct.pack(f"<{len(records)}q", *records)
            self._answered[group] = number, answer
            sent.append((answer, sender))
        return sent

    def _head(self, group: int, records: int) -> bytes:
        """The time left is told to the first group alone, which shows it: to find it takes as long as a share."""
        if group:
            return RECORDS.pack(math.nan, 0, 0.0, records)
        return RECORDS.pack(self._queue.time_left(), *self._queue.under_way(), records)

    def _take_piece(self, rest: bytes) -> tuple[int, int, int]:
        """Keep the next piece of what a record has left; (record, bytes that are there, bytes)."""
        record, offset, total = PART.unpack_from(rest)
        if self._queue.board.get(record) is not None:
            return record, total, total
        there = self._coming.setdefault(record, bytearray())
        if offset == len(there):
            there += rest[PART.size :]
        if len(there) == total:
            self._queue.board.put(record, bytes(self._coming.pop(record)))
            return record, total, total
        return record, len(there), total

    def _piece(self, record: int, offset: int, _) -> bytes:
        """From `offset` on, what a record has left; of 0 bytes where that is nothing."""
        found = self._queue.board.get(record) or b""
        return PART.pack(record, offset, len(found)) + found[offset : offset + PIECE]


class Line:
    """One group's line to the queue. Raises Unreachable where nobody answers."""

    def __init__(self, group: int, token: bytes, addresses):
        self._group, self._token, self._turn, self._number = group, token, 0, 0
        self._left, self._under_way = math.nan, (0, 0.0)
        self._asked: tuple[bytes, float] | None = None  # the question whose answer is to come, and when it was sent
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for address in addresses:
            self._address = tuple(address)
            try:
                self._ask(self._question(HELLO), WAITS[:4])
                return
            except (OSError, Unreachable):
                continue
        self._socket.close()
        raise Unreachable

    def begin(self):
        """The next queue is there."""
        self._turn, self._asked = self._turn + 1, None

    def _question(self, kind: int, rest: bytes = b"") -> bytes:
        self._number += 1
        return QUESTION.pack(kind, self._group, self._turn, self._number) + rest

    def next(self, finished: list[tuple[int, float]]) -> list[int] | None:
        """The records to compute next; finished: those computed since, with their seconds.

        As in `Queue.take`; None: none can begin yet, ask again.
        """
        if self._asked is None:
            told = b"".join(FINISHED.pack(*each) for each in finished)
            return self._received(*self._sent(self._question(NEXT, COUNT.pack(len(finished)) + told)))
        question, since = self._asked
        if (answer := self._answer(PATIENCE)) is not None:
            return self._received(*answer)
        return self._received(*self._sent(question)) if time.monotonic() > since + AGAIN else None

    def _sent(self, question: bytes) -> tuple[int, bytes]:
        """State and rest of the answer. Raises RuntimeError where none comes."""
        self._asked = question, time.monotonic()
        try:
            return self._ask(question, WAITS)
        except Unreachable:
            raise RuntimeError(
                f"the process that shares out the records, started by rank 0, has not answered for {sum(WAITS):.0f} s; "
                "what is done is in the file: give the same command again"
            ) from None

    def _received(self, state: int, rest: bytes) -> list[int] | None:
        self._left, *self._under_way, count = RECORDS.unpack_from(rest)
        if state == WAIT:
            return None
        self._asked = None
        return list(struct.unpack_from(f"<{count}q", rest, RECORDS.size))

    def put(self, record: int, result: dict[str, np.ndarray]):
        """What a record has left for others, before it is said to have ended."""
        content, offset = _packed(result), 0
        while offset < len(content):
            piece = PART.pack(record, offset, len(content)) + content[offset : offset + PIECE]
            _, offset, _ = PART.unpack(self._sent(self._question(PUT, piece))[1])
        self._asked = None

    def get(self, record: int) -> dict[str, np.ndarray] | None:
        """What a record has left; None where it has failed."""
        content, total = b"", 1
        while len(content) < total:
            _, rest = self._sent(self._question(GET, PART.pack(record, len(content), 0)))
            _, _, total = PART.unpack_from(rest)
            content += rest[PART.size :]
        self._asked = None
        return _unpacked(content) if content else None

    def _ask(self, question: bytes, waits) -> tuple[int, bytes]:
        for wait in waits:
            self._socket.sendto(self._token + question, self._address)
            if (answer := self._answer(wait)) is not None:
                return answer
        raise Unreachable

    def _answer(self, seconds: float) -> tuple[int, bytes] | None:
        """State and rest of the answer to the last question, if it comes in so many seconds."""
        ends = time.monotonic() + seconds
        while (remaining := ends - time.monotonic()) > 0:
            self._socket.settimeout(remaining)
            try:
                answer = self._socket.recv(LARGEST)
            except TimeoutError:
                break
            except ConnectionError:  # nobody there: the next try comes after the wait
                time.sleep(max(0.0, ends - time.monotonic()))
                break
            number, state = ANSWER.unpack_from(answer)
            if number == self._number:
                return state, answer[ANSWER.size :]
        return None

    def time_left(self) -> float | None:
        """Seconds until all records are done, by the last answer; None: it told none."""
        return None if math.isnan(self._left) else self._left

    def under_way(self) -> tuple[int, float]:
        """How many records groups are at, and in how many seconds all are done, as of the last answer."""
        records, seconds = self._under_way
        return records, seconds

    def close(self):
        self._socket.close()


if __name__ == "__main__":
    try:
        serve()
    except BrokenPipeError:  # whoever started it is gone, or had nothing to share out
        os._exit(0)
