"""Full counting statistics: how many jumps of chosen channels there are in a long time, on average and in variance.

A channel is counted with a weight ν_k. With J = Σ_k ν_k γ_k L_k · L_k† the number N(t) grows as

    I = lim ⟨N⟩/t = Tr Jρ,     lim Var(N)/t = Σ_k ν_k² γ_k Tr L_k†L_k ρ - 2 Tr J L⁺ (Jρ - Iρ),

where L⁺ is the Drazin inverse of L: its traceless solution (Flindt, Novotny and Jauho, Phys. Rev. B 70, 205334 (2004);
Landi, Kewming, Mitchison and Potts, PRX Quantum 5, 020201 (2024)). The variance is solved for in all sectors that J
reaches: one alone where the counted jumps have the symmetries of the model.
"""

import numpy as np
from scipy import sparse

from hpcsim import solvers
from hpcsim.methods import Context
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.regression import average, pieces, sources
from hpcsim.methods.liouvillian.steady import SteadyState, steady_state
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.observables import currents
from hpcsim.system import System, matrices


def _counted(system: System, item: dict) -> list[tuple[float, float, sparse.csr_matrix]]:
    """(ν, γ, L) of the channels that are counted."""
    every = zip(currents.counted(system, item), matrices.jump_operators(system))
    return [(weight, rate, jump) for weight, (rate, jump) in every if weight]


def statistics(system: System, options, context: Context) -> dict:
    """The task counting."""
    found = steady_state(system, options, context)
    rho, kept = found.matrix(), [_counted(system, item) for item in options.channels]
    zero = sparse.csr_matrix(rho.shape)
    rates = [sum((weight * rate * (jump.getH() @ jump) for weight, rate, jump in each), zero) for each in kept]
    squares = [sum((weight**2 * rate * (jump.getH() @ jump) for weight, rate, jump in each), zero) for each in kept]
    means = np.array([average(rate, rho).real for rate in rates])

    def moved(number: int) -> np.ndarray:
        """Jρ - Iρ."""
        terms = [weight * rate * (jump @ rho @ jump.getH()) for weight, rate, jump in kept[number]]
        return sum(terms, np.zeros_like(rho)) - means[number] * rho

    wanted = sources(range(len(kept)), rates, moved)
    noise = _noise(system, options, context, found, wanted)
    variances = np.array([average(square, rho).real for square in squares]) - 2 * noise
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where nothing is counted
        fano = variances / np.abs(means)
    rows = zip(options.channels, means, variances, fano)
    return {name: value for item, *values in rows for name, value in zip(currents.names(item), values)}


def _noise(system: System, options, context: Context, steady: SteadyState, wanted) -> np.ndarray:
    """Tr J L⁺ (Jρ - Iρ) of every current."""
    comm, total = context.comm, np.zeros(len(wanted))
    whole = np.concatenate(steady.comm.allgather(steady.local))
    for sector, found in pieces(comm, kept_operators(system, context), wanted):
        rows = solvers.row_range(comm, sector.size)
        trace = sector.trace(*rows)
        for piece in found:
            for unit, part in piece.parts:
                x = solvers.response(comm, sector, part, options.petsc_options, context.cache)
                if sector.name == HOME:
                    x = x - comm.allreduce(trace @ x) * whole[slice(*rows)]
                total[piece.numbers] += piece.value(unit, piece.seen @ x).real
    return comm.allreduce(total)
