"""Statistics of the jumps of trajectories in the steady state: currents, their noise, and waiting times.

With the numbers N_k of counted jumps in windows of the length w, one after the other, the variance of their number per
time after a long time is [⟨N_k²⟩ + 2⟨N_k N_k+1⟩ - 3⟨N⟩²]/w: the covariance of neighbours takes the error of a finite
window, of the order 1/w without it, to exp(-λw) with the slowest rate λ that the jumps see. The density of waiting
times is that of the times from a counted jump to the next one of the same current. Those that begin early enough to end
before the last window does are counted alone, so that none is cut off.

With homodyne or heterodyne detection the same is found of the integral of the current Y in place of N.
"""

from dataclasses import replace

import numpy as np

from hpcsim.ensemble.options import gather
from hpcsim.methods import Context, Dim, Output
from hpcsim.methods.trajectories.log import of_jumps
from hpcsim.methods.trajectories.measurement import Plan
from hpcsim.methods.trajectories.walk import walker
from hpcsim.observables import currents, two_times
from hpcsim.observables.outputs import inverse
from hpcsim.system import System


def outputs(system: System, options) -> tuple[Output, ...]:
    """As the method liouvillian has them, with standard errors, and NAME_waiting. ValueError where one does not fit.

    Of a diffusive unravelling the mean and the variance of each current.
    """
    found = []
    whole = currents.outputs(system, options)
    if options.unravelling == "jumps":
        for mean, variance, fano in zip(whole[::3], whole[1::3], whole[2::3]):
            found += [*_statistics(options, mean, variance), _fano(options, mean, fano)]
            found += _waiting(system, options, mean.name) if options.waiting else []
        found.append(Output("jumps", (), "1", "jumps of a trajectory", reduce="mean"))
    else:
        units = "1" if system.units == "1" else f"{system.units}^(1/2)"
        for name, quadrature, _ in _currents(system, options):
            mean = Output(name, (), units, f"mean {options.unravelling} current{quadrature}")
            noise = f"variance of the integrated current per time{quadrature}: in the vacuum 1, or Σ ν² of the channels"
            found += _statistics(options, mean, Output(f"{name}_variance", (), "1", noise))
    two_times.check_names([output.name for output in found], "method.channels: ")
    return tuple(found)


def _currents(system: System, options) -> list[tuple[str, str, np.ndarray]]:
    """(name, which quadrature, (channels,) weights) of every current; the channels are those of the unravelling."""
    found = []
    for item in options.channels:
        weight = np.array(list(currents.counted(system, item)))
        if options.unravelling == "heterodyne":
            first, second = np.array([[1.0, 0.0], [0.0, 1.0]])
            found.append((item["name"], " of the quadrature phase", np.kron(weight, first)))
            found.append((f"{item['name']}_other", " of the quadrature phase + 1/2", np.kron(weight, second)))
        else:
            found.append((item["name"], "", weight))
    return found


def _statistics(options, mean: Output, variance: Output) -> list[Output]:
    square, next_one = f"{mean.name}_square", f"{mean.name}_next"
    return [
        replace(mean, reduce="mean"),
        _function(variance, _variance(options, mean.name), (square, next_one, mean.name)),
        Output(square, (), "1", "square of the number in a window", reduce="mean", internal=True),
        Output(next_one, (), "1", "product of the numbers in neighbouring windows", reduce="mean", internal=True),
    ]


def _variance(options, name: str) -> str:
    window = repr(options.sample_every)
    return f"({name}_square + 2*{name}_next - 3*({window}*{name})**2) / {window}"


def _fano(options, mean: Output, fano: Output) -> Output:
    sources = f"{mean.name}_square", f"{mean.name}_next", mean.name
    return _function(fano, f"{_variance(options, mean.name)} / abs({mean.name})", sources)


def _function(output: Output, formula: str, sources: tuple[str, ...]) -> Output:
    return replace(output, reduce="function", function=formula, sources=sources)


def _waiting(system: System, options, name: str) -> list[Output]:
    centres = (np.array(options.waiting[1:]) + options.waiting[:-1]) / 2
    bins = (Dim("wait", tuple(centres.tolist()), inverse(system.units)),)
    waits, begun = f"{name}_waits", f"{name}_begun"
    text = "density of the times between counted jumps, averaged over bins"
    return [
        _function(Output(f"{name}_waiting", bins, system.units, text), f"{waits} / {begun}", (waits, begun)),
        Output(waits, bins, system.units, "waiting times in a bin, over its width", reduce="mean", internal=True),
        Output(begun, (), "1", "waiting times that begin", reduce="mean", internal=True),
    ]


def run(system: System, options, first: int, starts: np.ndarray, plan: Plan, samples, context: Context) -> dict:
    """The statistics of the trajectories first, first + 1, ... of this rank, averaged over those of all ranks.

    starts  : (trajectories, D) their initial states;  samples : where windows begin and end
    """
    asked = _currents(system, options)
    weight = np.array([each for *_, each in asked])
    edges = options.waiting or ()
    log = of_jumps(len(starts), len(samples), weight, edges, (samples[0], samples[-1] - (edges[-1] if edges else 0)))
    walk, key = walker(system, options, context), np.array(context.key, np.uint64)
    slots, none = np.zeros(len(samples), np.int64), np.zeros((len(starts), 1, 0))
    jumps = walk.run(starts, first, samples, slots, options.tolerance, plan, key, log, none)
    numbers = np.diff(log.counts, axis=1)  # (trajectories, windows, currents)
    columns = [
        numbers.mean(axis=1) / options.sample_every,
        (numbers**2).mean(axis=1),
        (numbers[:, 1:] * numbers[:, :-1]).mean(axis=1),
        log.begun,
        *np.moveaxis(log.waits / np.diff(edges), 2, 0),
    ]
    table = np.stack(columns, axis=1).reshape(len(starts), len(columns) * len(weight))
    table = gather(np.column_stack([table, jumps]).T, context.comm).mean(axis=-1)
    mean, square, next_one, begun, *waits = table[:-1].reshape(len(columns), len(weight))
    results = {"jumps": table[-1]} if options.unravelling == "jumps" else {}
    for c, (name, *_) in enumerate(asked):
        results |= {name: mean[c], f"{name}_square": square[c], f"{name}_next": next_one[c]}
        if edges:
            results |= {f"{name}_waits": np.array(waits)[:, c], f"{name}_begun": begun[c]}
    return results
