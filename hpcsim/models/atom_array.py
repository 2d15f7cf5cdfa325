"""Two-level atoms in free space, with the couplings and the correlated decay of their dipoles."""

from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, model_validator
from scipy.special import spherical_jn

from hpcsim.system import Jumps, Number, Parameters, Parity, Rate, System, Terms, WeakU1, lattice
from hpcsim.system.families import complex_number, complex_numbers, or_none

SPACING = 0.2
MOST_ATOMS = 2000  # of which all pairs are coupled
SAME = 1e-9  # relative distance of positions that are one


def _vector(value):
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        raise ValueError("must be a list of three numbers, [x, y, z]")
    vector = tuple(map(complex_number, value))
    if not np.any(complex_numbers(vector)):
        raise ValueError("must not be zero")
    return vector


def _positions(value):
    try:
        rows = [[float(x) for x in row] for row in value]
        if {len(row) for row in rows} != {3} or not np.all(np.isfinite(rows)):
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError("must be a list of positions [x, y, z]") from None
    return tuple(map(tuple, rows))


class Params(Parameters):
    """H = -Σ_i detuning S+_i S-_i + ½ Σ_i (rabi exp(i q·r_i) S+_i + h.c.) + Σ_(i<j) J_ij (S+_i S-_j + h.c.),
    dissipation Σ_ij Γ_ij (S-_i ρ S+_j - ½{S+_j S-_i, ρ}), of spins 1/2, up is excited,
    J_ij - iΓ_ij/2 = -(3π decay/k) d*·G(r_i - r_j)·d with the Green's tensor of free space: for ξ = kr, c = |d·r|/r,
        Γ_ij = (3/2) decay { (1 - c²) sin ξ/ξ + (1 - 3c²) (cos ξ/ξ² - sin ξ/ξ³) },
        J_ij = (3/4) decay { -(1 - c²) cos ξ/ξ + (1 - 3c²) (sin ξ/ξ² + cos ξ/ξ³) },
    and Γ_ii = decay (Lehmberg, Phys. Rev. A 2, 883 (1970); Asenjo-Garcia et al., Phys. Rev. X 7, 031024 (2017)).

    sites       : n atoms along x, 2 by default, or [nx, ny] in the plane of x and y
    spacing     : distance of neighbours, 0.2 by default
    positions   : in place of sites and spacing, a list of [x, y, z]
    dipole      : direction of the transition's dipole, the same for all: [x, y, z], of numbers, or
                  [real, imaginary part] for circular polarisation; its length does not matter
    wave_number : k = 2π/wavelength. By default lengths are in wavelengths
    decay       : Γ of a single atom, in the standard Lindblad form
    detuning    : of the laser from the transition
    rabi        : Rabi frequency of the laser
    laser       : direction of its wave vector q, |q| = k
    resolve     : report every atom by itself, as a sublattice with its number, instead of the average
    """

    sites: lattice.Size | None = None
    spacing: Annotated[Number, Field(gt=0)] | None = None
    positions: Annotated[Any, BeforeValidator(or_none(_positions))] = None
    dipole: Annotated[Any, BeforeValidator(_vector)] = (0.0, 0.0, 1.0)
    wave_number: Annotated[Number, Field(gt=0)] = 2 * np.pi
    decay: Rate = 1.0
    detuning: Number = 0.0
    rabi: Number = 0.0
    laser: Annotated[Any, BeforeValidator(_vector)] = (0.0, 0.0, 1.0)
    resolve: bool = False

    @model_validator(mode="after")
    def _fit(self):
        if self.positions is not None and (self.sites, self.spacing) != (None, None):
            raise ValueError("positions are in place of sites and spacing; delete these")
        if np.iscomplexobj(complex_numbers(self.laser)):
            raise ValueError("laser: a wave vector is real")
        atoms = len(self.positions or ()) or int(np.prod(lattice.shape(self.sites or 2)))
        if atoms > MOST_ATOMS:
            raise ValueError(f"{atoms} atoms are more than {MOST_ATOMS}, whose pairs are all coupled")
        distance = _distances(places(self)) + np.diag(np.full(atoms, np.inf))
        if distance.min() <= SAME * np.max(distance, where=np.isfinite(distance), initial=0):
            i, j = np.unravel_index(distance.argmin(), distance.shape)
            raise ValueError(f"positions: the atoms {i} and {j} are at the same place")
        return self


def places(params: Params) -> np.ndarray:
    """(atoms, 3) positions."""
    if params.positions is not None:
        return np.array(params.positions)
    x, y = lattice.coordinates(lattice.shape(params.sites or 2))
    return (params.spacing or SPACING) * np.column_stack([x, y, 0 * x]).astype(float)


def _distances(r) -> np.ndarray:
    return np.linalg.norm(r[:, None] - r, axis=-1)


def couplings(params: Params) -> tuple[np.ndarray, np.ndarray]:
    """(atoms, atoms) J_ij, with J_ii = 0, and Γ_ij."""
    r, dipole = places(params), complex_numbers(params.dipole)
    separation, apart = r[:, None] - r, ~np.eye(len(r), dtype=bool)
    distance = np.where(apart, _distances(r), 1.0)
    c2 = np.abs(separation @ dipole / distance / np.linalg.norm(dipole)) ** 2
    xi = params.wave_number * distance
    far, near, sin, cos = 1 - c2, 1 - 3 * c2, np.sin(xi), np.cos(xi)
    # cos ξ/ξ² - sin ξ/ξ³ loses its digits where ξ is small: -j_1(ξ)/ξ
    rates = 1.5 * params.decay * (far * sin / xi - near * spherical_jn(1, xi) / xi)
    shifts = 0.75 * params.decay * (-far * cos / xi + near * (sin / xi**2 + cos / xi**3))
    return np.where(apart, shifts, 0.0), np.where(apart, rates, params.decay)


def build(params: Params) -> System:
    r, (shifts, rates) = places(params), couplings(params)
    n = len(r)
    sites, pairs = np.arange(n), np.column_stack(np.triu_indices(n, 1))
    wave = np.array(params.laser) / np.linalg.norm(params.laser) * params.wave_number
    drive = params.rabi / 2 * np.exp(1j * (r @ wave))
    return System(
        spins=np.full(n, 0.5),
        hamiltonian=(
            Terms(("S+", "S-"), pairs, shifts[pairs[:, 0], pairs[:, 1]], plus_hc=True),
            Terms(("Sz",), sites[:, None], np.full(n, -params.detuning)),  # S+S- = Sz + 1/2
            Terms(("S+",), sites[:, None], drive, plus_hc=True),
        ),
        jumps=(Jumps.of_rate_matrix("S-", sites, rates),),
        symmetries=tuple(_symmetries(params, r, drive)),
        sublattice=sites if params.resolve else np.zeros(n, int),
        sublattices=tuple(map(str, sites)) if params.resolve else ("all",),
    )


def _symmetries(params: Params, r, drive):
    """The charge without a laser, and the inversion of the positions, if it keeps the laser's phases."""
    if params.rabi == 0:
        yield WeakU1()
    inverted = r.mean(axis=0) * 2 - r
    moves = np.linalg.norm(inverted[:, None] - r, axis=-1)
    partner = moves.argmin(axis=1)
    there = np.all(moves[np.arange(len(r)), partner] <= SAME * (np.ptp(r) + 1)) and np.any(partner != np.arange(len(r)))
    if there and not params.resolve and np.allclose(drive[partner], drive, rtol=0, atol=1e-13 * abs(params.rabi)):
        yield Parity(None, partner)
