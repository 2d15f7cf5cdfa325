"""Cost of the phase-space method: against the number of sites, its bounds, and XMDS2 as the peer.

    .venv/bin/python jobs/benchmarks/phase_space.py [--sites 100 1000 ...] [--runs 3]

1. Nanoseconds of CPU time per site, step and trajectory of the XYZ chain of huber2021, Fig. 7 (double
   precision, one core), for several sizes, integrators and schemes. The bound is the time for the random
   numbers alone, for as many trajectories, measured just before and just after; `multiple` is the ratio. What the
   arithmetic costs besides is measured on two sites in the fastest cache. A block of
   random numbers serves four sites of a half of the chain: one site alone takes four times as many. Compilation is
   cached on disk; its time is printed.
   Seen on an AMD processor with AVX2 (Zen 3), alone: 4.0 times the random numbers at 100 sites (6.5 beside 1.6 ns in
   batches of 256, 4.6 beside 1.2 of 512), 5.7 times at 10,000 (7.8 beside 1.4 ns). The field and the rotation alone,
   in the fastest cache, took 3.3 ns in 128 trajectories, 2.1 times the random numbers: about 45 products and a division
   for four of them, at two a cycle. So the arithmetic is most of it, and more than 3 times is left to a wider vector or
   single precision. Loops of one site over fewer trajectories than 128 pay for their beginning, about 80 ns a site;
   over more, the rows of random numbers leave the fastest cache.
2. The same chain of 100 sites at J_y = -1.6 Γ in XMDS2 3.1, which compiles itself with -O3 -ffast-math, with
   its fastest random numbers (solirte) and its default ones, semi-implicit with 3 iterations. The excitations n
   per site are compared with their closed form, measured in two ways: as ⟨|α|²⟩ - ½, and from the magnetisation as
   S + ⟨Sz⟩. The equations that XMDS2 integrates (the positive diffusion approximation) do not conserve the spins'
   lengths, which a finite step lets drift in proportion to it: the first measure is good at a large step, the
   second is not. Standard errors are those between paths. Every run of the peer lies between two of ours.

The peer is a Debian package:  apt-get install -y --no-install-recommends xmds2 g++ libfftw3-dev libhdf5-dev
Both programs run in turn on the same machine, so ratios hold where absolute times drift.
"""

import argparse
import math
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numba
import numpy as np
from mpi4py import MPI

from hpcsim.analysis.spins import polarised_Sz
from hpcsim.compiled import njit
from hpcsim.ensemble.streams import DRAWS_PER_BLOCK, fill_three_point
from hpcsim.methods import Context, phase_space
from hpcsim.methods.phase_space import kernels
from hpcsim.methods.phase_space.compile import compile_system, stacked
from hpcsim.models import xyz_lattice

S, JX, JY = 5000, 0.5, -1.6
BURN_IN, TIME = 40, 80  # in 1/Γ
OUR_STEP = 0.125
PEERS = (("XMDS2 SI, solirte", "solirte"), ("XMDS2 SI, default", ""))
PEER_STEPS = (0.2, 0.1)
EXACT = S + float(polarised_Sz(JX, JY, 1.0, S))
ALONE = Context(MPI.COMM_SELF, (1, 2), lambda: False)

PEER = """<?xml version="1.0" encoding="UTF-8"?>
<simulation xmds-version="2">
  <name>chain</name>
  <features>
    <validation kind="none" />
    <globals><![CDATA[ const double jp = {jp}, jm = {jm}, kappa = {kappa}; ]]></globals>
  </features>
  <driver name="multi-path" paths="{paths}" />
  <geometry>
    <propagation_dimension>t</propagation_dimension>
    <transverse_dimensions>
      <dimension name="j" type="integer" lattice="100" domain="(0,99)" />
    </transverse_dimensions>
  </geometry>
  <noise_vector name="initial" dimensions="j" kind="gauss" type="real" {method} seed="{seed} 12">
    <components>n1 n2 n3</components>
  </noise_vector>
  <noise_vector name="noise" dimensions="j" kind="wiener" type="real" {method} seed="{seed} 14">
    <components>w1 w2 w3 w4</components>
  </noise_vector>
  <vector name="main" type="complex" dimensions="j">
    <components>al be</components>
    <initialisation><dependencies>initial</dependencies><![CDATA[
      al = 0.5 * n1 + 0.5 * i * n2;
      be = sqrt({bosons} + 0.5 + 0.5 * n3);
    ]]></initialisation>
  </vector>
  <sequence>
    <integrate algorithm="SI" iterations="{iterations}" interval="{burn_in}" steps="{burn_steps}">
      <samples>1</samples>{operators}
    </integrate>
    <integrate algorithm="SI" iterations="{iterations}" interval="{time}" steps="{steps}">
      <samples>40</samples>{operators}
    </integrate>
  </sequence>
  <output format="hdf5" filename="chain">
    <sampling_group basis="j" initial_sample="no">
      <moments>n sz</moments><dependencies>main</dependencies>
      <![CDATA[ n = mod2(al) - 0.5; sz = 0.5 * (mod2(al) - mod2(be)); ]]>
    </sampling_group>
  </output>
</simulation>
"""
OPERATORS = """
      <operators>
        <integration_vectors>main</integration_vectors><dependencies>noise</dependencies><![CDATA[
          const int left = (j + 99) % 100, right = (j + 1) % 100;
          const complex s = al(j => left) * conj(be(j => left)) + al(j => right) * conj(be(j => right));
          const complex f = -0.25 * i * (jp * s + jm * conj(s)), g = -0.25 * i * (jp * conj(s) + jm * s);
          const double A = mod2(al), B = mod2(be);
          dal_dt = f * be - kappa * (B + 0.5) * al + sqrt(0.5 * kappa * (B + 0.5)) * (w1 + i * w2);
          dbe_dt = g * al + kappa * (A - 0.5) * be + sqrt(0.5 * kappa * max(A - 0.5, 0.0)) * (w3 + i * w4);
        ]]></operators>"""


