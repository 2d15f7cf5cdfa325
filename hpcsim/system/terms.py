"""The one description of an open quantum system that every method compiles.

A `System` is plain data for the master equation (ħ = 1, standard Lindblad form)

    dρ/dt = -i [H, ρ] + Σ_j γ_j ( L_j ρ L_j† - ½ {L_j† L_j, ρ} ),

where H and the jump operators L_j are tables of products of one-site operators, of spins and of boson
modes. Papers that write D[c]ρ = 2cρc† - c†cρ - ρc†c mean twice the rate here; each model converts
once, in `build`.
"""

import functools
import hashlib
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import numpy as np

from hpcsim.system.cache import Cache
from hpcsim.system.operators import OPERATORS, is_hermitian, levels_of, operator_names, parts_of
from hpcsim.system.tables import Jumps, Terms, hermitian_rows, product_name, real_numbers

__all__ = ["Jumps", "System", "Terms"]

MANY = 10**9  # levels that no site has
MAGNITUDES = ("coefficients", "rates")  # fields of tables: what the structure of a system leaves out


@dataclass(frozen=True)
class System:
    """An open system of spins and boson modes.

    spins       : (sites,) the S of every site, 0 at a boson mode
    cutoffs     : (sites,) the number of Fock states kept of every boson mode, 0 at a spin; None: no modes
    sublattice  : (sites,) index into `sublattices`; averages are reported per sublattice
    sublattices : names
    drive       : coefficients and rates as functions of time, a `Drive`; the tables then hold the values largest in
                  modulus of all times, which are zero where the coefficient always is. None: they are constant
    """

    spins: np.ndarray
    hamiltonian: tuple[Terms, ...]
    jumps: tuple[Jumps, ...]
    symmetries: tuple = ()
    sublattice: np.ndarray = None
    sublattices: tuple[str, ...] = ("all",)
    units: str = field(default="1", metadata={"doc": "unit of rates, for labels"})
    cutoffs: np.ndarray = None
    drive: Any = None

    def __post_init__(self):
        if self.sublattice is None:
            object.__setattr__(self, "sublattice", np.zeros(len(self.spins), int))
        if self.cutoffs is None:
            object.__setattr__(self, "cutoffs", np.zeros(len(self.spins), int))
        modes = bool(self.cutoffs.any())
        for terms in self.hamiltonian:
            self._check("Hamiltonian term", terms, modes)
            if not terms.plus_hc:
                _check_hermitian(terms)
        for jumps in self.jumps:
            self._check("jump operator", jumps, modes)

    def _check(self, what: str, table: Terms | Jumps, modes: bool):
        """ValueError if an operator is not known, or not on sites of this kind.

        modes : whether the system has any
        """
        for name, sites in zip(table.operators, table.sites.T):
            if parts := parts_of(name):
                if what != "jump operator":
                    raise ValueError(f"the {what} {name} is a sum: write a term for each of its operators")
                for _, each in parts:
                    self._check_one(what, each, sites, modes)
                continue
            self._check_one(what, name, sites, modes)

    def _check_one(self, what: str, name: str, sites: np.ndarray, modes: bool):
        operator, between = OPERATORS.get(name), levels_of(name)
        if between is not None:
            if (levels := self.levels[sites].min(initial=MANY)) <= max(between):
                raise ValueError(f"a {what} {name} is on a site with the levels 0 to {levels - 1}")
            return
        if operator is None:
            raise ValueError(f"a {what} is made of {operator_names(False)} and {operator_names(True)}, not {name}")
        if (modes or operator.boson) and np.any((self.cutoffs[sites] > 0) != operator.boson):
            raise ValueError(f"a {what} {name} is on a {'spin' if operator.boson else 'boson mode'}")

    @functools.cached_property
    def key(self) -> bytes:
        """Equal for equal systems: a hash of all tables, under which results are kept."""
        still = (
            type(self).__name__,
            *(content(getattr(self, each.name)) for each in fields(self) if each.name != "drive"),
        )
        whole = still if self.drive is None else (*still, content(self.drive))
        return hashlib.blake2b(repr(whole).encode(), digest_size=16).digest()

    @functools.cached_property
    def structure(self) -> bytes:
        """Equal for systems that differ in coefficients and rates alone, and have the same ones zero: a hash."""
        found = [type(self).__name__.encode()]
        for name in self.__dataclass_fields__:
            if name != "drive":
                _add_structure(found, getattr(self, name))
        return hashlib.blake2b(b"".join(found), digest_size=16).digest()

    @functools.cached_property
    def _kept(self) -> Cache:
        return Cache(16)

    @functools.cached_property
    def _of_structure(self) -> Cache:
        return Cache(64)

    def kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """make(), of which `key` tells the kind: computed once for this system. Nobody may change the value."""
        return self._kept.get(key, make)

    def of_structure(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """As `kept`, of what coefficients and rates do not change: one value for all systems that `join` connects."""
        return self._of_structure.get(key, make)

    def join(self, structures: Cache) -> None:
        """From now on share `of_structure` with the systems of equal structure that have joined the same cache."""
        self.__dict__["_of_structure"] = structures.get(self.structure, lambda: self._of_structure)

    @functools.cached_property
    def magnitudes(self) -> tuple[tuple[int, ...], np.ndarray]:
        """Coefficients and rates, table after table, as numbers of different values; and (different,) these values.

        A complex coefficient is two of them, its real and its imaginary part.
        """
        numbers: dict[float, int] = {}
        tables = [*(terms.numbers for terms in self.hamiltonian), *(jumps.rates for jumps in self.jumps)]
        labels = tuple(numbers.setdefault(value, len(numbers)) for table in tables for value in table.tolist())
        return labels, np.array([*numbers], float)

    def with_magnitudes(self, values: np.ndarray) -> "System":
        """The system with other values (different,) in place of those of `magnitudes`, zero where these are."""
        every = iter(values[np.array(self.magnitudes[0], int)])

        def taken(table):
            found = np.fromiter(every, float, len(real_numbers(table)))
            return found.view(complex) if np.iscomplexobj(table) else found

        hamiltonian = tuple(replace(each, coefficients=taken(each.coefficients)) for each in self.hamiltonian)
        jumps = tuple(replace(each, rates=taken(each.rates)) for each in self.jumps)
        found = replace(self, hamiltonian=hamiltonian, jumps=jumps)
        found.__dict__["_of_structure"] = self._of_structure
        return found

    def __getstate__(self):
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @functools.cached_property
    def sites(self) -> int:
        return len(self.spins)

    @functools.cached_property
    def levels(self) -> np.ndarray:
        """(sites,) dimension of every site: 2S + 1, or the cutoff of a boson mode."""
        return self.of_structure("levels", self._levels)

    def _levels(self) -> np.ndarray:
        found = np.where(self.cutoffs > 0, self.cutoffs, np.rint(2 * self.spins + 1).astype(int))
        found.setflags(write=False)
        return found

    @functools.cached_property
    def dimension(self) -> float:
        """Dimension Π_i levels_i of the Hilbert space, as a float: it may be astronomical, even inf."""
        return self.of_structure("dimension", self._dimension)

    def _dimension(self) -> float:
        with np.errstate(over="ignore"):
            return float(np.prod(self.levels.astype(float)))


def _check_hermitian(terms: Terms):
    if np.iscomplexobj(terms.coefficients):
        raise ValueError(f"the Hamiltonian term {terms} has a complex coefficient: plus_hc=True adds its conjugate")
    if len(set(terms.operators)) == 1 and is_hermitian(terms.operators[0]):
        return
    if wrong := np.flatnonzero(~hermitian_rows(terms.operators, terms.sites))[:1].tolist():
        raise ValueError(
            f"the Hamiltonian term {product_name(terms.operators, terms.sites[wrong])} is not Hermitian: plus_hc=True "
            "adds its Hermitian conjugate"
        )


def content(value):
    """All that a system consists of, in a form whose repr is the same for equal tables, whatever their memory."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, (Terms, Jumps)):
        return type(value).__name__, *map(content, value.content())
    if is_dataclass(value):
        return type(value).__name__, *(content(getattr(value, each.name)) for each in fields(value))
    return tuple(map(content, value)) if isinstance(value, (tuple, list)) else value


def _add_structure(found: list[bytes], value) -> None:
    """Add all that a system consists of to the parts of a hash; of coefficients and rates only which are zero."""
    if isinstance(value, np.ndarray):
        found += (f"{value.dtype.char}{value.shape}".encode(), value.tobytes())
    elif isinstance(value, (tuple, list)):
        found.append(b"(%d" % len(value))
        for part in value:
            _add_structure(found, part)
    elif isinstance(value, (Terms, Jumps)):
        words, arrays = value.structure()
        found.append(repr((type(value).__name__, words, [(a.dtype.char, a.shape) for a in arrays])).encode())
        found += [array.tobytes() for array in arrays]
    elif names := getattr(type(value), "__dataclass_fields__", None):
        found.append(type(value).__name__.encode())
        for name in names:
            _add_structure(found, getattr(value, name))
    else:
        found.append(f"{value!r};".encode())
