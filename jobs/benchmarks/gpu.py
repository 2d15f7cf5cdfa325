"""Phase space on a GPU: right against the CPU, then site-steps per second beside one CPU core.

    python jobs/benchmarks/gpu.py [seconds for each timing, default 1]

A site-step is one step of one classical spin, its noise included. `of bandwidth` counts, for lattices that do not fit
into shared memory, the bytes of a spin read and written once for each step, over those of a copy measured here.
"""

import functools
import sys
import time

import numpy as np
from numba import cuda

from hpcsim.methods.phase_space import advance, device, kernels
from hpcsim.methods.phase_space.compile import compile_system
from hpcsim.models import gain_loss_lattice

KEY = np.array([2021, 4], np.uint64)
DT = 0.05
STEPS = 200
# (cells, trajectories)
SIZES = [(50, 2**17), (500, 2**14), (5000, 2**11), (50000, 2**8)]


def chain(cells: int, **keys):
    """A chain of gain and loss, its tables, those of a step and of half a step, and spins of random directions."""
    system = gain_loss_lattice.build(
        gain_loss_lattice.Params(**{"cells": cells, "S": 10, "g": 1.0, "h": 0.5, "gain": 1.1, "loss": 1.1} | keys)
    )
    tables = compile_system(system, "spin_conserving")
    return system, tables, tables.over(DT), tables.over(DT / 2)


def start(system, trajectories: int) -> np.ndarray:
    s = np.random.default_rng(1).standard_normal((system.sites, 3, trajectories))
    return s * ((system.spins[:, None, None] + 0.5) / np.linalg.norm(s, axis=1, keepdims=True))


def on_cpu(s, tables, integrator: int, steps: int):
    advance.Spins(s, None, tables, None, integrator, 0, DT, np.uint64(0), KEY).advance(0, steps)


def check() -> bool:
    """Largest difference from the CPU after 40 steps, for each integrator and place of the spins."""
    good = True
    for integrator in device.INTEGRATORS:
        for cells, where in ((10, "shared"), (3000, "global")):
            system, tables, whole, half = chain(cells)
            s = start(system, 40)
            state = device.Spins(s, whole, half, integrator, 0, KEY)
            state.advance(0, 40)
            on_cpu(s, tables, integrator, 40)
            spins = abs(state.spins() - s).max()
            single = device.Spins(start(system, 40), whole, half, integrator, 0, KEY, np.float32)
            single.advance(0, 40)
            rough = abs(single.spins() - s).max()
            good &= bool(spins < 1e-10 and rough < 1e-2)
            print(f"{kernels.INTEGRATORS[integrator]:4} {where:7} f64 {spins:.1e}  f32 {rough:.1e}")
    return good


def seconds(action, least: float) -> float:
    """Median time of action(), after one call that compiles."""
    action()
    cuda.synchronize()
    times, ended = [], time.perf_counter() + least
    while len(times) < 3 or time.perf_counter() < ended:
        began = time.perf_counter()
        action()
        cuda.synchronize()
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def bandwidth(least: float) -> float:
    """Bytes per second of a copy, read and written."""
    a = cuda.device_array(2**27, np.float64)
    b = cuda.device_array_like(a)
    return 2 * a.nbytes / seconds(lambda: b.copy_to_device(a), least)


def row(cells: int, trajectories: int, least: float, copy: float):
    """One size in double and single precision, beside the CPU's 256 trajectories at once."""
    system, tables, whole, half = chain(cells)
    few, steps = start(system, 256), max(2, 200_000 // system.sites)
    alone = seconds(lambda: on_cpu(few, tables, kernels.EO, steps), least) / (steps * few.size / 3)
    s = start(system, trajectories)
    for real in (np.float64, np.float32):
        state = device.Spins(s, whole, half, kernels.EO, 0, KEY, real)
        each = seconds(functools.partial(state.advance, 0, STEPS), least) / (STEPS * s.size / 3)
        share = "shared" if state.shared else f"{6 * np.dtype(real).itemsize / each / copy:.0%}"
        bits = 8 * np.dtype(real).itemsize
        print(f"{system.sites:7} {trajectories:7} {bits:5} {1 / each:13.2e} {share:>13} {alone / each:7.0f}")


def main():
    least = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    name = cuda.get_current_device().name
    free = cuda.current_context().get_memory_info()[0] / 1e9
    print(f"{name.decode() if isinstance(name, bytes) else name}, {free:.0f} GB free")
    good = check()
    copy = bandwidth(least)
    print(f"copy {copy / 1e12:.2f} TB/s")
    print(f"{'sites':>7} {'traj.':>7} {'real':>5} {'site-steps/s':>13} {'of bandwidth':>13} {'cores':>7}")
    for cells, trajectories in SIZES:
        row(cells, trajectories, least, copy)
    print("right" if good else "WRONG: see the differences above")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
