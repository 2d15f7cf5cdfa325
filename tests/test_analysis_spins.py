"""Theory of one collective spin and of the XYZ chain against matrices and linear equations solved here."""

import numpy as np
import pytest
import scipy.linalg

from hpcsim.analysis import estimates, gain_loss, spins
from hpcsim.analysis.interpolation import crossings, extremum


def spin_matrices(S):
    m = np.arange(S, -S - 1, -1)
    plus = np.diag(np.sqrt(S * (S + 1) - m[1:] * (m[1:] + 1)), 1).astype(complex)
    return (plus + plus.T) / 2, (plus - plus.T) / 2j, np.diag(m).astype(complex), plus.T.copy()


def generator(S, drive, decay):
    """Liouvillian of H = Ω Sx with (Γ/2S) D[S-], D[c]ρ = 2cρc† - c†cρ - ρc†c, on row-major ρ."""
    x, y, z, minus = spin_matrices(S)
    one, number = np.eye(len(z)), minus.conj().T @ minus
    return -1j * drive * (np.kron(x, one) - np.kron(one, x.T)) + decay / (2 * S) * (
        2 * np.kron(minus, minus.conj()) - np.kron(number, one) - np.kron(one, number.T)
    )


@pytest.mark.parametrize("S", [0.5, 3, 5.5])
@pytest.mark.parametrize("drive", [0.3, 1.0, 2.5])
def test_driven_spin_is_the_null_vector(S, drive):
    x, y, z, _ = spin_matrices(S)
    rho = scipy.linalg.null_space(generator(S, drive, 0.8), rcond=1e-9)[:, 0].reshape(z.shape)
    rho = rho / np.trace(rho)
    mean = [np.trace(o @ rho).real for o in (x, y, z)]
    variance = [np.trace(o @ o @ rho).real - m**2 for o, m in zip((x, y, z), mean)]
    found = [
        getattr(spins, f"driven_{name}")(S, np.array([drive]), 0.8)[0]
        for name in ("Sx", "Sy", "Sz", "var_Sx", "var_Sy", "var_Sz")
    ]
    assert np.allclose(found, mean + variance, atol=1e-9)
    assert spins.driven_Sz(S, 0.0, 0.8) == pytest.approx(-S)


def test_superradiance_is_the_master_equation():
    S, times = 4, [0.0, 0.7, 1.5]
    z, start = spin_matrices(S)[2], np.zeros((9, 9))
    start[0, 0] = 1
    exact = [
        np.trace(z @ (scipy.linalg.expm(generator(S, 0, 1.3) * t) @ start.ravel()).reshape(9, 9)).real for t in times
    ]
    assert np.allclose(spins.superradiant_Sz(S, 1.3, times), exact, atol=1e-5)


def test_twisting_is_the_schrodinger_equation():
    S, time = 10, 1.7
    x, y, z, _ = spin_matrices(S)
    v = scipy.linalg.expm(-1j * 0.8 * time / (2 * S) * x @ x)[:, -1]
    covariance = [[(v.conj() @ (a @ b + b @ a) @ v).real / 2 for a in (x, y)] for b in (x, y)]
    exact = 2 * S * np.linalg.eigvalsh(covariance)[0] / (v.conj() @ z @ v).real ** 2
    assert spins.twisted_squeezing(S, 0.8, time) == pytest.approx(exact)


@pytest.mark.parametrize("drive, twist, decay, dephasing", [(1.7, 0.6, 0.8, 0.3), (0, 1, 0, 0)])
def test_spins_from_down_obey_the_master_equation(drive, twist, decay, dephasing):
    S, times = 3, [0.0, 0.4, 1.1]
    x, y, z, _ = spin_matrices(S)
    one, twisting, start = np.eye(7), twist / (2 * S) * x @ x, np.zeros((7, 7))
    L = (
        generator(S, drive, decay)
        - 1j * (np.kron(twisting, one) - np.kron(one, twisting.T))
        + dephasing * (2 * np.kron(z, z.T) - np.kron(z @ z, one) - np.kron(one, z @ z))
    )
    start[-1, -1] = 1
    parameters = (S, drive, twist, decay, dephasing, times)
    found = np.array([spins.evolved_Sx(*parameters), spins.evolved_Sy(*parameters), spins.evolved_Sz(*parameters)])
    for k, t in enumerate(times):
        rho = (scipy.linalg.expm(L * t) @ start.ravel()).reshape(7, 7)
        mean = np.array([np.trace(o @ rho).real for o in (x, y, z)])
        assert np.allclose(found[:, k], mean, atol=1e-4)
        across = scipy.linalg.null_space(mean[None])
        covariance = [[np.trace((a @ b + b @ a) @ rho).real / 2 for a in (x, y, z)] for b in (x, y, z)] - np.outer(
            mean, mean
        )
        smallest = np.linalg.eigvalsh(across.T @ covariance @ across)[0]
        assert spins.evolved_squeezing(*parameters)[k] == pytest.approx(2 * S * smallest / (mean @ mean), abs=1e-4)


