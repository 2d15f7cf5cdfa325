"""Matrix-product density operators: the cost of a step with conserved charges and without, and what errors cost.

    OMP_NUM_THREADS=1 .venv/bin/python jobs/benchmarks/matrix_product.py

The infinite gain/loss chain in its mixed phase. Without charges: the same code, the symmetries
not declared, so that all tensors are dense. Seconds of CPU; medians of five, the two in turn.
"""

import time
from dataclasses import replace
from statistics import median

import hpcsim
from hpcsim.methods.matrix_product.chain import build
from hpcsim.methods.matrix_product.evolve import Evolution
from hpcsim.models import gain_loss_lattice

GATES = ((0.5, 32), (0.5, 64), (1, 32), (1, 64), (1.5, 32))
RUNS = ((0.5, (8, 16, 32, 64)), (1, (16, 32, 64)), (1.5, (16, 32)))
STEPS, REPEATS = 4, 5
CHAIN = {"cells": 2, "h": 0.5, "gain": 1.5, "loss": 1.0}


def chain(S):
    return gain_loss_lattice.build(gain_loss_lattice.Params(S=S, **CHAIN))


def steps_of(system, bond_dimension):
    """CPU seconds of a few steps from a state that has the bond dimension: a function to be called again."""
    evolution = Evolution(build(system))
    evolution.advance(0.1, 6, bond_dimension, 1e-14)

    def measured():
        began = time.process_time()
        evolution.advance(0.1, STEPS, bond_dimension, 1e-14)
        return time.process_time() - began

    return measured


def main():
    print("CPU time of a step of the cell (two gates; canonical form after every fourth)\n")
    print(f"{'S':>4} {'χ':>4} {'U(1), ms':>10} {'dense, ms':>10} {'ratio':>6}")
    for S, bond_dimension in GATES:
        system = chain(S)
        bare = replace(system, symmetries=tuple(s for s in system.symmetries if s.cyclic))
        pair = steps_of(system, bond_dimension), steps_of(bare, bond_dimension)
        times = [[measured() for measured in pair] for _ in range(REPEATS)]
        charged, dense = (1e3 * median(column) / STEPS for column in zip(*times))
        print(f"{S:4g} {bond_dimension:4d} {charged:10.1f} {dense:10.1f} {dense / charged:6.1f}", flush=True)
    print("\nSteady states at Γg = 1.5 g, Γl = g, h = 0.5 g, time step 0.1/g\n")
    print(f"{'S':>4} {'χ':>4} {'CPU, s':>8} {'⟨Sz_b⟩/S':>10} {'error':>9} {'of χ':>9} {'of dt':>9} {'discarded':>10}")
    for S, sizes in RUNS:
        for bond_dimension in sizes:
            method = {"name": "matrix_product", "bond_dimension": bond_dimension, "dt": 0.1}
            began = time.process_time()
            found = hpcsim.solve(model={"name": "gain_loss_lattice", "S": S} | CHAIN, method=method)
            seconds = time.process_time() - began
            parts = [found.Sz_error[1], found.error_bond_dimension, found.error_time_step]
            print(
                f"{S:4g} {bond_dimension:4d} {seconds:8.1f} {float(found.Sz[1]) / S:10.6f}",
                *(f"{float(part) / S:9.1e}" for part in parts),
                f"{float(found.truncation_error):10.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
