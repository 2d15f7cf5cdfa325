"""Chains and square lattices: their size in a config, site indices, bonds and translations.

A lattice of shape (nx, ny) has the site (x, y) at index y nx + x; a chain has the shape (n, 1).
"""

import math
import re
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator

from hpcsim.system.parameters import MOST_SITES


def _size(value):
    """The integer, or the tuple of two, that a value of the config stands for."""
    word = re.fullmatch(r"(\d{1,9})x(\d{1,9})", value) if isinstance(value, str) else None
    if word:
        value = [int(n) for n in word.groups()]
    pair = isinstance(value, (list, tuple))
    numbers = value if pair else [value]
    whole = [type(n) in (int, float) and n % 1 == 0 and n > 0 for n in numbers]
    if not all(whole) or len(numbers) != (2 if pair else 1):
        raise ValueError("must be an integer greater than 0, or two of them: [nx, ny], or a word like 4x6")
    if math.prod(map(int, numbers)) > MOST_SITES:
        raise ValueError(f"more than {MOST_SITES} sites")
    return tuple(map(int, numbers)) if pair else int(value)


# nx, or [nx, ny] of a square lattice; in a sweep also the word 4x6
Size = Annotated[Any, BeforeValidator(_size)]


def shape(size) -> tuple[int, int]:
    """(nx, ny) of a Size: an integer n is (n, 1)."""
    return size if isinstance(size, tuple) else (size, 1)


def coordinates(shape) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every site: (sites,) each."""
    nx, ny = shape
    return np.tile(np.arange(nx), ny), np.repeat(np.arange(ny), nx)


def bonds(shape, periodic: bool) -> np.ndarray:
    """Nearest neighbours, each bond once: (bonds, 2), from a site to the next along x or along y.

    A periodic direction has no bond if it has one site, and a single bond if it has two.
    """
    x, y = coordinates(shape)
    along = []
    for step, length, place in ((1, 0), shape[0], x), ((0, 1), shape[1], y):
        wraps = periodic and length > 2
        first = np.flatnonzero((place < length - 1) | wraps)
        along.append(np.column_stack([first, translation(shape, *step)[first]]))
    return np.vstack(along)


def translation(shape, dx: int, dy: int) -> np.ndarray:
    """The index of (x + dx, y + dy), around the lattice, for every site: (sites,)."""
    (nx, ny), (x, y) = shape, coordinates(shape)
    return (y + dy) % ny * nx + (x + dx) % nx


def is_bipartite(shape, periodic: bool) -> bool:
    """Whether every bond joins an even x + y with an odd one."""
    x, y = coordinates(shape)
    first, second = bonds(shape, periodic).T
    return bool(np.all((x + y)[first] % 2 != (x + y)[second] % 2))
