"""The one description of an open quantum system that every method compiles.

A `System` is plain data for the master equation (ħ = 1, standard Lindblad form)

    dρ/dt = -i [H, ρ] + Σ_j γ_j ( L_j ρ L_j† - ½ {L_j† L_j, ρ} ),

where H and the jump operators L_j are tables of products of one-site operators. Papers that
write D[c]ρ = 2cρc† - c†cρ - ρc†c mean twice the rate here; each model converts once, in `build`.
"""
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

ONE_SITE_OPERATORS = ("Sx", "Sy", "Sz", "S+", "S-")
HERMITIAN_OPERATORS = ("Sx", "Sy", "Sz")


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


Number = Annotated[float, BeforeValidator(_no_bool)]
Whole = Annotated[int, BeforeValidator(_no_bool)]
Count = Annotated[Whole, Field(ge=1)]
Rate = Annotated[Number, Field(ge=0)]
Spin = Annotated[Number, AfterValidator(_half_integer)]


@dataclass(frozen=True)
class Terms:
    """A family of Hamiltonian terms that share their operators: Σ_r c_r Π_j O_j(site[r, j]).

    operators    : names out of Sx, Sy, Sz (factors on the same site must be equal)
    sites        : (terms, len(operators)) integers
    coefficients : (terms,) real
    """

    operators: tuple[str, ...]
    sites: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True)
class Jumps:
    """A family of jump operators that share their one-site operator O.

    operator   : one of Sx, Sy, Sz, S+, S-
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
    """Weak U(1): rotations about z, exp(iφQ) with Q = Σ_i Sz_i, commute with the Liouvillian.

    Its sectors hold the |m⟩⟨n| with Q(m) - Q(n) = k.
    """


@dataclass(frozen=True)
class Transposition:
    """The map ρ -> U ρᵀ U, U = Π_i (-1)^(S_i - Sz_i) over `sites`, commutes with the Liouvillian.

    It does where, in the Sz basis, H and the L_j are real, U H U = -H and U L_j U = ± L_j.
    """

    sites: np.ndarray


@dataclass(frozen=True)
class System:
    """An open spin system.

    spins       : (sites,) the S of every site
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

    def __post_init__(self):
        if self.sublattice is None:
            object.__setattr__(self, "sublattice", np.zeros(len(self.spins), int))
        for terms in self.hamiltonian:
            for name in terms.operators:
                if name not in HERMITIAN_OPERATORS:
                    raise ValueError(f"a Hamiltonian term is a product of {HERMITIAN_OPERATORS}, not {name}")

    @property
    def sites(self) -> int:
        return len(self.spins)

    @property
    def dimension(self) -> float:
        """Dimension Π_i (2 S_i + 1) of the Hilbert space, as a float: it may be astronomical, even inf."""
        with np.errstate(over="ignore"):
            return float(np.prod(2 * self.spins + 1))

    def symmetry(self, kind):
        """The declared symmetry of this class, or None."""
        return next((s for s in self.symmetries if isinstance(s, kind)), None)
