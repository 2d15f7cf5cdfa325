"""The sections of a report."""

import json
import time

import numpy as np
from pydantic import ValidationError

from hpcsim import __version__, figures, store
from hpcsim.report import quality
from hpcsim.report.page import Markup, picture, table, tag
from hpcsim.store.export import results

MOST = 50  # rows of points that lack records, or that failed
INCH = 115  # pixels of a figure's inch


def section(title: str, *children) -> Markup:
    """Nothing where it has no contents."""
    filled = [child for child in children if child]
    return tag("section", tag("h2", title), *filled) if filled else Markup("")


def head(data: store.Collected, name: str, checks: list, drawn: list[str]) -> Markup:
    """Title, what the file is, and all that a reader has to know first. drawn : what was left out of the figures."""
    title = data.attrs.get("title") or name
    passed = sum(check.passed for check in checks)
    badges = [tag("span", f"{_records(data)} records", kind="badge " + ("fail" if store.shortfall(data) else "pass"))]
    if checks:
        kind = "badge " + ("pass" if passed == len(checks) else "fail")
        badges.append(tag("span", f"{passed} of {len(checks)} checks passed", kind=kind))
    found = [f"{len(checks) - passed} of {len(checks)} checks failed"] * (passed < len(checks))
    found += quality.warnings(data) + drawn
    listed = tag("ul", *(tag("li", text) for text in found), kind="warnings") if found else ""
    model, methods = data.config.get("model", {}).get("name", ""), quality.methods(data)
    what = f"model {model}, {'methods' if len(methods) > 1 else 'method'} {', '.join(methods)}"
    return tag("header", tag("h1", title), tag("p", what), tag("p", *badges), listed)


def _records(data: store.Collected) -> str:
    counts = (data.variables[f"records_{kind}"].values for kind in ("done", "total"))
    done, total = (int(np.sum(count)) for count in counts)
    return str(total) if done == total else f"{done} of {total}"


def drawn(data: store.Collected, given=None) -> tuple[Markup, list, list[str]]:
    """The figures with their checks; the checks of all; and what could not be drawn.

    given : the section `figures` of a config that the user named, in place of that of the file
    """
    parts, checks, problems = [], [], []
    try:
        parsed = figures.parse(data.config.get("figures", []) if given is None else given, given is not None)
    except ValidationError as error:
        return Markup(""), [], [f"the figures of the file are not understood: {error.errors()[0]['msg']}"]
    data = figures.in_all_words(data)
    for figure in parsed:
        try:
            svg = figures.images(data, figure, (".svg",))[".svg"]
            judged = figures.judge(data, figure)
        except store.StoreError as error:
            problems.append(str(error))
            continue
        columns = min(figure.columns or len(figure.panels), len(figure.panels))
        about = [f"{', '.join(panel.y)} over {panel.x}" for panel in figure.panels]
        name = figure.title or figure.file
        parts += [tag("h3", name), picture(svg, f"{name}: {'; '.join(about)}", round(3.6 * INCH * columns))]
        parts.append(_checks(judged))
        checks += judged
    if not parsed:
        parts.append(
            tag("p", "The config has no section figures; hpcsim report FILE --config YAML draws those of another.")
        )
    return section("Figures and checks", *parts), checks, problems


def _checks(judged: list) -> Markup:
    if not judged:
        return Markup("")
    verdicts = {True: tag("span", "pass", kind="badge pass"), False: tag("span", "FAIL", kind="badge fail")}
    rows = [(verdicts[check.passed], check.name, check.measured, check.expect, check.note) for check in judged]
    return table(("", "check", "value", "expected", "note"), rows)


def reliability(data: store.Collected) -> Markup:
    """Errors, certificates, residuals."""
    shown = []
    for title, columns, rows in (
        ("Convergence", ("result", "meaning", "where it holds", "not at"), quality.flags(data)),
        ("Residuals and other errors", ("result", "meaning", "largest", "at"), quality.sizes(data)),
        ("Errors of the results", ("result", "kind", "largest", "at", "median"), quality.errors(data)),
    ):
        if rows:
            shown += [tag("h3", title), table(columns, rows)]
    return section("Reliability", *shown)


