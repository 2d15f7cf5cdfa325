"""Figures and checks that a config declares, from a collected file.

    figures:
      - file: fig5ab                                # writes fig5ab.png and fig5ab.pdf
        panels:
          - {y: Sz, x: loss, by: sublattice, divide: S, overlays: [{theory: gaussian_Sz}]}
        checks:
          - {name: jump, y: Sz, x: loss, by: sublattice, analysis: steepest_at,
             select: {loss: [1, 2]}, expect: upper_boundary, sigmas: 1}

A theory is the name of a function of `hpcsim.analysis`, or FILE.py:FUNCTION for one of the user's own. Its arguments
are found by their names among the parameters of the model and the coordinates of the data.

`parse` and `verify` validate the section before anything is computed; `plot` draws and checks.
"""

import logging
import unicodedata
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpcsim import store
from hpcsim.analysis import ESTIMATES
from hpcsim.figures import numbers
from hpcsim.figures.curves import Curve, curves, divisor, evaluate, located, name_of
from hpcsim.figures.draw import draw, images, verify_panel
from hpcsim.figures.section import Check, Figure, parse
from hpcsim.figures.theories import NotExecuted, Theory
from hpcsim.system.vocabulary import with_synonyms

log = logging.getLogger("hpcsim")

__all__ = ["CheckResult", "Figure", "images", "in_all_words", "judge", "parse", "plot", "table", "verify"]


@dataclass(frozen=True)
class CheckResult:
    """One line of the table; value and error are NaN where the estimate could not be made.

    verdict : on the claim of a publication, "" where the check decides none: `reproduced`, `differs`, or `open` where
              the check fails
    """

    name: str
    value: float
    error: float
    expect: str
    passed: bool
    note: str
    verdict: str = ""

    @property
    def measured(self) -> str:
        """The value and its error."""
        return f"{self.value:.4g}" + (f" ± {self.error:.2g}" if self.error else "")


def plot(path, to=None, section=None, tables: bool = False) -> tuple[list[Path], list[CheckResult]]:
    """Draw the figures of a collected file as PNG and PDF into the folder `to` (default: beside it).

    tables  : also write the numbers of each figure and its checks as CSV, see `hpcsim.figures.numbers`
    section : the `figures` of a config that the user names, to draw instead of those the run was started with. Theories
              of files of his own are executed then alone, and else left out, with a warning
    Returns the files written and the results of the checks. Raises store.StoreError where a figure
    asks for what the file does not have.
    """
    data = in_all_words(store.load(path))
    folder = Path(to) if to else Path(path).parent
    if folder.exists() and not folder.is_dir():
        raise store.StoreError(f"--to {folder}: is a file; give the name of a folder for the figures", 2)
    if there := store.shortfall(data):
        log.warning("%s: holds %s; figures and checks lack the others", path, there)
    parsed = parse(data.config["figures"] if section is None else section, section is not None)
    for place in (folder / f"{figure.file}.csv" for figure in parsed if tables):
        if place.exists() and not numbers.is_table(place):
            raise store.StoreError(
                f"{place}: exists and is not the table of a figure; give another folder with --to", 2
            )
    files, results = [], []
    for figure in parsed:
        judged = judge(data, figure)
        files += draw(data, figure, folder)
        if tables:
            files.append(folder / f"{figure.file}.csv")
            store.write_whole(files[-1], numbers.table(data, figure, judged).encode())
        results += judged
    return files, results


def judge(data: store.Collected, figure: Figure) -> list[CheckResult]:
    """The checks of a figure. Raises store.StoreError where one asks for what the file does not have."""
    results = []
    for check in figure.checks:
        with located(f"figure {figure.file}, check {check.name!r}"):
            results += _judged(data, check)
    return results


def in_all_words(data: store.Collected) -> store.Collected:
    """With parameters and coordinates under all their names, so that figures may use any."""
    further = data.attrs.get("coordinates", "").split()
    coordinates = {name: v for name, v in data.variables.items() if v.dims == (name,) or name in further}
    model = with_synonyms(data.config["model"])
    return replace(data, variables=with_synonyms(coordinates) | data.variables, config=data.config | {"model": model})


def _judged(data: store.Collected, check: Check) -> list[CheckResult]:
    try:
        several = curves(data, check)
        return [_judge(check, curve, len(several) > 1) for curve in several]
    except NotExecuted:
        note = "not executed; name the config, --config CONFIG.yaml"
        return [CheckResult(check.name, np.nan, np.nan, str(check.expect or ""), False, note)]


