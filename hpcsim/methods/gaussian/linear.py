"""Linearised equations of spins about a product state, in blocks of two sites; fixed points of the classical ones."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from hpcsim.methods.gaussian.lattice import Lattice
from hpcsim.system import Jumps, System, cartesian
from hpcsim.system.operators import VECTORS

OMEGA = np.array([[0.0, 1.0], [-1.0, 0.0]])
NEWTON_STEPS = 50


@dataclass(frozen=True)
class Blocks:
    """A matrix as the sum of 2 x 2 blocks; leading axes, if any, run over states.

    rows, cols : (blocks,) sites
    values     : (..., blocks, 2, 2)
    """

    rows: np.ndarray
    cols: np.ndarray
    values: np.ndarray

    def dense(self, sites: int) -> np.ndarray:
        """(..., 2 sites, 2 sites)."""
        lead, count = self.values.shape[:-3], len(self.rows)
        gather = sparse.csr_matrix(
            (np.ones(count), (self.rows * sites + self.cols, np.arange(count))), (sites * sites, count)
        )
        flat = gather @ np.moveaxis(self.values.reshape(-1, count, 4), 1, 0).reshape(count, -1)
        matrix = flat.reshape(sites, sites, -1, 2, 2).transpose(2, 0, 3, 1, 4)
        return matrix.reshape(*lead, 2 * sites, 2 * sites)


@dataclass(frozen=True)
class Linear:
    """Linearised equations; leading axes, if any, run over states.

    force            : (..., sites, 2) d⟨ξ⟩/dt at ξ = 0, zero at a fixed point
    drift, diffusion : A and D
    """

    force: np.ndarray
    drift: Blocks
    diffusion: Blocks

    @property
    def at_rest(self):
        """Whether the state is a fixed point up to rounding."""
        scale = 1 + np.abs(self.drift.values).max(axis=(-3, -2, -1), initial=0)
        return np.abs(self.force).max(axis=(-2, -1)) <= 1e-10 * scale


def frames_along(direction) -> np.ndarray:
    """(..., 3, 3) rows n, e1, e2, right-handed, of directions (..., 3)."""
    n = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    polar, azimuth = np.arctan2(np.hypot(n[..., 0], n[..., 1]), n[..., 2]), np.arctan2(n[..., 1], n[..., 0])
    e1 = np.stack([np.cos(polar) * np.cos(azimuth), np.cos(polar) * np.sin(azimuth), -np.sin(polar)], axis=-1)
    e2 = np.stack([-np.sin(azimuth), np.cos(azimuth), 0 * azimuth], axis=-1)
    return np.stack([n, e1, e2], axis=-2)


class _Sums:
    """Collects the terms of first order, h (..., sites, 2), and the blocks of G and M."""

    def __init__(self, system: System, frames):
        n = self.n = frames[..., 0, :]
        self.constant = system.spins[:, None] * n  # (..., site, axis)
        self.slope = np.sqrt(system.spins / 2)[:, None, None] * frames[..., 1:, :]  # X or P, axis
        self.h = np.zeros((system.sites, *n.shape[:-2], 2))
        empty = np.zeros(0, int), np.zeros(0, int), np.zeros((*n.shape[:-2], 0, 2, 2))
        self.G, self.M = [empty], [empty]

    def first(self, i, axis, coefficient):
        """coefficient (..., t) times the operators `axis` of sites i (t,): their linear parts, and -n c†c."""
        np.add.at(self.h, i, np.moveaxis(coefficient[..., None] * self.slope[..., axis][..., i, :], -2, 0))
        self.G.append((i, i, -(coefficient * self.n[..., i, axis])[..., None, None] / 2 * np.eye(2)))

    def pair(self, i, a, j, b, coefficient):
        """coefficient (t,) times the products of the operators a of sites i and b of sites j."""
        self.first(i, a, coefficient * self.constant[..., j, b])
        self.first(j, b, coefficient * self.constant[..., i, a])
        product = coefficient[:, None, None] * self.slope[..., a][..., i, :, None] * self.slope[..., b][..., j, None, :]
        self.G += [(i, j, product), (j, i, np.swapaxes(product, -1, -2))]

    def jump(self, jumps: Jumps):
        """L = λ + K acts as K and as the Hamiltonian -γ Im(λ* K)."""
        v, i = np.array(VECTORS[jumps.operators[0]]), jumps.site
        value = (self.constant[..., i, :] @ v).conj()
        if jumps.collective:
            matrix = jumps.rate_matrix()
            rows, columns = np.nonzero(matrix)
            left, right, rates, fed = i[rows], i[columns], matrix[rows, columns], value @ matrix.T
        else:
            left, right, rates, fed = i, i, jumps.rates, jumps.rates * value
        for axis in range(2):
            self.first(i, axis, -(fed * v[axis]).imag)
        K = self.slope @ v
        self.M.append((left, right, rates[:, None, None] * K[..., left, :, None] * K[..., right, None, :].conj()))

    def blocks(self, parts, turn) -> Blocks:
        rows, cols, values = zip(*parts)
        return Blocks(np.concatenate(rows), np.concatenate(cols), turn(np.concatenate(values, axis=-3)))


def linearise(system: System, frames) -> Linear:
    """The equations of ξ about spins along frames[..., 0, :]; frames : (..., sites, 3, 3) rows n, e1, e2."""
    sums = _Sums(system, frames)
    for terms in cartesian(system):
        if not np.any(terms.coefficients):
            continue
        axes, sites = ["xyz".index(name[1]) for name in terms.operators], terms.sites
        if len(axes) == 1:
            sums.first(sites[:, 0], axes[0], np.broadcast_to(terms.coefficients, (*frames.shape[:-3], len(sites))))
        else:
            sums.pair(sites[:, 0], axes[0], sites[:, 1], axes[1], terms.coefficients)
    for jumps in filter(lambda jumps: jumps.used, system.jumps):
        sums.jump(jumps)
    unitary = sums.blocks(sums.G, lambda G: 2 * OMEGA @ G)
    damping = sums.blocks(sums.M, lambda M: -2 * OMEGA @ M.imag)
    diffusion = sums.blocks(sums.M, lambda M: 4 * OMEGA @ M.real @ OMEGA.T)
    drift = Blocks(
        *(
            np.concatenate([getattr(unitary, name), getattr(damping, name)], axis=axis)
            for name, axis in (("rows", 0), ("cols", 0), ("values", -3))
        )
    )
    return Linear(2 * np.moveaxis(sums.h, 0, -2) @ OMEGA.T, drift, diffusion)


def fixed_point(system: System, lattice: Lattice, direction):
    """Frames (sites, 3, 3) and Linear of the fixed point that Newton's method finds, or None.

    direction : (sites, 3) where it starts, the same in all cells of the lattice, as is the fixed point
    """
    for _ in range(NEWTON_STEPS):
        frames = frames_along(direction)
        linear = linearise(system, frames)
        if linear.at_rest:
            return frames, linear
        uniform = lattice.transform(linear.drift)[(0,) * len(lattice.orders)].real
        step = np.linalg.lstsq(uniform, -linear.force[lattice.home].ravel(), rcond=None)[0].reshape(-1, 2)
        step = step[lattice.orbit] / np.sqrt(2 * system.spins)[:, None]
        step *= min(1, 0.5 / np.abs(step).max())
        direction = frames[:, 0] + np.einsum("ic,ica->ia", step, frames[:, 1:])
    return None
