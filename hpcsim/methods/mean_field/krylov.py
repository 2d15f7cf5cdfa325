"""Fixed points of a cluster and their stability, from products of the Jacobian J with vectors.

The spectrum of J is wide, but that of exp(JT) is not, because after a time T all but the slowest fluctuations are
gone. Arnoldi's method therefore finds the largest eigenvalues of exp(JT), and GMRES solves Newton's equations
J δ = -dρ/dt as

    (exp(JT) - 1) w = -dρ/dt,   δ = ∫_0^T exp(Jt) w dt.
"""

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigs, gmres

from hpcsim import solvers
from hpcsim.methods.mean_field.contraction import mirror

NEWTON_STEPS = 30
VECTORS = 10  # kept by Arnoldi's method
ACCURACY = 1e-6  # relative, of eigenvalues of exp(JT)


def flow(linear, v, span, tolerance, source=0.0):
    """w(span) of dw/dt = linear(w) + source, w(0) = v."""
    from scipy.integrate import RK45

    scale = np.abs(v).max() + span * np.max(np.abs(source))
    solver = RK45(lambda time, w: linear(w) + source, 0.0, v, span, rtol=tolerance, atol=tolerance * 1e-2 * scale)
    while solver.status == "running":
        solver.step()
    w = solver.y
    vars(solver).clear()  # it refers to itself: its arrays would stay until the garbage is collected
    return w


def slowest(dynamics, y, span, tolerance) -> tuple[complex, np.ndarray]:
    """The eigenvalue of J at y with the largest real part, and the real part of its vector, without trace."""
    J, D = dynamics.jacobian(y), dynamics.dimension
    diagonal = np.arange(D) * (D + 1)

    def traceless(v):
        """v made Hermitian and traceless, since rounding errors would otherwise appear as an eigenvalue 0."""
        v = v.copy()
        v[diagonal] -= v[diagonal].mean()
        mirror(v.reshape(2, D, D))
        return v

    step = LinearOperator(
        (len(y), len(y)), dtype=float, matvec=lambda v: traceless(flow(J, traceless(v), span, tolerance))
    )
    directions = np.random.default_rng(0).normal(size=(len(dynamics.spins), 3))
    start = traceless(dynamics.product(directions))
    _, vectors = eigs(step, k=2, which="LM", v0=start, tol=ACCURACY, ncv=min(VECTORS, len(y)))
    values = [np.vdot(v, J(v.real.copy()) + 1j * J(v.imag.copy())) / np.vdot(v, v) for v in vectors.T]
    first = int(solvers.slowest(np.array(values)))
    return values[first], vectors[:, first].real


def root(dynamics, y, span, tolerance, settled):
    """The fixed point that Newton's method reaches from y; it stops once max |dρ/dt| <= settled."""
    for _ in range(NEWTON_STEPS):
        change = dynamics(0.0, y)
        if np.abs(change).max() <= settled:
            break
        J = dynamics.jacobian(y)
        step = LinearOperator((len(y), len(y)), matvec=lambda v: flow(J, v, span, tolerance) - v, dtype=float)
        w, _ = gmres(step, -change, rtol=1e-3, restart=40, maxiter=1, atol=0)
        delta = flow(J, 0 * y, span, tolerance, source=w)
        y = y + delta * min(1, 0.5 / np.abs(delta).max())
    return y
