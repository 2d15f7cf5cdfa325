"""Drawing of one figure."""

import io
import logging
import re
import textwrap
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hpcsim.analysis import ESTIMATES
from hpcsim.figures.curves import arguments_of, curves, divisor, evaluate, located, name_of, parameter
from hpcsim.figures.section import Data, Figure, Panel, fields
from hpcsim.figures.theories import NotExecuted, Theory
from hpcsim.figures.words import number, reduced_units, symbol, word
from hpcsim.store import shortfall, write_whole
from hpcsim.system import shown

log = logging.getLogger("hpcsim")
# Okabe and Ito's palette: told apart with every kind of colour blindness
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
CATEGORIES = ("#56B4E9", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#D55E00")  # of a map, after white
MARKERS = "osD^vP*X"
DENSE = 80  # points
DASHES = ("-", "--", ":", "-.")
LINES = 15  # in a column of a legend beside the axes
KEY = re.compile(r"(model|method|disorder)\.\w+")  # of a config
LABEL = 36  # characters in a line of a label that is made of a long name
LONGEST, WIDEST = 1000, 5000  # text: characters, points
SUFFIXES = (".png", ".pdf")
STYLE = {
    "font.size": 9,
    "axes.labelsize": 10,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 1.3,
    "legend.handletextpad": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.markersize": 4,
    "lines.linewidth": 1.3,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "mathtext.fontset": "cm",
}


def draw(data, figure: Figure, folder: Path) -> list[Path]:
    """Write figure.file as PNG and PDF into the folder; returns both paths."""
    files = {folder / (figure.file + suffix): image for suffix, image in images(data, figure, SUFFIXES).items()}
    for file, image in files.items():
        write_whole(file, image)
    return [*files]


def images(data, figure: Figure, suffixes) -> dict:
    """{suffix: the bytes of a picture of that kind}."""
    # imported here: hundreds of ranks import this module to validate a config and never draw
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    logging.getLogger("fontTools").setLevel(logging.ERROR)  # it comments on every table of a font
    columns = min(figure.columns or len(figure.panels), len(figure.panels))
    rows = -(-len(figure.panels) // columns)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a matplotlibrc in the present folder has no say: it could ask for LaTeX
        matplotlib.rcParams.update(STYLE)
        canvas = Canvas(figsize=(3.6 * columns, 2.9 * rows), constrained_layout=True)
        for i, panel in enumerate(figure.panels):
            axes = canvas.add_subplot(rows, columns, i + 1)
            with located(f"figure {figure.file}, panel {i}"):
                (_draw_map if panel.kind == "map" else _draw_lines)(data, panel, axes)
                _dress(data, panel, axes)
            tag = f"({chr(97 + i)})  " if len(figure.panels) > 1 else ""
            axes.set_title(tag + panel.title, loc="left", fontsize=10)
        canvas.suptitle(figure.title, fontsize=10)
        if there := shortfall(data):
            there = textwrap.fill(there, 60).replace("$", r"\$")
            canvas.supxlabel(there, x=0.99, ha="right", fontsize=7, color="0.45")
        with located(f"figure {figure.file}"):
            _check_texts(canvas)
            return {suffix: _image(canvas, suffix) for suffix in suffixes}


def _image(canvas, suffix: str) -> bytes:
    memory = io.BytesIO()
    canvas.savefig(memory, format=suffix.removeprefix("."))
    return memory.getvalue()


def _check_texts(canvas):
    """Raise ValueError naming a text that cannot be typeset, or not on a figure."""
    from matplotlib.cbook import is_math_text
    from matplotlib.mathtext import MathTextParser
    from matplotlib.text import Text

    parser = MathTextParser("path")  # the others draw, and crash where a text is too wide
    for text in {each.get_text() for each in canvas.findobj(Text)}:
        if len(text) > LONGEST:
            raise ValueError(f"the text {shown(text)} has {len(text)} characters; at most {LONGEST} fit on a figure")
        if "$" not in text or not is_math_text(text):
            continue
        try:
            size = parser.parse(text)
        except (ValueError, RecursionError) as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise ValueError(f"the text {text!r} cannot be typeset: {reason}; write \\$ for a dollar sign") from None
        places = [glyph[3:5] for glyph in size.glyphs] + [size[:3]]
        if max(abs(x) for place in places for x in place) > WIDEST:
            raise ValueError(f"the text {text!r} is too wide for a figure")


def verify_panel(data, panel: Panel):
    """Raise ValueError where a panel asks for what `data` does not have; its numbers may all be NaN still."""
    if panel.kind == "map":
        x, _, _ = map_of(data, panel)
        known = [data.config["model"] | {panel.x: x}]
    else:
        several = curves(data, panel)
        known = [curve.known for curve in several]
        for curve in several:
            _label(data, curve, panel)
    for overlay in panel.overlays:
        if overlay.fit:
            curves(data, _narrowed(panel, overlay))
        for values in known:
            if overlay.theory:
                arguments_of(overlay.theory, values)
            else:
                _fill(overlay.label, values | {"value": 1.0, "error": 1.0})
    for line in panel.vlines:
        if isinstance(line, Theory):
            arguments_of(line, data.config["model"])
    _axis_labels(data, panel)


def _narrowed(panel: Panel, overlay) -> Panel:
    return panel.model_copy(update={"select": panel.select | overlay.select})


def _draw_lines(data, panel: Panel, axes):
    several = curves(data, panel)
    colours = _colours(several, panel)
    # each curve has a line through it, or no order to be joined in
    lined = panel.over or any(overlay.fit or not overlay.label for overlay in panel.overlays)
    for i, (curve, colour) in enumerate(zip(several, colours)):
        joined = "-" if curve.error is None and not lined else "none"
        # a curve so dense that its markers would hide it is a line
        marker = "none" if joined == "-" and len(curve.x) > DENSE else MARKERS[i % len(MARKERS)]
        axes.errorbar(
            curve.x,
            curve.y,
            curve.error,
            color=colour,
            label=_label(data, curve, panel),
            marker=marker,
            markerfacecolor="none" if _hollow(curve, panel, i) or _covers(several, panel, i) else None,
            linestyle=joined,
            linewidth=0.8 if marker != "none" else 1.3,
            elinewidth=0.8,
        )
    if all(np.isnan(curve.y).all() for curve in several):  # still to be computed: an empty frame around the points
        axes.plot(several[0].x, np.ones(len(several[0].x)), linestyle="none")
    for overlay, dashes in zip(panel.overlays, DASHES):
        if overlay.theory:
            with _left_out():
                _draw_theory(overlay, dashes, panel, several, colours, axes)
        else:
            for curve, colour in zip(curves(data, _narrowed(panel, overlay)), colours):
                if np.any(np.isnan(curve.y)):
                    continue  # points still to be computed: no fit without them
                fit = ESTIMATES[overlay.fit](curve.x, curve.y, curve.error, **overlay.arguments)
                label = _fill(overlay.label, curve.known | {"value": fit.value, "error": fit.error})
                x = _fine(curve.x, panel.xscale)
                axes.plot(x, fit.line(x), color=colour, linestyle=dashes, zorder=1, label=label)


def _hollow(curve, panel, number: int) -> bool:
    """Whether a curve's markers are, so that those of others, as of an exact method, are seen through them."""
    if panel.by is None:
        return number > 0
    named = isinstance(curve.known.get(panel.by), str)
    return named and curve.error is not None and (number > 0 or panel.by == "method")


def _covers(several, panel, number: int) -> bool:
    """Whether the points of a curve with error bars would hide those of an earlier one, a third of them at least."""
    if several[number].error is None or not number:
        return False
    scales = [np.log if scale == "log" else np.asarray for scale in (panel.xscale, panel.yscale)]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = [np.array([scale(x) for scale, x in zip(scales, (each.x, each.y))]) for each in several]
    everything = np.concatenate(found, axis=1)
    size = np.array([[0.02], [0.03]]) * np.ptp(
        everything[:, np.isfinite(everything).all(axis=0)], axis=1, keepdims=True
    )
    own = found[number]
    return any(
        np.mean((abs(own[:, :, None] - other[:, None]) <= size[:, :, None]).all(axis=0).any(axis=1)) >= 1 / 3
        for other in found[:number]
    )


@contextmanager
def _left_out():
    """A theory that is not to be executed is left out of the figure, with a warning."""
    try:
        yield
    except NotExecuted as reason:
        log.warning("left out: %s", reason)


def _draw_theory(overlay, dashes, panel, several, colours, axes):
    """A theory on a fine grid: in the colours of the curves, or once in grey where it is one for all."""
    lines = []
    for curve in several:
        x = _fine(curve.x, panel.xscale)
        known = {
            key: np.interp(x, curve.x, v) if np.shape(v) == curve.x.shape and v.dtype.kind in "fi" else v
            for key, v in curve.known.items()
        }
        y = evaluate(overlay.theory, known) / divisor(panel.divide, known)
        lines.append((x, np.broadcast_to(y, x.shape)))
    one = all(np.array_equal(line, lines[0], equal_nan=True) for line in lines)
    for (x, y), colour in zip(lines[:1] if one else lines, colours):
        axes.plot(x, y, color="0.3" if one else colour, linestyle=dashes, zorder=1)
    if overlay.label:
        axes.plot([], [], color="0.3", linestyle=dashes, label=overlay.label)


def _draw_map(data, panel: Panel, axes):
    """y in colours over x and z: cividis, or red to blue about zero where y has both signs."""
    x, z, image = map_of(data, panel)
    mesh = axes.pcolormesh(x, z, image, shading="nearest", rasterized=True, **_map_colours(image, panel.categories))
    label = _axis_label(data, panel.y[0], panel.divide) if panel.barlabel is None else panel.barlabel
    bar = axes.figure.colorbar(mesh, ax=axes, label=label)
    if panel.categories:
        bar.set_ticks(range(len(panel.categories)), labels=panel.categories)
        bar.ax.tick_params(length=0)
    for overlay, dashes in zip(panel.overlays, DASHES):
        fine = _fine(x, panel.xscale)
        with _left_out():
            line = evaluate(overlay.theory, data.config["model"] | {panel.x: fine})
            axes.plot(fine, line, color="black", linestyle=dashes, label=overlay.label)
    axes.set(xlim=(x[0], x[-1]), ylim=(z[0], z[-1]))


def map_of(data, panel: Panel):
    """x (columns,), z (rows,) and y (rows, columns), NaN where there are no points."""
    flat = Data(y=panel.y, select=panel.select, divide=panel.divide, part=panel.part)
    (curve,) = curves(data, flat)
    x, column = np.unique(parameter(panel.x, curve.known, "x"), return_inverse=True)
    z, row = np.unique(parameter(panel.z, curve.known, "z"), return_inverse=True)
    if len(set(zip(row, column))) < len(curve.y):
        raise ValueError(f"{panel.y[0]} is not one map over {panel.x} and {panel.z}: select along the others")
    image = np.full((len(z), len(x)), np.nan)
    image[row, column] = curve.y
    return x, z, image


def _map_colours(image, categories) -> dict:
    """Arguments of pcolormesh."""
    if categories:
        from matplotlib.colors import ListedColormap

        return {
            "cmap": ListedColormap(("white", *CATEGORIES)[: len(categories)]),
            "vmin": -0.5,
            "vmax": len(categories) - 0.5,
        }
    if np.any(image < 0) and np.any(image > 0):
        extent = np.nanmax(np.abs(image))
        return {"cmap": "RdBu_r", "vmin": -extent, "vmax": extent}
    return {"cmap": "cividis"}


def _dress(data, panel: Panel, axes):
    """Labels, scales, limits, vertical lines and legend."""
    for line in panel.vlines:
        with _left_out():
            at = evaluate(line, data.config["model"]) if isinstance(line, Theory) else line
            axes.axvline(at, color="0.6", linestyle=":", linewidth=1, zorder=0)
    axes.set(xscale=panel.xscale, yscale=panel.yscale, **_axis_labels(data, panel))
    for axis in (axes.xaxis, axes.yaxis):
        if axis.get_scale() == "log":
            _plain_ticks(axis)
    drawn = [container.lines[0].get_xdata() for container in axes.containers if panel.kind == "lines"]
    if drawn and all(np.array_equal(x, np.round(x)) for x in drawn):
        _whole_ticks(axes.xaxis)
    if panel.xlim:
        axes.set_xlim(panel.xlim)
    if panel.ylim:
        axes.set_ylim(panel.ylim)
    if panel.legend != "none" and (count := len(axes.get_legend_handles_labels()[0])):
        beside = {"loc": "upper left", "bbox_to_anchor": (1, 1), "ncols": -(-count // LINES), "columnspacing": 1}
        axes.legend(**(beside if panel.legend == "outside" else {"loc": panel.legend}))


def _axis_labels(data, panel: Panel) -> dict:
    horizontal = panel.by if panel.reduce else panel.x if panel.over in (None, "real") else panel.over
    vertical = _axis_label(data, panel.z) if panel.z else _axis_label(data, panel.y[0], panel.divide)
    return {
        "xlabel": _axis_label(data, horizontal) if panel.xlabel is None else panel.xlabel,
        "ylabel": vertical if panel.ylabel is None else panel.ylabel,
    }


def _plain_ticks(axis):
    """1, 2, 5 in each decade where there are few, every second decade where there are many: as plain numbers, or all as
    powers of ten where some need them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(10 if high / low < 1e5 else 100, (1, 2, 5) if high / low < 300 else (1,)))
    style = ".0e" if high / low >= 1e5 or low < 1e-4 or high >= 1e6 else ""
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value, style)))
    axis.set_minor_formatter(NullFormatter())


def _whole_ticks(axis):
    """No ticks between distances, numbers of sites, spins."""
    from matplotlib.ticker import MaxNLocator

    low, high = axis.get_view_interval()
    if axis.get_scale() == "linear":
        axis.get_major_locator().set_params(integer=True)
    elif high / low < 4:  # of 1, 2 and 5 there are one or two
        axis.set_major_locator(MaxNLocator(8, integer=True))


def _fine(x, scale):
    return (np.geomspace if scale == "log" else np.linspace)(x.min(), x.max(), 400)


def _colours(several, panel):
    """An ordered scale where `by` is a number, the palette where it names things."""
    values = [curve.known.get(panel.by) for curve in several]
    if len(several) > 2 and len(panel.y) == 1 and not isinstance(values[0], str):
        import matplotlib

        return matplotlib.colormaps["viridis"](np.linspace(0.85, 0, len(several)))
    return [COLOURS[i % len(COLOURS)] for i in range(len(several))]


def _label(data, curve, panel) -> str:
    def written(name):
        return symbol(name) or _axis_label(data, name)

    if panel.label is not None:
        template = panel.label[panel.y.index(curve.variable) if len(panel.label) > 1 else 0]
        return _fill(template, curve.known | {"y": written(curve.variable)})
    return name_of(curve, panel, written) if panel.by else written(curve.variable)


def _fill(template: str, values: dict) -> str:
    """`template` with the values in place of its braces, see `section.fields`."""
    parts = []
    for text, name, style in fields(template):
        parts.append(text)
        if name is None:
            continue
        if name not in values:
            raise ValueError(f"label {template!r}: {name} does not fit; known: {', '.join(sorted(values))}")
        try:
            value = values[name]
            if isinstance(value, str):
                parts.append(format(word(value) if name != "y" else value, style))
            else:
                parts.append(number(value, style))
        except (TypeError, ValueError) as error:
            raise ValueError(f"label {template!r}: {name} = {shown(values[name])}: {error}") from None
    return "".join(parts)


def _axis_label(data, name, divide: str | None = None) -> str:
    attrs = data.variables[name].attrs
    units = reduced_units(attrs.get("units", "1"), divide)
    text = attrs.get("long_name") or name
    if KEY.fullmatch(text):  # of a coordinate
        text = name.replace("_", " ")
    text += f" / {divide}".replace("^2", "²") * bool(divide)
    return textwrap.fill(text + ("" if units in ("1", "") else f" ({units})"), LABEL, break_long_words=False)
