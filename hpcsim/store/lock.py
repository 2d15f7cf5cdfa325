"""One run at a time on one file."""

import errno
import fcntl
import json
import logging
import os
import socket
import struct
import time
from contextlib import suppress
from pathlib import Path

from hpcsim.store.layout import StoreError
from hpcsim.store.whole import file_system

log = logging.getLogger("hpcsim")
FULL = (errno.ENOSPC, errno.EDQUOT)


class Lock:
    """An exclusive lock on FILE.lock, and one on the run file itself, held as long as this process lives.

    The kernel drops both with the process, also at SIGKILL; a stale FILE.lock is then simply taken over. FILE.lock says
    who holds them, and is there before the run file is; the other holds whatever name leads to the file, and is enough
    on a full disk.
    run_file : its real path
    Raises StoreError if another run holds one of them, or if nothing can be written there.
    """

    def __init__(self, run_file: Path):
        self._path, self._run_file, self._fd, self._own = _beside(run_file), run_file, None, None
        self._content = {"host": socket.gethostname(), "pid": os.getpid(), **_now("started")}
        try:
            run_file.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._acquire()
        except OSError as error:
            if error.errno not in FULL or not run_file.exists():
                raise StoreError(
                    f"{run_file}: nothing can be written beside it ({error}); choose another place with --out", 2
                ) from None
            log.warning("%s: the disk is full; the run goes on in the room that its file has", run_file)
        self.note()

    def _acquire(self) -> int:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                self._try(lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
                if os.path.samestat(os.fstat(fd), os.stat(self._path)):
                    return fd
            except FileNotFoundError:  # the former owner has removed it between our open and our lock
                pass
            except StoreError:
                os.close(fd)
                raise
            os.close(fd)

    def hold(self):
        """Lock the run file, now that it exists or is another, at a byte it does not have: this keeps no reader out.

        On NFS it would.
        """
        if file_system(self._run_file).startswith("nfs"):
            if self._fd is None:
                self._warn("no room for its lock")
            return
        if self._own is not None:
            os.close(self._own)
        self._own = os.open(self._run_file, os.O_RDWR)
        request = struct.pack("hhqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, 2**62, 1, 0)
        self._try(lambda: fcntl.fcntl(self._own, fcntl.F_OFD_SETLK, request))

    def _try(self, take):
        try:
            take()
        except BlockingIOError:
            raise StoreError(
                f"{self._run_file}: another run is writing it ({holder(read(self._run_file))}); wait "
                f"for its end, or give this run another file with --out",
                2,
            ) from None
        except OSError as error:
            self._warn(f"this file system has no locks ({error.strerror})")

    def _warn(self, reason: str):
        log.warning("%s: %s: do not start two runs on one file", self._run_file, reason)

    def note(self, **more):
        """Say in FILE.lock who holds it, for the message to a second run and for the status, and more, as it is now."""
        self._content |= more | _now("noted")
        if self._fd is not None:
            with suppress(OSError):  # no room
                os.truncate(self._fd, 0)
                os.pwrite(self._fd, json.dumps(self._content).encode(), 0)

    def release(self):
        """Remove FILE.lock while it is still locked: nobody else can own it. One that stays is taken over."""
        if self._fd is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)
        for fd in (self._fd, self._own):
            if fd is not None:
                with suppress(OSError):  # nothing is lost with it
                    os.close(fd)


def _beside(run_file) -> Path:
    return Path(f"{run_file}.lock")


def _now(name: str) -> dict:
    """This moment, by the time of day and by the clock of this host that nobody sets."""
    return {name: time.time(), f"{name}_steady": time.monotonic()}


def since(content: dict, name: str) -> float:
    """Seconds since a moment that the content of a lock file tells; by the time of day where it is another host's."""
    steady = content.get(f"{name}_steady") if content["host"] == socket.gethostname() else None
    return max(0.0, time.time() - content[name] if steady is None else time.monotonic() - steady)


def read(run_file) -> dict | None:
    """Who holds the lock, or held it when killed; None after a clean end, {} where nobody can tell."""
    try:
        content = json.loads(_beside(run_file).read_text())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError, OSError):  # read while it was being written, or damaged
        return {}
    return content if isinstance(content, dict) and content.keys() >= {"host", "pid", "started"} else {}


def holder(content: dict | None) -> str:
    if not content:
        return "it has just started or ended"
    return f"host {content['host']}, process {content['pid']}, since {time.ctime(content['started'])}"


def alive(content: dict | None) -> bool | None:
    """Whether the process that wrote the lock file lives; None if it is on another host.

    One that has ended stays in /proc as long as nobody asks for its status, in some containers for ever.
    """
    if not content:
        return False
    if content["host"] != socket.gethostname():
        return None
    try:
        state = Path(f"/proc/{content['pid']}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")
