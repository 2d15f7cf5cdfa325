"""From a System's tables to the drift and noise of the truncated Wigner equations."""
from typing import NamedTuple

import numpy as np

from hpcsim.ensemble import DRAWS_PER_BLOCK, THREE_POINT_AMPLITUDE
from hpcsim.system import HERMITIAN_OPERATORS, System


class Tables(NamedTuple):
    """The classical spins obey ds/dt = b × s (Stratonovich). Component j of the field on site i is

        b_ij = field_ij + Σ_e coupling_ej s_{neighbour e, j} + damping_i (-s_y, s_x, 0)_j + noise_ij

    with e in range(start[i], start[i + 1]) (compressed sparse rows). A term on one site alone is its own
    neighbour. In the positive diffusion approximation, the noise of decay and pump acts on the spinors
    instead, and `loss` and `gain` hold their rates.

    field    : (sites, 3)
    start    : (sites + 1,), neighbour : (entries,), coupling : (entries, 3)
    damping  : (sites,) rate of S- minus rate of S+
    draw     : (sites, 3) row of the random numbers that drive b_ij
    strength : (draws,) square root of the noise power of a row; the last row, 0, is for no noise
    loss, gain : (sites,) rates of S- and S+ that act on spinors
    """

    field: np.ndarray
    start: np.ndarray
    neighbour: np.ndarray
    coupling: np.ndarray
    damping: np.ndarray
    draw: np.ndarray
    strength: np.ndarray
    loss: np.ndarray
    gain: np.ndarray

    def over(self, dt: float) -> "Tables":
        """The same for a step dt: w = tan(angle/2) of a Cayley rotation by the angle b dt, instead of b.

        To first order w is b dt/2, which is what the deterministic field gets. A noise has three values:
        each gets the w of its own angle, or the rotation would be wrong in the order dt.
        """
        half, a = dt / 2, THREE_POINT_AMPLITUDE
        return self._replace(
            field=half * self.field, coupling=half * self.coupling, damping=half * self.damping,
            strength=np.tan(a * np.sqrt(dt) / 2 * self.strength) / a)

    def fastest(self, spins: np.ndarray) -> tuple[float, float]:
        """Bounds over all sites: of |b| without noise, and of the noise power of a component of b."""
        lengths = spins + 0.5
        from_neighbours = np.zeros(len(spins))
        rows = np.repeat(np.arange(len(spins)), np.diff(self.start))
        largest = np.abs(self.coupling).max(axis=1, initial=0)
        np.add.at(from_neighbours, rows, largest * lengths[self.neighbour])
        drift = np.linalg.norm(self.field, axis=1) + from_neighbours + np.abs(self.damping) * lengths
        return float(drift.max()), float(self.strength.max() ** 2)


def unsupported(system: System) -> str | None:
    """Why the truncated Wigner equations of this system are not known here, or None."""
    if np.any(system.cutoffs):
        return "it has boson modes: only spins are supported"
    for terms in system.hamiltonian:
        if np.any(terms.coefficients) and (len(terms.operators) > 2 or len(set(terms.operators)) > 1):
            return (f"its Hamiltonian has the term {' '.join(terms.operators)}: only single operators and "
                    f"products of two equal ones are supported")
    for jumps in system.jumps:
        if jumps.collective and len(jumps.sites) > 1 and np.any(jumps.rates):
            return (f"its jump operator {jumps.operator} is a sum over {len(jumps.sites)} sites: only jumps "
                    f"of one site are supported")
    return None


def compile_system(system: System, scheme: str) -> Tables:
    """Tables of a system for the scheme "spin_conserving" or "pda", in the Wigner representation.

    A coupling c Sj Sj' between two sites gives the field c s_j' on the first and c s_j on the second;
    c Sj² on one site gives 2c s_j. The jump operator S∓ with (standard Lindblad) rate γ damps with ±γ and
    drives b_x and b_y by white noises of power γ; Sj with rate γ drives b_j by one of power γ.
    """
    n = system.sites
    field, power = np.zeros((n, 3)), np.zeros((n, 3))
    loss, gain = np.zeros(n), np.zeros(n)
    pairs, values = [np.empty((0, 2), int)], [np.empty((0, 3))]
    for terms in system.hamiltonian:
        if not np.any(terms.coefficients):
            continue
        axis = HERMITIAN_OPERATORS.index(terms.operators[0])
        if len(terms.operators) == 1:
            np.add.at(field[:, axis], terms.sites[:, 0], terms.coefficients)
        else:
            # both directions; on one site they add up to the factor 2 of the square
            pairs += [terms.sites, terms.sites[:, ::-1]]
            values += 2 * [np.outer(terms.coefficients, np.eye(3)[axis])]
    for jumps in system.jumps:
        rates = np.broadcast_to(jumps.rates, len(jumps.sites))
        if jumps.operator in HERMITIAN_OPERATORS:
            np.add.at(power[:, HERMITIAN_OPERATORS.index(jumps.operator)], jumps.sites, rates)
        else:
            np.add.at(loss if jumps.operator == "S-" else gain, jumps.sites, rates)
    damping = loss - gain
    if scheme == "spin_conserving":
        power += np.outer(loss + gain, [1, 1, 0])
        loss, gain = np.zeros(n), np.zeros(n)
    return Tables(field, *_sparse_rows(n, np.vstack(pairs), np.vstack(values)), damping, *_draws(power),
                  loss, gain)


def _sparse_rows(n, pairs, values):
    """start, neighbour and coupling of Σ values over equal (site, neighbour) pairs."""
    flat, where = np.unique(pairs[:, 0] * n + pairs[:, 1], return_inverse=True)
    coupling = np.zeros((len(flat), 3))
    np.add.at(coupling, where, values)
    return np.searchsorted(flat, n * np.arange(n + 1)), flat % n, coupling


def _draws(power):
    """draw and strength: the driven components site by site, in whole blocks with a 0 at the end."""
    driven = power > 0
    rows = int(driven.sum())
    strength = np.zeros((rows // DRAWS_PER_BLOCK + 1) * DRAWS_PER_BLOCK)
    strength[:rows] = np.sqrt(power[driven])
    draw = np.full(power.shape, len(strength) - 1)
    draw[driven] = np.arange(rows)
    return draw, strength
