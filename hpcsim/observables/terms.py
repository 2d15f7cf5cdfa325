"""The parts of observables: weighted sums of products of site operators, and functions of their averages."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpcsim.observables.outputs import Output


@dataclass(frozen=True)
class Setting:
    """How a method measures.

    evolving  : at times, rather than in a steady state
    each_site : the state may break the system's symmetries: every site is an orbit of its own
    distances : None, or the longest distance along a chain that goes on for ever: site numbers beyond the last are
                those of the further cells
    """

    evolving: bool = False
    each_site: bool = False
    distances: int | None = None


@dataclass(frozen=True)
class Products:
    """A sum of products of site operators that share their names: Σ_r w_r O_1(site[r, 0]) O_2(site[r, 1]) ...

    operators : names, in the order in which they are multiplied: those of hpcsim.system, and |a><b| (see
                `matrices.local_matrix`). Operators on one site may repeat. None at all: the identity
    sites     : (terms, len(operators)) integers
    weights   : (terms,) real or complex
    """

    operators: tuple[str, ...]
    sites: np.ndarray
    weights: np.ndarray

    def __iter__(self):
        """(weight, ((operator, site), ...)) of every term."""
        for weight, sites in zip(self.weights, self.sites):
            yield weight, tuple(zip(self.operators, sites.tolist()))


@dataclass(frozen=True)
class Mean:
    """An array of expectation values, linear in the density matrix: what a method has to deliver.

    output  : name, dims (without time), units and dtype
    build   : () -> object array of the shape of dims: of every element the tuple of `Products` to add up, or None
              for an element that does not exist (NaN). Called only where a method asks for `elements`: it may know
              a quicker way for some names. None: a number that says something of the whole state, such as its
              purity, which a method delivers by its name or refuses
    public  : False where it is only a source of `Derived` quantities
    """

    output: Output
    build: Callable[[], np.ndarray] | None
    public: bool = True

    @property
    def name(self) -> str:
        return self.output.name

    @functools.cached_property
    def elements(self) -> np.ndarray:
        return self.build()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(dim.values) for dim in self.output.dims)


@dataclass(frozen=True)
class Derived:
    """A function of averages, which need not be linear: output.function of output.sources (all of them a `Mean`).

    timed : False where the function takes the times together, such as a minimum over them
    call  : a Python function of one's own in place of output.function, for methods without statistical errors
    """

    output: Output
    timed: bool = True
    call: Callable | None = None

    @property
    def name(self) -> str:
        return self.output.name


@dataclass(frozen=True)
class Function:
    """A finishing function: call(*averages), arrays of the dims of the sources, times (if any) last.

    weighted : takes the standard errors of its sources too, call(*averages, errors), a tuple or None where the
               averages are exact
    elusive  : NaN means "not found yet" rather than "not there": a target_error is not met by it
    """

    call: Callable
    weighted: bool = False
    elusive: bool = False

    def __call__(self, *averages, errors=None):
        return self.call(*averages, errors) if self.weighted else self.call(*averages)


@dataclass(frozen=True)
class Kind:
    """What a user may describe: make(system, item) -> list of Mean and Derived, of an item {name, key: entry, ...}.

    checks : {key: function entry -> entry as it is kept; ValueError where it is none}
    """

    make: Callable
    checks: dict[str, Callable]


def averages(mean: Mean, of_terms: Callable) -> np.ndarray:
    """The array of a Mean, (*dims), from of_terms(operators, sites (terms, factors)) -> (terms,) averages of products.

    Terms with the same operators are asked for together, those of all elements at once.
    """
    found, together = np.full(mean.shape, np.nan, complex), {}
    for number, element in enumerate(mean.elements.flat):
        if element is not None:
            found.flat[number] = 0
        for part in element or ():
            together.setdefault(part.operators, []).append((number, part))
    for operators, parts in together.items():
        value = of_terms(operators, np.concatenate([part.sites for _, part in parts]))
        value = value * np.concatenate([part.weights for _, part in parts])
        at = np.repeat([number for number, _ in parts], [len(part.weights) for _, part in parts])
        np.add.at(found.reshape(-1), at, value)
    return found if mean.output.dtype == "c16" else found.real


def patterns(sites: np.ndarray):
    """(rows, groups) of all terms (terms, factors) in which the same factors share a site.

    rows   : numbers of these terms
    groups : of every site of such a term the positions of its factors, in their order
    """
    if sites.shape[1] == 0:
        yield np.arange(len(sites)), []
        return
    first = (sites[:, :, None] == sites[:, None, :]).argmax(axis=2)  # the first factor on the same site
    kinds, which = np.unique(first, axis=0, return_inverse=True)
    for k, kind in enumerate(kinds):
        yield np.flatnonzero(which.ravel() == k), [np.flatnonzero(kind == position) for position in np.unique(kind)]


def array_of(shape: tuple[int, ...], element: Callable) -> Callable[[], np.ndarray]:
    """For Mean.build: element(*index) -> Products, a tuple of them, or None, at every index of an array."""

    def build():
        found = np.empty(shape, object)
        for index in np.ndindex(shape):
            made = element(*index)
            found[index] = (made,) if isinstance(made, Products) else made
        return found

    return build


def number(output: Output, *products: Products, public: bool = True) -> Mean:
    """A Mean without dimensions."""
    return Mean(output, array_of((), lambda: products), public)


def constant(name: str, value: float) -> Mean:
    """A number that a finishing function needs, as the expectation value of a multiple of the identity."""
    identity = Products((), np.zeros((1, 0), int), np.array([float(value)]))
    return number(Output(name, long_name="a constant"), identity, public=False)


def derived(name, function, sources, dims=(), units="1", long_name="", timed=True) -> Derived:
    """function : the name of one in FUNCTIONS, or a Python function of one's own, see `Derived`"""
    call, function = (function, "") if callable(function) else (None, function)
    output = Output(name, dims, units, long_name, reduce="function", function=function, sources=sources)
    return Derived(output, timed, call)


def check_sites(value) -> list[int]:
    """A list of different sites of an item in the config."""
    whole = isinstance(value, (list, tuple)) and all(type(site) is int and site >= 0 for site in value)
    if not whole or not value or len(set(value)) < len(value):
        raise ValueError(f"{value}: a list of different sites is needed, such as [0, 1]; they are numbered from 0")
    return list(value)


def sites_exist(system, name: str, sites):
    """ValueError where an item asks for a site that the system does not have."""
    if wrong := [site for site in sites if not 0 <= site < system.sites]:
        raise ValueError(f"method.observables: {name}: site {wrong[0]}: the sites are numbered 0 to {system.sites - 1}")
