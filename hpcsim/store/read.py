"""Reading run files: everything, verified, for collect; progress for the status."""

import json
import math
import os
import time
from pathlib import Path

import numpy as np

from hpcsim.store import lock
from hpcsim.store.disk import read_layout, reading
from hpcsim.store.layout import RunData, StoreError, in_words, swept_at
from hpcsim.store.run import run_files
from hpcsim.store.states import DONE, FAILED, SKIPPED, read_failures, read_history, read_records


def read_runs(path) -> list[RunData]:
    """The run `path` and all its parts, every CRC verified. Raises StoreError if one fails."""
    return [_read_run(file) for file in run_files(path) or [path]]


def _read_run(path) -> RunData:
    with reading(path) as (file, version):
        states, arrays = read_records(file, version)
        if states.damaged:
            raise StoreError(
                f"{path}: damaged (the CRC fails): record {', '.join(map(str, states.damaged))}; "
                f"the same hpcsim run command computes again what is damaged"
            )
        return RunData(
            Path(path),
            read_layout(file),
            states.done,
            states.skipped,
            read_failures(file, version, states.failed),
            arrays,
            states.seconds,
            read_history(file, version),
            json.loads(file.attrs["versions"]),
        )


def read_status(path) -> dict:
    """Progress of a running or stopped run. Takes no lock and disturbs no writer.

    files, bytes, title; records, done, failed, and skipped, which the target_error does not need; points, points_done;
    failures [(record, point, {key: value} of its sweep, reason)];
    progress (points, 2), done and all records of each but the skipped; history of the finished sessions; holder,
    and running: True, False, or None where only another host knows; elapsed_seconds and rate (records per second)
    of the present or last session; seconds_left as that said last, or None.
    Raises StoreError.
    """
    files, history, states, reasons = run_files(path) or [Path(path)], [], [], {}
    for each in files:
        with reading(each) as (file, version):
            layout = read_layout(file)
            flags = file["records/done"][:]
            states.append(flags)
            history += read_history(file, version)
            reasons |= read_failures(file, version, flags == FAILED)
        if len(states[-1]) != len(states[0]):
            raise StoreError(f"{each}: is no part of the same run as {files[0]}; move one of them away", 2)
    done = np.any([flags == DONE for flags in states], axis=0)
    skipped, failed = (np.any([flags == kind for flags in states], axis=0) & ~done for kind in (SKIPPED, FAILED))
    points = math.prod(layout.shape)
    progress = np.stack([np.bincount(layout.point[which], minlength=points) for which in (done, ~skipped)], 1)
    held = lock.read(os.path.realpath(path))
    running = lock.alive(held)
    elapsed, computed = _session(held, running, files, history, int(done.sum()))
    return {
        "files": files,
        "bytes": sum(file.stat().st_size for file in files),
        "title": layout.config.get("title", ""),
        "records": int((~skipped).sum()),
        "done": int(done.sum()),
        "failed": int(failed.sum()),
        "failures": [
            (int(r), p := int(layout.point[r]), swept_at(layout.axes, layout.shape, p), reasons[int(r)])
            for r in np.flatnonzero(failed)
        ],
        "skipped": int(skipped.sum()),
        "points": points,
        "points_done": int((progress[:, 0] == progress[:, 1]).sum()),
        "progress": progress,
        "history": history,
        "running": running,
        "holder": lock.holder(held) if held else "",
        "elapsed_seconds": elapsed,
        "rate": computed / elapsed if elapsed > 0 else 0.0,
        "seconds_left": _left(held) if held else None,
    }


def _session(held, running, files, history, done) -> tuple[float, int]:
    """(seconds, records computed) of the present or killed session, or else of the last in the history."""
    if held and "done" in held:
        last = max(os.path.getmtime(file) for file in files)
        seconds = max(0.0, last - held["started"]) if running is False else lock.since(held, "started")
        return seconds, done - held["done"]
    last = history[-1] if history else {}
    return last.get("wall_seconds", 0.0), last.get("records_done", 0) - last.get("records_before", 0)


def _left(held: dict) -> float | None:
    """Seconds that a run has left, as it has noted in its lock file; None where it has not."""
    return max(0.0, held["left"] - lock.since(held, "noted")) if held.keys() >= {"left", "noted"} else None


def _share_done(status: dict) -> str:
    """Which share of the sweep the last session has completed; "" where it was none, or did not end so."""
    last = status["history"][-1] if status["history"] and not status["holder"] else {}
    return str(last.get("share") or "") if str(last.get("ended", "")).startswith("complete") else ""


def busy_range(fractions) -> str:
    """For people: from the least to the most busy group of a session, in parts of its time; "" of none."""
    ends = dict.fromkeys(f"{f(fractions):.0%}" for f in (min, max)) if fractions else ()
    return " to ".join(ends)


def io_time(entry: dict) -> str:
    """For people: the time that all groups of a session spent in I/O, and its part of the time of their loops."""
    seconds, groups = entry.get("io_seconds", 0), entry.get("ranks", 1) / entry.get("ranks_per_point", 1)
    loops = groups * entry.get("loop_seconds", 0)
    return f"{seconds:.2f} s" + (f" ({seconds / loops:.1%})" if loops else "")


def format_status(status: dict) -> str:
    """`read_status` for people."""
    rate, holder, failed = status["rate"], status["holder"], status["failed"]
    left = status["records"] - status["done"] - failed
    if status["running"] is not False:
        state = f"running on {holder}" if status["running"] else f"running or killed on {holder}"
        seconds = status["seconds_left"]
        state += f", {seconds:.0f} s left" if left and seconds is not None else ""
    elif left and (share := _share_done(status)):
        state = f"share {share} is complete; hpcsim collect takes the files of all shares"
    elif left:
        state = (f"killed on {holder}" if holder else "stopped") + "; the same command resumes"
    else:
        state = "ended; hpcsim run --retry-failed computes them again" if failed else "complete"
    spared = f" ({status['skipped']} more not needed)" if status["skipped"] else ""
    lines = [
        f"{', '.join(map(str, status['files']))}: {status['title']}",
        f"{status['done']}/{status['records']} records{spared}{f', {failed} failed' * bool(failed)}, "
        f"{status['points_done']}/{status['points']} points, "
        f"{status['elapsed_seconds']:.0f} s, {rate:.3g} records/s; {state}",
    ]
    begun = [(p, done, total) for p, (done, total) in enumerate(status["progress"]) if 0 < done < total]
    lines += [f"point {p}: {done}/{total} records" for p, done, total in begun[:10]]
    lines += [
        f"record {r} of point {p}{f' ({in_words(swept)})' * bool(swept)} failed: {reason}"
        for r, p, swept, reason in status["failures"][:10]
    ]
    lines += [f"and {failed - 10} more"] * (failed > 10)
    for entry in status["history"]:
        lines.append(
            f"{time.ctime(entry.get('started', 0))}: {entry.get('wall_seconds', 0):.1f} s on "
            f"{entry.get('ranks', '?')} ranks, groups busy {busy_range(entry.get('busy_fraction'))}, "
            f"{io_time(entry)} in I/O, {entry.get('ended')}"
        )
    return "\n".join(lines)
