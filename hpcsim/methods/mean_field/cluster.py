"""Clusters of sites treated exactly in the mean field of their surroundings (huber2020, Appendix B).

The lattice is cut into clusters of n consecutive sites, which are all alike and have the same density matrix ρ.
Couplings between clusters act as fields that are given by averages in ρ itself,

    dρ/dt = L ρ - i [ Σ_{i a} b_ia S_ia, ρ ],   b = outer s,  s_ia = Tr(S_ia ρ).
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from hpcsim.methods.mean_field import contraction
from hpcsim.methods.mean_field.equations import couplings, crossing, local_parts
from hpcsim.system import Jumps, System, coherent_state, matrices, piecewise, starts
from hpcsim.system.drive import Drive

LARGEST = 1500  # dimension of a cluster


@dataclass(frozen=True)
class Cluster:
    """system : the first n sites alone; outer : (3n, 3n) field by the averages, positions 3 site + axis."""

    system: System
    outer: np.ndarray


def cut(system: System, n: int) -> Cluster:
    """The cluster of n sites. Raises ValueError where the clusters are not alike, or are too large."""
    if n > system.sites or system.sites % n:
        raise ValueError(f"cluster = {n}: the {system.sites} sites do not make clusters of {n}")
    first = replace(
        system,
        spins=system.spins[:n],
        cutoffs=system.cutoffs[:n],
        symmetries=(),
        sublattice=system.sublattice[:n],
        hamiltonian=_inside(system.hamiltonian, n),
        jumps=tuple(_jumps_inside(system.jumps, n)),
        drive=None,
    )
    if first.dimension > LARGEST:
        raise ValueError(f"cluster = {n}: its Hilbert space has {first.dimension:.4g} dimensions; {LARGEST} at most")
    for jumps in filter(lambda jumps: jumps.collective, first.jumps):
        largest = np.take_along_axis(jumps.weights, abs(jumps.weights).argmax(axis=1)[:, None], axis=1)
        if np.any(abs((jumps.weights * largest.conj()).imag) > 1e-12 * abs(largest) ** 2):
            raise ValueError(f"cluster = {n}: the weights of {jumps} have different phases; leave out cluster")
    count = system.sites // n
    inner, outer = (np.zeros((count, 3 * n, 3 * n)) for _ in range(2))
    for i, a, j, b, c in couplings(system):
        (inner if i // n == j // n else outer)[i // n, 3 * (i % n) + a, 3 * (j % n) + b] += c
    alike = [inner, outer, system.spins, system.sublattice, *local_parts(system)]
    alike += [_rates_inside(jumps, count, n) for jumps in system.jumps if jumps.collective]
    for part in alike:
        part = part.reshape(count, -1)
        if not np.allclose(part, part[0], rtol=1e-12, atol=1e-14 * np.abs(part).max()):
            raise ValueError(
                f"cluster = {n}: the clusters of {n} consecutive sites differ in their couplings "
                f"or rates (an open chain, or the unit cell is larger)"
            )
    return Cluster(first, outer[0])


def _rates_inside(jumps: Jumps, count: int, n: int) -> np.ndarray:
    """(clusters, n, n) rates Γ_ij between the sites of every cluster."""
    found, site = np.zeros((count, n, n), complex), jumps.site
    rows, columns = np.nonzero(site[:, None] // n == site // n)
    found[site[rows] // n, site[rows] % n, site[columns] % n] = jumps.rate_matrix()[rows, columns]
    return found


def _inside(hamiltonian, n):
    kept = ((terms, np.all(terms.sites < n, axis=1)) for terms in hamiltonian)
    return tuple(
        replace(terms, sites=terms.sites[inside], coefficients=terms.coefficients[inside]) for terms, inside in kept
    )


def _jumps_inside(jumps, n):
    for family in jumps:
        inside = family.site < n
        if inside.any() and family.collective:
            yield Jumps(family.operators, family.sites[inside], family.rates, weights=family.weights[:, inside])
        elif inside.any():
            yield replace(family, sites=family.sites[inside], rates=family.rates[inside])


class Dynamics:
    """dρ/dt of a cluster, of the real vector y = (Re ρ, Im ρ) of length 2 D²."""

    def __init__(self, cluster: Cluster):
        system, self.outer = cluster.system, cluster.outer
        self.system, self.spins, self.dimension = system, system.spins, round(system.dimension)
        H, jumps = matrices.hamiltonian(system), matrices.jump_operators(system)
        operators = [matrices.site_operator(system, f"S{a}", site) for site in range(system.sites) for a in "xyz"]
        self.fed = np.flatnonzero(np.any(self.outer, axis=1))
        parts = [-1j * matrices.effective_hamiltonian(H, jumps)] + [-1j * operators[k] for k in self.fed]
        self.shift = np.unique(np.concatenate([contraction.diagonals(part)[0] for part in parts]))
        self.inner, *fields = (contraction.diagonals(part, self.shift)[1] for part in parts)
        self.fields = np.array(fields).reshape(-1, *self.inner.shape)
        self.jumps = [contraction.jump(rate, operator) for rate, operator in jumps]
        self.first = self._functionals(operators)

    def _functionals(self, operators):
        """(operators, 2 D²) matrix: Tr(Oρ) = Σ Re O_mn Re ρ_nm - Im O_mn Im ρ_nm of Hermitian O."""
        D, rows, at, weights = self.dimension, [], [], []
        for row, operator in enumerate(operators):
            m = sparse.coo_matrix(operator)
            place = m.col.astype(int) * D + m.row
            for part, weight in ((0, m.data.real), (D * D, -np.imag(m.data))):
                rows.append(np.full(m.nnz, row))
                at.append(place + part)
                weights.append(weight)
        return sparse.csr_matrix(
            (np.concatenate(weights), (np.concatenate(rows), np.concatenate(at))), (len(operators), 2 * D * D)
        )

    def averages(self, y) -> np.ndarray:
        """(3n,) Tr(S_ia ρ)."""
        return self.first @ y

    def purity(self, y) -> float:
        """Tr ρ²."""
        return y @ y

    def _fields(self, averages):
        """-i Σ b_ia S_ia on the diagonals, for the mean field b of these averages."""
        return np.tensordot((self.outer @ averages)[self.fed], self.fields, 1)

    def _apply(self, y, generator, jumps=()):
        rho, out = y.reshape(2, self.dimension, self.dimension), np.empty((2, self.dimension, self.dimension))
        contraction.left_right(rho, self.shift, generator.real.copy(), generator.imag.copy(), out)
        for jump in jumps:
            contraction.sandwich(rho, *jump, out)
        contraction.mirror(out)
        return out.ravel()

    def __call__(self, time, y):
        return self._apply(y, self.inner + self._fields(self.averages(y)), self.jumps)

    def jacobian(self, y):
        """The linear map v -> (L + fields of ρ) v - i [fields of v, ρ], of traceless v."""
        generator = self.inner + self._fields(self.averages(y))
        return lambda v: self._apply(v, generator, self.jumps) + self._apply(y, self._fields(self.averages(v)))

    def room(self, time: float) -> float:
        """How long a step from this time on may be."""
        return np.inf

    def product(self, directions) -> np.ndarray:
        """y of spin coherent states along the directions (n, 3)."""
        x, y, z = directions.T
        angles = np.column_stack([np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)])
        psi = coherent_state(np.rint(2 * self.spins + 1).astype(int), angles)
        return _components(np.outer(psi, psi.conj()))

    def product_of(self, initial, key) -> np.ndarray:
        """y of any product state, the same in all clusters."""
        return _components(starts.density(self.system, initial, key, lambda item: np.empty(0)).toarray())

    def advance(self, y, begin, duration, settled, close, tolerance):
        """y after `duration`, once max |ds/dt| and max |dρ/dt| <= settled, or, with close > 0, once s is back.

        begin : the time now

        Returns y, max |dρ/dt|, the average, lowest and highest values of s on the way, and the period or NaN, all
        as `equations.advance`.
        """
        from scipy.integrate import RK45  # slow to load, and only clusters need it

        solver = RK45(self, begin, y, begin + duration, rtol=tolerance, atol=tolerance * 1e-2)
        s, f = self.averages(y), self.averages(solver.f)
        start, across, side = s, f, 0.0
        mean, low, high, period = np.zeros(len(s)), s, s, np.nan
        while solver.status == "running" and abs(solver.f).max() > settled and np.isnan(period):
            solver.max_step = self.room(solver.t)
            solver.step()
            before, later, f_later = side, self.averages(solver.y), self.averages(solver.f)
            side = across @ (later - start)
            if before < 0 <= side:
                part, away = crossing(start, across, s, f, later, f_later, solver.step_size)
                if away <= close:
                    period = solver.t_old - begin + part * solver.step_size
            mean = mean + solver.step_size * (s + later) / 2
            s, f, low, high = later, f_later, np.minimum(low, later), np.maximum(high, later)
        mean = mean / (solver.t - begin) if solver.t > begin else s
        y, fastest = solver.y, abs(solver.f).max()
        vars(solver).clear()  # it refers to itself: its arrays would stay until the garbage is collected
        return y, fastest, mean, low, high, period


def _components(rho: np.ndarray) -> np.ndarray:
    """(Re ρ, Im ρ), (2 D²,)."""
    return np.concatenate([rho.real.ravel(), rho.imag.ravel()])


class Moving(Dynamics):
    """The same where coefficients and rates depend on time.

    cluster : with the largest values of all times
    parts   : clusters of the systems of the drive
    """

    def __init__(self, cluster: Cluster, parts: list[Cluster], drive: Drive):
        super().__init__(cluster)
        self._drive, self._last, self.room, self._weights = drive, 0.0, drive.room, np.ones(len(parts))
        effective = [
            matrices.effective_hamiltonian(matrices.hamiltonian(each.system), matrices.jump_operators(each.system))
            for each in parts
        ]
        self._inner = np.array([contraction.diagonals(-1j * each, self.shift)[1] for each in effective])
        self._outer, self._largest = np.array([each.outer for each in parts]), self.jumps
        used = [jumps.rates != 0 for jumps in cluster.system.jumps]
        rates = [[j.rates[at] for j, at in zip(each.system.jumps, used)] for each in (cluster, *parts)]
        rates = np.array([np.concatenate([*each, []]) for each in rates])
        self._rates = rates[1:] / rates[0]
        self._rates_move = bool(np.any(self._rates[1:]))

    def _set_time(self, time: float):
        weights, time = self._weights, min(time, self._last)
        piecewise.value(self._drive.curve, piecewise.piece_at(self._drive.curve, time), time, weights[1:])
        self.inner = (weights @ self._inner.reshape(len(weights), -1)).reshape(self._inner.shape[1:])
        self.outer = (weights @ self._outer.reshape(len(weights), -1)).reshape(self._outer.shape[1:])
        if self._rates_move:
            scale = np.sqrt(np.maximum(weights @ self._rates, 0))
            self.jumps = [jump._replace(amplitude=x * jump.amplitude) for x, jump in zip(scale, self._largest)]

    def __call__(self, time, y):
        self._set_time(time)
        return super().__call__(time, y)

    def advance(self, y, begin, duration, settled, close, tolerance):
        """As that of `Dynamics`, from edge to edge of the drive, between which everything is smooth."""
        edges = self._drive.edges
        for end in [*edges[(edges > begin) & (edges < begin + duration)], begin + duration]:
            self._last = np.nextafter(end, begin)
            found = super().advance(y, begin, end - begin, settled, close, tolerance)
            y, begin = found[0], end
        return found
