"""Monte-Carlo wave functions: pure states with quantum jumps, averaged over trajectories.

For spins of any size on any graph, with local and collective jumps. Averages are exact up to their standard
errors and `tolerance`. Between jumps ψ(t + τ) = Σ_k (-i H_eff τ)^k ψ / k!, H_eff = H - (i/2) Σ γ L†L, with as long
a step as the last term allows; the same series gives the state at any time of the step, so that neither
samples nor jumps shorten the step before them. H_eff is applied without a matrix.
"""
import numpy as np

from hpcsim.ensemble import gather, share
from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.methods.trajectories import clock, measurement
from hpcsim.methods.trajectories.compile import channels, coherent_state, generator, local_matrices
from hpcsim.methods.trajectories.kernels import ORDER
from hpcsim.methods.trajectories.options import Options
from hpcsim.system import System, angles

LARGEST = 2**26         # basis states: 18 GB for the terms of the series
CACHED = 2**16          # complex numbers of the states of all lanes that the caches take well
LANES = 8


def supports(system: System) -> str | None:
    """None, or why not: boson modes, or a state vector that is too long."""
    if np.any(system.cutoffs):
        return "it has boson modes, and trajectories are of spins: use the method liouvillian"
    if system.dimension > LARGEST:
        return (f"its state vectors have {system.dimension:.2g} components, {LARGEST:.2g} are the limit: take fewer "
                f"sites or smaller spins, or the method phase_space")
    return None


def records(system: System, options: Options) -> tuple[int, ...]:
    """One record for each batch. Raises ValueError if `initial` or an observable does not fit the system."""
    angles(system, options.initial)
    measurement.plan(system, options.observables)
    return tuple(range(options.batches))


def cost(system: System, options: Options, record: int) -> Cost:
    """Ranks of a group share the trajectories of a record; each holds the terms of the series."""
    lanes, dimension = _lanes(system, options.batch), system.dimension
    samples, slots = _schedule(options)
    matrices = local_matrices(system)
    entries = sum(np.count_nonzero(matrix) / len(matrix) for matrix in matrices.values())
    norm = sum(np.abs(matrix).sum(axis=1).max() for matrix in matrices.values())
    products = (ORDER * norm / 2 + ORDER) * samples[-1] + ORDER
    per_state = 1.5e-9 * (entries + 8) * products + 2e-8 * (4 + 2 * system.sites) * len(samples)
    results = measurement.plan(system, options.observables).size
    return Cost(bytes=16.0 * dimension * ((ORDER + 2) * lanes + 8) + 8.0 * options.batch * (slots[-1] + 1) * results,
                time=options.batch * (1e-5 + dimension * per_state))


def outputs(system: System, options: Options) -> tuple[Output, ...]:
    """Means and variances of the spin components by sublattice (and time), in units of ħ; `observables`."""
    unit = "1" if system.units == "1" else f"1/{system.units}"
    time = () if options.task == "steady_state" else (Dim("time", options.times, unit),)
    return measurement.outputs(system, options.observables, time)


def run(system: System, options: Options, record: int, context: Context) -> dict[str, np.ndarray]:
    """Means over the trajectories of one batch; bit-identical on any number of ranks."""
    mine = share(options.batch, context.comm)
    samples, slots = _schedule(options)
    plan = measurement.plan(system, options.observables)
    sums, jumps = np.zeros((len(mine), slots[-1] + 1, plan.size)), np.zeros(len(mine), np.int64)
    if len(mine):
        clock.run(sums, jumps, coherent_state(system, angles(system, options.initial)),
                  record * options.batch + mine[0], _lanes(system, len(mine)), samples, slots, options.tolerance,
                  generator(system), channels(system), plan, np.array(context.key, np.uint64))
    # every rank averages the same numbers in the same order
    sums, jumps = gather(np.moveaxis(sums, 0, -1), context.comm), gather(jumps, context.comm)
    values = sums.mean(axis=-1) / np.bincount(slots)[:, None]
    found = measurement.results(system, options.observables, values)
    if options.task == "steady_state":
        found = {name: value[..., 0] for name, value in found.items()}
    return found | {"jumps": np.float64(jumps.mean())}


def _lanes(system: System, trajectories: int) -> int:
    """Trajectories advanced together, as many as stay in cache."""
    return int(np.clip(CACHED // system.dimension, 1, min(LANES, trajectories)))


def _schedule(options: Options):
    """Times of the samples, and the slot that each is added to."""
    if options.task == "evolve":
        return np.array(options.times), np.arange(len(options.times))
    count = int(options.duration / options.sample_every * (1 + 1e-9))
    return options.burn_in + options.sample_every * np.arange(1, count + 1), np.zeros(count, int)
