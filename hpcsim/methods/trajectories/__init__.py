"""Monte-Carlo wave functions: pure states with quantum jumps or diffusion, averaged over trajectories.

For spins of any size and boson modes on any graph, with any jumps. Averages are exact up to their standard
errors and `tolerance`. Between jumps ψ(t + τ) = Σ_k (-i H_eff τ)^k ψ / k!, H_eff = H - (i/2) Σ γ L†L, with as long
a step as the last term allows; the same series gives the state at any time of the step, so that neither
samples nor jumps shorten the step before them. H_eff is applied without a matrix, to eight neighbouring states at
once. Where it conserves the parity of the number of flipped spins, every jump keeps or changes it, and all spins
start up or down, half of the components are zero and left out. What is measured besides the spins is named by
`observables`: see `Options`.
"""

import numpy as np

from hpcsim.ensemble.burn_in import autocorrelation_time, relaxed
from hpcsim.ensemble.options import gather, number_of_samples, share
from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.methods.trajectories import correlation, counting, distributed
from hpcsim.methods.trajectories.compile import local_matrices
from hpcsim.methods.trajectories.diffusion import step_of
from hpcsim.methods.trajectories.kernels import ORDER
from hpcsim.methods.trajectories.log import of_states
from hpcsim.methods.trajectories.options import Options
from hpcsim.methods.trajectories.results import Measured, measured, numbers
from hpcsim.methods.trajectories.walk import of_parity, walker
from hpcsim.observables.outputs import inverse, time_dim
from hpcsim.system import Jumps, System, starts

DRIVEN = ("evolve",)
OF_PATHS = {"correlation": correlation, "counting": counting}  # tasks that are more than averages of observables
SLOTS = 1000  # of the time of a steady state, to find its burn-in and the autocorrelation time
LARGEST = 2**26  # basis states: 20 GB for the terms of the series
PAIR = 2**12  # levels of two spins together: 0.3 GB for the matrix of a coupling


def supports(system: System) -> str | None:
    """None, or why not: a state vector that is too long, sites that are too large to couple."""
    if system.dimension > LARGEST:
        return (
            f"its state vectors have {system.dimension:.2g} components, {LARGEST:.2g} are the limit: take fewer "
            f"sites or smaller spins, or the method phase_space"
        )
    together = max([2, *map(_sites_together, (*system.hamiltonian, *system.jumps))])
    if (levels := int(np.prod(np.sort(system.levels)[-together:], dtype=float))) > PAIR and system.sites > 1:
        return (
            f"{together} of its sites have {levels} levels together, and {PAIR} are the limit of a coupling: take "
            f"smaller spins, or the method phase_space"
        )
    return None


def _sites_together(table) -> int:
    """How many sites share a matrix of H_eff: those of a product, or of two products in a sum of jump operators."""
    if len(table.operators) == 1:
        return 1 + (isinstance(table, Jumps) and table.collective)
    ordered = np.sort(table.sites, axis=1)
    different = 1 + int(np.count_nonzero(np.diff(ordered), axis=1).max(initial=0))
    return different * (1 + (isinstance(table, Jumps) and table.collective))


def records(system: System, options: Options) -> tuple[int, ...]:
    """One record for each batch. Raises ValueError if `initial` or an observable does not fit the system."""
    starts.check(system, options.initial)
    if options.distribute and starts.kind(options.initial) not in ("direction", "random"):
        raise ValueError("distribute = true: starts from spin coherent states alone, in a direction or random")
    outputs(system, options)
    if options.unravelling != "jumps" and system.drive:
        raise ValueError(
            f"unravelling = {options.unravelling}: does not take parameters that depend on time (schedule); with jumps "
            "they can"
        )
    if options.distribute and system.drive:
        raise ValueError("distribute = true: does not take parameters that depend on time (schedule); delete it")
    return tuple(range(options.batches))


