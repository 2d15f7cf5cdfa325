"""What the truncation leaves out, estimated: the same method on one or two sites of the system, against exact numbers.

The site with the smallest spin, and its most strongly coupled neighbour, are taken out of the system. Spins larger
than LEVELS allow are made smaller, with couplings that leave the classical equations as they are: a field stays, a
coupling and the rate of S∓ grow as the spins become smaller. A neighbour stands for all of them: its coupling is
multiplied by the root of their number, as fluctuations add. The relative error of ⟨S_j⟩ falls as 1/S or faster
(tests/test_phase_space.py), which takes it back to the spins of the system. It is an estimate: right in order of
magnitude where one or two sites know the physics, not near a phase transition.
"""

from dataclasses import replace

import numpy as np
import scipy.linalg

from hpcsim.methods.phase_space.options import Options
from hpcsim.system import Jumps, System, Terms, cartesian, matrices, piecewise, starts

LEVELS = {1: 16, 2: 4}  # of each site, by the number of sites: density matrices of 256 elements
TRAJECTORIES = {"steady_state": 256, "evolve": 4096}
BATCHES = 8
TIMES = 8  # of an evolution, that are compared
LARGE = 0.02  # of S: what is told


def estimate(system: System, options: Options, sample) -> float:
    """Largest error of ⟨S_j⟩ of a site over S, of all components and times.

    sample : (system, options, trajectories) -> {Sx, Sy, Sz: (trajectories' batches, sites, *time)}
    """
    small, scale = representative(system)
    start = _initial(system, options)
    update = {"observables": (), "initial": start, "target_error": {}}
    if options.task == "evolve":
        update["times"] = _compared(options.times)
    options = options.model_copy(update=update)
    found, wanted = sample(small, options, TRAJECTORIES[options.task]), _exact(small, options)
    largest = 0.0
    for name, exact in wanted.items():
        batches = found[name].reshape(BATCHES, small.sites, -1)
        difference = batches.mean(axis=0) - exact
        noise = batches.var(axis=0, ddof=1) / BATCHES
        error = np.sqrt(np.maximum(difference**2 - noise, 0)) / (small.spins * scale)[:, None]
        largest = max(largest, float(error.max()))
    return largest


def _compared(times: tuple[float, ...]) -> tuple[float, ...]:
    """Those of the times of an evolution that are compared."""
    chosen = np.unique(np.linspace(0, len(times) - 1, min(TIMES, len(times))).round().astype(int))
    return tuple(times[k] for k in chosen)


def _interval(begin: float, end: float) -> str:
    """The same for equal intervals, which differ in the last bits."""
    return f"{end - begin:.9e}"


def seconds(small: System, options: Options) -> float:
    """Estimated time of the exact numbers of the sites that `representative` gives."""
    times = _compared(options.times) if options.times else (1.0,)
    return 3e-3 + len({_interval(*pair) for pair in zip((0.0, *times), times)}) * (1e-3 + 2e-9 * small.dimension**6)


def representative(system: System) -> tuple[System, np.ndarray]:
    """One or two sites with spins that can be solved exactly, and by what their spins were divided."""
    first = int(np.argmin(system.spins))
    strength = np.zeros(system.sites)
    for terms in cartesian(system):
        for c, sites in zip(terms.coefficients, terms.sites):
            if len(sites) == 2 and sites[0] != sites[1] and first in sites:
                strength[sites[0] if sites[1] == first else sites[1]] += abs(c)
    sites = [first, int(strength.argmax())] if strength.any() else [first]
    number = strength.sum() / strength.max() if strength.any() else 1.0
    spins = np.minimum(system.spins[sites], (LEVELS[len(sites)] - 1) / 2)
    scale = system.spins[sites] / spins
    small = _cut(system, sites, scale, number)
    return replace(
        small, drive=system.drive and system.drive.mapped(lambda part: _cut(part, sites, scale, number))
    ), scale


