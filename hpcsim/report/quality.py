"""How far the numbers of a file can be trusted, as far as the file tells."""

from collections.abc import Iterator

import numpy as np

from hpcsim import store
from hpcsim.store.export import COMPANIONS, coordinates

# 1 where all is well; the message where it is 0
FLAGS = {
    "certified": "the gap, or the last eigenvalue, is not certified to be what it is said to be",
    "at_rest": "the state had not come to rest",
    "target_met": "target_error was not reached",
}
# Names of errors, of which the largest counts, and what is too much: None where that depends on the case
SIZES = {
    "residual": None,
    "fastest_residual": None,
    "gap_check": None,
    "fastest_check": None,
    "mirror_defect": None,
    "trace_error": 1e-6,
    "hermiticity": 1e-6,
    "truncation": 0.02,
    "truncation_error": None,
    "dt_bias": 1.0,
    "error_time_step": None,
    "error_bond_dimension": None,
}
WHAT = {
    "truncation": "the truncation leaves an estimated error of up to {:.2g} S",
    "dt_bias": "the estimated bias of the step is up to {:.2g} times what is allowed",
}


def shown(value) -> str:
    """A number, or a word, in a few digits."""
    return value if isinstance(value, str) else f"{value:.4g}"


def place(data: store.Collected, variable: store.Variable, index) -> str:
    """The coordinates of an element, `S = 4, gain = 0.5`."""
    where = dict(zip(variable.dims, index))
    parts = []
    for name in coordinates(data):
        dims = data.variables[name].dims
        if dims and dims[0] in where:
            parts.append((variable.dims.index(dims[0]), dims != (name,), name, dims[0]))
    return ", ".join(f"{name} = {shown(data.variables[name].values[where[dim]])}" for _, _, name, dim in sorted(parts))


def methods(data: store.Collected) -> list[str]:
    """Their names; files of earlier versions have the config alone."""
    if "method" in data.variables:
        return [str(name) for name in np.ravel(data.variables["method"].values)]
    return [data.config.get("method", {}).get("name", "")]


def named(data: store.Collected, known) -> Iterator[tuple[str, str, store.Variable]]:
    """Yield (key, name, variable) of the results of these names; several methods' have theirs behind."""
    ends = ["", *("_" + store.slug(method) for method in methods(data))]
    for key in known:
        for name in (key + end for end in ends):
            if name in data.variables:
                yield key, name, data.variables[name]


def largest(variable: store.Variable) -> tuple[float, tuple[int, ...]] | None:
    """The largest |element|, and its index; None where all are NaN."""
    size = np.abs(variable.values).astype(float)
    if np.isnan(size).all():
        return None
    index = np.unravel_index(np.nanargmax(size), size.shape)
    return float(size[index]), tuple(map(int, index))


def errors(data: store.Collected) -> list[tuple]:
    """(result, kind of error, the largest, where that is, the median) of every result with errors."""
    rows = []
    for name, variable in data.variables.items():
        kind = next((kind for kind in COMPANIONS if name.endswith("_" + kind)), None)
        result = name.removesuffix(f"_{kind}")
        if kind is None or result not in data.variables or not (found := largest(variable)):
            continue
        size, index = found
        median = np.nanmedian(np.abs(variable.values))
        units = variable.attrs.get("units", "1")
        unit = "" if units == "1" else f" {units}"
        rows.append((result, COMPANIONS[kind], shown(size) + unit, place(data, variable, index), shown(median) + unit))
    return rows


def sizes(data: store.Collected) -> list[tuple]:
    """(name, meaning, the largest, where that is) of the errors that are results themselves."""
    rows = []
    for _, name, variable in named(data, SIZES):
        if found := largest(variable):
            text = variable.attrs.get("long_name", "")
            rows.append((name, text, shown(found[0]), place(data, variable, found[1])))
    return rows


def flags(data: store.Collected) -> list[tuple]:
    """(name, meaning, how often it is 1, the first places where it is 0)."""
    rows = []
    for _, name, variable in named(data, FLAGS):
        asked = store.asked(data, variable) & ~np.isnan(variable.values)
        if not asked.any():
            continue
        bad = np.argwhere(asked & (variable.values == 0))
        where = "; ".join(place(data, variable, index) for index in bad[:5]) + "; ..." * (len(bad) > 5)
        rows.append((name, variable.attrs.get("long_name", ""), f"{asked.sum() - len(bad)} of {asked.sum()}", where))
    return rows


def missing(data: store.Collected) -> list[tuple]:
    """(place, done, total, failed) of every point that lacks records."""
    counts = [data.variables.get(f"records_{kind}") for kind in ("done", "total", "failed")]
    if counts[0] is None or counts[1] is None:
        return []
    done, total, failed = (np.zeros_like(counts[0].values) if c is None else c.values for c in counts)
    where = np.argwhere(done < total)
    found = [(place(data, counts[0], tuple(index)) or "the only point", tuple(index)) for index in where]
    return [(text, int(done[index]), int(total[index]), int(failed[index])) for text, index in found]


def warnings(data: store.Collected) -> list[str]:
    """What a reader has to know before he uses the numbers."""
    found = [f"the file holds {there}" for there in [store.shortfall(data)] if there]
    for key, name, variable in named(data, FLAGS):
        asked = store.asked(data, variable)
        if bad := int(np.sum(asked & (variable.values == 0))):
            found.append(f"{FLAGS[key]}: {name} is 0 at {bad} of {int(asked.sum())} points")
    for key, name, variable in named(data, SIZES):
        size, limit = (largest(variable) or (0.0,))[0], SIZES[key]
        if limit is not None and size > limit:
            text = WHAT.get(key, name + " is up to {:.2g}").format(size)
            found.append(text if name == key else f"{text} ({name})")
    commits = data.attrs.get("commit", "").split()
    if any(commit.endswith("-dirty") for commit in commits):
        found.append("computed by a checkout with changes that are not committed")
    if len(commits) > 1:
        found.append("computed by several versions of the program")
    return found