def verify(figures: tuple[Figure, ...], outline: store.Collected):
    """Raise StoreError where a figure or a check asks for what a run's collected file will not have.

    outline : of that file, see `store.collect.outline`
    """
    outline = in_all_words(outline)
    for figure in figures:
        for i, panel in enumerate(figure.panels):
            with located(f"figure {figure.file}, panel {i}"):
                verify_panel(outline, panel)
        for check in figure.checks:
            with located(f"figure {figure.file}, check {check.name!r}"):
                for curve in curves(outline, check):
                    _criterion(check, curve)


def table(results: list[CheckResult]) -> str:
    """The checks in aligned columns, and how many passed."""
    if not results:
        return "no checks"
    rows = [("", "check", "value", "expected", "note")]
    for r in results:
        rows.append(("pass" if r.passed else "FAIL", r.name, r.measured, r.expect, r.note))
    width = [max(_columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    padded = [[cell + " " * (w - _columns(cell)) for cell, w in zip(row, width)] for row in rows]
    lines = ["  ".join(cells).rstrip() for cells in padded]
    lines.insert(1, "  ".join("-" * w for w in width))
    return "\n".join(lines + [f"{sum(r.passed for r in results)} of {len(results)} checks passed"])


def _columns(text: str) -> int:
    """Width on a terminal: a combining bar, as over Γ̄, takes none."""
    return sum(not unicodedata.combining(character) for character in text)


def _criterion(check: Check, curve: Curve) -> tuple[dict, float | None]:
    """The arguments of the estimate, and the number that is expected. Raises ValueError where that is none."""
    scale = divisor(check.divide, curve.known)
    arguments = {
        key: evaluate(v, curve.known) / scale if isinstance(v, Theory) else v for key, v in check.arguments.items()
    }
    if not isinstance(check.expect, Theory):
        return arguments, check.expect
    expect = np.ravel(evaluate(check.expect, curve.known))
    if len(expect) != 1:
        raise ValueError(f"expect = {check.expect} is not one number here: it changes along {check.x}")
    return arguments, float(expect[0])


def _judge(check: Check, curve: Curve, several: bool) -> CheckResult:
    """The verdict on one curve, named after it where there are several."""
    name = f"{check.name} ({name_of(curve, check)})" if several else check.name
    arguments, expect = _criterion(check, curve)
    value = error = np.nan
    try:
        if missing := int(np.sum(np.isnan(curve.y))):
            raise ValueError(f"{missing} of {len(curve.y)} points are missing")
        estimate = ESTIMATES[check.analysis](curve.x, curve.y, curve.error, **arguments)
        value, error, note = float(estimate.value), float(estimate.error), estimate.note
    except ValueError as problem:  # the data do not allow the estimate: that is a failed check
        note = str(problem)
    wanted, met = _bounds(check) if expect is None else _tolerance(check, expect, error)
    passed = met(value)
    return CheckResult(name, value, error, wanted, passed, *_claimed(check, passed, met, note))


def _bounds(check: Check):
    """How the bounds of a check are written, and whether a number is within them."""
    above, below = (bound if bound is not None else np.nan for bound in (check.above, check.below))
    bounds = {">": above, "<": below}.items()
    wanted = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if not np.isnan(bound))
    return wanted, lambda value: not (np.isnan(value) or value <= above or value >= below)  # nothing is beyond a NaN


def _tolerance(check: Check, expect: float, error: float):
    """How what is expected is written, and whether a number is near enough to it."""
    tolerance = (check.within or 0.0) + (check.sigmas * error if check.sigmas else 0.0)
    # rounding must not decide where the boundary lies on a grid point
    return f"{expect:.4g} ± {tolerance:.2g}", lambda value: bool(abs(value - expect) <= tolerance * (1 + 1e-9))


def _claimed(check: Check, passed: bool, met, note: str) -> tuple[str, str]:
    """(note, verdict): what meets the criterion agrees with a published number that meets it, too."""
    if not check.claim:
        return note, ""
    same = not check.differs if check.published is None else met(check.published)
    verdict = ("reproduced" if same else "differs") if passed else "open"
    number = "" if check.published is None else f" ({check.published:g})"
    return f"{note}; published{number}: {verdict}".removeprefix("; "), verdict