def _cut(system: System, sites: list[int], scale: np.ndarray, number: float) -> System:
    """Some sites with their spins divided by `scale`, and a coupling that stands for those to `number` neighbours."""
    place = {site: k for k, site in enumerate(sites)}
    hamiltonian = []
    for terms in cartesian(system):
        rows = [r for r, where in enumerate(terms.sites) if all(site in place for site in where)]
        if not rows:
            continue
        where = np.array([[place[site] for site in terms.sites[r]] for r in rows])
        factor = np.prod(scale[where], axis=1) ** (0.5 if where.shape[1] == 2 else 0.0)
        if where.shape[1] == 2:
            factor = factor * np.where(where[:, 0] == where[:, 1], 1.0, np.sqrt(number))
        hamiltonian.append(Terms(terms.operators, where, terms.coefficients[rows] * factor))
    jumps = []
    for jump in system.jumps:
        own = [(place[site], rate) for site, rate in zip(jump.site, jump.rates) if site in place] if jump.used else []
        if own:
            where = np.array([k for k, _ in own])
            factor = scale[where] if jump.operators in (("S-",), ("S+",)) else 1.0
            jumps.append(Jumps(jump.operators, where, np.array([rate for _, rate in own]) * factor))
    names, spins = tuple(f"{site}" for site in sites), system.spins[sites] / scale
    return System(spins, tuple(hamiltonian), tuple(jumps), (), np.arange(len(sites)), names, system.units)


def _initial(system: System, options: Options):
    """`initial` of the representative sites, each a sublattice."""
    if options.initial == "mixed":
        return options.initial
    directions, (small, _) = starts.directions(system, options.initial, (0, 0)) / np.pi, representative(system)
    return {name: tuple(directions[int(name)].tolist()) for name in small.sublattices}


def _exact(system: System, options: Options) -> dict[str, np.ndarray]:
    """{Sx, Sy, Sz: (sites, times)}; of a steady state at its end, a time after which nothing has changed."""
    state = starts.density(system, options.initial, (0, 0), lambda item: np.empty(0)).toarray().ravel("F")
    end = options.duration if options.burn_in == "auto" else (options.burn_in or 0) + (options.duration or 0)
    times = options.times if options.task == "evolve" else (end,)
    operators = [[matrices.site_operator(system, f"S{a}", i) for i in range(system.sites)] for a in "xyz"]
    found = np.empty((3, system.sites, len(times)))
    evolve = _in_time(system) if system.drive else _steady(system)
    for k, (time, before) in enumerate(zip(times, (0.0, *times))):
        state = evolve(state, before, time)
        rho = state.reshape(round(system.dimension), -1, order="F")
        found[:, :, k] = [[(one @ rho).trace().real for one in own] for own in operators]
    return dict(zip(("Sx", "Sy", "Sz"), found))


def _liouvillian(system: System) -> np.ndarray:
    return matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system)).toarray()


def _steady(system: System):
    """(ρ, begin, end) -> ρ at `end`."""
    liouvillian, known = _liouvillian(system), {}

    def evolve(state, begin, end):
        interval = _interval(begin, end)
        if interval not in known:
            known[interval] = scipy.linalg.expm(liouvillian * (end - begin))
        return known[interval] @ state

    return evolve


def _in_time(system: System):
    """As `_steady`, of a system whose coefficients depend on time."""
    from scipy.integrate import solve_ivp  # slow to load

    still, *parts = map(_liouvillian, system.drive.systems)

    def change(time, state):
        weights = piecewise.values(system.drive.curve, np.array([time]))[0]
        return still @ state + sum(w * (part @ state) for w, part in zip(weights, parts))

    def evolve(state, begin, end):
        edges = system.drive.edges
        for stop in [*edges[(edges > begin) & (edges < end)], end] if end > begin else []:
            span = begin, np.nextafter(stop, begin)
            state, begin = solve_ivp(change, span, state, rtol=1e-5, atol=1e-7).y[:, -1], stop
        return state

    return evolve


def text(system: System, options: Options, size: float) -> str:
    """The warning, or nothing where the estimate is below LARGE and below the target errors of Sx, Sy and Sz."""
    S = system.spins.min()
    targets = [options.target_error[name] / S for name in ("Sx", "Sy", "Sz") if name in options.target_error]
    if size <= min([LARGE, *targets]):
        return ""
    return (
        f"method: phase_space: the truncation leaves an error of about {size:.2g} S in ⟨Sj⟩ (an estimate, from one or "
        f"two sites); spins S = {S:g} are too small for less: use liouvillian, permutation or trajectories, or a "
        f"larger S"
    )
