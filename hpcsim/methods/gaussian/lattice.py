"""The translations that the linearised equations share, and their Fourier transforms."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from hpcsim.system import System, order_of, translations


@dataclass(frozen=True)
class Lattice:
    """Sites as cells moved by commuting translations. Without translations all sites are one cell.

    orders   : number of steps of every translation
    position : (sites, translations) steps from the home cell
    orbit    : (sites,) index within the cell
    home     : (orbits,) sites of the home cell
    """

    orders: tuple[int, ...]
    position: np.ndarray
    orbit: np.ndarray
    home: np.ndarray

    @property
    def cells(self) -> int:
        return int(np.prod(self.orders, dtype=int))

    @property
    def site(self) -> np.ndarray:
        """(*orders, orbits) the site at a position of an orbit."""
        table = np.empty((*self.orders, len(self.home)), int)
        table[(*self.position.T, self.orbit)] = np.arange(len(self.orbit))
        return table

    def transform(self, blocks) -> np.ndarray:
        """A_k = Σ_s A_0s exp(iks) of `linear.Blocks`, A_0s from the home cell to the cell at s: (*orders, 2o, 2o)."""
        orbits, axes = len(self.home), range(len(self.orders))
        here = ~self.position[blocks.rows].any(axis=1)
        rows, cols = blocks.rows[here], blocks.cols[here]
        array = np.zeros((*self.orders, orbits, orbits, 2, 2))
        np.add.at(array, (*self.position[cols].T, self.orbit[rows], self.orbit[cols]), blocks.values[here])
        matrix = np.moveaxis(array, -3, -2).reshape(*self.orders, 2 * orbits, 2 * orbits)
        return np.fft.ifftn(matrix, axes=axes) * self.cells if self.orders else matrix

    def back(self, transformed) -> np.ndarray:
        """The inverse of `transform`: (*orders, orbits, 2, orbits, 2), from the home cell to the cell at s."""
        orbits = len(self.home)
        array = np.fft.fftn(transformed, axes=range(len(self.orders))).real / self.cells if self.orders else transformed
        return array.reshape(*self.orders, orbits, 2, orbits, 2)

    def verify(self, system: System, blocks):
        """Raises ValueError where a declared translation changes the linearised equations."""
        for moved in _translations(system):
            before, after = (
                _sparse(system, rows, cols, blocks.values)
                for rows, cols in ((blocks.rows, blocks.cols), (moved[blocks.rows], moved[blocks.cols]))
            )
            if abs(before - after).max() > 1e-10 * (1 + abs(before).max()):
                raise ValueError(
                    f"the model declares Translation with the permutation {moved}, but the linearised "
                    "equations are not invariant"
                )


def lattice_of(system: System) -> Lattice:
    """The lattice made by the declared translations that keep the sublattices, or else a single cell."""
    moves = _translations(system)
    orders = tuple(order_of(move) for move in moves)
    position, orbit = np.zeros((system.sites, len(moves)), int), np.full(system.sites, -1)
    home = []
    for site in range(system.sites):
        if orbit[site] >= 0:
            continue
        cell, steps = np.array([site]), np.zeros((1, 0), int)
        for move, order in zip(moves, orders):
            powers = [cell]
            for _ in range(order - 1):
                powers.append(move[powers[-1]])
            count = len(cell)
            cell = np.concatenate(powers)
            steps = np.column_stack([np.tile(steps, (order, 1)), np.repeat(np.arange(order), count)])
        if len(np.unique(cell)) < len(cell) or np.any(orbit[cell] >= 0):
            return Lattice((), np.zeros((system.sites, 0), int), np.arange(system.sites), np.arange(system.sites))
        orbit[cell], position[cell] = len(home), steps
        home.append(site)
    return Lattice(orders, position, orbit, np.array(home))


def _translations(system: System) -> list[np.ndarray]:
    return [move for move in translations(system) if np.array_equal(system.sublattice[move], system.sublattice)]


def _sparse(system: System, rows, cols, values):
    row = 2 * rows[:, None] + [0, 0, 1, 1]
    col = 2 * cols[:, None] + [0, 1, 0, 1]
    return csr_matrix((values.ravel(), (row.ravel(), col.ravel())), (2 * system.sites, 2 * system.sites))