def fastest(function, runs=4) -> float:
    """CPU seconds of the fastest of several calls, after one for the compilation."""
    function()
    times = []
    for _ in range(runs):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def chain(sites):
    return xyz_lattice.build(xyz_lattice.Params(convention="huber2021", sites=sites, S=S, Jx=JX, Jy=JY))


def step_cost(sites: int, batch: int, **options) -> tuple[float, float]:
    """Nanoseconds per site, step and trajectory, beside the initial state; ratio of all to what `cost` says."""
    system, steps, seconds = chain(sites), max(20, round(1e7 / (sites * batch))), []
    for count in (steps, 3 * steps):
        evolve = phase_space.Options(
            task="evolve", times=[0.05 * count], dt=0.05, trajectories=2 * batch, batch=batch, initial=[1, 0], **options
        )
        seconds.append(fastest(lambda: phase_space.run(system, evolve, 0, ALONE), 1 if sites > 20_000 else 5))
    return (
        1e9 * (seconds[1] - seconds[0]) / (2 * steps * sites * batch),
        seconds[1] / phase_space.cost(system, evolve, 0).time,
    )


@numba.njit
def fill_blocks(out, words, scale, key, blocks):
    for block in range(blocks):
        fill_three_point(out, words, scale, np.uint64(0), np.uint64(block), np.uint64(0), np.uint64(0), key)


def random_numbers(batch: int) -> float:
    """Nanoseconds for the two random numbers of one site and step: a quarter of a block."""
    out, words = np.empty((DRAWS_PER_BLOCK, batch)), np.empty((4, batch), np.uint64)
    key, scale = np.ones(2, np.uint64), np.ones(DRAWS_PER_BLOCK)
    return 1e9 * fastest(lambda: fill_blocks(out, words, scale, key, 5000), 10) / (5000 * batch * 4)


@njit(**kernels.KERNEL)
def turn_often(rows, s, tables, times):
    for _ in range(times):
        for i in range(s.shape[0]):
            kernels.collect(rows, s, i, tables, 0)
            kernels.damping_at_midpoint(rows, s, i, tables, 0)
            kernels.rotate(s, rows, i)


def rotations(batch: int) -> float:
    """Nanoseconds for the field and the rotation of one site, of a few that stay in the fastest cache."""
    system = chain(2)
    tables = stacked([compile_system(system, "spin_conserving").over(0.05)])
    rows, s = np.zeros((kernels.SUM + 3, batch)), np.full((2, 3, batch), S / math.sqrt(3))
    return 1e9 * fastest(lambda: turn_often(rows, s, tables, 5000), 10) / (5000 * 2 * batch)


def excitations(dt: float, trajectories: int) -> tuple[float, float, float]:
    """n, its standard error, and nanoseconds per site and step."""
    options = phase_space.Options(
        dt=dt, burn_in=BURN_IN, duration=TIME, sample_every=10, initial=[1, 0], trajectories=trajectories, batch=256
    )
    system = chain(100)
    start = time.process_time()
    records = [phase_space.run(system, options, r, ALONE)["Sz"][0] for r in range(options.batches)]
    seconds = time.process_time() - start
    return (
        S + np.mean(records),
        np.std(records, ddof=1) / np.sqrt(len(records)),
        1e9 * seconds / (trajectories * 100 * (BURN_IN + TIME) / dt),
    )


