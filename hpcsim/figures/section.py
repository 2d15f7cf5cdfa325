"""The section `figures` of a config: what to draw and what to check."""

import functools
import inspect
import math
import re
import string
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationInfo, model_validator

from hpcsim.analysis import ESTIMATES
from hpcsim.figures.theories import theory
from hpcsim.system import Count, Number, Parameters

NAME = re.compile(r"[A-Za-z_]\w*")
STYLE = re.compile(r"[-+ ]?0?\d{0,2}(\.\d{1,2})?[eEfFgGd%]?")  # of a number


def _analysis(name: str) -> str:
    if name not in ESTIMATES:
        raise ValueError(f"unknown analysis; known: {', '.join(ESTIMATES)}")
    return name


def fields(template: str):
    """(text, name, style) of every part of a label: the text before a value in braces, its name, and how it is written.

    {S}, {S:g} and {gain:.3f} are allowed: names and numbers' formats alone, so that nothing but a value gets onto a
    figure. Raises ValueError.
    """
    for text, name, style, conversion in string.Formatter().parse(template):
        if name is not None and not (NAME.fullmatch(name) and STYLE.fullmatch(style) and conversion is None):
            raise ValueError(
                f"{{{name}{'!' * bool(conversion)}{conversion or ''}{':' * bool(style)}{style}}} is no value here: "
                f"write a name in braces with a number's format, as {{S}} or {{gain:.3g}}; double braces are printed"
            )
        yield text, name, style


def _template(text: str) -> str:
    list(fields(text))
    return text


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _quantity(value, info: ValidationInfo):
    if isinstance(value, str):
        return theory(value, info)
    if not _is_number(value):
        raise ValueError("a number or the name of a theory is needed")
    return value


def _selection(value):
    pair = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    if not (pair or _is_number(value) or isinstance(value, str)):
        raise ValueError("a value, [from, to], min or max is needed")
    return value


# Each checks the whole value itself: a union of types would report every branch that failed.
TheoryName = Annotated[str, AfterValidator(theory)]  # becomes a theories.Theory
Analysis = Annotated[str, AfterValidator(_analysis)]
Quantity = Annotated[Any, AfterValidator(_quantity)]
Selection = Annotated[Any, AfterValidator(_selection)]
Names = Annotated[
    tuple[str, ...], Field(min_length=1), BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
]
Text = Annotated[str, Field(max_length=300)]
Label = Annotated[Text, AfterValidator(_template)]
Labels = Annotated[tuple[Label, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]
Power = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\^-?[1-9])?$")]
Limits = Annotated[list[Number], Field(min_length=2, max_length=2)]


class Data(Parameters):
    """Which numbers of the collected file: one curve per variable and value of `by`.

    y      : variable, or a list of them
    x      : a coordinate; without it all points are taken together
    by     : coordinate with one curve per value; `method` where files of several methods were collected into one
    select : {coordinate: value, `min`, `max`, or [from, to]}
    divide : parameter or coordinate that y is divided by, with a power: S or S^2; N^-1 multiplies by N
    part   : of complex y: real, imag, abs, or decay for minus the real part
    distance : number or theory that y is replaced by its distance |y - theory| to
    over     : what y is drawn over in place of x: a result with the dimensions of y, or `real`, the real part of y
    reduce   : one number from each curve, over `by`: `maximum`, `minimum`, where they are (`maximum_at`,
               `minimum_at`), the exponent or the rate of a fit (`power_law`, `decay_rate`), or `crossing`, the x where
               the curve meets that of the next value of `by`, or with using: {level: 0.1} that level
    using    : arguments of this `crossing`, `power_law` or `decay_rate`, see `hpcsim.analysis.estimates`
    """

    y: Names
    x: str | None = None
    by: str | None = None
    select: dict[str, Selection] = {}
    divide: Power | None = None
    part: Literal["real", "imag", "abs", "decay"] | None = None
    distance: Quantity | None = None
    over: str | None = None
    reduce: Literal["maximum", "maximum_at", "minimum", "minimum_at", "crossing", "power_law", "decay_rate"] | None = (
        None
    )
    using: dict[str, Number] = {}

    @model_validator(mode="after")
    def _reducible(self):
        if self.reduce and (self.x is None or self.by is None or len(self.y) > 1):
            raise ValueError("reduce takes curves of one y, over x, by another coordinate: give x and by")
        if self.using and self.reduce not in ("crossing", "power_law", "decay_rate"):
            raise ValueError("using has arguments of reduce: crossing, power_law or decay_rate")
        if self.using:
            _check_arguments(self.reduce, self.using)
        return self


