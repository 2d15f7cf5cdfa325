"""Phase-space method: classical spins with noise, averaged over trajectories (huber2021).

The Wigner (P, Q) function of the Schwinger bosons of each spin, S+ = α†β, is sampled by stochastic
trajectories; the truncation leaves errors of relative order 1/S. Two schemes for decay and pump:

spin_conserving : the whole second-order diffusion of S∓, which keeps every classical spin's length.
                  Jump operators S∓ with rate γ give ds = b × s dt (Stratonovich) with
                  b = ±γ (-s_y, s_x, 0) + √γ (ξ_x, ξ_y, 0). For Wigner alone.
pda             : the positive diffusion approximation of huber2021 (Eqs. 22, 23), which drops the mixed
                  derivatives. The spin length N/2 then does a random walk,
                  d Var(N)/N² = (γ/2) ⟨S_⊥²⟩/S² dt for Wigner, and there is no steady state where spins are
                  mixed: watch spin_length and var_spin_length.

sampling: discrete is the discrete truncated Wigner approximation of spins 1/2: the spins conserve |s|² = S(S + 1)
instead of (S + ½)², from the samples of `initial.discrete` on, with decay and gain as in `hybrid`.

Any graph of bilinear couplings J_ab S^a_i S^b_j, local fields, squares of spin components, and local
jumps S-, S+, Sx, Sy, Sz.
"""

import dataclasses
import logging

import numpy as np
from mpi4py import MPI

from hpcsim.ensemble.burn_in import relaxed
from hpcsim.ensemble.options import gather, share
from hpcsim.methods import Context, Dim, Output
from hpcsim.methods.phase_space import advance, hybrid, in_time, initial, kernels, step, truncation
from hpcsim.methods.phase_space.compile import Tables, compile_system, unsupported
from hpcsim.methods.phase_space.estimate import coarse, lanes_of, schedule, seconds, with_number
from hpcsim.methods.phase_space.estimate import cost as cost
from hpcsim.methods.phase_space.options import Options
from hpcsim.methods.phase_space.results import Measured, measured
from hpcsim.observables.outputs import inverse, time_dim
from hpcsim.system import System, starts

log = logging.getLogger("hpcsim")
ORDERING = {"P": 1, "wigner": 0, "Q": -1}
DEVICES, DRIVEN = ("cpu", "gpu"), ("evolve",)
TRIAL = 10.0  # seconds that hpcsim check may spend on an estimate


def supports(system: System) -> str | None:
    """None, or why the stochastic equations of this system are not known here."""
    return unsupported(system)


def records(system: System, options: Options) -> tuple[int, ...]:
    """One record for each batch of trajectories.

    Raises ValueError if `initial`, the representation, the integrator or an observable does not fit the
    system, or dt is far too large for it.
    """
    starts.check(system, options.initial)
    if initial.is_negative(system, options.initial):
        raise ValueError(
            "method.initial.fock: phase_space samples the levels Sz = S and -S, no others; take liouvillian"
        )
    _measured(system, options)
    tables = compile_system(system, options.forces)
    if options.sampling == "discrete":
        hybrid.check(system, tables)
    if (
        options.representation != "wigner"
        and not options.drop_interaction_noise
        and any(map(np.any, (tables.coupling, tables.cross, tables.square)))
    ):
        raise ValueError(
            f"representation = {options.representation}: unsound for this model: its Hamiltonian has "
            f"products of spin operators, which add to the equation of {options.representation} second "
            f"derivatives that no noise can stand for. Without them, squeezing and other coherent effects "
            f"come out wrong; use representation: wigner, or drop_interaction_noise: true to see how"
        )
    if options.integrator == "eo" and tables.first_half < 0:
        raise ValueError(
            "integrator = eo: the graph of couplings is not bipartite: its sites do not fall "
            "into two halves that are coupled only to each other; use integrator: sib"
        )
    if options.dt == "auto":
        coarse(system, options)
        return tuple(range(options.batches))
    drift, noise = tables.fastest(system.spins)
    fastest = max(drift / 2, noise)
    if options.dt * fastest > 1:
        raise ValueError(
            f"dt = {options.dt:g}: too large: spins turn at rates up to {drift:.3g} and noise has powers up "
            f"to {noise:.3g}; use dt <= {0.1 / fastest:.1g} or so, and halve it to see the error"
        )
    return tuple(range(options.batches))


def outputs(system: System, options: Options) -> tuple[Output, ...]:
    """What hpcsim.observables declares, averaged over trajectories, in units of ħ; and what tells how good it is."""
    unit, out = inverse(system.units), list(_measured(system, options).outputs)
    lattice = Dim("sublattice", tuple(system.sublattices))
    if options.task == "steady_state":
        out.append(
            Output(
                "autocorrelation_time",
                (lattice,),
                unit,
                "integrated autocorrelation time of the magnetisation of a sublattice, its slowest component",
                reduce="mean",
            )
        )
        out.append(Output("burn_in_used", (), unit, "time before averaging", reduce="mean"))
    text = "estimated error of ⟨S_j⟩ of a site by the truncation, over S; see phase_space/truncation.py"
    out.append(Output("truncation", (), "1", text, reduce="mean"))
    if options.dt == "auto":
        out += [
            Output("dt_used", (), unit, "step of the integrator", reduce="mean"),
            Output("dt_bias", (), "1", "estimated bias of the step over what is allowed, the largest", reduce="mean"),
        ]
    return tuple(out)


