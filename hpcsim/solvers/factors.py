"""LU factors by SuperLU, for matrices of few unknowns on one rank.

MUMPS is made for many unknowns: with 3000 of a Liouvillian one of its solves takes six times as long as one of SuperLU.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

PIVOTS = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.01, "options": {"SymmetricMode": True}}


def factorised(matrix):
    """SuperLU's factors of a sparse matrix whose diagonal is not small. Raises RuntimeError where it is singular."""
    return splu(sparse.csc_matrix(matrix), **PIVOTS)


def few_unknowns(ksp):
    """Make a KSP one solve with these factors of its matrix."""
    ksp.setType("preonly")
    ksp.getPC().setType("python")
    ksp.getPC().setPythonContext(_Preconditioner())


class _Preconditioner:
    """What PETSc calls for a preconditioner of its type `python`."""

    def setUp(self, pc):
        matrix = pc.getOperators()[1]
        starts, columns, elements = matrix.getValuesCSR()
        self.factors = factorised(sparse.csr_matrix((elements, columns, starts), matrix.size))

    def apply(self, pc, x, y):
        y.array = self.factors.solve(np.asarray(x.array_r))
