"""Spins on any graph of couplings, with parameters that may differ from site to site."""

import math
import re
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from hpcsim.system import (
    MOST_SITES,
    Jumps,
    Number,
    Parameters,
    Parity,
    Rate,
    Spin,
    System,
    Terms,
    Translation,
    WeakU1,
    holds,
)
from hpcsim.system.families import Channel, Graph, Term, a_list
from hpcsim.system.vocabulary import LATER

MOST_PAIRS = 20_000_000  # of a power law: 2 GB of tables


def _shape(value):
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}(x\d{1,9}){0,2}", value):  # as an axis of a sweep has it
        value = [int(n) for n in value.split("x")]
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if not 1 <= len(numbers) <= 3 or not all(type(n) is int and n > 0 for n in numbers):
        raise ValueError("must be an integer greater than 0, or [nx, ny], or [nx, ny, nz]")
    if math.prod(numbers) > MOST_SITES:
        raise ValueError(f"more than {MOST_SITES} sites")
    return tuple(numbers)


def _numbers(values, what):
    try:
        if any(isinstance(x, bool) for x in values):
            raise ValueError
        numbers = tuple(float(x) for x in values)
    except (TypeError, ValueError):
        numbers = (np.inf,)
    if not np.all(np.isfinite(numbers)):
        raise ValueError(f"must be {what}")
    return numbers


def _per_site(value):
    """A number, or a tuple with one number for each site."""
    several = isinstance(value, (list, tuple))
    numbers = _numbers(value if several else [value], "a number, or a list of one for each site")
    return numbers if several else numbers[0]


def _rates(value):
    if np.min(_per_site(value), initial=0) < 0:
        raise ValueError("must be greater than or equal to 0")
    return _per_site(value)


def _edges(value):
    what = "a list of couplings [site, site] or [site, site, weight]"
    if not isinstance(value, (list, tuple)) or not all(
        isinstance(edge, (list, tuple)) and len(edge) in (2, 3) for edge in value
    ):
        raise ValueError(f"must be {what}")
    return tuple((*edge[:2], *_numbers(edge[2:], what)) for edge in value)


PerSite, RatePerSite = Annotated[Any, BeforeValidator(_per_site)], Annotated[Any, BeforeValidator(_rates)]


