"""Runs on common axes: those of all their sweeps, and one of methods where they differ.

A key that one run sweeps and another does not is an axis of both, of length one for the other. So a file with one more
size, or one more point, goes with a sweep.
"""

import json
from dataclasses import replace

import numpy as np

from hpcsim.store.layout import Layout, RunData, StoreError, difference, science
from hpcsim.system import axis_value, shown
from hpcsim.system.vocabulary import meaning, with_synonyms

METHOD = "method"  # the axis
LONGEST = 40  # characters of an option in a name
FREE = ("file", "source")  # of a section: the name and the hash of the source tell


def on_common_axes(runs: list[RunData], over=()) -> list[RunData]:
    """The runs with all their records at the points of common axes. Raises StoreError where they are no one data set.

    over : keys of further axes, tuples of those that advance together, of parameters that no run sweeps
    """
    runs, over = _in_one_vocabulary(runs, over)
    axes = _keys(runs, over)
    placed = [replace(run, layout=_aligned(run, axes, runs)) for run in runs]
    for run in placed[1:]:
        _require_one_model(placed[0], run)
    names = method_names([science(run.layout.config)["method"] for run in placed])
    if len(set(names)) > 1:
        placed = [replace(run, layout=_with_method(run.layout, name)) for run, name in zip(placed, names)]
    firsts: dict[str, RunData] = {}
    for run, name in zip(placed, names):
        _require_same_outputs(firsts.setdefault(name, run), run)
    return placed


def _in_one_vocabulary(runs: list[RunData], over):
    """Runs and keys in which a swept parameter has the name that it has where it is first."""
    names: dict[str, str] = {}

    def named(key, run):
        return names.setdefault(meaning(key, run.layout.config["model"]), key)

    found = []
    for run in runs:
        axes = tuple({named(key, run): values for key, values in axis.items()} for axis in run.layout.axes)
        found.append(replace(run, layout=replace(run.layout, axes=axes)))
    return found, [tuple(named(key, runs[0]) for key in keys) for keys in over]


def in_names_of(old: Layout, layout: Layout) -> Layout:
    """The layout with the swept parameters under the names that they have in another one, such as drive for field_x."""
    names = {meaning(key, old.config["model"]): key for axis in old.axes for key in axis}
    axes = [
        {names.get(meaning(key, layout.config["model"]), key): values for key, values in axis.items()}
        for axis in layout.axes
    ]
    return replace(layout, axes=tuple(axes), config={**layout.config, "sweep": axes})


def _keys(runs: list[RunData], over) -> list[tuple[str, ...]]:
    """The keys of every common axis, those of the first run first."""
    found, owner = [], {}
    for keys, path in [(tuple(axis), run.path) for run in runs for axis in run.layout.axes] + [
        (keys, "--over") for keys in over
    ]:
        if other := next((known for known in found if set(known) & set(keys)), None):
            if set(other) != set(keys):
                raise StoreError(
                    f"{owner[other]} and {path}: differ in the axes of the sweep: {', '.join(other)} advance together "
                    f"in one, {', '.join(keys)} in the other; collect them into two files",
                    2,
                )
        else:
            found.append(keys)
            owner[keys] = path
    return found


def _aligned(run: RunData, axes, runs) -> Layout:
    try:
        return aligned(run.layout, axes)
    except LookupError as error:
        (key,) = error.args
        sweeping = next((other.path for other in runs if key in _swept(other.layout)), "--over")
        raise StoreError(
            f"{run.path}: has no one value of {key}, an axis of {sweeping}; collect them into two files", 2
        ) from None


def _swept(layout: Layout) -> set[str]:
    return {key for axis in layout.axes for key in axis}


def aligned(layout: Layout, axes: list[tuple[str, ...]]) -> Layout:
    """The same records on the axes of these keys, in this order.

    Raises KeyError(key) for one that the layout neither sweeps nor gives one value.
    """
    own = {frozenset(axis): (axis, i) for i, axis in enumerate(layout.axes)}
    where = np.unravel_index(layout.point, layout.shape) if layout.axes else ()
    found, places = [], []
    for keys in axes:
        axis, i = own.pop(frozenset(keys), (None, None))
        found.append({key: axis[key] if axis else [_value(layout.config, key)] for key in keys})
        places.append(where[i] if axis else np.zeros_like(layout.point))
    if own:
        raise KeyError(next(key for keys in own for key in keys))
    return _on(layout, found, places)


