"""Two-time functions of the steady state from pairs of states that jump together.

⟨A(t + τ) B(t)⟩ = Tr A exp(Lτ) Bρ, and Bρ is the average of |Bψ⟩⟨ψ| over trajectories. The pair Θ = (Bψ/b, ψ)/√2, with
b = ‖Bψ‖, is a state of the system with a spin 1/2 more, on which neither H nor a jump acts: its trajectories are those
of any state, and the average of 2b ⟨ψ(τ)|A φ(τ)⟩ over its later states (φ, ψ) is the function that is wanted (Breuer,
Kappler and Petruccione, Phys. Rev. A 56, 2334 (1997); the four states ψ ± Bψ, ψ ± iBψ of Mølmer, Castin and Dalibard,
J. Opt. Soc. Am. B 10, 524 (1993), are the same by polarisation, with larger errors). Of a lowering operator c, the
average of b² ‖c φ(τ)‖² over trajectories that start from Θ = (cψ/b, 0) is ⟨c† c†(τ) c(τ) c⟩.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import sparse

from hpcsim.ensemble.options import gather
from hpcsim.methods import Context, Output
from hpcsim.methods.trajectories.measurement import Plan
from hpcsim.methods.trajectories.walk import Walker, walker
from hpcsim.observables import two_times
from hpcsim.system import System

BRANCHES = 2**31  # number of the first pair in the random streams: trajectories come before

TOGETHER = 2**21  # numbers of later pairs that are held at once, where one pair has fewer


class Group(NamedTuple):
    """Functions with one B: their numbers, and of each its A, or c where they have a lowering operator."""

    B: sparse.csr_matrix
    lowering: bool
    numbers: list[int]
    seen: list[sparse.csr_matrix]

    def started(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """‖Bψ‖ and the pairs (states, 2D), normalised; where Bψ is 0 any pair serves. psi : (states, D)"""
        after = (self.B @ psi.T).T
        sizes = np.linalg.norm(after, axis=1)
        after = np.where(sizes[:, None] > 0, after / np.where(sizes > 0, sizes, 1.0)[:, None], psi)
        if self.lowering:
            return sizes, np.hstack([after, 0 * psi])
        return sizes, np.hstack([after, psi]) / np.sqrt(2)

    def values(self, sizes: np.ndarray, pairs: np.ndarray) -> np.ndarray:
        """(functions, times) what these later pairs (states, times, 2D) add to the averages."""
        shape = pairs.shape[:2]
        phi, psi = np.split(pairs.reshape(-1, pairs.shape[2]).T, 2)
        if self.lowering:
            every, weight = [np.sum(np.abs(c @ phi) ** 2, axis=0) for c in self.seen], sizes**2
        else:
            every, weight = [np.sum(psi.conj() * (A @ phi), axis=0) for A in self.seen], 2 * sizes
        return np.array([weight @ each.reshape(shape) for each in every])


def doubled(system: System) -> System:
    """The system with a spin 1/2 before its first site, on which nothing acts."""

    def moved(tables):
        return tuple(replace(each, sites=each.sites + 1) for each in tables)

    more = dict(spins=np.append(0.5, system.spins), cutoffs=np.append(0, system.cutoffs))
    return System(hamiltonian=moved(system.hamiltonian), jumps=moved(system.jumps), **more)


def groups(system: System, items) -> list[Group]:
    """The functions that a config asks for."""
    found: dict[tuple[bool, str], Group] = {}
    for number, each in enumerate(two_times.built(system, items)):
        group = found.setdefault((each.lowering, each.key), Group(each.B, each.lowering, [], []))
        group.numbers.append(number)
        group.seen.append(each.B if each.lowering else each.A)
    return list(found.values())


def outputs(system: System, options) -> tuple[Output, ...]:
    """As the method liouvillian has them, with standard errors. Raises ValueError where one does not fit."""
    found = []
    for item, output in zip(options.functions, two_times.outputs(system, options)):
        if "lowering" not in item:
            found.append(replace(output, reduce="mean"))
            continue
        pairs, quanta = sources = f"{item['name']}_pairs", f"{item['name']}_quanta"
        found.append(replace(output, reduce="function", function=f"{pairs} / {quanta}**2", sources=sources))
        found.append(Output(pairs, output.dims, "1", "⟨c† c†(τ) c(τ) c⟩", reduce="mean", internal=True))
        found.append(Output(quanta, (), "1", "⟨c†c⟩", reduce="mean", internal=True))
    two_times.check_names([output.name for output in found], "method.functions: ")
    return tuple(found)


def run(system: System, options, first: int, starts: np.ndarray, plan: Plan, samples, context: Context) -> dict:
    """The functions of the trajectories first, first + 1, ... of this rank, averaged over those of all ranks.

    starts  : (trajectories, D) their initial states
    samples : times at which B acts
    """
    asked, pairs = groups(system, options.functions), _pairs(system, context)
    times, count = np.array(options.times), len(options.functions)
    found = np.zeros((len(starts), count, 1 + len(times)), complex)
    together = max(1, TOGETHER // (2 * starts.shape[1] * len(times)))
    walk, key = walker(system, options, context), np.array(context.key, np.uint64)
    for t, start in enumerate(starts):
        (states,) = walk.states(start[None], first + t, samples, options.tolerance, plan, key)
        for k in range(0, len(states), together):
            psi, number = states[k : k + together], BRANCHES + (first + t) * len(samples) + k
            for group in asked:
                sizes, pair = group.started(psi)
                later = pairs.states(pair, number, times, options.tolerance, plan, key)
                found[t, group.numbers, 0] += np.sum(sizes**2)
                found[t, group.numbers, 1:] += group.values(sizes, later)
    found = gather(np.moveaxis(found, 0, -1), context.comm).mean(axis=-1) / len(samples)
    results = {}
    for item, (quanta, *values) in zip(options.functions, found):
        name = item["name"]
        if "lowering" in item:
            results |= {f"{name}_pairs": np.real(values), f"{name}_quanta": quanta.real}
        else:
            results[name] = np.array(values)
    return results


def _pairs(system: System, context: Context) -> Walker:
    return context.cache.get(("trajectories", "pairs", system.key), lambda: Walker(doubled(system)))
