"""The one description of an open quantum system that every method compiles.

A `System` is plain data for the master equation (ħ = 1, standard Lindblad form)

    dρ/dt = -i [H, ρ] + Σ_j γ_j ( L_j ρ L_j† - ½ {L_j† L_j, ρ} ),

where H and the jump operators L_j are tables of products of one-site operators, of spins and of boson
modes. Papers that write D[c]ρ = 2cρc† - c†cρ - ρc†c mean twice the rate here; each model converts
once, in `build`.
"""
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

HERMITIAN_OPERATORS = ("Sx", "Sy", "Sz")            # of a spin
SPIN_OPERATORS = (*HERMITIAN_OPERATORS, "S+", "S-")
HERMITIAN_BOSON_OPERATORS = ("n", "x", "p")         # n = a†a, x = a + a†, p = i(a† - a)
BOSON_OPERATORS = (*HERMITIAN_BOSON_OPERATORS, "a", "a+")


class Parameters(BaseModel):
    """Base of every model's `Params` and method's `Options`: frozen, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _no_bool(value):
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true/false")
    return value


def _half_integer(value):
    if value <= 0 or 2 * value != round(2 * value):
        raise ValueError("a spin is a positive multiple of 1/2 (0.5, 1, 1.5, ...)")
    return value


def _numbers(value) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(x, (int, float)) and not isinstance(x, bool) for x in value)


def _direction(value):
    if not _numbers(value) or len(value) != 2 or not 0 <= value[0] <= 1:
        raise ValueError("a direction is [polar, azimuth] in units of π, with 0 <= polar <= 1; [0, 0] is up")
    return float(value[0]), float(value[1])


def _initial(value):
    if isinstance(value, dict) and value:
        return {str(name): _direction(direction) for name, direction in value.items()}
    return _direction(value)


def _times(value):
    if isinstance(value, dict) and list(value) == ["linspace"]:
        try:
            value = [float(f"{t:.12g}") for t in np.linspace(*value["linspace"])]
        except (TypeError, ValueError):
            raise ValueError("write linspace: [first, last, count]") from None
    if not _numbers(value) or not value or value[0] < 0 or np.any(np.diff(value) <= 0):
        raise ValueError(
            "times are a rising list of numbers, not negative, or linspace: [first, last, count]")
    return tuple(float(t) for t in value)


Direction = tuple[float, float]
# directions of spin coherent states, of all spins or by sublattice; times of results
Initial = Annotated[Direction | dict[str, Direction], BeforeValidator(_initial)]
Times = Annotated[tuple[float, ...], BeforeValidator(_times)]
Number = Annotated[float, BeforeValidator(_no_bool)]
Whole = Annotated[int, BeforeValidator(_no_bool)]
Count = Annotated[Whole, Field(ge=1)]
Rate = Annotated[Number, Field(ge=0)]
Spin = Annotated[Number, AfterValidator(_half_integer)]


@dataclass(frozen=True)
class Terms:
    """A family of Hamiltonian terms that share their operators: Σ_r c_r Π_j O_j(site[r, j]).

    operators    : names out of Sx, Sy, Sz and, on boson modes, n, x, p; factors on one site must be equal
    sites        : (terms, len(operators)) integers
    coefficients : (terms,) real
    """

    operators: tuple[str, ...]
    sites: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True)
class Jumps:
    """A family of jump operators that share their one-site operator O.

    operator   : one of Sx, Sy, Sz, S+, S- or, on boson modes, n, x, p, a, a+
    sites      : (m,) integers
    rates      : (m,) local decay, L_r = O(site[r]) at rates[r]; or
                 (1,) with collective=True, the one jump operator L = Σ_r O(site[r])
    """

    operator: str
    sites: np.ndarray
    rates: np.ndarray
    collective: bool = False


@dataclass(frozen=True)
class WeakU1:
    """Weak U(1): exp(iφQ), Q = Σ_i w_i Sz_i + Σ_modes w_i n_i, commutes with the Liouvillian.

    It does where H keeps Q and every L_j shifts it by one constant. Its sectors hold the |m⟩⟨n| with
    Q(m) - Q(n) = k.

    weights : (sites,) integers w; None is 1 on every site
    """

    weights: np.ndarray | None = None


@dataclass(frozen=True)
class Transposition:
    """The map ρ -> U ρᵀ U, U = Π_i (-1)^(S_i - Sz_i) over `sites`, commutes with the Liouvillian.

    It does where, in the Sz basis, H and the L_j are real, U H U = -H and U L_j U = ± L_j.
    On a boson mode the factor of U is (-1)^n.
    """

    sites: np.ndarray


@dataclass(frozen=True)
class Parity:
    """Weak Z2: ρ -> U ρ U†, with U² = 1 up to a phase, commutes with the Liouvillian.

    U rotates every spin by π about `axis`, exp(iπ S_axis), and then moves site i to permutation[i].
    It is a symmetry where U H U† = H and U permutes the jump operators of equal rate, up to phases.
    It may turn the Q of WeakU1 into -Q, and a Translation into its inverse, instead of commuting with them.

    axis        : "x", "y" (spins only) or "z" ((-1)^n on boson modes); None: no rotation
    permutation : (sites,) integers, its own inverse; None: sites stay
    """

    axis: str | None = None
    permutation: np.ndarray | None = None


@dataclass(frozen=True)
class Translation:
    """Weak Z_order: ρ -> T ρ T†, where T moves site i to permutation[i], commutes with the Liouvillian.

    It does where T H T† = H and T permutes the jump operators of equal rate, up to phases. A lattice of two
    dimensions declares two, which commute. Its sectors have the eigenvalues exp(2πi q/order) of the map.
    With weights of alternating sign it may turn the Q of WeakU1 into -Q.

    permutation : (sites,) integers
    """

    permutation: np.ndarray

    @property
    def order(self) -> int:
        """The smallest number of steps that moves every site back: the lcm of the cycles' lengths."""
        order, moved = 1, self.permutation
        while not np.array_equal(moved, np.arange(len(moved))):
            order, moved = order + 1, self.permutation[moved]
        return order

    @property
    def places(self) -> np.ndarray | None:
        """(order, orbits) sites: places[s, o] is s steps away from the first site of orbit o.

        None where the orbits differ in length.
        """
        grid, seen = [], np.zeros(len(self.permutation), bool)
        for site in range(len(seen)):
            if not seen[site]:
                orbit = [site]
                while (following := self.permutation[orbit[-1]]) != site:
                    orbit.append(following)
                seen[orbit] = True
                grid.append(orbit)
        return np.array(grid).T if len({len(orbit) for orbit in grid}) == 1 else None


