"""Progress of a run, for people."""

import sys
import time


class Progress:
    """Rate-limited lines (a bar on a terminal) with done/total, rate and time left.

    seconds_left : for the records that nobody has begun, from what the finished ones took; None: by their rate alone
    """

    def __init__(self, total: int, done: int):
        self.total, self.done, self.first = total, done, done
        self.started = self.last = time.monotonic()
        self.tty, self.silent, self.seconds_left = sys.stderr.isatty(), False, None

    def needs(self, total: int):
        """Fewer records are needed than was thought."""
        if total != self.total:
            self.total = total
            self(0)

    def __call__(self, finished: int):
        self.done += finished
        now = time.monotonic()
        if self.done < self.total and now - self.last < (0.2 if self.tty else 5.0):
            return
        self.last = now
        rate = (self.done - self.first) / max(now - self.started, 1e-9)
        left = self.seconds_left
        if left is None or self.done == self.total:
            left = (self.total - self.done) / rate if rate else float("inf")
        line = f"{self.done}/{self.total} records, {rate:.3g}/s, {left:.0f} s left"
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