def records(data: store.Collected) -> Markup:
    """Points that lack records, and why records failed."""
    points, failed = quality.missing(data), store.failures(data)
    shown = []
    if points:
        shown.append(table(("point", "done", "records", "failed"), points[:MOST]))
        shown.append(tag("p", f"and {len(points) - MOST} more", kind="quiet") if len(points) > MOST else "")
    if failed:
        shown += [tag("h3", "Failed records"), table(("point", "record", "reason"), failed[:MOST])]
    return section("Missing records", *shown)


def numbers(data: store.Collected) -> Markup:
    """Every result with its meaning and range."""
    rows = []
    for name in results(data):
        variable = data.variables[name]
        values, asked = variable.values, store.asked(data, variable)
        there = values[asked & ~np.isnan(values)]
        size = " × ".join(f"{dim} {n}" for dim, n in zip(variable.dims, values.shape))
        absent = int(asked.sum()) - there.size
        rows.append(
            (
                name,
                variable.attrs.get("long_name", ""),
                variable.attrs.get("units", "1"),
                size,
                _range(there),
                str(absent) if absent else "",
            )
        )
    listed = table(("result", "meaning", "unit", "size", "range", "missing"), rows)
    return section("Results", tag("details", tag("summary", f"{len(rows)} results"), listed))


def _range(values) -> str:
    if not values.size:
        return "none"
    if np.iscomplexobj(values):
        return f"|z| {quality.shown(np.abs(values).min())} to {quality.shown(np.abs(values).max())}"
    low, high = quality.shown(values.min()), quality.shown(values.max())
    return low if low == high else f"{low} to {high}"


def timings(data: store.Collected) -> Markup:
    """Sessions of the runs."""
    sessions = json.loads(data.attrs.get("sessions", "[]"))
    rows = []
    for entry in sessions:
        rows.append(
            (
                str(entry.get("file", "")),
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.get("started", 0))),
                f"{entry.get('wall_seconds', 0):.1f} s",
                str(entry.get("ranks", "")),
                f"{entry.get('records_done', 0) - entry.get('records_before', 0)}",
                store.busy_range(entry.get("busy_fraction")),
                f"{entry.get('compile_seconds', 0):.1f} s",
                store.io_time(entry),
                str(entry.get("ended", "")),
            )
        )
    columns = ("file", "started", "time", "ranks", "records", "busy", "compiling", "I/O", "ended")
    seconds = f"{float(data.attrs.get('compute_seconds', 0)):.4g} s of computing in all"
    return section("Timings", tag("p", seconds), table(columns, rows) if rows else "")


def provenance(data: store.Collected) -> Markup:
    """Where the numbers come from: files, seeds, versions, and the config."""
    attrs = data.attrs
    rows = [
        ("run files", ", ".join(json.loads(attrs.get("sources", "[]")))),
        ("collected", attrs.get("collected", "")),
        ("seed", ", ".join(map(str, np.ravel(attrs.get("seed", ""))))),
        ("commit", attrs.get("commit", "")),
        ("SHA-256 of the config", attrs.get("config_hash", "")),
        ("report made by", f"hpcsim {__version__}, {time.strftime('%Y-%m-%d %H:%M:%S %z')}"),
    ]
    for i, versions in enumerate(json.loads(attrs.get("versions", "[]"))):
        text = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "commit")
        rows.append((f"versions{f' ({i + 1})' * bool(i)}", text))
    config = tag("details", tag("summary", "the resolved config"), tag("pre", attrs.get("config", "")))
    return section("Provenance", table(("", ""), rows), config)


def whole(data: store.Collected, name: str, given=None) -> tuple[str, list[Markup], list]:
    """(title, sections, checks) of the report on the file `name`."""
    pictures, checks, problems = drawn(data, given)
    sections = [
        head(data, name, checks, problems),
        pictures,
        reliability(data),
        records(data),
        numbers(data),
        timings(data),
        provenance(data),
    ]
    return data.attrs.get("title") or name, sections, checks
