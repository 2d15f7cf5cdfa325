"""The numbers of a figure as a table of text: what its panels show, and its checks.

# fig2c: Liouvillian gap of the gain/loss dimer
# run 2026-11-28 17:02, 2 ranks, 41.3 s: hpcsim run configs/huber2020/fig2c.yaml --out fig2c.h5
# ...
part,curve,x,z,value,stderr,expected,verdict
a,S = 4,0.1,,0.0213,,,
check,gap at the critical rate,,,0.0349,,< 0.04,pass
"""

import csv
import io
import json
import time
from pathlib import Path

import numpy as np

from hpcsim.figures.curves import curves, located, name_of
from hpcsim.figures.draw import map_of
from hpcsim.figures.section import Figure, Panel
from hpcsim.store import Collected, StoreError

COLUMNS = ("part", "curve", "x", "z", "value", "stderr", "expected", "verdict")
CHECK = "check"  # the part of the rows of checks; panels are a, b, c, ...


def table(data: Collected, figure: Figure, results: list) -> str:
    """The table of one figure.

    results : CheckResult of its checks
    """
    text = io.StringIO()
    text.writelines(f"# {line}\n" for line in _head(data, figure))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for i, panel in enumerate(figure.panels):
        with located(f"figure {figure.file}, panel {i}"):
            writer.writerows([chr(97 + i), *row, "", ""] for row in _rows(data, panel))
    for r in results:
        verdict = r.verdict or ("pass" if r.passed else "FAIL")
        writer.writerow([CHECK, r.name, "", "", _field(r.value), _field(r.error or np.nan), r.expect, verdict])
    return text.getvalue()


def checks(path: Path) -> dict[str, dict[str, str]]:
    """{name: row} of the checks in a table; rows have the keys COLUMNS. Raises StoreError."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = [*csv.DictReader(line for line in file if not line.startswith("#"))]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"{path}: cannot be read ({error}); hpcsim plot FILE --csv writes it", 2) from None
    if rows and {*rows[0]} != {*COLUMNS}:
        raise StoreError(f"{path}: has other columns than {', '.join(COLUMNS)}; hpcsim plot FILE --csv writes it", 2)
    return {row["curve"]: row for row in rows if row["part"] == CHECK}


def is_table(path: Path) -> bool:
    """Whether a file is such a table, which a new one may replace."""
    try:
        with open(path, encoding="utf-8") as file:
            return next((line for line in file if not line.startswith("#")), "").strip() == ",".join(COLUMNS)
    except (OSError, UnicodeDecodeError):
        return False


def _head(data: Collected, figure: Figure):
    """What was run, when, and on how many ranks."""
    yield f"{figure.file}: {data.attrs.get('title') or 'no title'}"
    for entry in json.loads(data.attrs.get("sessions", "[]")):
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.get("started", 0)))
        command = f": {entry['command']}" if entry.get("command") else ""
        yield f"run {when}, {entry.get('ranks', '?')} ranks, {entry.get('wall_seconds', 0):.1f} s{command}"
    yield f"{float(data.attrs.get('compute_seconds', 0)):.4g} s of computing in all"
    yield f"SHA-256 of the resolved config {data.attrs.get('config_hash', 'unknown')}"


def _rows(data: Collected, panel: Panel):
    """(curve, x, z, value, stderr) of every point of a panel."""
    if panel.kind == "map":
        x, z, image = map_of(data, panel)
        for value, row in zip(z, image):
            yield from ([panel.y[0], _field(a), _field(value), _field(b), ""] for a, b in zip(x, row))
        return
    for curve in curves(data, panel):
        name = name_of(curve, panel) or curve.variable
        errors = np.full(len(curve.y), np.nan) if curve.error is None else curve.error
        for x, y, error in zip(curve.x, curve.y, errors):
            yield [name, _field(x), "", _field(y), _field(error)]


def _field(value) -> str:
    """Six digits; empty where there is no number."""
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else f"{value:.6g}"
