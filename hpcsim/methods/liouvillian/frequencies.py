"""Spectra of two-time functions: the resolvent of the Liouvillian in the sectors that the operators reach."""

import numpy as np
from mpi4py import MPI

from hpcsim.methods import Context
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.regression import average, pieces, sources
from hpcsim.methods.liouvillian.steady import steady_state
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.observables import two_times
from hpcsim.solvers.resolvent import Resolvent
from hpcsim.system import System


def spectra(system: System, options, context: Context) -> dict:
    """The task emission: the spectra of `two_times.outputs` at options.frequencies."""
    found, comm = steady_state(system, options, context), context.comm
    rho, asked = found.matrix(), two_times.built(system, options.functions)
    omega = np.array(options.frequencies)
    means = [(average(each.A, rho), average(each.B, rho)) for each in asked]
    wanted = sources(
        [each.key for each in asked], [each.A for each in asked], lambda i: asked[i].B @ rho - means[i][1] * rho
    )
    values, worst = np.zeros((len(asked), len(omega)), complex), 0.0
    alone = MPI.COMM_SELF
    steady = np.concatenate(found.comm.allgather(found.local))
    for sector, parts in pieces(alone, kept_operators(system, context), wanted):
        resolvent = Resolvent(comm, sector, omega, options.tolerance, steady if sector.name == HOME else None)
        for piece in parts:
            for unit, x in piece.parts:
                along, rest = resolvent.spectra(x, piece.seen, -1 if piece.adjoint else 1)
                values[piece.numbers] += piece.value(unit, along)
                worst = max(worst, rest)
    result = {each.name: 2 * value.real for each, value in zip(asked, values)}
    for each, (a, b) in zip(asked, means):
        result[f"{each.name}_coherent"] = abs(b) ** 2 if each.lowering else a * b
    return result | {"residual": worst}
