"""The one-site operators: one table from names to matrices, for spins and for boson modes.

A site has levels j = 0, 1, ...: of a spin Sz = S, S - 1, ..., -S, of a boson mode n = cutoff - 1, ..., 0. The operators
|a><b| between them, on both kinds of sites, make a spin of 2S + 1 levels an atom of any level scheme.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class LocalOperator:
    """An operator of one site.

    matrix    : levels -> (levels, levels) sparse
    hermitian : whether it is Hermitian
    boson     : whether it acts on a boson mode, or else on a spin
    vector    : (3,) complex v of a spin operator v·S; None of others
    """

    matrix: Callable[[int], sparse.spmatrix]
    hermitian: bool = False
    boson: bool = False
    vector: tuple[complex, complex, complex] | None = None


def _sz(levels):
    return sparse.diags((levels - 1) / 2 - np.arange(levels))


def _raising(levels):
    """S+|m⟩ = sqrt(S(S+1) - m(m+1)) |m+1⟩."""
    S, m = (levels - 1) / 2, _sz(levels).diagonal()
    return sparse.diags([np.sqrt(S * (S + 1) - m[1:] * (m[1:] + 1))], [1], shape=(levels, levels))


def _number(levels):
    return sparse.diags(np.arange(levels - 1, -1, -1.0))


def _creation(levels):
    """a†|n⟩ = √(n+1) |n+1⟩, and a†|cutoff-1⟩ = 0."""
    return sparse.diags([np.sqrt(np.arange(levels - 1, 0, -1))], [1], shape=(levels, levels))


OPERATORS = MappingProxyType(
    {
        "Sx": LocalOperator(lambda levels: (_raising(levels) + _raising(levels).T) / 2, True, vector=(1, 0, 0)),
        "Sy": LocalOperator(lambda levels: (_raising(levels) - _raising(levels).T) / 2j, True, vector=(0, 1, 0)),
        "Sz": LocalOperator(_sz, True, vector=(0, 0, 1)),
        "S+": LocalOperator(_raising, vector=(1, 1j, 0)),
        "S-": LocalOperator(lambda levels: _raising(levels).T, vector=(1, -1j, 0)),
        # n = a†a, x = a + a†, p = i(a† - a)
        "n": LocalOperator(_number, hermitian=True, boson=True),
        "x": LocalOperator(lambda levels: _creation(levels) + _creation(levels).T, hermitian=True, boson=True),
        "p": LocalOperator(lambda levels: 1j * (_creation(levels) - _creation(levels).T), hermitian=True, boson=True),
        "a": LocalOperator(lambda levels: _creation(levels).T, boson=True),
        "a+": LocalOperator(_creation, boson=True),
    }
)


UNIT = re.compile(r"\|(\d{1,9})><(\d{1,9})\|")
PART = re.compile(r"(?:(?P<number>\d{1,20}(?:\.\d{0,20})?(?:e-?\d{1,3})?)?(?P<i>i)?\*)?(?P<name>\S+)")
PAIRS = MappingProxyType({"S+": "S-", "S-": "S+", "a": "a+", "a+": "a"})


def unit(row: int, column: int) -> str:
    """The name of the one-site operator |row><column|; the levels are numbered from 0, the largest Sz or n first."""
    return f"|{row}><{column}|"


def levels_of(name: str) -> tuple[int, int] | None:
    """a and b of |a><b|; None of another name."""
    match = UNIT.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


@functools.lru_cache(maxsize=256)
def parts_of(name: str) -> tuple[tuple[complex, str], ...]:
    """(c, operator) of a sum of operators of one site, as "S- + 0.3*Sz - 0.5i*Sx"; of a single operator ().

    Raises ValueError where a text with several words is no such sum.
    """
    words = name.split()
    if len(words) < 2:
        return ()
    signs, found = {"+": 1, "-": -1}, []
    for sign, word in zip(["+", *words[1::2]], words[::2]):
        part = _part(word, signs[sign]) if sign in signs else None
        if part is None:
            break
        found.append(part)
    if 2 * len(found) - 1 != len(words):
        raise ValueError(f"{name!r}: a sum of operators of one site is written as S- + 0.3*Sz - 0.5i*Sx, with spaces")
    return tuple(found)


def _part(word: str, sign: int) -> tuple[complex, str] | None:
    match = PART.fullmatch(word)
    if not match or not (match["name"] in OPERATORS or levels_of(match["name"])):
        return None
    value = float(match["number"] or 1.0) * sign
    return (value * 1j if match["i"] else value), match["name"]


def adjoint(name: str) -> str:
    """The name of the adjoint operator."""
    if parts := parts_of(name):
        return " + ".join(_written(np.conj(c), adjoint(each)) for c, each in parts).replace("+ -", "- ")
    if between := levels_of(name):
        return unit(*reversed(between))
    return PAIRS.get(name, name)


def _written(c: complex, name: str) -> str:
    number, unit = (np.imag(c), "i") if np.imag(c) else (np.real(c), "")
    return f"{float(number)!r}{unit}*{name}"


def is_hermitian(name: str) -> bool:
    return adjoint(name) == name


def operator_names(boson: bool, hermitian: bool = False) -> tuple[str, ...]:
    """Names of the operators of a boson mode or of a spin; of the Hermitian ones alone where asked for."""
    return tuple(name for name, o in OPERATORS.items() if o.boson == boson and (o.hermitian or not hermitian))


VECTORS = MappingProxyType({name: o.vector for name, o in OPERATORS.items() if o.vector is not None})
HERMITIAN_OPERATORS, SPIN_OPERATORS = operator_names(False, hermitian=True), operator_names(False)
HERMITIAN_BOSON_OPERATORS, BOSON_OPERATORS = operator_names(True, hermitian=True), operator_names(True)


@functools.lru_cache(maxsize=64)
def local_operator(name: str, levels: int) -> sparse.csr_matrix:
    """The matrix of an operator of one site: (levels, levels), real except for Sy and p. It is not to be changed.

    name : in OPERATORS, or |a><b|, or a sum, see `parts_of`
    """
    if parts := parts_of(name):
        return sparse.csr_matrix(sum(c * local_operator(each, levels) for c, each in parts))
    if between := levels_of(name):
        return sparse.csr_matrix(([1.0], ([between[0]], [between[1]])), (int(levels), int(levels)))
    return sparse.csr_matrix(OPERATORS[name].matrix(int(levels)))
