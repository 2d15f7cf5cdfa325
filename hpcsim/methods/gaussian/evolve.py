"""Fluctuations about a product state that moves: the classical equations, and the covariances along their solution.

The frames of the spins move with them without turning about them, which the linearised equations are made for:

    dn_i/dt = Σ_c f_ic e_ic / sqrt(2S_i),  de_ic/dt = -f_ic n_i / sqrt(2S_i),  dV/dt = A V + V Aᵀ + D,

with f = d⟨ξ⟩/dt at ξ = 0, A and D of the frames at that time. V = 1 at t = 0: a product of spin coherent states.
"""

from dataclasses import replace

import numpy as np

from hpcsim.methods.gaussian.lattice import Lattice, lattice_of
from hpcsim.methods.gaussian.linear import frames_along, linearise
from hpcsim.methods.gaussian.moments import averaging, moments, plan
from hpcsim.observables import Dim, Output
from hpcsim.observables.outputs import time_dim
from hpcsim.system import System, angles, piecewise


def outputs(system: System, options) -> tuple[Output, ...]:
    """What `moments` gives, at all times."""
    time, lattice = time_dim(options.times, system.units), (Dim("sublattice", tuple(system.sublattices)),)
    components = (Dim("component", ("x", "y", "z")), *lattice)
    found = (
        *plan(system, lattice_of(system), options.observables).outputs,
        Output("direction", components, "1", "direction of the product state"),
        Output("occupation", lattice, "1", "⟨c†c⟩, excitations of a site"),
        Output("quadrature_squeezing", lattice, "1", "smallest variance of a quadrature of a site, 1 of the vacuum"),
    )
    return tuple(replace(output, dims=(*output.dims, time)) for output in found)


def evolve(system: System, options) -> dict[str, np.ndarray]:
    """All outputs. Raises ValueError where a declared translation does not hold."""
    lattice, wanted = lattice_of(system), plan(system, lattice_of(system), options.observables)
    flow, names = _Flow(system, lattice), [output.name for output in outputs(system, options)]
    polar, azimuth = angles(system, options.initial).T
    n = np.column_stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
    size = 2 * len(lattice.home)
    state = flow.packed(frames_along(n), np.broadcast_to(np.eye(size), (*lattice.orders, size, size)))
    found, mean = [], averaging(system, lattice)
    for now in flow.states(state, options.times, options.tolerance):
        frames, V = flow.unpacked(now)
        each = moments(system, lattice, frames, V, wanted) | {"direction": (mean @ frames[lattice.home, 0]).T}
        found.append({name: each[name] for name in names})
    return {name: np.stack([each[name] for each in found], axis=-1) for name in names}


class _Flow:
    """d/dt of frames and covariances, as one real vector."""

    def __init__(self, system: System, lattice: Lattice):
        self._drive, self._lattice = system.drive, lattice
        self._systems = system.drive.systems if system.drive else (system,)
        self._lengths, self._last = np.sqrt(2 * system.spins)[:, None], 0.0
        lattice.verify(system, linearise(system, frames_along(np.tile([0.6, 0.0, 0.8], (system.sites, 1)))).drift)

    def packed(self, frames, V) -> np.ndarray:
        return np.concatenate([frames.ravel(), np.ascontiguousarray(V, complex).view(float).ravel()])

    def unpacked(self, state):
        """Frames (sites, 3, 3), right-handed and orthonormal, and V_k, Hermitian: real without translations."""
        count, size = 9 * len(self._lengths), 2 * len(self._lattice.home)
        n, e1, _ = np.moveaxis(state[:count].reshape(-1, 3, 3), 1, 0)
        n = n / np.linalg.norm(n, axis=1, keepdims=True)
        e1 = e1 - n * np.sum(n * e1, axis=1, keepdims=True)
        e1 = e1 / np.linalg.norm(e1, axis=1, keepdims=True)
        V = state[count:].view(complex).reshape(*self._lattice.orders, size, size)
        V = (V + np.swapaxes(V, -1, -2).conj()) / 2
        return np.stack([n, e1, np.cross(n, e1)], axis=1), V if self._lattice.orders else V.real

    def __call__(self, time: float, state):
        frames, V = self.unpacked(state)
        weights = np.ones(1)
        if self._drive:
            weights = np.append(1.0, piecewise.values(self._drive.curve, np.array([min(time, self._last)])))
        force, drift, diffusion = 0.0, 0.0, 0.0
        for weight, system in zip(weights, self._systems):
            linear = linearise(system, frames)
            force = force + weight * linear.force / self._lengths
            drift = drift + weight * self._lattice.transform(linear.drift)
            diffusion = diffusion + weight * self._lattice.transform(linear.diffusion)
        moved = np.einsum("ic,ica->ia", force, frames[:, 1:])
        turned = -force[:, :, None] * frames[:, :1]
        change = drift @ V
        return self.packed(
            np.concatenate([moved[:, None], turned], axis=1), change + np.swapaxes(change, -1, -2).conj() + diffusion
        )

    def states(self, state, times, tolerance: float):
        """Yield the states at rising times from the state at 0, with this relative error; no step passes an edge."""
        from scipy.integrate import DOP853  # slow to load

        left, begin = list(times), 0.0
        while left and left[0] <= begin:
            left.pop(0)
            yield state
        edges = self._drive.edges if self._drive else np.zeros(0)
        for stop in [*edges[(edges > 0) & (edges < left[-1])], left[-1]] if left else []:
            self._last = np.nextafter(stop, begin)
            solver = DOP853(self, begin, state, stop, rtol=tolerance, atol=tolerance * 1e-2)
            while solver.status == "running":
                solver.max_step = self._drive.room(solver.t) if self._drive else np.inf
                message = solver.step()
                if solver.status == "failed":
                    raise RuntimeError(f"the fluctuations grow without bound at t = {solver.t:.6g}: {message}")
                within = sum(time <= solver.t for time in left)
                between = solver.dense_output() if within else None
                for _ in range(within):
                    yield between(left.pop(0))
            state, begin = solver.y, stop
            vars(solver).clear()  # it refers to itself: its arrays would stay until the garbage is collected
