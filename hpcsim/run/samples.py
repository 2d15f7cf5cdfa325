"""Which points of a large sweep are planned, and what the costs of the others are.

Each axis is followed with the others at their first, and at their last, value: all its values, or LINE of them; and
RANDOM further points are taken. Costs multiply: what the value of an axis changes at these values of the others it
changes everywhere.
"""

import math

import numpy as np
from pydantic import TypeAdapter, ValidationError

LINE, RANDOM = 1000, 2000


def of_axis(length: int) -> np.ndarray:
    """Numbers of the values of an axis that are looked at, the first and the last among them."""
    return np.unique(np.linspace(0, length - 1, min(length, LINE)).round().astype(int))


def chosen(shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of the points to plan, in rising order."""
    last, size = np.array(shape) - 1, math.prod(shape)
    found = [np.random.default_rng(0).integers(0, size, RANDOM)]
    for axis, length in enumerate(shape):
        for ends in (np.zeros_like(last), last):
            where = np.tile(ends[:, None], len(of_axis(length)))
            where[axis] = of_axis(length)
            found.append(np.ravel_multi_index(tuple(where), shape))
    return np.unique(np.concatenate(found))


def extended(shape: tuple[int, ...], points: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Costs of all points, (points of the sweep, ...), from positive ones (chosen, ...) of the points chosen.

    The geometric mean of what follows from the lines through the first point, and of that from those through the last.
    """
    logs = np.log(np.maximum(costs, 1e-300))
    return np.exp(sum(_product(shape, points, logs, end) for end in (0, math.prod(shape) - 1)) / 2)


def _product(shape, points, logs, end: int) -> np.ndarray:
    """logs of all points as a sum of one term for each axis, from the lines through the point `end`."""
    base = logs[np.searchsorted(points, end)]
    total, places, stride = np.zeros((1, *base.shape)), np.unravel_index(end, shape), math.prod(shape)
    for length, place in zip(shape, places):
        stride //= length
        known = of_axis(length)
        line = logs[np.searchsorted(points, end + (known - place) * stride)].reshape(len(known), -1)
        every = np.stack([np.interp(np.arange(length), known, column) for column in line.T], 1)
        total = (total[:, None] + (every.reshape(length, *base.shape) - base)).reshape(-1, *base.shape)
    return total + base


def first_wrong(kind, name: str, values: list) -> int | None:
    """The number of the first of the values that a field of `kind`, a pydantic model, does not take; None: all fit."""
    field = kind.model_fields.get(name)
    if field is None:
        return 0
    try:
        TypeAdapter(list[field.rebuild_annotation()], config=kind.model_config).validate_python(values)
    except ValidationError as error:
        return int(error.errors()[0]["loc"][0])
    return None