def cost(system: System, options: Options, record: int) -> Cost:
    """Ranks of a group share the trajectories of a record; each holds the terms of the series."""
    samples, slots = _schedule(options)
    matrices = local_matrices(system)
    parity, _ = of_parity(system, matrices, starts.known_levels(system, options.initial))
    states = system.dimension / (2 if parity >= 0 and not options.distribute else 1)
    # entries of a row, and the largest row sum, of H_eff
    entries = sum(np.count_nonzero(matrix) / len(matrix) for matrix in matrices.values())
    norm = sum(np.abs(matrix).sum(axis=1).max() for matrix in matrices.values())
    time, kept = samples[-1], 0
    if options.task == "correlation":  # pairs of states, and all states that B acts on
        time += 2 * len(samples) * len(options.functions) * options.times[-1]
        kept = len(samples) * states + correlation.TOGETHER + 2 * len(options.times) * states
    products = ORDER * (norm / 7 + 1) * time + ORDER
    parts = 0
    if drive := system.drive:  # a step ends at an edge of the drive
        parts = len(drive.parts)
        products = (1 + 0.3 * parts) * (products + ORDER * len(drive.edges))
    results = numbers(system, options.observables)
    per_state, calls = 1.3e-10 * (entries + 8) * products, 2e-7 * products
    if options.unravelling != "jumps":
        measured = 2 if options.unravelling == "heterodyne" else 1
        steps = time / (options.step or step_of(system))
        per_state = steps * (4e-7 + 7e-8 * measured * sum(np.count_nonzero(jumps.rates) for jumps in system.jumps))
        calls = 3e-6 * steps
    per_state += 5e-9 * (1 + system.sites) * len(samples)
    return Cost(
        bytes=16.0 * ((ORDER + 6 + 2 * parts) * states + 6 * system.dimension + kept)
        + 8.0 * options.batch * (slots[-1] + 1) * results,
        time=options.batch * (1e-5 + calls + states * per_state),
    )


def outputs(system: System, options: Options) -> tuple[Output, ...]:
    """What hpcsim.observables declares, averaged over trajectories, in units of ħ; and what tells how good it is."""
    if options.task in OF_PATHS:
        return OF_PATHS[options.task].outputs(system, options)
    found = _measured(system, options).outputs
    if options.unravelling != "jumps":
        found = tuple(output for output in found if output.name != "jumps")
    if options.task == "evolve":
        return found
    unit, lattice = inverse(system.units), Dim("sublattice", tuple(system.sublattices))
    return (
        *found,
        Output(
            "autocorrelation_time",
            (lattice,),
            unit,
            "integrated autocorrelation time of ⟨S⟩ of a sublattice "
            "in a trajectory, its slowest component (depends on the unravelling)",
            reduce="mean",
        ),
        Output("burn_in_used", (), unit, "time before averaging", reduce="mean"),
    )


def run(system: System, options: Options, record: int, context: Context) -> dict[str, np.ndarray]:
    """Means over the trajectories of one batch; bit-identical on any number of ranks."""
    if options.task in OF_PATHS:
        return _of_paths(system, options, record, context)
    samples, slots = _schedule(options)
    key = "trajectories", system.key, options.model_dump_json()
    measured = context.cache.get(key, lambda: _measured(system, options))
    plan, initial = measured.tables, options.initial
    key, comm = np.array(context.key, np.uint64), context.comm
    mine = range(options.batch) if options.distribute else share(options.batch, comm)
    sums, jumps = np.zeros((len(mine), slots[-1] + 1, plan.size)), np.zeros(len(mine), np.int64)
    first = record * options.batch + mine.start
    if options.distribute:
        directions = _directions(system, initial, context.key)
        distributed.run(sums, jumps, directions, first, samples, slots, options.tolerance, system, plan, key, comm)
    elif len(mine):
        psi, log = _states(system, initial, mine, first, context), of_states(len(mine), 0, 0)
        tables = samples, slots, options.tolerance, plan, key, log, sums
        jumps = walker(system, options, context).run(psi, first, *tables)
    if not options.distribute:
        # every rank averages the same numbers in the same order
        sums, jumps = (np.moveaxis(gather(np.moveaxis(x, 0, -1), comm), -1, 0) for x in (sums, jumps))
    counts, steady = np.bincount(slots), {}
    if options.task == "steady_state":
        sums, counts, steady = _stationary(system, options, sums, counts)
    values = sums.mean(axis=0) / counts[:, None]
    found = measured.results(values)
    if options.task == "steady_state":
        found = {name: value[..., 0] for name, value in found.items()}
    return found | steady | ({"jumps": np.float64(jumps.mean())} if options.unravelling == "jumps" else {})


