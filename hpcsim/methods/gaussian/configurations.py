"""The least stable fluctuation about each of the 2^sites states with all spins up or down (huber2020, Fig. 8).

A state is a code: bit i is set where site i is up. Translated states have the same spectrum, so only one state of
each orbit is solved, the one with the smallest code.
"""

import numpy as np

from hpcsim import solvers
from hpcsim.methods.gaussian.lattice import Lattice, lattice_of
from hpcsim.methods.gaussian.linear import linearise
from hpcsim.system import System

LARGEST = 24  # most sites: all their configurations are solved
CHUNK = 1 << 16  # configurations in a record, at most
BATCH = 1024  # solved at once
SPREAD = 0x9E3779B1  # odd, so that its multiples modulo 2^sites run through all codes in another order


def records(system: System) -> int:
    """At least 16, so that ranks share them."""
    return max(1, min(16, 2**system.sites), 2**system.sites // CHUNK)


def solve(system: System, record: int, keep: int) -> dict[str, np.ndarray]:
    """Solve a share of the codes, the most stable first; NaN where one is not a fixed point, and after the last one."""
    lattice, size = lattice_of(system), 2**system.sites // records(system)
    lattice.verify(system, linearise(system, _frames(np.ones(system.sites))).drift)
    # spread over all codes, because the smallest codes of orbits lie close together
    images = _images(lattice, (record * size + np.arange(size)) * SPREAD % 2**system.sites)
    codes = images[0][(images >= images[0]).all(axis=0)]
    parts = [_least(system, codes[i : i + BATCH]) for i in range(0, len(codes), BATCH)]
    least = np.concatenate([np.zeros(0, complex), *parts])
    # every state of the orbits, once
    images = _images(lattice, codes)
    once = [(image != images[:k]).all(axis=0) for k, image in enumerate(images)]
    code = np.concatenate([image[new] for image, new in zip(images, once)])
    least = np.concatenate([least[new] for new in once])
    order = np.argsort(least.real, kind="stable")[:keep]
    padding = min(keep, 2**system.sites) - len(order)
    up = 2 * (code[:, None] >> np.arange(system.sites) & 1) - 1
    found = {
        "damping": -least.real,
        "frequency": abs(least.imag),
        "magnetisation": up.mean(axis=1),
        "code": code.astype(float),
    }
    found = {name: np.where(np.isnan(least), np.nan, x) for name, x in found.items()}
    return {name: np.pad(x[order], (0, padding), constant_values=np.nan) for name, x in found.items()}


def _images(lattice: Lattice, codes) -> np.ndarray:
    """The codes of the translated states: (translations, codes), the first row not moved."""
    images = []
    for steps in np.ndindex(*lattice.orders):
        moved = np.zeros_like(codes)
        for site, (position, orbit) in enumerate(zip(lattice.position, lattice.orbit)):
            target = lattice.site[(*((position + steps) % lattice.orders), orbit)] if lattice.orders else site
            moved |= (codes >> site & 1) << target
        images.append(moved)
    return np.array(images)


def _frames(up) -> np.ndarray:
    """(..., sites, 3, 3) n = ±z, e1 = x, e2 = ±y; up (..., sites) of ±1."""
    frames = np.zeros((*up.shape, 3, 3))
    frames[..., 0, 2], frames[..., 1, 0], frames[..., 2, 1] = up, 1, up
    return frames


def _least(system: System, codes) -> np.ndarray:
    """The eigenvalue of largest real part for each state; NaN where the state is not a fixed point."""
    up = 2.0 * (codes[:, None] >> np.arange(system.sites) & 1) - 1
    linear = linearise(system, _frames(up))
    values = _eigenvalues(linear.drift.dense(system.sites), up)
    least = np.take_along_axis(values, solvers.slowest(values)[:, None], axis=1)[:, 0]
    least[~linear.at_rest] = np.nan
    return least


def _eigenvalues(drift, up):
    """Eigenvalues of every drift. Where rotations about z commute with it, s_x - i s_y suffice: half the size."""
    signs = np.stack([np.ones_like(up), up], axis=-1).reshape(len(up), 1, -1)
    A = drift * signs * np.swapaxes(signs, 1, 2)
    xx, xy, yx, yy = A[:, ::2, ::2], A[:, ::2, 1::2], A[:, 1::2, ::2], A[:, 1::2, 1::2]
    if np.allclose(xx, yy, atol=1e-12) and np.allclose(xy, -yx, atol=1e-12):
        return np.linalg.eigvals(xx + 1j * xy)
    return np.linalg.eigvals(A).astype(complex)
