"""The one-site operators: their names and their matrices, of one spin and of one boson mode."""

import numpy as np
from scipy import sparse

HERMITIAN_OPERATORS = ("Sx", "Sy", "Sz")  # of a spin
SPIN_OPERATORS = (*HERMITIAN_OPERATORS, "S+", "S-")
HERMITIAN_BOSON_OPERATORS = ("n", "x", "p")  # n = a†a, x = a + a†, p = i(a† - a)
BOSON_OPERATORS = (*HERMITIAN_BOSON_OPERATORS, "a", "a+")


def one_site_operator(name: str, spin: float) -> sparse.csr_matrix:
    """Sx, Sy, Sz, S+ or S- of one spin: (2S+1, 2S+1), real except Sy."""
    m = spin - np.arange(round(2 * spin) + 1)
    if name == "Sz":
        return sparse.diags(m).tocsr()
    raising = sparse.diags([np.sqrt(spin * (spin + 1) - m[1:] * (m[1:] + 1))], [1]).tocsr()
    return {"S+": raising, "S-": raising.T, "Sx": (raising + raising.T) / 2, "Sy": (raising - raising.T) / 2j}[
        name
    ].tocsr()


def boson_operator(name: str, cutoff: int) -> sparse.csr_matrix:
    """n = a†a, x = a + a†, p = i(a† - a), a or a+ of one mode of `cutoff` Fock states: (cutoff, cutoff),
    real except p. a|n⟩ = √n |n-1⟩, and a†|cutoff-1⟩ = 0."""
    number = np.arange(cutoff - 1, -1, -1)
    raising = sparse.diags([np.sqrt(number[:-1])], [1], shape=(cutoff, cutoff)).tocsr()
    return {
        "n": sparse.diags(number.astype(float)),
        "a+": raising,
        "a": raising.T,
        "x": raising + raising.T,
        "p": 1j * (raising - raising.T),
    }[name].tocsr()
