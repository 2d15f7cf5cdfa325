"""Theory against numerical solutions of the linearised equations; estimates against made-up data."""

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov

from hpcsim.analysis import all_to_all, estimates, gain_loss

PHASES = {"up-up": (1.5, 0.06), "down-down": (0.06, 1.5), "up-down": (1.5, 1.9), "up-down, h = 0": (1.5, 0.9)}


def spin_waves(gain, loss, g, h, cells):
    """Steady state of the linearised master equation (huber2020, A3) in real space.

    Returns (C, W, signs): C_ij = ⟨c_i† c_j⟩ + 1/2 and W_ij = ⟨c_i c_j⟩ over sites a, b, a, b, ...; the
    drift matrix of the amplitudes (c, c†); and the direction of each sublattice. Nothing is assumed
    about which correlations vanish: c and c† of all sites are kept.
    """
    up_a = gain * loss > (g + h) ** 2 or gain > loss
    up_b = gain * loss < (g - h) ** 2 and gain > loss
    n = 2 * cells
    hopping = np.zeros((n, n))
    for cell in range(cells):
        a, b, following = 2 * cell, 2 * cell + 1, (2 * cell + 2) % n
        hopping[a, b] += g
        hopping[b, following] += h
    hopping += hopping.T
    up = np.tile([up_a, up_b], cells)
    # S+ -> sqrt(2S) c where up, sqrt(2S) c† where down: a bond of equal spins hops, of opposite ones pairs
    same = up[:, None] == up[None, :]
    hop, pair = hopping * same, hopping * ~same
    # D[S+] of an up spin and D[S-] of a down spin damp c, the other two amplify it; amplitudes at ±Γ
    rates = np.tile([gain if up_a else -gain, -loss if up_b else loss], cells)
    drift = np.block([[-1j * hop - np.diag(rates), -1j * pair], [1j * pair, 1j * hop - np.diag(rates)]])
    # symmetrised ⟨{v, v†}⟩/2 of v = (c, c†): gain and loss both bring the noise |Γ|
    noise = np.diag(np.abs(np.tile(rates, 2))).astype(complex)
    V = solve_continuous_lyapunov(drift, -noise)
    return V[:n, :n], V[:n, n:], drift, up


@pytest.mark.parametrize("phase", PHASES)
def test_gaussian_means_and_variances(phase):
    (gain, loss), h = PHASES[phase], 0.0 if phase.endswith("0") else 0.5
    C, W, _, up = spin_waves(gain, loss, 1.0, h, 40)
    for site, name in enumerate("ab"):
        n = C[site, site].real - 0.5
        sign = 1 if up[site] else -1
        mean = sign * (100 - n)
        assert gain_loss.gaussian_Sz(gain, loss, 1.0, h, 100.0, name) == pytest.approx(mean, abs=1e-9)
        variance = n**2 + n + abs(W[site, site]) ** 2
        assert gain_loss.gaussian_var_Sz(gain, loss, 1.0, h, 100.0, name) == pytest.approx(variance, abs=1e-9)


@pytest.mark.parametrize("phase", PHASES)
def test_gaussian_gap(phase):
    (gain, loss), h = PHASES[phase], 0.0 if phase.endswith("0") else 0.5
    _, _, drift, _ = spin_waves(gain, loss, 1.0, h, 40)
    slowest = -np.linalg.eigvals(drift).real.max()
    assert gain_loss.gaussian_gap(gain, loss, 1.0, h) == pytest.approx(slowest, abs=1e-9)


def test_theory_is_nan_outside_its_phases_and_broadcasts():
    loss = np.array([0.1, 0.5, 1.9])
    for theory in (gain_loss.gaussian_Sz, gain_loss.gaussian_var_Sz):
        assert np.isnan(theory(1.5, loss, 1.0, 0.5, 10.0, "a")).tolist() == [False, True, False]
    assert np.isnan(gain_loss.gaussian_gap(1.5, loss, 1.0, 0.5)).tolist() == [False, True, False]