def positions(labels, common) -> list[int]:
    """Where each label is among all."""
    at = {label: i for i, label in enumerate(common)}
    return [at[label] for label in labels]


def _on(layout: Layout, axes: list[dict], places: list) -> Layout:
    """The layout on other axes, with the index of each record along each of them."""
    shape = [len(next(iter(axis.values()))) for axis in axes]
    point = np.ravel_multi_index(places, shape) if axes else layout.point
    return replace(layout, config={**layout.config, "sweep": axes}, axes=tuple(axes), point=point)


def _value(config: dict, key: str):
    """The value of a parameter that is not swept, as an axis has it."""
    section, _, name = key.partition(".")
    value = axis_value(key, with_synonyms(config.get(section, {})).get(name))
    if value is None or isinstance(value, dict):
        raise KeyError(key)
    return value


def _with_method(layout: Layout, name: str) -> Layout:
    """With a first axis of the method, and all of its section there: it is no difference any more."""
    places = np.unravel_index(layout.point, layout.shape) if layout.axes else ()
    on = _on(layout, [{METHOD: [name]}, *layout.axes], [np.zeros_like(layout.point), *places])
    return replace(on, config={**on.config, "sweep": list(layout.axes)})


def method_names(sections: list[dict]) -> list[str]:
    """A name for every section `method`, the same for equal ones: `trajectories`, or with the options that differ."""
    found: dict[str, str] = {}
    keys = [json.dumps({k: v for k, v in section.items() if k != "file"}, sort_keys=True) for section in sections]
    for key, section in zip(keys, sections):
        if key not in found:
            name = _method_name(section, sections)
            alike = sum(known == name or known.startswith(f"{name} (") for known in found.values())
            found[key] = f"{name} ({alike + 1})" if alike else name
    return [found[key] for key in keys]


def _method_name(section: dict, sections: list[dict]) -> str:
    alike = [other for other in sections if other["name"] == section["name"]]
    missing = object()
    differing = [
        key
        for key in dict.fromkeys(key for other in alike for key in other)
        if key not in FREE and any(other.get(key, missing) != section.get(key, missing) for other in alike)
    ]
    return " ".join([section["name"], *(f"{key}={_short(section[key])}" for key in differing if key in section)])


def _short(value) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def _require_one_model(first: RunData, other: RunData):
    """Numbers of different models, disorder or schedules are no one data set: name all that differs."""
    for section in ("disorder", "schedule"):
        if found := difference(*(run.layout.config.get(section) for run in (first, other)), section):
            raise StoreError(
                f"{first.path} and {other.path}: {found[0]} = {shown(found[1])} and {shown(found[2])}; collect them "
                "into two files",
                2,
            )
    one, two = (science(run.layout.config)["model"] for run in (first, other))
    keys = [
        key for key in {**one, **two} if key not in FREE and difference(one.get(key, "absent"), two.get(key, "absent"))
    ]
    if not keys:
        return
    told = ", ".join(
        f"model.{key} = {' and '.join(shown(each[key]) if key in each else 'absent' for each in (one, two))}"
        for key in keys
    )
    over = [f"model.{key}" for key in keys if key != "name" and not isinstance(one.get(key), (dict, type(None)))]
    advice = f"--over {','.join(over)} makes an axis of it; or " * (over == [f"model.{key}" for key in keys])
    raise StoreError(
        f"{first.path} and {other.path}: differ in more than the sweep: {told}; {advice}collect them into two files", 2
    )


def _require_same_outputs(first: RunData, other: RunData):
    """One method computes the same outputs everywhere, but for the labels of their dimensions."""

    def described(run):
        keys = ("units", "dtype", "reduce", "function", "sources")
        return {
            o.name: {key: getattr(o, key) for key in keys} | {"dims": [[d.name, d.units] for d in o.dims]}
            for o in run.layout.outputs
        }

    if found := difference(described(first), described(other), "outputs"):
        where, a, b = found
        raise StoreError(
            f"{first.path} and {other.path}: differ in what they computed: {where} = {shown(a)} and {shown(b)}; "
            f"collect them into two files",
            2,
        )
