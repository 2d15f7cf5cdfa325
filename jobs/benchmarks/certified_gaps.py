"""Gaps and slowest eigenvalues of random systems, and what certifies them, against the whole spectrum by LAPACK.

    python jobs/benchmarks/certified_gaps.py                     # 500 systems
    python jobs/benchmarks/certified_gaps.py 50 --seed 7
    python jobs/benchmarks/certified_gaps.py --minutes 10        # as many as are done by then

The whole Liouvillian is built here from Kronecker products, without the sectors, the sparse matrices and the
symmetries of the package. Systems are of all models, with 2 to 6 sites (1 where the model has one) of spin 1/2 to 3,
and damping of 1e-5 to 10 of the couplings. The small sectors that they have are usually diagonalised; for every
second system that is switched off, so that the search by shift-invert and its certificate are what is tried.
"""

import argparse
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from functools import reduce
from graphlib import TopologicalSorter
from unittest.mock import patch

import numpy as np
from mpi4py import MPI

from hpcsim import solvers
from hpcsim.methods import Context, liouvillian
from hpcsim.methods.liouvillian import certificate
from hpcsim.models import (
    all_to_all_xyz,
    cavity_dimer,
    collective_spin,
    gain_loss_lattice,
    kerr_oscillator,
    spin_network,
    xyz_lattice,
)
from hpcsim.observables import reduced

LARGEST, USUAL = 20, 12  # states of every tenth system, and of the others: 400 and 144 elements of ρ, at most
EIGENVALUES = 5
# what counts as a difference, relative to |L| and to the rate: rounding moves degenerate eigenvalues that much
ABSOLUTE, RELATIVE = 1e-8, 1e-6


def local(name: str, spin: float, cutoff: int) -> np.ndarray:
    """A one-site operator in the basis of falling Sz, or of falling number."""
    levels = cutoff or round(2 * spin + 1)
    m = spin - np.arange(levels)
    number = np.arange(levels - 1, -1, -1.0)
    up = np.diag(np.sqrt(number[:-1]) if cutoff else np.sqrt(spin * (spin + 1) - m[1:] * (m[1:] + 1)), 1)
    down = up.T
    return {
        "Sz": np.diag(m),
        "n": np.diag(number),
        "S+": up,
        "a+": up,
        "S-": down,
        "a": down,
        "Sx": (up + down) / 2,
        "Sy": (up - down) / 2j,
        "x": up + down,
        "p": 1j * (up - down),
    }[name]


def whole_liouvillian(system) -> np.ndarray:
    """L on column-stacked ρ, (D², D²), dense."""
    levels = [int(n) for n in system.levels]

    def at(name, site):
        factors = [np.eye(n) for n in levels]
        factors[site] = local(name, system.spins[site], system.cutoffs[site])
        return reduce(np.kron, factors)

    H = sum(
        c * reduce(np.matmul, [at(name, site) for name, site in zip(terms.operators, sites)])
        for terms in system.hamiltonian
        for c, sites in zip(terms.coefficients, terms.sites)
    )
    jumps = []
    for family in system.jumps:
        each = [at(*family.operators, site) for site in family.site]
        each = [sum(each)] if family.collective else each
        jumps += [(rate, jump) for rate, jump in zip(family.rates, each) if rate]
    one = np.eye(len(H))
    effective = H - 0.5j * sum(rate * jump.conj().T @ jump for rate, jump in jumps)
    L = -1j * (np.kron(one, effective) - np.kron(effective.conj(), one))
    return L + sum(rate * np.kron(jump.conj(), jump) for rate, jump in jumps)