def test_polarised_chain_against_a_ring_of_bosons():
    """Lyapunov equation of x' = c Jy p - Γ x, p' = -c Jx x - Γ p for each wave of a long ring."""
    Jx, Jy, decay, S, L = 0.4, -1.7, 0.9, 100, 200
    waves = 2 * np.pi * np.arange(L) / L
    V = np.empty((L, 2, 2))
    for k, c in enumerate(np.cos(waves)):
        A = np.array([[-decay, c * Jy], [-c * Jx, -decay]])
        V[k] = scipy.linalg.solve_continuous_lyapunov(A, -decay / 2 * np.eye(2))
    n_q = V[:, 0, 0] + V[:, 1, 1] - 0.5
    n, m = n_q.mean(), (V[:, 0, 0] - V[:, 1, 1] + 2j * V[:, 0, 1]).mean()
    assert spins.polarised_Sz(Jx, Jy, decay, S) == pytest.approx(-S + n)
    assert spins.polarised_var_Sx(Jx, Jy, decay, S) == pytest.approx(2 * S * V[:, 0, 0].mean())
    assert spins.polarised_var_Sy(Jx, Jy, decay, S) == pytest.approx(2 * S * V[:, 1, 1].mean())
    assert spins.polarised_var_Sz(Jx, Jy, decay) == pytest.approx(n**2 + n + abs(m) ** 2)
    s = np.arange(5)
    correlation = 2 * S * (n_q * np.cos(waves * s[:, None])).mean(axis=1)
    assert np.allclose(spins.polarised_correlation(Jx, Jy, decay, S, s), correlation)
    between = spins.polarised_correlation(Jx, Jy, decay, S, np.linspace(0, 4.2, 200))  # a figure's line has no spike
    assert np.all(np.diff(between) < 0) or np.all(np.diff(between) > 0)
    xi = spins.polarised_correlation_length(Jx, Jy, decay)
    assert correlation[4] / correlation[2] == pytest.approx(np.exp(-2 / xi))
    edge = spins.polarised_boundary(Jx, decay)
    assert np.isnan(spins.polarised_Sz(Jx, edge - 1e-6, decay, S)) and spins.polarised_Sz(Jx, edge + 1e-6, decay, S) > 0


def test_staggered_correlations_against_a_ring_of_bosons():
    """⟨c†c⟩ of the gain sublattice in the staggered phase: a up with gain, b down with loss, pairs a b created."""
    gain, loss, g, h, L = 1.6, 1.9, 1.0, 0.5, 400
    occupation = []
    for k in 2 * np.pi * np.arange(L) / L:
        coupling = g + h * np.exp(1j * k)
        # a' = -Γg a - i g_k b†, (b†)' = -Γl b† + i g_k* a with vacuum noise
        A = np.array([[-gain, -1j * coupling], [1j * np.conj(coupling), -loss]])
        V = scipy.linalg.solve_continuous_lyapunov(A, -np.diag([gain, loss]).astype(complex))
        occupation.append(V[0, 0].real - 0.5)
    waves = 2 * np.pi * np.arange(L) / L
    c = [(np.array(occupation) * np.cos(waves * s)).mean() for s in (3, 4)]
    assert gain_loss.gaussian_correlation_length(gain, loss, g, h) == pytest.approx(
        1 / np.log(abs(c[0] / c[1])), rel=1e-6
    )


def test_crossings_of_a_smooth_curve_and_of_points_that_are_zero():
    x = np.linspace(0.1, 7, 24)
    assert crossings(x, np.cos(x)) == pytest.approx(np.pi * np.array([0.5, 1.5]), abs=1e-3)
    x = np.arange(6.0)
    assert crossings(x, np.array([1.0, 0, 0, -1, 0, -1])).tolist() == [1]  # and at 4 it only touches zero
    assert crossings(x[:2], np.array([1.0, -3.0])) == pytest.approx([0.25])
    assert not len(crossings(x, x))


def test_the_extremum_of_a_parabola_is_found_between_the_points():
    x = np.array([0.0, 0.7, 1.5, 2.0])
    assert extremum(x, 3 - (x - 1) ** 2, 1) == pytest.approx((1, 3))
    assert extremum(x, x, 1) == (2, 2) and extremum(x, x, -1) == (0, 0)


def test_crossing_and_power_law_about_an_origin():
    x = np.array([0.0, 1.0, 2.0, 4.0])
    found = estimates.crossing(x, np.array([1.0, 0.8, 0.3, 0.2]), np.full(4, 0.05), level=0.4)
    cubic = np.polyfit(x, [1.0, 0.8, 0.3, 0.2], 3)
    assert 1 < found.value < 2 and np.polyval(cubic, found.value) == pytest.approx(0.4)
    assert found.error == pytest.approx(0.1)
    with pytest.raises(ValueError, match="no crossing of 2"):
        estimates.crossing(x, x / 4, level=2)
    below = np.array([1.0, 1.2, 1.3, 1.4])
    assert estimates.power_law(below, 3 * (1.5 - below) ** -0.7, origin=1.5).value == pytest.approx(-0.7)
