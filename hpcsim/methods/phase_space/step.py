"""The step chosen by `dt: auto`: from a pilot at a coarse step and at half of it, one whose bias is small enough.

The bias of a step is taken as b(dt) = C dt^p. Two pilots give C (1 - 2^-p) dt₀^p as the difference of their
averages, to which its standard error is added, so that a noisy pilot leads to a smaller step, never to a bias
that was not seen. They share initial states and random numbers, step by step, which makes the difference less
noisy than their averages; steps of three-point noise cannot share the noise of the same time.
"""

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from hpcsim.ensemble.reduce import AVERAGED
from hpcsim.methods import Output
from hpcsim.observables import reduced
from hpcsim.system import System

# Measured from dt × rate = 0.5 to 0.06 on driven spins and dimers with S = 10: errors fall by 2.9 to 4 and more with
# each halving. They are of second order in the drift, and of first, but small, in noises that do not commute
ORDER = 1.5
COARSE = 0.5  # of the pilot: step × fastest rate
PILOT = 64  # trajectories of a pilot at least, in BATCHES
BATCHES = 8
OF_TARGET = 0.5  # bias allowed: of the target_error or, without one, of S in ⟨Sj⟩ and of S² in ⟨Sj²⟩
OF_SPIN = 0.01


def coarse(unit: float, fastest: float) -> float:
    """The longest step that divides `unit` and is no longer than COARSE / fastest. Raises ValueError."""
    if not fastest:
        return unit
    if unit * fastest < COARSE / 1000:
        raise ValueError(
            f"dt = auto: no step longer than {unit:.3g} divides all times of the options, and "
            f"{COARSE / fastest:.3g} might do; choose rounder times, or give dt"
        )
    return divided(unit, COARSE / fastest)


def divided(unit: float, longest: float) -> float:
    """The longest step that divides `unit` and is no longer than `longest`."""
    return unit / math.ceil(unit / longest * (1 - 1e-9))


def common_unit(times: Iterable[float]) -> float:
    """The longest step that all times, to six digits of a fraction, are multiples of."""
    fractions = [Fraction(time).limit_denominator(10**6) for time in times if time]
    whole = math.lcm(*(f.denominator for f in fractions))
    return (math.gcd(*(f.numerator * (whole // f.denominator) for f in fractions)) or 1) / whole


def allowed(system: System, outputs: Iterable[Output], targets: dict) -> dict[str, np.ndarray | float]:
    """{output: bias allowed}, of the target errors or, where there are none, of the first and second moments."""
    names = {output.name for output in outputs}
    if wanted := names & targets.keys():
        return {name: OF_TARGET * targets[name] for name in wanted}
    sites = np.bincount(system.sublattice, minlength=len(system.sublattices))
    spin = np.bincount(system.sublattice, system.spins, len(sites)) / sites
    # sublattices first, then times
    limits = {f"S{a}{power}": OF_SPIN * spin ** int(power or 1) for a in "xyz" for power in ("", "2")}
    return {o.name: limits[o.name].reshape(-1, *(1,) * (len(o.dims) - 1)) for o in outputs if o.name in limits}


def relative_bias(outputs: Iterable[Output], limits: dict, at_coarse: list[dict], at_half: list[dict]) -> float:
    """Estimated bias of the coarse step, with its jackknife error, over what is allowed: the largest of all.

    at_coarse, at_half : results of the batches of the two pilots, in pairs
    """

    def average(output, pilot):
        return reduced(output, lambda name: np.stack([batch[name] for batch in pilot]))[0]

    largest, n = 0.0, len(at_coarse)
    for output in outputs:
        if output.name in limits and output.reduce in AVERAGED:

            def difference(without=n):
                return average(output, at_coarse[:without] + at_coarse[without + 1 :]) - average(
                    output, at_half[:without] + at_half[without + 1 :]
                )

            left_out = np.array([difference(without) for without in range(n)])
            bias = (np.abs(difference()) + np.sqrt(n - 1) * left_out.std(axis=0)) / (1 - 2**-ORDER)
            largest = max(largest, np.nanmax(bias / limits[output.name], initial=0.0))
    return float(largest)


def refined(unit: float, first: float, bias: float) -> tuple[float, float]:
    """The longest step of at most `first` whose bias, relative to what is allowed, is 1 at most; and that bias."""
    dt = divided(unit, first * min(1.0, max(bias, 1e-300) ** (-1 / ORDER)))
    return dt, bias * (dt / first) ** ORDER