def peer_excitations(dt: float, paths: int, method: str, seed: int) -> tuple[np.ndarray, float]:
    """From XMDS2: n as ⟨|α|²⟩ - ½ with its standard error, n as S + ⟨Sz⟩ likewise; nanoseconds per site and step."""
    os.environ["H5PY_ALWAYS_USE_MPI"] = "0"
    import h5py

    text = PEER.format(
        jp=(JX + JY) / (2 * S),
        jm=(JX - JY) / (2 * S),
        kappa=1 / (2 * S),
        paths=paths,
        bosons=2 * S,
        method=f'method="{method}"' if method else "",
        iterations=3,
        burn_in=BURN_IN,
        time=TIME,
        seed=1001 + seed,
        burn_steps=round(BURN_IN / dt),
        steps=round(TIME / dt),
        operators=OPERATORS,
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "chain.xmds").write_text(text)
        subprocess.run(["xmds2", "chain.xmds"], cwd=folder, check=True, capture_output=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        subprocess.run(["./chain"], cwd=folder, check=True, capture_output=True)
        seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        with h5py.File(Path(folder) / "chain.h5") as file:
            # the first sample is that of the burn-in; errors as of one time, since lengths change slowly
            values = [
                (file["1"][f"mean_{x}"][1:].mean() + shift, np.sqrt(np.mean(file["1"][f"stderr_{x}"][1:] ** 2) / 100))
                for x, shift in (("n", 0), ("sz", S))
            ]
    return np.ravel(values), 1e9 * seconds / (paths * 100 * (BURN_IN + TIME) / dt)


def percent(n, error) -> str:
    """Deviation of n from the exact value."""
    return f"{100 * (n / EXACT - 1):.1f} ± {100 * error / EXACT:.1f} %"


def against_peer(runs: int, paths: int):
    print(f"\nn of 100 sites, exact {EXACT:.4f}; us of CPU per unit of time, site and trajectory; their ratio (range)")
    print(
        f"{'program':20} {'dt':>5} {'ns/step':>8} {'us/time':>8} {'error of |α|² - ½':>18} "
        f"{'error of S + ⟨Sz⟩':>18}  ratio"
    )
    if shutil.which("xmds2") is None:
        print("xmds2 is missing: apt-get install -y --no-install-recommends xmds2 g++ libfftw3-dev libhdf5-dev")
        return
    excitations(OUR_STEP, 512)
    for name, method in PEERS:
        for dt in PEER_STEPS:
            ours, peers = [excitations(OUR_STEP, 2048)], []
            for seed in range(runs):
                peers.append(peer_excitations(dt, paths, method, seed))
                ours.append(excitations(OUR_STEP, 2048))
            n, error, from_sz, error_sz = np.mean([values for values, _ in peers], axis=0)
            cost, mine = np.array([ns for _, ns in peers]) / dt, np.array([one[2] for one in ours]) / OUR_STEP
            ratio = cost / ((mine[1:] + mine[:-1]) / 2)
            print(
                f"{'hpcsim, eo':20} {OUR_STEP:5.3f} {np.median(mine) * OUR_STEP:8.2f} {np.median(mine) / 1e3:8.4f} "
                f"{'':18} {percent(*ours[0][:2]):>18}"
            )
            print(
                f"{name:20} {dt:5.3f} {np.median(cost) * dt:8.2f} {np.median(cost) / 1e3:8.4f} "
                f"{percent(n, error / np.sqrt(runs)):>18} {percent(from_sz, error_sz / np.sqrt(runs)):>18}  "
                f"{np.median(ratio):.0f} ({ratio.min():.0f} to {ratio.max():.0f})",
                flush=True,
            )
            drift, uncertain = abs(from_sz / EXACT - 1) / dt, error_sz / EXACT / dt / np.sqrt(runs)
            steps = 0.01 / drift, uncertain / drift
            print(
                f"    S + ⟨Sz⟩ to 1 %, if its error is proportional to the step: dt = {steps[0]:.1g}, "
                f"ratio {np.median(cost) * dt / steps[0] / np.median(mine):.2g} ± {100 * steps[1]:.0f} %",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", nargs="*", type=int, default=[1, 100, 10_000, 1_000_000])
    parser.add_argument("--runs", type=int, default=3, help="of XMDS2, at least 2; 0 leaves it out")
    parser.add_argument("--paths", type=int, default=1024, help="of XMDS2 in each run")
    arguments = parser.parse_args()
    start = time.time()
    step_cost(4, 64)
    print(f"first step after {time.time() - start:.1f} s: compilation, or reading it from the cache")
    for batch in (64, 128):
        random, turned = random_numbers(batch), rotations(batch)
        print(
            f"{batch} trajectories: random numbers {random:.2f}, field and rotation {turned:.2f} ns per site and step, "
            f"together {1 + turned / random:.2f} times the former"
        )
    print(
        f"{'sites':>8} {'batch':>6} {'integrator, scheme':24} {'ns/site/step':>13} {'random':>7} {'multiple':>9} "
        f"{'time/cost':>10} {'peak memory':>12}"
    )
    cases = [(n, 256 if n <= 100_000 else 64, {"integrator": "eo"}) for n in arguments.sites]
    cases += [
        (100, 512, {"integrator": "eo"}),
        (100, 256, {"integrator": "sib"}),
        (100, 256, {"integrator": "eo", "scheme": "pda"}),
        (100, 256, {"integrator": "sib", "scheme": "pda"}),
    ]
    for sites, batch, options in cases:
        lanes = min(batch, 128)
        before = random_numbers(lanes)
        ns, ratio = step_cost(sites, batch, **options)
        random = (before + random_numbers(lanes)) / 2
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{sites:8d} {batch:6d} {', '.join(options.values()):24} {ns:13.2f} {random:7.2f} {ns / random:9.2f} "
            f"{ratio:10.2f} {peak:9.2f} GB",
            flush=True,
        )
    if arguments.runs:
        against_peer(arguments.runs, arguments.paths)


if __name__ == "__main__":
    main()