@dataclass(frozen=True)
class System:
    """An open system of spins and boson modes.

    spins       : (sites,) the S of every site, 0 at a boson mode
    cutoffs     : (sites,) the number of Fock states kept of every boson mode, 0 at a spin; None: no modes
    sublattice  : (sites,) index into `sublattices`; averages are reported per sublattice
    sublattices : names
    """

    spins: np.ndarray
    hamiltonian: tuple[Terms, ...]
    jumps: tuple[Jumps, ...]
    symmetries: tuple = ()
    sublattice: np.ndarray = None
    sublattices: tuple[str, ...] = ("all",)
    units: str = field(default="1", metadata={"doc": "unit of rates, for labels"})
    cutoffs: np.ndarray = None

    def __post_init__(self):
        if self.sublattice is None:
            object.__setattr__(self, "sublattice", np.zeros(len(self.spins), int))
        if self.cutoffs is None:
            object.__setattr__(self, "cutoffs", np.zeros(len(self.spins), int))
        for terms in self.hamiltonian:
            for name, sites in zip(terms.operators, terms.sites.T):
                self._check("Hamiltonian term", name, sites, HERMITIAN_OPERATORS, HERMITIAN_BOSON_OPERATORS)
        for jumps in self.jumps:
            self._check("jump operator", jumps.operator, jumps.sites, SPIN_OPERATORS, BOSON_OPERATORS)

    def _check(self, what, name, sites, of_spins, of_bosons):
        """ValueError if the operator is not known, or not on these sites."""
        if name not in of_spins + of_bosons:
            raise ValueError(f"a {what} is made of {of_spins} and {of_bosons}, not {name}")
        if np.any((self.cutoffs[sites] > 0) != (name in of_bosons)):
            raise ValueError(f"a {what} {name} is on a {'spin' if name in of_bosons else 'boson mode'}")

    @property
    def sites(self) -> int:
        return len(self.spins)

    @property
    def levels(self) -> np.ndarray:
        """(sites,) dimension of every site: 2S + 1, or the cutoff of a boson mode."""
        return np.where(self.cutoffs > 0, self.cutoffs, np.rint(2 * self.spins + 1).astype(int))

    @property
    def dimension(self) -> float:
        """Dimension Π_i levels_i of the Hilbert space, as a float: it may be astronomical, even inf."""
        with np.errstate(over="ignore"):
            return float(np.prod(self.levels.astype(float)))

    def symmetry(self, kind):
        """The declared symmetry of this class (the first, of Parity and Translation), or None."""
        return next((s for s in self.symmetries if isinstance(s, kind)), None)


def angles(system: System, initial) -> np.ndarray:
    """(sites, 2) polar angle and azimuth of an Initial; 0 on sublattices of boson modes. Raises ValueError."""
    modes = {name for s, name in enumerate(system.sublattices) if np.all(system.cutoffs[system.sublattice == s])}
    names = [name for name in system.sublattices if name not in modes]
    directions = initial if isinstance(initial, dict) else dict.fromkeys(names, initial)
    if set(directions) != set(names):
        raise ValueError(f"initial = {directions}: give one direction for all sites, or one for each of the "
                         f"sublattices {', '.join(names)}")
    return np.pi * np.array([directions.get(name, (0.0, 0.0)) for name in system.sublattices])[system.sublattice]