class Overlay(Parameters):
    """A line over the data: a theory, or a fit to every curve.

    label     : for the legend; {value} and {error} are a fit's, {S} a coordinate's
    arguments : of the fit
    select    : narrows what is fitted
    """

    theory: TheoryName | None = None
    fit: Literal["power_law", "decay_rate", "logarithm", "extrapolate"] | None = None
    label: Label = ""
    arguments: dict[str, Number] = {}
    select: dict[str, Selection] = {}

    @model_validator(mode="after")
    def _one(self):
        if (self.theory is None) == (self.fit is None):
            raise ValueError("one of theory and fit is needed")
        if self.theory and (self.arguments or self.select):
            raise ValueError("arguments and select belong to a fit, not to a theory")
        if self.fit:
            _check_arguments(self.fit, self.arguments)
        return self


class Panel(Data):
    """One pair of axes. kind `lines` draws y over x; `map` draws y in colours over x and z.

    label  : of the curves, with the coordinates in braces: `S = {S:g}`; or a list, one for each y
    barlabel   : of the colours of a map; the variable's long name by default
    categories : names of the values 0, 1, 2, ... of a map, with one colour each
    vlines : vertical lines at numbers or theories
    legend : where: `best`, a corner, `outside` or `none`
    """

    x: str
    kind: Literal["lines", "map"] = "lines"
    z: str | None = None
    title: Text = ""
    label: Labels | None = None
    barlabel: Text | None = None
    categories: Annotated[list[Text], Field(max_length=7)] = []
    xlabel: Text | None = None
    ylabel: Text | None = None
    xscale: Literal["linear", "log"] = "linear"
    yscale: Literal["linear", "log"] = "linear"
    xlim: Limits | None = None
    ylim: Limits | None = None
    vlines: list[Quantity] = []
    overlays: Annotated[list[Overlay], Field(max_length=4)] = []
    legend: Literal[
        "best",
        "upper left",
        "upper right",
        "lower left",
        "lower right",
        "center left",
        "center right",
        "lower center",
        "upper center",
        "center",
        "outside",
        "none",
    ] = "best"

    @model_validator(mode="after")
    def _axes(self):
        if (self.kind == "map") != (self.z is not None):
            raise ValueError("a map needs z, its vertical coordinate; lines have none")
        if self.label is not None and len(self.label) not in (1, len(self.y)):
            raise ValueError(f"label: one for all curves, or one for each of {', '.join(self.y)}")
        fitted = any(overlay.fit for overlay in self.overlays)
        if self.kind == "map" and (self.by or fitted or len(self.y) > 1):
            raise ValueError("a map shows one variable, with no by and no fit")
        if self.over and (self.kind == "map" or self.reduce or self.overlays):
            raise ValueError("over shows the points of lines alone, with no overlays and no reduce")
        if self.kind == "lines" and (self.categories or self.barlabel is not None):
            raise ValueError("categories and barlabel belong to a map")
        return self


