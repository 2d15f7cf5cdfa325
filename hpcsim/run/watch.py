"""A look at the other ranks: one that is stopped, swapped out or late to begin keeps all of them waiting."""

import logging
import os
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("hpcsim")
EVERY, PATIENCE = 10.0, 3  # seconds between two looks, looks after which it is told
TAG_HERE = 32101  # of a communicator that may be the caller's


@contextmanager
def watching(world, every: float = EVERY):
    """Name in the log the next rank on this node as long as it is stopped or swapped out. Collective over `world`.

    Each rank watches the next, so that no one of them has to live. Ranks alone on their node are not watched, but
    every rank waits here for the next of all, and names it where it is late: it may have been stopped at its start.
    """
    _wait_for_next(world, every)
    here = socket.gethostname()
    ranks = world.allgather((here, world.rank, os.getpid()))
    own = [(rank, pid) for host, rank, pid in ranks if host == here]
    following = own[(own.index((world.rank, os.getpid())) + 1) % len(own)]
    ended = threading.Event()
    if len(own) > 1:
        threading.Thread(target=_look, args=(*following, here, every, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()


def _wait_for_next(world, every: float):
    """Until the next rank, in a ring, has come here too."""
    if world.size == 1:
        return
    following, began, told = (world.rank + 1) % world.size, time.monotonic(), False
    sent = world.isend(None, dest=(world.rank - 1) % world.size, tag=TAG_HERE)
    while not world.Iprobe(source=following, tag=TAG_HERE):
        waited = time.monotonic() - began
        if waited > PATIENCE * every and not told:
            log.error(
                "rank %d has not begun %.0f s after rank %d: the other ranks wait for it", following, waited, world.rank
            )
            told = True
        time.sleep(0.001)
    world.recv(source=following, tag=TAG_HERE)
    sent.wait()


def _look(rank: int, pid: int, host: str, every: float, ended: threading.Event):
    seen = 0
    while not ended.wait(every):
        reason = trouble(pid)
        seen = seen + 1 if reason else 0
        if seen == PATIENCE:
            log.error("rank %d (process %d on %s) %s: the other ranks wait for it", rank, pid, host, reason)


def trouble(pid: int) -> str | None:
    """Why a process does not go on, as far as the kernel says; None if it does, or has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    if fields.get("State", "").strip()[:1] in ("T", "t"):
        return "is stopped (a signal, a debugger or the batch system)"
    resident, swapped = (int(fields.get(name, "0").split()[0]) for name in ("VmRSS", "VmSwap"))
    return f"has {swapped / 1e6:.3g} GB of its memory in swap" if swapped > max(resident, 100_000) else None