def _of_paths(system: System, options: Options, record: int, context: Context) -> dict[str, np.ndarray]:
    """What a task of OF_PATHS finds along the trajectories of one batch; bit-identical on any number of ranks."""
    mine, (samples, _) = share(options.batch, context.comm), _schedule(options)
    first = record * options.batch + mine.start
    psi = np.zeros((len(mine), round(system.dimension)), complex)
    if len(mine):
        psi[:] = _states(system, options.initial, mine, first, context)
    plan = context.cache.get(("trajectories", "no observables", system.key), lambda: measured(system, ()).tables)
    return OF_PATHS[options.task].run(system, options, first, psi, plan, samples, context)


def _measured(system: System, options: Options) -> Measured:
    """What is measured. Raises ValueError if an observable does not fit the system."""
    time = (time_dim(options.times, system.units),) if options.task == "evolve" else ()
    return measured(system, options.observables, time, starts.breaks_symmetries(options))


def _states(system: System, initial, mine: range, first: int, context: Context) -> np.ndarray:
    """(n, D) the states that trajectories first, first + 1, ... start from; n = 1 where all start alike."""
    key = "trajectories", "start", system.key, context.key, repr(initial)
    found = context.cache.get(key, lambda: starts.Ensemble(system, initial, context.key, context.start))
    return np.array([found.state(first + t) for t in (range(1) if found.fixed is not None else range(len(mine)))])


def _directions(system: System, initial, key: tuple[int, int]) -> np.ndarray:
    """(sites, 2) angles; a boson mode is empty, in its lowest level as a spin that is down."""
    found = starts.directions(system, initial, key)
    found[system.cutoffs > 0] = np.pi, 0.0
    return found


def _stationary(system: System, options: Options, sums, counts):
    """One slot of all that comes after the burn-in, (trajectories, 1, size), its count, and what to tell of it."""
    member = np.array([system.sublattice == k for k in range(len(system.sublattices))])
    moments = sums[..., : 6 * system.sites].reshape(*sums.shape[:2], 6, system.sites)
    series = np.einsum("ki,tsqi->sqkt", member / member.sum(axis=1, keepdims=True), moments)
    left_out, burn_in = 0, options.burn_in
    if burn_in == "auto":
        left_out = relaxed(series, counts)
        burn_in = options.duration * counts[:left_out].sum() / counts.sum()
    sums, counts, series = sums[:, left_out:], counts[left_out:], series[left_out:, :3]
    weight = counts / counts.sum()
    square = np.einsum("s,sqkt->qk", weight / counts**2, series**2) / len(sums)
    means = series.sum(axis=0) / counts.sum()
    time = options.sample_every * counts.sum()
    return (
        sums.sum(axis=1, keepdims=True),
        counts.sum(keepdims=True),
        {
            "autocorrelation_time": np.fmax.reduce(autocorrelation_time(means, square, time)),
            "burn_in_used": np.float64(burn_in),
        },
    )


def _schedule(options: Options):
    """Times of the samples, and the slot that each is added to."""
    if options.task == "evolve":
        return np.array(options.times), np.arange(len(options.times))
    count = number_of_samples(options.duration / options.sample_every * (1 + 1e-9))
    if options.task in OF_PATHS:
        return options.burn_in + options.sample_every * np.arange(count + 1), np.zeros(count + 1, np.int64)
    slots = min(count, SLOTS)
    begin = 0 if options.burn_in == "auto" else options.burn_in
    return begin + options.sample_every * np.arange(1, count + 1), np.arange(count) * slots // count
