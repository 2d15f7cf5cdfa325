"""Memory and time of the phase-space method, before anything is allocated, and what both follow from."""

import numpy as np

from hpcsim.ensemble.burn_in import WINDOWS
from hpcsim.ensemble.options import number_of_samples
from hpcsim.methods import Cost
from hpcsim.methods.phase_space import step, truncation
from hpcsim.methods.phase_space.compile import compile_system
from hpcsim.methods.phase_space.options import Options
from hpcsim.methods.phase_space.results import numbers
from hpcsim.system import System

# seconds per site and step: for each block of trajectories begun, and for each trajectory (measured)
SECONDS = {
    ("spin_conserving", "eo"): (90e-9, 2e-9),
    ("spin_conserving", "sib"): (150e-9, 4.5e-9),
    ("pda", "eo"): (300e-9, 12e-9),
    ("pda", "sib"): (300e-9, 10e-9),
}
FIRST_STEPS = 30  # what a sample of the initial state costs, in steps
FEW_SITES = 2000  # the arrays of so many still fit into caches; beyond, a step takes up to twice the time


def cost(system: System, options: Options, record: int) -> Cost:
    """Time in seconds of one core; batches of 128 and more are cheapest per trajectory.

    Ranks of a group share the trajectories of a record. The first record of a point is where the step is chosen and
    the truncation estimated, which every rank does once for a point.
    """
    chosen, time = with_number(system, options), 0.0
    if record == 0 and options.dt == "auto":
        pilot = max(step.PILOT, options.batch)
        time += 3 * seconds(system, chosen.model_copy(update={"dt": 4 * chosen.dt}), pilot)
    if record == 0:
        small, _ = truncation.representative(system)
        alone = chosen.model_copy(update={"observables": ()})
        time += truncation.seconds(small, options) + seconds(small, alone, truncation.TRAJECTORIES[options.task])
    slots, lanes = schedule(chosen)[1], lanes_of(system, options.batch)
    per_site = 7 if options.scheme == "spin_conserving" else 10
    sums = (slots[-1] + 1) * numbers(system, options.observables)
    grids = 8 * ("correlation" in options.observables or "structure_factor" in options.observables)
    return Cost(
        bytes=8.0 * lanes * (per_site + grids) * system.sites + 32.0 * options.batch * sums + 400.0 * system.sites,
        time=time + seconds(system, chosen, options.batch),
    )


def with_number(system: System, options: Options) -> Options:
    """With what `dt: auto` may become: what it will be is known after the pilot only."""
    if options.dt != "auto":
        return options
    unit, first = coarse(system, options)
    return options.model_copy(update={"dt": step.divided(unit, first / 4)})


def seconds(system: System, options: Options, trajectories: int) -> float:
    """Estimated time of some trajectories on one core: their steps, and what is measured of them."""
    (gaps, _), lanes = schedule(options), lanes_of(system, trajectories)
    blocks = -(-trajectories // lanes)
    per_block, per_trajectory = SECONDS[options.scheme, "eo" if options.integrator in ("auto", "eo") else "sib"]
    if system.sites > FEW_SITES:
        per_trajectory *= 2
    if system.drive:  # tables of every sweep
        per_block, per_trajectory = 1.5 * per_block, 1.2 * per_trajectory
    per_step = system.sites * (blocks * per_block + trajectories * per_trajectory)
    sample = 4e-5 * blocks + trajectories * (4e-8 * numbers(system, options.observables) + 1e-7 * system.sites)
    return 2e-3 + (float(gaps.sum()) + FIRST_STEPS) * per_step + len(gaps) * sample


def coarse(system, options: Options) -> tuple[float, float]:
    """What the steps of `dt: auto` divide, and the longest of them."""
    drift, noise = compile_system(system, options.forces).fastest(system.spins)
    unit = options.step_unit
    return unit, step.coarse(unit, max(drift / 2, noise))


def lanes_of(system: System, trajectories: int) -> int:
    """Trajectories advanced together: long loops in the fastest cache, fewer of the largest lattices to save memory."""
    return min(trajectories, int(np.clip(2**26 // system.sites, 64, 128)))


def schedule(options: Options):
    """Steps before each sample, and the slot that the sample is added to."""
    if options.task == "evolve":
        steps = np.rint(np.array(options.times) / options.dt).astype(int)
        return np.diff(steps, prepend=0), np.arange(len(steps))
    samples = number_of_samples(options.duration / (options.dt * options.sample_every) + 0.5)
    gaps = np.full(samples, options.sample_every)
    if options.burn_in == "auto":
        return gaps, np.arange(samples) * WINDOWS // samples
    gaps[0] += round(options.burn_in / options.dt)
    return gaps, np.zeros(samples, int)