class Check(Data):
    """A statement that the numbers must bear out: an estimate from every curve against a number.

    analysis  : the estimate
    arguments : of it; a name stands for a theory
    expect    : the number, or a theory; met within `within` plus `sigmas` standard errors
    below, above : or bounds
    claim     : the statement of a publication that the check decides
    published : its number, where it gives one. It differs if the estimate meets the criterion and this number does not
    differs   : true where the publication gives no number and the check asserts the opposite of the claim
    table     : several checks in one, which share all other keys: [[KEY, ...], [value, ...], ...], a row each. KEY is
                expect, y, or select.Jx of a coordinate; {expect}, {Jx} in the name and the claim are the row's values
    """

    name: Text
    analysis: Analysis
    arguments: dict[str, Quantity] = {}
    expect: Quantity | None = None
    within: Annotated[Number, Field(ge=0)] | None = None
    sigmas: Annotated[Number, Field(ge=0)] | None = None
    below: Number | None = None
    above: Number | None = None
    claim: Text = ""
    published: Number | None = None
    differs: bool = False

    @model_validator(mode="after")
    def _claimed(self):
        if (self.published is not None or self.differs) and not self.claim:
            raise ValueError("published and differs belong to a claim: give claim, the statement of the publication")
        if self.published is not None and self.differs:
            raise ValueError("differs is found from published: leave it out")
        return self

    @model_validator(mode="after")
    def _criterion(self):
        _check_arguments(self.analysis, self.arguments)
        bounds = self.below is not None or self.above is not None
        tolerance = self.within is not None or self.sigmas is not None
        if bounds == (self.expect is not None) or tolerance != (self.expect is not None):
            raise ValueError("either expect with within or sigmas (or both), or below, above or both")
        return self


def _by_rows(checks):
    """The checks with one for each row of their tables, in place of these."""
    if not isinstance(checks, list):
        return checks
    return [one for i, check in enumerate(checks) for one in (_rows(check, i) if _has_table(check) else [check])]


def _has_table(check) -> bool:
    return isinstance(check, dict) and "table" in check


def _rows(check: dict, number: int):
    table, shared = check["table"], {key: value for key, value in check.items() if key != "table"}
    heads = table[0] if isinstance(table, list) and len(table) > 1 and isinstance(table[0], list) else []
    if not heads or not all(isinstance(head, str) for head in heads):
        raise ValueError(f"check {number}: a table is a list of rows, [[KEY, ...], [value, ...], ...]")
    for row in table[1:]:
        if not isinstance(row, list) or len(row) != len(heads):
            raise ValueError(f"check {number}: the row {row} does not have a value for each of {', '.join(heads)}")
        one, chosen, words = dict(shared), dict(shared.get("select") or {}), {}
        for head, value in zip(heads, row):
            section, _, name = head.rpartition(".")
            words[name] = value
            (chosen if section == "select" else one)[name if section == "select" else head] = value
        one |= {"select": chosen}
        yield one | {key: _filled(one[key], words) for key in ("name", "claim") if isinstance(one.get(key), str)}


def _filled(text: str, words: dict) -> str:
    return functools.reduce(lambda filled, word: filled.replace(f"{{{word}}}", str(words[word])), words, text)


class Figure(Parameters):
    """One figure: file.png and file.pdf, its panels in `columns` columns, and its checks.

    sources : {file: {source_hash, source}} of theories of one's own, which reading the config fills in
    """

    file: Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=100)]
    title: Text = ""
    columns: Count | None = None
    panels: Annotated[list[Panel], Field(min_length=1, max_length=26)]
    checks: Annotated[list[Check], BeforeValidator(_by_rows)] = []
    sources: dict[str, dict[str, str]] = {}


def _check_arguments(name: str, arguments: dict):
    known = [p for p in inspect.signature(ESTIMATES[name]).parameters if p not in ("x", "y", "error")]
    for argument in arguments:
        if argument not in known:
            raise ValueError(f"{name} has no argument {argument!r}; it has {', '.join(known) or 'none'}")


def parse(section: list, execute: bool = False) -> tuple[Figure, ...]:
    """The figures of a config. Raises pydantic.ValidationError with paths such as 0.panels.1.x

    execute : whether the user himself has named the files with theories of his own, see `hpcsim.own`
    """
    kept = [figure.get("sources") for figure in section if isinstance(figure, dict)]
    sources = {
        file: each.get("source", "") for files in kept if isinstance(files, dict) for file, each in files.items()
    }
    return TypeAdapter(tuple[Figure, ...]).validate_python(section, context={"sources": sources, "execute": execute})