class Params(Parameters):
    """huber2021: D[c]ρ = 2cρc† - c†cρ - ρc†c, couplings and rates over 2S,
        H = Σ_i (field_x Sx + field_y Sy + field_z Sz + (twist/2S) Sx²)_i
          + (1/2S) Σ_ij w_ij (Jx SxSx + Jy SySy + Jz SzSz)_ij, each pair once,
        dissipation Σ_i (decay/2S) D[S-] + (gain/2S) D[S+] + dephasing D[Sz].
    standard: the Lindblad form D[c]ρ = cρc† - ½(c†cρ + ρc†c), and nothing over 2S,
        H = Σ_i (field_x Sx + field_y Sy + field_z Sz + twist Sx²)_i
          + Σ_ij w_ij (Jx SxSx + Jy SySy + Jz SzSz)_ij, each pair once,
        dissipation Σ_i decay D[S-] + gain D[S+] + dephasing D[Sz].
    Sx, Sy, Sz are spin operators, of a spin 1/2 half of the Pauli matrices. The fields are the same in both.

    convention : huber2021 or standard
    sites      : n of a chain, [nx, ny] of a square lattice or [nx, ny, nz] of a cubic one
    S          : spin of every site
    power      : w = r^-power for all pairs at the distance r (in lattice spacings); 0 couples all to all alike
    edges      : w of the pairs listed, [[i, j], [i, j, w], ...], with w = 1 where it is left out; sites count
                 from 0, x fastest. Without power and edges, w = 1 between nearest neighbours
    Jx, Jy, Jz : couplings
    field_x, field_y, field_z, twist, decay, gain, dephasing : a number, or a list of one for each site
    n_th       : quanta in the bath that a site decays into: decay is (1 + n_th) decay and gain rises by n_th decay. A
                 number, or a list of one for each site
    terms      : more terms of H, with nothing over 2S: a list of {operators: [S+, S-], sites: [[0, 1], [1, 2]],
                 coefficients: [0.5, {abs: 0.5, phase: pi/3}]}. The operators are Sx, Sy, Sz, S+, S- and, for atoms of
                 2S + 1 levels, "|a><b|", with the levels 0, 1, ... from the largest Sz on; up to six of them. Every
                 row of sites has one site for each of them. sites: all (the default for one operator) are
                 all sites, bonds (for two) the pairs with couplings, times w. A coefficient is a number, [real part,
                 imaginary part] or {abs, phase}; where a product is not Hermitian, its conjugate is added
    jumps      : more jump operators, with rates of the standard form: a list of {operators: [S-, S-], sites: bonds,
                 rate: 0.3}, every row one jump operator, rate a number or a list; with weights: [1, [0, 1], ...], a
                 number for each row, or collective: true (all weights 1), the sum of the rows is one jump operator;
                 or of {operators: S-, sites: [0, 1], rate_matrix: [[1, 0.5], [0.5, 1]]}, Γ_ij of
                 Σ_ij Γ_ij (O_i ρ O_j† - ½(O_j†O_i ρ + ρ O_j†O_i)), positive semidefinite. An operator may be a sum
                 of those of one site, "S- + 0.3*Sz - 0.5i*Sx", with spaces
    terms_strength, jumps_strength : multiply the coefficients of terms and the rates of jumps: for a sweep
    periodic   : close the lattice in each direction: distances are the shortest around it
    resolve    : report every site by itself, as a sublattice with its number, instead of the average
    """

    LATER = LATER["spin_network"] | {"terms": (), "jumps": ()}

    convention: Literal["huber2021", "standard"] = "huber2021"
    sites: Annotated[Any, BeforeValidator(_shape)]
    S: Spin = 0.5
    power: Annotated[Number, Field(ge=0)] | None = None
    edges: Annotated[tuple, BeforeValidator(_edges)] | None = None
    Jx: Number = 0.0
    Jy: Number = 0.0
    Jz: Number = 0.0
    field_x: PerSite = 0.0
    field_y: PerSite = 0.0
    field_z: PerSite = 0.0
    twist: PerSite = 0.0
    decay: RatePerSite = 0.0
    gain: RatePerSite = 0.0
    dephasing: RatePerSite = 0.0
    n_th: RatePerSite = 0.0
    terms: Annotated[tuple[Term, ...], BeforeValidator(a_list)] = ()
    jumps: Annotated[tuple[Channel, ...], BeforeValidator(a_list)] = ()
    terms_strength: Number = 1.0
    jumps_strength: Rate = 1.0
    periodic: bool = True
    resolve: bool = False

    @model_validator(mode="after")
    def _fit(self):
        n = int(np.prod(self.sites))
        for name in ("field_x", "field_y", "field_z", "twist", "decay", "gain", "dephasing", "n_th"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != n:
                raise ValueError(f"{name}: {len(value)} values for {n} sites; give one number, or one for each site")
        known = set(range(n))
        for edge in self.edges or ():
            if not (all(type(i) is int for i in edge[:2]) and known.issuperset(edge[:2]) and edge[0] != edge[1]):
                raise ValueError(f"edges: {list(edge)} does not join two of the sites 0 ... {n - 1}")
        if self.power is not None and self.edges is not None:
            raise ValueError("power and edges exclude each other; delete one")
        if self.power is not None and n * (n - 1) / 2 > MOST_PAIRS:
            raise ValueError(
                f"power: {n} sites have {n * (n - 1) // 2} pairs, more than {MOST_PAIRS}; "
                f"use fewer sites, or edges up to a distance"
            )
        _further(self)
        return self


def build(params: Params) -> System:
    n, S = int(np.prod(params.sites)), params.S
    # what couplings are divided by, and the standard rate: D of huber2021 is twice the standard form
    over, rate = (2 * S, 2.0) if params.convention == "huber2021" else (1.0, 1.0)
    sites, (pairs, weights), (terms, jumps) = np.arange(n), _couplings(params), _further(params)

    def on_sites(name, scale=1.0):
        return np.broadcast_to(np.array(getattr(params, name), float), n) * scale

    thermal = on_sites("n_th")
    fields = tuple(Terms((f"S{axis}",), sites[:, None], on_sites(f"field_{axis}")) for axis in "xyz")
    exchange = tuple(
        Terms((f"S{axis}", f"S{axis}"), pairs, J * weights / over)
        for axis, J in zip("xyz", (params.Jx, params.Jy, params.Jz))
    )
    twist = Terms(("Sx", "Sx"), np.column_stack([sites, sites]), on_sites("twist", 1 / over))
    return System(
        spins=np.full(n, S),
        hamiltonian=(*fields, *exchange, twist, *terms),
        jumps=(
            Jumps("S-", sites, on_sites("decay", rate / over) * (1 + thermal)),
            Jumps("S+", sites, on_sites("gain", rate / over) + on_sites("decay", rate / over) * thermal),
            Jumps("Sz", sites, on_sites("dephasing", rate)),
            *jumps,
        ),
        symmetries=tuple(_symmetries(params, terms, jumps)),
        sublattice=sites if params.resolve else np.zeros(n, int),
        sublattices=tuple(map(str, sites)) if params.resolve else ("all",),
    )


def _further(params: Params) -> tuple[list[Terms], list[Jumps]]:
    """The tables of `terms` and `jumps`. Raises ValueError."""
    found, couplings = [], _couplings(params) if params.terms or params.jumps else (None, None)
    graph = Graph(int(np.prod(params.sites)), round(2 * params.S + 1), *couplings)
    for key, strength in (("terms", params.terms_strength), ("jumps", params.jumps_strength)):
        tables = []
        for i, family in enumerate(getattr(params, key)):
            try:
                tables += family.tables(graph, strength)
            except ValueError as error:
                raise ValueError(f"{key}.{i}.{error}") from None
        found.append(tables)
    return found[0], found[1]


def _places(shape):
    """(sites, dimensions): x, y, z of every site, x fastest."""
    return np.stack(np.unravel_index(np.arange(np.prod(shape)), shape[::-1]), axis=1)[:, ::-1]


def _shift(shape, axis):
    """The site one step along an axis, around the lattice, from every site."""
    places = _places(shape)
    places[:, axis] = (places[:, axis] + 1) % shape[axis]
    return np.ravel_multi_index(places[:, ::-1].T, shape[::-1])


def _couplings(params: Params):
    """(pairs, 2) sites, and (pairs,) weights."""
    shape, places = params.sites, _places(params.sites)
    if params.edges is None and params.power is None:
        pairs = [np.empty((0, 2), int)]
        for axis, length in enumerate(shape):
            # the one bond between two sites is not doubled
            first = np.flatnonzero((places[:, axis] < length - 1) | (params.periodic and length > 2))
            pairs.append(np.column_stack([first, _shift(shape, axis)[first]]))
        pairs = np.vstack(pairs)
        return pairs, np.ones(len(pairs))
    if params.edges is not None:
        pairs = np.array([edge[:2] for edge in params.edges], int).reshape(-1, 2)
        return pairs, np.array([edge[2] if len(edge) > 2 else 1.0 for edge in params.edges])
    pairs = np.column_stack(np.triu_indices(len(places), 1))
    steps = np.abs(places[pairs[:, 0]] - places[pairs[:, 1]])
    if params.periodic:
        steps = np.minimum(steps, np.array(shape) - steps)
    return pairs, np.linalg.norm(steps, axis=1) ** -params.power


def _symmetries(params: Params, terms, jumps):
    """The symmetries that hold where the parameters do not depend on the site, and that `terms` and `jumps` keep."""

    def kept(symmetry):
        if not (terms or jumps):
            return True
        return holds(symmetry, System(np.full(int(np.prod(params.sites)), params.S), (), ()), terms, jumps)

    still = not np.any(params.field_x) and not np.any(params.field_y)
    if still:
        turns = params.Jx == params.Jy and not np.any(params.twist)
        yield from [each for each in ([WeakU1()] if turns else []) + [Parity("z")] if kept(each)][:1]
    listed = ("sites", "terms", "jumps")
    uniform = not any(isinstance(getattr(params, name), tuple) for name in Params.model_fields if name not in listed)
    if params.periodic and uniform and not params.resolve and params.edges is None:
        for axis, length in enumerate(params.sites):
            if length > 1 and kept(move := Translation(_shift(params.sites, axis))):
                yield move