def random_system(rng, largest: int = LARGEST):
    """(name, System, damping over couplings) with a unique steady state, most of the time.

    largest : number of states, at most
    """
    damping = 10.0 ** rng.uniform(-5, 1)
    kind = rng.choice(list(KINDS), p=[0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
    while True:
        system = KINDS[kind](rng, damping)
        if system.dimension <= largest or kind == "cavities":  # these have 32
            return kind, system, damping


def _sites_and_spin(rng):
    sites = int(rng.integers(2, 7))
    return sites, rng.choice([0.5, 1, 1.5, 2, 2.5, 3])


def _network(rng, damping):
    sites, S = _sites_and_spin(rng)
    rates = damping * rng.uniform(0.2, 1, sites) * (rng.random(sites) < 0.7)
    rates[rng.integers(sites)] = damping
    edges = [[i, i + 1, float(rng.uniform(0.5, 1.5))] for i in range(sites - 1)]
    fields = {f"field_{axis}": rng.normal(size=sites).tolist() for axis in rng.choice(["x", "z", "xz"])}
    couplings = dict(zip(("Jx", "Jy", "Jz"), (2 * rng.normal(size=3)).tolist()))
    more = {"gain": (damping * rng.uniform(0, 0.5, sites)).tolist()} if rng.random() < 0.3 else {}
    return spin_network.build(
        spin_network.Params(sites=sites, S=S, edges=edges, decay=rates.tolist(), **couplings, **fields, **more)
    )


def _uniform_network(rng, damping):
    sites, S = _sites_and_spin(rng)
    couplings = dict(zip(("Jx", "Jy", "Jz"), rng.normal(size=3).tolist()))
    return spin_network.build(
        spin_network.Params(sites=sites, S=S, decay=damping, field_z=float(rng.normal()), **couplings)
    )


def _xyz(rng, damping):
    sites, S = _sites_and_spin(rng)
    couplings = dict(zip(("Jx", "Jy", "Jz"), rng.normal(size=3).tolist()))
    return xyz_lattice.build(
        xyz_lattice.Params(convention="huber2021", sites=sites, S=S, decay=damping, periodic=True, **couplings)
    )


def _gain_loss(rng, damping):
    _, S = _sites_and_spin(rng)
    cells = int(rng.integers(1, 3))
    rates = dict(gain=damping * float(rng.uniform(0.1, 1)), loss=damping)
    return gain_loss_lattice.build(gain_loss_lattice.Params(cells=cells, S=S, h=float(rng.uniform(0.2, 1)), **rates))


def _all_to_all(rng, damping):
    couplings = dict(zip(("Jx", "Jy", "Jz"), rng.normal(size=3).tolist()))
    kind = rng.choice(["decay", "pump"])
    return all_to_all_xyz.build(
        all_to_all_xyz.Params(N=int(rng.integers(2, 6)), decay=damping, collective_decay=damping / 3, **couplings)
        if kind == "decay"
        else all_to_all_xyz.Params(N=int(rng.integers(2, 6)), decay=damping, pump=damping / 2, **couplings)
    )


def _collective(rng, damping):
    return collective_spin.build(
        collective_spin.Params(
            S=rng.choice([2, 4.5, 7, 9]),
            drive=float(rng.uniform(0.3, 2)),
            twist=float(rng.choice([0, 1])),
            decay=damping,
            dephasing=float(rng.choice([0, damping])),
        )
    )


def _kerr(rng, damping):
    return kerr_oscillator.build(
        kerr_oscillator.Params(
            detuning=float(rng.normal()),
            U=1,
            F=float(rng.uniform(0.2, 1)),
            decay=damping,
            cutoff=int(rng.integers(6, 21)),
        )
    )


def _cavities(rng, damping):
    return cavity_dimer.build(
        cavity_dimer.Params(
            S=0.5,
            detuning=float(rng.normal()),
            Gc=1,
            G=float(rng.uniform(0.3, 1)),
            decay_a=damping,
            decay_b=damping * float(rng.uniform(0.3, 1)),
            decay_c=damping / 2,
        )
    )


KINDS = {
    "network": _network,
    "uniform network": _uniform_network,
    "xyz": _xyz,
    "gain and loss": _gain_loss,
    "all to all": _all_to_all,
    "collective spin": _collective,
    "Kerr": _kerr,
    "cavities": _cavities,
}


def solved(system, **options) -> dict:
    """{output: value} of a task, its records reduced as in a collected file."""
    options = liouvillian.Options(**options)
    records, results = liouvillian.records(system, options), {}
    needed = {i: liouvillian.needs(system, options, record) for i, record in enumerate(records)}
    context = Context(MPI.COMM_SELF, (0, 0), lambda: False)
    for i in TopologicalSorter(needed).static_order():
        earlier = {j: results[j] for j in needed[i]}
        own = Context(context.comm, context.key, context.should_stop, context.cache, earlier)
        results[i] = liouvillian.run(system, options, records[i], own)
    return {
        output.name: reduced(
            output, lambda name: np.stack([np.asarray(results[i][name]) for i in range(len(results))])
        )[0]
        for output in liouvillian.outputs(system, options)
    }


def compare(system, search_only: bool) -> dict:
    """gap and eigenvalues of a system beside those of LAPACK.

    gap_error, error: largest differences of the gap and of the eigenvalues, in units of what counts as one;
    certified, certificate of the gap; certified_list of the eigenvalues
    """
    L = whole_liouvillian(system)
    exact = np.linalg.eigvals(L)
    exact = exact[np.argsort(-exact.real)]
    decaying = np.delete(exact, np.argmin(abs(exact)))
    scale = abs(L).sum(1).max()
    with ExitStack() as changed:
        if search_only:
            changed.enter_context(patch.multiple(certificate, LAPACK=0, QUICK=0, MORE=((8, np.inf), (24, np.inf))))
            changed.enter_context(patch.object(solvers.eigenvalues, "DENSE", 16))
        of_gap = solved(system, task="gap")
        of_list = solved(system, task="spectrum", eigenvalues=EIGENVALUES)
    gap = -decaying.real.max()
    values = of_list["eigenvalues"][~np.isnan(of_list["eigenvalues"])]
    unit = ABSOLUTE * scale + RELATIVE * abs(exact.real)
    # every eigenvalue is one of the whole's; every one of these that decays more slowly than the last is among them
    foreign = max(np.min(abs(exact - value) / unit) for value in values)
    slower = exact.real > values.real.min() + 2 * unit
    both = np.concatenate([values, values.conj()])
    missing = max((np.min(abs(both - value)) / u for value, u in zip(exact[slower], unit[slower])), default=0.0)
    return {
        "gap": gap,
        "gap_error": abs(of_gap["gap"] - gap) / (ABSOLUTE * scale + RELATIVE * gap),
        "error": max(foreign, missing),
        "relative": abs(of_gap["gap"] - gap) / gap,
        "certified": bool(of_gap["certified"]),
        "certificate": float(of_gap["certificate"]),
        "certified_list": bool(of_list["certified"]),
    }


def campaign(number: int, seed: int):
    """(index, kind, damping, search_only, compare's result) of each system, one after the other."""
    rng = np.random.default_rng(seed)
    for index in range(number):
        kind, system, damping = random_system(rng, USUAL if index % 10 else LARGEST)
        try:
            result = compare(system, bool(index % 2))
        except ValueError as refused:  # no unique steady state, as the message says
            result = {"refused": str(refused)}
        yield index, kind, damping, bool(index % 2), result


def differences(result: dict):
    """(what, whether it is certified, its error in units) of what differs from LAPACK."""
    for what, certified, error in (
        ("gap", result["certified"], result["gap_error"]),
        ("eigenvalues", result["certified_list"], result["error"]),
    ):
        if error > 1:
            yield what, certified, error


def print_table(rows: dict):
    """rows : (decade of the damping, how the gap is certified) -> results of compare"""
    print(
        "| damping | gap certified by | systems | gap wrong | largest relative error | eigenvalues certified | wrong |"
    )
    print("|---|---|---|---|---|---|---|")
    for (decade, how), found in sorted(rows.items()):
        right = [r for r in found if r["gap_error"] <= 1]
        print(
            f"| 1e{decade} | {how} | {len(found)} | {len(found) - len(right)} "
            f"| {max((r['relative'] for r in right), default=np.nan):.1e} "
            f"| {sum(r['certified_list'] for r in found)} | {sum(r['error'] > 1 for r in found)} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("number", nargs="?", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=np.inf, help="after these, no further system")
    given = parser.parse_args()
    end = time.time() + 60 * given.minutes
    rows, wrong, refused, done = defaultdict(list), 0, [], 0
    for index, kind, damping, search_only, result in campaign(given.number, given.seed):
        done += 1
        if "refused" in result:
            refused.append(result["refused"])
        else:
            for what, certified, error in differences(result):
                wrong += certified
                print(
                    f"system {index} ({kind}, damping {damping:.1e}, {'search' if search_only else 'all'}): {what} "
                    f"{'CERTIFIED' if certified else 'not certified'} and different by {error:.1f} units",
                    flush=True,
                )
            how = "none" if not result["certified"] else "whole" if result["certificate"] == 2 else "bound"
            rows[int(np.floor(np.log10(damping))), how].append(result)
        if done % 20 == 0:
            print(f"{done} systems", file=sys.stderr)
        if time.time() > end:
            break
    print_table(rows)
    print(f"{done} systems, {len(refused)} refused{f', for example: {refused[0][:200]}' if refused else ''}")
    print(f"{wrong} certified wrongly")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
