"""What a signal to a run does at once, whatever the run computes: a small process beside rank 0.

Python runs its signal handlers between two of its own instructions, and a factorisation is one instruction. What C code
does at the moment of a signal is to write its number into a pipe (signal.set_wakeup_fd). This process reads it there,
says what happens next, and at the second SIGINT or SIGTERM ends rank 0 if Python has not: the launcher ends the others.
It is started by its path, loads nothing but the standard library, and ends with rank 0, however that ends.
"""

import math
import os
import select
import signal
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

BY_HAND = (signal.SIGINT, signal.SIGTERM)
STOPPING = (signal.SIGUSR1, *BY_HAND)
NOT_ITS_END = (signal.SIGHUP, signal.SIGUSR2, *STOPPING)
SAME = 0.5  # seconds within which a signal that comes twice is one: a batch system may send it along two ways
GRACE = 1.0  # seconds that Python has, to end rank 0 in good order
AFTER_CONT = 3.0  # Open MPI's mpirun sends SIGCONT, after a second SIGTERM, after another SIGKILL
LAUNCHERS = ("mpirun", "mpiexec", "orterun", "orted", "prterun", "prted")
STATUS = struct.Struct("<xId")  # a zero byte, which is no signal; records under way, time by which they are done


def hold():
    """SIGUSR1, which asks a run to end, waits from now on for a run that listens, and ends nothing after it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})


def start_beside(command, **keys) -> subprocess.Popen:
    """A process that signals which stop a run, sent to all processes of a job, do not end."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, NOT_ITS_END)  # a new process inherits what is blocked
    try:
        return subprocess.Popen(command, start_new_session=True, **keys)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def end(process: subprocess.Popen):
    """Wait for a process whose standard input has ended; kill it if another still holds the other end of that."""
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Watcher:
    """The process, and rank 0's pipe to it. Signals that Python handles are seen from `__enter__` to `__exit__`.

    out : name of the run file, for the messages
    """

    def __init__(self, out: str):
        read, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), out]
        try:
            self._process = start_beside(command, stdin=read, stdout=subprocess.DEVNULL)
        finally:
            os.close(read)

    def __enter__(self):
        self._before = signal.set_wakeup_fd(self._pipe, warn_on_full_buffer=False)
        return self

    def __exit__(self, *error):
        signal.set_wakeup_fd(self._before)
        os.close(self._pipe)
        end(self._process)

    def tell(self, records: int, seconds: float):
        """So many records are being computed; in about so many seconds all of them are done."""
        with suppress(OSError):  # a full pipe: it knows enough
            os.write(self._pipe, STATUS.pack(records, time.monotonic() + seconds))


class Again:
    """Whether a signal asks, for the second time, to stop."""

    def __init__(self):
        self._first = None

    def __call__(self, number: int) -> bool:
        now = time.monotonic()
        if number in BY_HAND and self._first is None:
            self._first = now
        return number in BY_HAND and now - self._first > SAME


def serve(rank_0: int, out: str):
    """Read signals and STATUS from standard input until it ends, and say what they mean."""
    records, until, continued, said, again = 0, 0.0, -math.inf, False, Again()
    while chunk := os.read(0, 1):
        number = chunk[0]
        if number == 0:
            records, until = STATUS.unpack(chunk + os.read(0, STATUS.size - 1))
        elif number == signal.SIGCONT:
            continued = time.monotonic()
        elif number in STOPPING:
            name = signal.Signals(number).name
            if number == signal.SIGTERM and time.monotonic() - continued < AFTER_CONT and (pid := _launcher(rank_0)):
                _say(
                    f"{name}: the MPI launcher ends all ranks in a second; what is finished is in {out}, and the same "
                    f"command goes on from there (kill -USR1 {pid} lets records finish)"
                )
            elif again(number):
                _say(f"{name}: stopping now; what is finished is in {out}, and the same command goes on from there")
                _end(rank_0)
            elif not said:
                _say(f"{name}: {_next(records, until - time.monotonic())}{_then(number)}")
            said = True


def _next(records: int, seconds: float) -> str:
    if not records:
        return "ending before the next record"
    many = f"finishing {records} record{'s' * (records > 1)}"
    return (
        f"{many}, about {math.ceil(seconds)} s"
        if seconds > 0
        else f"{many}, which take{'s' * (records == 1)} longer than estimated"
    )


def _then(number: int) -> str:
    return "; again to stop now" if number in BY_HAND else "; the same command goes on from there"


def _say(text: str):
    with suppress(OSError):
        os.write(2, f"{chr(10) * os.isatty(2)}hpcsim: {text}\n".encode())


def _launcher(pid: int) -> int | None:
    """The parent of a process if it is one that ends its children a second after it is told to."""
    with suppress(OSError, ValueError, IndexError):
        parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        if Path(f"/proc/{parent}/comm").read_text().startswith(LAUNCHERS):
            return parent
    return None


def _end(pid: int):
    """End a process that does not end by itself, which the end of standard input would tell."""
    until = time.monotonic() + GRACE
    while (remaining := until - time.monotonic()) > 0:
        if select.select([0], [], [], remaining)[0] and not os.read(0, 1):
            return
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2])