def run(system: System, options: Options, record: int, context: Context) -> dict[str, np.ndarray]:
    """Means over the trajectories of one batch; bit-identical on any number of ranks."""
    options, chosen = _with_step(system, options, context)
    measured = _measured(system, options)
    begin = record * options.batch
    sums, counts, burn_in = _sampled(system, options, measured.parts, begin, options.batch, context)
    results = _results(options, measured, sums, counts)
    results["truncation"] = np.float64(size := _truncation(system, options, context))
    if record == 0 and context.comm.rank == 0:
        _warn_of_drift(system, options, results, context)
        if told := truncation.text(system, options, size):
            context.cache.get(("phase_space", told), lambda: log.warning(told))  # once in a run
    if options.task == "steady_state":
        time = options.duration - (burn_in if options.burn_in == "auto" else 0)
        results |= {
            "autocorrelation_time": measured.parts[0].autocorrelation_time(sums[0] / counts, time),
            "burn_in_used": np.float64(burn_in),
        }
    return results | chosen


def _sampled(system, options: Options, parts, begin: int, trajectories: int, context: Context):
    """Sums over samples of all that is measured, [slot, *shape, trajectory], of trajectories begin, begin + 1, ...

    Also the number of samples of each slot, and the time before the first.
    """
    mine = share(trajectories, context.comm)
    gaps, slots = schedule(options)
    sums = [np.zeros((slots[-1] + 1, *part.shape, len(mine))) for part in parts]
    tables = compile_system(system, options.forces)
    lanes = lanes_of(system, len(mine))
    device = None if context.device == "cpu" else _gpu(options, tables)
    if device:
        lanes = len(mine)
    for start in range(0, len(mine), lanes):
        here = slice(start, min(start + lanes, len(mine)))
        _trajectories(
            system,
            options,
            tables,
            parts,
            [x[..., here] for x in sums],
            np.uint64(begin + mine[start]),
            np.array(context.key, np.uint64),
            device,
        )
    # every rank averages the same numbers in the same order
    sums, counts, burn_in = [gather(x, context.comm) for x in sums], np.bincount(slots), options.burn_in
    if options.task == "steady_state":
        left_out = relaxed(sums[0][:, :6], counts)
        if burn_in == "auto":
            burn_in = options.duration * left_out / len(counts)
        sums, counts = [x[left_out:].sum(axis=0)[None] for x in sums], counts[left_out:].sum(keepdims=True)
    return sums, counts, burn_in


def _results(options: Options, measured: Measured, sums, counts) -> dict[str, np.ndarray]:
    """Averages over trajectories, of every output but those of the burn-in and the step."""
    found = measured.results(sums, counts)
    return {name: x[..., 0] for name, x in found.items()} if options.task == "steady_state" else found


def _with_step(system, options: Options, context: Context):
    """The options with a number for dt, and what `dt: auto` has to say of it."""
    if options.dt != "auto":
        return options, {}
    steps = context.cache.get(("phase_space", "steps"), dict)  # of every point: the pilot is run once
    point = system.key, context.key, options.model_dump_json()
    if point not in steps:
        steps[point] = _pilot(system, options, context)
    dt, bias = steps[point]
    return options.model_copy(update={"dt": dt}), {"dt_used": np.float64(dt), "dt_bias": np.float64(bias)}