def test_boundaries_are_where_the_slowest_mode_stops_decaying():
    for boundary, inside in ((gain_loss.lower_boundary, -1e-6), (gain_loss.upper_boundary, 1e-6)):
        edge = boundary(1.5, 1.0, 0.5)
        assert 0 < gain_loss.gaussian_gap(1.5, edge + inside, 1.0, 0.5) < 1e-5
        assert np.isnan(gain_loss.gaussian_gap(1.5, edge - inside, 1.0, 0.5))
    assert gain_loss.critical_rate(1.0, 0.5) == pytest.approx(1.5)
    assert gain_loss.upper_boundary(1.5, 1.0, 0.5) == pytest.approx(1.5)
    assert gain_loss.lower_boundary(1.5, 1.0, 0.5) == pytest.approx(1 / 6)


def test_power_law_exponent_and_its_error():
    """The quoted error is the scatter of the exponent over many samples of the data."""
    rng = np.random.default_rng(3)
    x = np.array([2.0, 4, 8, 16, 32])
    error = 0.1 * x**-0.7 * np.array([1, 2, 1, 3, 1])
    fits = [estimates.power_law(x, 3 * x**-0.7 + rng.normal(size=5) * error, error) for _ in range(2000)]
    values = np.array([fit.value for fit in fits])
    assert values.mean() == pytest.approx(-0.7, abs=0.01)
    # a fit with more scatter than its errors explain says so: the quoted error is a little larger
    assert 1.0 < np.mean([fit.error for fit in fits]) / values.std() < 1.25


def test_power_law_without_errors_takes_them_from_the_scatter():
    x = np.array([2.0, 4, 8, 16])
    exact = estimates.power_law(x, 5 / x)
    assert exact.value == pytest.approx(-1) and exact.error < 1e-12
    assert exact.line(np.array([3.0])) == pytest.approx(5 / 3)
    # a straight-line fit by hand to logarithms off by ±d
    d = np.array([0.1, -0.1, -0.1, 0.1])
    bent = estimates.power_law(x, 5 / x * np.exp(d))
    spread = np.log(x) - np.log(x).mean()
    assert bent.error == pytest.approx(np.sqrt(np.sum(d**2) / 2 / np.sum(spread**2)))


def test_errors_of_a_fit_include_the_choice_of_its_range():
    """A curve of local exponents -0.5 and -1: half their difference, however small the errors of the points."""
    x = 2.0 ** np.arange(9)
    y = np.where(x < 16, x**-0.5, 4 * x**-1.0)
    fit = estimates.power_law(x, y, 1e-4 * y)
    assert fit.error == pytest.approx(0.25, rel=0.05) and -1 < fit.value < -0.5
    assert estimates.power_law(x, x**-0.5, 1e-4 * y).error < 1e-3


def test_exponential_and_logarithm():
    x = np.linspace(0, 10, 21)
    y, noise = 3 * np.exp(-0.7 * x), np.full(21, 0.01)
    fit = estimates.decay_rate(x, y + 0.2 * (x < 2), noise, start=2)
    assert fit.value == pytest.approx(0.7) and fit.note == "10 points, 2 to 6.5"  # beyond, y is less than three errors
    assert fit.line(np.array([1.0])) == pytest.approx(3 * np.exp(-0.7))
    fit = estimates.logarithm(x[1:], 5 + 6 * np.log(x[1:]))
    assert fit.value == pytest.approx(6) and fit.line(np.array([1.0])) == pytest.approx(5)
    for estimate in (estimates.decay_rate, estimates.logarithm):
        with pytest.raises(ValueError, match="needs positive"):
            estimate(x, -y)


def test_power_law_with_correction():
    x = np.array([2.0, 4, 8, 16, 32])
    y = 2 / x * np.exp(-0.8 / np.sqrt(x))
    assert abs(estimates.power_law(x, y).value + 1) > 0.05
    assert estimates.power_law(x, y, correction=0.5).value == pytest.approx(-1, abs=1e-9)


