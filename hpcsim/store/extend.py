"""A run file whose sweep has got more points: the same file, laid out anew, with all the records that it had."""

import logging
import os
from pathlib import Path

import numpy as np

from hpcsim.store import disk
from hpcsim.store.align import aligned, positions
from hpcsim.store.layout import Layout, StoreError, difference, plain_output, science
from hpcsim.store.lock import Lock
from hpcsim.store.slots import Slots
from hpcsim.store.states import places, read_failures, read_history, read_records, record_slab
from hpcsim.store.whole import sync_folder

log = logging.getLogger("hpcsim")


def extend(path: Path, layout: Layout, lock: Lock):
    """Lay the run file `path` out as `layout` if that has its points and more; leave any other file alone.

    The new file is written beside it and then renamed: a kill leaves the old one. Raises StoreError where the sweep has
    lost points that the file holds.
    """
    with disk.reading(path) as (file, _):
        old = disk.read_layout(file)
    if _axes(old) == _axes(layout) or not _extends(old, layout):
        return
    where = _records(path, old, layout)
    if np.any(where < 0):  # another version made other records of a point
        return
    lock.hold()
    new = path.with_name(f"{path.name}.extended")
    try:
        disk.create(new, layout)
        kept = _copy(path, new, where)
        os.replace(new, path)
    except OSError as error:
        raise StoreError(f"{path}: no room for the points that were added to the sweep ({error})") from None
    finally:
        new.unlink(missing_ok=True)
    sync_folder(path.parent)
    more = len(np.unique(layout.point)) - len(np.unique(old.point))
    log.info("%s: %d points added to its sweep; the %d records that it has are kept", path, more, kept)


def _axes(layout: Layout) -> list[dict]:
    return [{key: [*values] for key, values in axis.items()} for axis in layout.axes]


def _extends(old: Layout, new: Layout) -> bool:
    """Whether the two differ in nothing but the values of the sweep."""
    try:
        at = aligned(old, [tuple(axis) for axis in new.axes])
    except KeyError:
        return False
    same = difference(*({**science(layout.config), "sweep": None} for layout in (at, new))) is None
    outputs, wider = ({o.name: plain_output(o) for o in layout.outputs} for layout in (old, new))
    for name, output in outputs.items():
        for dim, more in zip(output["dims"], wider.get(name, {}).get("dims", ())):
            more["values"] = more["values"][: len(dim["values"])]  # a longer point may need more of them
    return same and outputs == wider


def _records(path: Path, old: Layout, new: Layout) -> np.ndarray:
    """The number in `new` of every record of `old`."""
    at = aligned(old, [tuple(axis) for axis in new.axes])
    places = []
    for axis, wider in zip(at.axes, new.axes):
        labels, common = ([*zip(*each.values())] for each in (axis, wider))
        known = {*common}
        if lost := [label for label in labels if label not in known]:
            gone = ", ".join(f"{key} = {value}" for key, value in zip(axis, lost[0]))
            raise StoreError(
                f"{path}: holds points at {gone}, which the sweep does not have; add them to the sweep, or compute the "
                f"new points with --out MORE.h5, then hpcsim collect OUT.h5 {path} MORE.h5",
                2,
            )
        places.append(positions(labels, common))
    where = np.unravel_index(at.point, at.shape)
    points = np.ravel_multi_index([np.array(place)[i] for place, i in zip(places, where)], new.shape)
    numbers = {key: r for r, key in enumerate(zip(new.point.tolist(), np.asarray(new.index).tolist()))}
    return np.array([numbers.get(key, -1) for key in zip(points.tolist(), old.index.tolist())])


def _copy(path: Path, new: Path, where: np.ndarray) -> int:
    """Bring the records, the reasons of those that failed and the history over; the number of records that are done."""
    with disk.reading(path) as (file, version):
        states, arrays = read_records(file, version)
        history, reasons = read_history(file, version), read_failures(file, version, states.failed)
    with disk.reading(new) as (file, version):
        found = places(file)
    slots = Slots(new, found, version)
    try:
        for r in np.flatnonzero(states.done):
            slabs = {name: record_slab(name, array[r], found[f"data/{name}"]) for name, array in sorted(arrays.items())}
            slots.done(int(where[r]), slabs, states.seconds[r])
        for r, reason in reasons.items():
            slots.failed(int(where[r]), reason, states.seconds[r])
        for number, entry in enumerate(history, 1):
            slots.session({"session": number, **entry})
        slots.sync()
    finally:
        slots.close()
    return int(states.done.sum())