def _pilot(system, options: Options, context: Context) -> tuple[float, float]:
    """The step that is small enough, and its relative bias; the pilot's trajectories are not those of the records."""
    unit, first = coarse(system, options)
    measured, batches = _measured(system, options), []
    trajectories = -(-max(step.PILOT, options.batch) // step.BATCHES) * step.BATCHES
    for dt in (first, first / 2):
        trial = options.model_copy(update={"dt": dt})
        sums, counts, _ = _sampled(system, trial, measured.parts, options.trajectories, trajectories, context)
        split = zip(*(np.split(x, step.BATCHES, axis=-1) for x in sums))
        batches.append([_results(trial, measured, batch, counts) for batch in split])
    declared = measured.outputs
    bias = step.relative_bias(declared, step.allowed(system, declared, options.target_error), *batches)
    return step.refined(unit, first, bias)


def _gpu(options: Options, tables: Tables):
    """The module that computes on this rank's GPU, which loads CUDA. Raises NoDevice."""
    from hpcsim.methods.phase_space import device

    scheme = options.scheme if options.sampling != "discrete" else f"{options.scheme}, sampling = discrete"
    device.choose(scheme, options.integrator, _integrator(options, tables))
    if len(tables.cross):
        raise device.NoDevice(
            "run.device = gpu: the Hamiltonian couples different components of two spins, which a GPU does not take; "
            "take run.device: cpu"
        )
    return device


def warnings(system: System, options: Options) -> tuple[str, ...]:
    """What the method leaves out, with its size, where it is not small.

    Nothing where that takes longer to find than TRIAL seconds: the run tells it then.
    """
    context = Context(MPI.COMM_SELF, (0, 0), lambda: False)
    if options.dt == "auto" and seconds(system, with_number(system, options), max(step.PILOT, options.batch)) > TRIAL:
        return ()
    options, _ = _with_step(system, options, context)
    small = options.model_copy(update={"observables": ()})
    if seconds(truncation.representative(system)[0], small, truncation.TRAJECTORIES[options.task]) > TRIAL:
        return ()
    return tuple(filter(None, [truncation.text(system, options, _truncation(system, options, context))]))


def _truncation(system, options: Options, context: Context) -> float:
    """The estimated error by the truncation, once for each point; every rank computes the same."""
    sizes = context.cache.get(("phase_space", "truncation"), dict)
    point = system.key, context.key, options.model_dump_json()
    alone = dataclasses.replace(context, comm=MPI.COMM_SELF, device="cpu")

    def sample(small, chosen, trajectories):
        measured = _measured(small, chosen)
        sums, counts, _ = _sampled(small, chosen, measured.parts, 0, trajectories, alone)
        split = zip(*(np.split(x, truncation.BATCHES, axis=-1) for x in sums))
        batches = [_results(chosen, measured, batch, counts) for batch in split]
        return {name: np.stack([batch[name] for batch in batches]) for name in ("Sx", "Sy", "Sz")}

    if point not in sizes:
        sizes[point] = truncation.estimate(system, options, sample)
    return sizes[point]


def _trajectories(system, options, tables: Tables, parts, sums, first, key, device):
    """Integrate the trajectories from number `first` on, one for each along the last axis of `sums`.

    device : the module `device`, or None for the CPU
    """
    lanes, sites = sums[0].shape[-1], system.sites
    conserving, ordering = options.scheme == "spin_conserving", ORDERING[options.representation]
    integrator = _integrator(options, tables)
    spinors, spins = np.empty((sites, 4, lanes)), np.empty((sites, 3, lanes))
    directions = initial.directions(system, options.initial, lanes, first, key)
    if options.sampling == "discrete":
        initial.discrete(spins, directions, first, key)
    else:
        initial.spin_coherent(spinors, _distribution(options), system.spins, directions, first, key)
        kernels.spins_of(spins, spinors)
    if conserving:
        spinors = None
    how = integrator, ordering, options.dt, first, key
    if options.sampling == "discrete":
        state = hybrid.Spins(spins, tables, integrator, options.dt, first, key)
    elif device:
        whole, half = (tables.over(dt) for dt in (options.dt, options.dt / 2))
        state = device.Spins(spins, whole, half, integrator, first, key)
    else:
        moving = None
        if system.drive:
            tables, moving = in_time.compile_moving(system, options.scheme)
        state = advance.Spins(spins, spinors, tables, moving, *how)
    begin = 0
    totals = [np.empty(x.shape[1:]) for x in sums]
    for gap, slot in zip(*schedule(options)):
        state.advance(begin, gap)
        begin += gap
        spins = state.spins()
        for part, total, x in zip(parts, totals, sums):
            total[:] = x[slot]
            part.add(total, spins)
            x[slot] = total


def _warn_of_drift(system, options, results, context: Context):
    """Where spins have grown or shrunk, fluctuations are not those of spins: say so."""
    length, square = results["spin_length"], results["spin_length2"]
    spread = np.sqrt(np.maximum(square / length**2 - 1, 0)).max()
    if spread > 0.05 + 2 / system.spins.min():
        fix = (
            "scheme: spin_conserving, a larger S or shorter times"
            if options.scheme == "pda"
            else "integrator: auto, or a smaller dt"
        )
        text = (
            f"method: the lengths of the spins have spread to more than 5 % of their mean, and "
            f"fluctuations are not those of spins any more; use {fix}"
        )
        context.cache.get(("phase_space", text), lambda: log.warning(text))  # once in a run


def _measured(system: System, options: Options) -> Measured:
    """What is measured. Raises ValueError if the system does not allow it."""
    time = (time_dim(options.times, system.units),) if options.task == "evolve" else ()
    conserving = options.scheme == "spin_conserving"
    each_site = starts.breaks_symmetries(options)
    discrete = options.sampling == "discrete"
    setting = options.observables, time, conserving, ORDERING[options.representation], each_site, discrete
    return system.of_structure(("phase_space", "measured", repr(setting)), lambda: measured(system, *setting))


def _integrator(options: Options, tables: Tables) -> int:
    name = options.integrator
    if name == "auto":
        name = "eo" if tables.first_half >= 0 else "sib"
    return kernels.INTEGRATORS.index(name)


def _distribution(options: Options) -> int:
    if options.representation != "wigner":
        return initial.P if options.representation == "P" else initial.Q
    if options.scheme == "spin_conserving":
        return initial.SHARP
    return initial.COHERENT if options.sampling == "coherent" else initial.FOCK
