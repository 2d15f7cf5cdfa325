"""One run at a time on one file."""

import fcntl
import json
import logging
import os
import socket
import time
from pathlib import Path

from hpcsim.store.layout import StoreError

log = logging.getLogger("hpcsim")


class Lock:
    """An exclusive lock on FILE.lock, held as long as this process lives.

    The kernel drops it with the process, also at SIGKILL; a stale file is then simply taken over.
    Raises StoreError if another run holds it, or if nothing can be written there.
    """

    def __init__(self, run_file: Path):
        self._path = _beside(run_file)
        self._content = {"host": socket.gethostname(), "pid": os.getpid(), "started": time.time()}
        try:
            run_file.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._acquire(run_file)
            self.note()
        except OSError as error:
            raise StoreError(
                f"{run_file}: nothing can be written beside it ({error}); choose another place with --out", 2
            ) from None

    def _acquire(self, run_file: Path) -> int:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                raise StoreError(
                    f"{run_file}: another run is writing it ({holder(read(run_file))}); wait "
                    f"for its end, or give this run another file with --out",
                    2,
                ) from None
            except OSError as error:
                log.warning(
                    "%s: this file system has no locks (%s): do not start two runs on one file",
                    run_file,
                    error.strerror,
                )
                return fd
            try:  # the former owner may have removed the file between our open and our lock
                if os.path.samestat(os.fstat(fd), os.stat(self._path)):
                    return fd
            except FileNotFoundError:
                pass
            os.close(fd)

    def note(self, **more):
        """Say in the file who holds it, for the message to a second run and for the status."""
        self._content |= more
        os.truncate(self._fd, 0)
        os.pwrite(self._fd, json.dumps(self._content).encode(), 0)

    def release(self):
        """Remove the file while it is still locked: nobody else can own it."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def _beside(run_file) -> Path:
    return Path(f"{run_file}.lock")


def read(run_file) -> dict | None:
    """Who holds the lock, or held it when killed; None after a clean end."""
    try:
        return json.loads(_beside(run_file).read_text())
    except FileNotFoundError:
        return None
    except ValueError:  # read while it was being written
        return {}


def holder(content: dict | None) -> str:
    if not content:
        return "it has just started or ended"
    return f"host {content['host']}, process {content['pid']}, since {time.ctime(content['started'])}"


def alive(content: dict | None) -> bool | None:
    """Whether the process that wrote the lock file lives; None if it is on another host."""
    if not content:
        return False
    if content["host"] != socket.gethostname():
        return None
    return Path(f"/proc/{content['pid']}").exists()