def test_steepening():
    x = np.array([1.0, 2, 4])
    assert estimates.steepening(x, np.array([8.0, 4, 1])).value == pytest.approx(-1)
    estimate = estimates.steepening(x, np.array([8.0, 4, 1]), np.array([0.8, 0.4, 0.1]))
    assert estimate.error == pytest.approx(0.1 * np.sqrt(2) * np.sqrt(2) / np.log(2))


def test_extrapolation():
    x = np.array([4.0, 6, 8])
    assert estimates.extrapolate(x, 0.5 - 0.2 / x).value == pytest.approx(0.5)
    with pytest.raises(ValueError, match="at least 3 points, not 2"):
        estimates.extrapolate(x[:2], x[:2])


def test_value_maximum_minimum_and_jump():
    x, y = np.array([0.0, 1, 2, 4]), np.array([3.0, 1, 2, 9])
    error = np.full(4, 0.5)
    assert estimates.value(x[:1], y[:1], error[:1]) == estimates.Estimate(3.0, 0.5)
    with pytest.raises(ValueError, match="single value"):
        estimates.value(x, y)
    assert estimates.maximum(x, y, error).value == 9
    low = estimates.minimum_at(x, 2 * (x - 1.3) ** 2 + 0.5)  # a parabola has its minimum between the points
    assert low.value == pytest.approx(1.3) and low.error == 1
    assert np.isnan(estimates.minimum_at(x[1:], y[1:]).error)
    high = estimates.maximum_at(x, 0.5 - 2 * (x - 1.3) ** 2)
    assert (high.value, high.error, high.note) == pytest.approx(
        (low.value, low.error, high.note)
    ) and "0.5" in high.note
    jump = estimates.steepest_at(x, y)  # per unit of x: 3.5 beats the 2 of the first step
    assert (jump.value, jump.error) == (3, 1)


def test_deviations_in_standard_errors():
    x, error = np.arange(4.0), np.full(4, 0.1)
    y = np.array([1.0, 1.2, 0.9, 1.0])
    assert estimates.max_deviation(x, y, error, theory=1.0).value == pytest.approx(2)
    assert estimates.rms_deviation(x, y, error, theory=1.0).value == pytest.approx(np.sqrt(5 / 4))
    allowed = estimates.max_deviation(x, y, error, theory=1.0, allowance=0.05)
    assert allowed.value == pytest.approx(0.2 / np.hypot(0.1, 0.05))
    with pytest.raises(ValueError, match="standard errors"):
        estimates.max_deviation(x, y, None, theory=1.0)
    with pytest.raises(ValueError, match="does not hold at 2"):
        estimates.max_deviation(x, y, error, theory=np.array([1, 1, np.nan, 1]))


def test_spin_waves_of_all_spins_in_the_paramagnet():
    """Against the Lyapunov equation of X and P; NaN beyond the transition."""
    for Jy in (0.7, 1.1):
        drift = np.array([[-0.5, 2 * (Jy - 1)], [2 * 0.4, -0.5]])
        V = solve_continuous_lyapunov(drift, -np.eye(2))
        system = (0.6, Jy, 1.0, 0.3, 0.7)
        nu = np.sqrt(np.linalg.det(V))
        entropy = sum(s * (nu + s) / 2 * np.log((nu + s) / 2) for s in (1, -1) if nu + s > 0)
        assert all_to_all.all_to_all_wave_Sxx(*system) == pytest.approx(V[0, 0] - 1)
        assert all_to_all.all_to_all_wave_Mz(*system) == pytest.approx(V.trace() / 2 - 1)
        assert all_to_all.all_to_all_wave_entropy(*system) == pytest.approx(entropy)
    assert np.isnan(all_to_all.all_to_all_wave_Mz(0.6, 1.2, 1.0, 1.0, 0.0))
