"""Progress of a run, for people."""

import sys
import time

from hpcsim.run.schedule import later

NOTED = 5.0  # seconds between notes for the status


class Progress:
    """Rate-limited lines (a bar on a terminal) with done/total, rate and time left.

    Where it is not told how long the rest takes, it counts from the first record that is finished: that compiled.
    """

    def __init__(self, total: int, done: int):
        self.total, self.done, self.first = total, done, done
        self.started = self.last = time.monotonic()
        self.tty, self.silent = sys.stderr.isatty(), False
        self._left, self._told, self._noted, self._from, self._idle = None, 0.0, 0.0, None, False

    def needs(self, total: int):
        """Fewer records are needed than was thought."""
        if total != self.total:
            self.total = total
            self(0)

    def left(self, seconds: float | None, records, idle: bool = False):
        """How long the records that are not done will take, from what the finished ones took; None: unknown.

        records : where the status finds it, once in NOTED seconds
        idle    : nothing is left for who tells it, so that it will not be told again before others are done
        """
        self._left, self._told, self._idle = seconds, time.monotonic(), idle
        if self._told - self._noted > NOTED and (left := self.seconds_left()) is not None:
            records.note(left=left)
            self._noted = self._told
        if self.done < self.total:
            self._show()

    def seconds_left(self) -> float | None:
        """Until the end, about; None: nobody knows yet."""
        now = time.monotonic()
        if self._left is not None:
            return later(self._left, now - self._told)
        if self._from is None or self.done == self._from[0]:
            return None
        done, since = self._from
        return (self.total - self.done) * (now - since) / (self.done - done)

    def __call__(self, finished: int):
        self.done += finished
        if finished and self._from is None:
            self._from = self.done, time.monotonic()
        if self._left is None or self._idle or self.done == self.total:
            self._show()  # elsewhere as soon as the time left is told again, which knows of this record

    def _show(self):
        now = time.monotonic()
        if self.done < self.total and now - self.last < (0.2 if self.tty else 5.0):
            return
        self.last = now
        rate = (self.done - self.first) / max(now - self.started, 1e-9)
        left = 0.0 if self.done == self.total else self.seconds_left()
        line = f"{self.done}/{self.total} records, {rate:.3g}/s" + ("" if left is None else f", {left:.0f} s left")
        if self.tty:
            filled = 30 * self.done // self.total
            line = f"\r[{'#' * filled}{'.' * (30 - filled)}] {line}   " + "\n" * (self.done == self.total)
        else:
            line += "\n"
        if not self.silent:
            try:
                sys.stderr.write(line)
                sys.stderr.flush()
            except (OSError, ValueError):  # nobody reads it, as in hpcsim run | head, or there is no room for it
                self.silent = True
