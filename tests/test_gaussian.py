"""Gaussian theory against closed forms, exact solutions of large spins, and its own real-space dynamics."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI
from pydantic import ValidationError
from scipy.linalg import solve_continuous_lyapunov

from hpcsim.analysis import gain_loss as theory
from hpcsim.analysis import spins
from hpcsim.methods import Context, gaussian, phase_space
from hpcsim.methods.gaussian.lattice import lattice_of
from hpcsim.methods.gaussian.linear import fixed_point, frames_along, linearise
from hpcsim.models import collective_spin, gain_loss_lattice, kerr_oscillator, spin_network, xyz_lattice
from hpcsim.system import Jumps, System, Terms, lines_along

CONTEXT = Context(MPI.COMM_SELF, (1, 2), lambda: False)
# (gain, loss) in the phases up-up, down-down, up-down for g = 1, h = 0.5
PHASES = {"up-up": (1.0, 0.03), "down-down": (0.03, 1.0), "up-down": (2.5, 1.5)}


def solve(system, **options):
    return gaussian.run(system, gaussian.Options(**options), 0, CONTEXT)


def gain_loss(gain, loss, cells=100, h=0.5, S=100, **further):
    return gain_loss_lattice.build(gain_loss_lattice.Params(cells=cells, S=S, gain=gain, loss=loss, h=h, **further))


@pytest.mark.parametrize("phase", PHASES)
def test_gain_loss_chain_is_that_of_the_closed_forms(phase):
    gain, loss = PHASES[phase]
    found = solve(gain_loss(gain, loss))
    assert found["stable"] == 1
    for k, sublattice in enumerate("ab"):
        expected = theory.gaussian_Sz(gain, loss, 1, 0.5, 100, sublattice)
        assert found["Sz"][k] == pytest.approx(expected, abs=1e-10)
        assert found["occupation"][k] == pytest.approx(100 - abs(expected), abs=1e-10)
        expected = theory.gaussian_var_Sz(gain, loss, 1, 0.5, 100, sublattice)
        assert found["var_Sz"][k] == pytest.approx(expected, abs=1e-10)
    assert found["relaxation_rate"] == pytest.approx(theory.gaussian_gap(gain, loss, 1, 0.5), abs=1e-12)
    assert found["growth_rate"].max() == pytest.approx(-found["relaxation_rate"], abs=1e-12)


@pytest.mark.parametrize("phase", PHASES)
def test_correlation_length_in_every_phase(phase):
    gain, loss = PHASES[phase]
    expected = theory.gaussian_correlation_length(gain, loss, 1, 0.5)
    assert solve(gain_loss(gain, loss, cells=60))["correlation_length"] == pytest.approx(expected, rel=1e-6)


def test_correlation_length_of_the_staggered_phase():
    gain, loss = PHASES["up-down"]
    found = solve(gain_loss(gain, loss))
    expected = theory.gaussian_correlation_length(gain, loss, 1, 0.5)
    assert found["correlation_length"] == pytest.approx(expected, rel=1e-6)
    # huber2020, Eq. A16 with λ^s: ⟨S+S-⟩ = 2S ⟨c c†⟩ on a, which is up
    P, C = gain * loss, np.sqrt((0.25 - gain * loss) * (2.25 - gain * loss))
    decay = np.exp(-np.arange(1, 6) / expected)
    assert found["correlation"][0, 1:6] == pytest.approx(200 * loss / (gain + loss) * P / C * decay, abs=1e-10)


@pytest.mark.parametrize("gain, loss", [(1.5, 1.5), (2.0, 1.5), (0.5, 0.2), (0.2, 0.5)])
def test_purity_and_negativity_of_the_dimer(gain, loss):
    """huber2020, Eqs. A23, A24 and A26."""
    found, P = solve(gain_loss(gain, loss, cells=1, h=0)), gain * loss
    if P > 1:
        purity = (gain + loss) ** 2 * (P - 1) / ((gain - loss) ** 2 + P * (gain + loss) ** 2)
    else:
        purity = (gain - loss) ** 2 * (1 - P) / (P * (gain - loss) ** 2 + (gain + loss) ** 2)
        assert found["negativity"][0] == found["log_negativity"][0] == 0
    assert found["purity"] == pytest.approx(purity, rel=1e-12)
    assert theory.gaussian_purity(gain, loss, 1.0) == pytest.approx(purity, rel=1e-14)
    if gain == loss:
        assert found["negativity"][0] == pytest.approx(1 / (2 * gain), rel=1e-12)
        assert theory.gaussian_negativity(gain, 1.0) == pytest.approx(1 / (2 * gain))
    assert found["log_negativity"][0] == pytest.approx(np.log(1 + 2 * found["negativity"][0]), abs=1e-12)


def test_xyz_chain_is_that_of_the_closed_forms():
    couplings = dict(Jx=0.5, Jy=-1.6, decay=1.0)
    found = solve(xyz_lattice.build(xyz_lattice.Params(convention="huber2021", sites=100, S=50, Jz=0, **couplings)))
    for name in ("Sz", "var_Sx", "var_Sy"):
        expected = getattr(spins, f"polarised_{name}")(**couplings, S=50)
        assert found[name][0] == pytest.approx(expected, rel=1e-11), name
    assert found["var_Sz"][0] == pytest.approx(spins.polarised_var_Sz(**couplings), rel=1e-11)
    distance = np.arange(12)
    expected = spins.polarised_correlation(**couplings, S=50, distance=distance)
    assert found["correlation"][0, :12] == pytest.approx(expected, abs=1e-10)
    assert found["correlation_length"][0] == pytest.approx(spins.polarised_correlation_length(**couplings), rel=1e-6)


def test_squeezing_of_the_uniform_wave_halves_at_the_boundary():
    """lee2013: ξ² = 1/2 for k = 0, π where Jx Jy = -γ²/16; below, 1 + 2(⟨b†b⟩ - |⟨b²⟩|)."""
    for Jy, bound in ((-0.25 * 0.9999, 0.51), (-0.1, 1.0)):
        system = xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=40, Jx=0.25, Jy=Jy, Jz=0, decay=1))
        found = solve(system)["squeezing_of_waves"][0]
        assert 0.5 < found[0] < bound and found[0] == pytest.approx(found[-1], rel=1e-9)


def test_tilted_fixed_point_of_the_driven_spin():
    """Corrections are of relative order 1/S: S = 2000 against the exact steady state."""
    S, drive = 2000, 0.8
    system = collective_spin.build(collective_spin.Params(S=S, drive=drive, decay=1))
    found = solve(system)
    assert found["direction"][:, 0] == pytest.approx([0, 0.8, -0.6], abs=1e-12)
    for axis in "xyz":
        assert found[f"S{axis}"][0] / S == pytest.approx(getattr(spins, f"driven_S{axis}")(S, drive, 1.0) / S, abs=1e-4)
        assert found[f"var_S{axis}"][0] / S == pytest.approx(
            getattr(spins, f"driven_var_S{axis}")(S, drive, 1.0) / S, abs=1e-3
        )


def test_no_fixed_point_or_none_that_is_stable():
    above = solve(collective_spin.build(collective_spin.Params(S=10, drive=2, decay=1)))
    assert above["stable"] == 0 and np.isnan(above["Sz"]).all() and np.isnan(above["relaxation_rate"])
    mixed = solve(gain_loss(1.5, 0.5, cells=8))
    assert mixed["stable"] == 0 and mixed["relaxation_rate"] < 0 and np.isnan(mixed["purity"])


def test_a_given_state_is_where_the_search_starts():
    system = gain_loss(2.5, 1.5, cells=4)
    up = solve(system, state={"a": [0, 0], "b": [0, 0]})
    assert up["stable"] == 0 and up["direction"][2] == pytest.approx([1, 1])
    with pytest.raises(ValueError, match="initial|sublattices"):
        gaussian.records(system, gaussian.Options(state={"a": [0, 0]}))


def test_collective_decay_is_that_of_one_large_spin():
    """N spins S with the collective decay of Σ S-: the uniform mode has the rates of one spin N S."""
    N, S, rate = 4, 50, 0.02
    system = System(
        spins=np.full(N, S),
        hamiltonian=(Terms(("Sx",), np.arange(N)[:, None], np.full(N, 0.5)),),
        jumps=(Jumps("S-", np.arange(N), np.array([rate]), collective=True),),
    )
    one = System(
        spins=np.array([N * S]),
        hamiltonian=(Terms(("Sx",), np.array([[0]]), np.array([0.5])),),
        jumps=(Jumps("S-", np.array([0]), np.array([rate])),),
    )
    frames, large = fixed_point(one, lattice_of(one), np.array([[0.0, 0, -1]]))
    linear = linearise(system, np.repeat(frames, N, axis=0))
    assert linear.at_rest
    uniform = np.kron(np.ones((N, 1)) / np.sqrt(N), np.eye(2))
    assert uniform.T @ linear.drift.dense(N) @ uniform == pytest.approx(large.drift.dense(1), abs=1e-10)
    assert uniform.T @ linear.diffusion.dense(N) @ uniform == pytest.approx(large.diffusion.dense(1), abs=1e-10)


def test_a_twisting_term_of_one_site():
    """H = c Sz² with loss: all down is stable, and c changes only the frequency, by 2 c S."""
    system = System(
        spins=np.array([20.0]),
        hamiltonian=(Terms(("Sz", "Sz"), np.array([[0, 0]]), np.array([0.1])),),
        jumps=(Jumps("S-", np.array([0]), np.array([0.05])),),
    )
    found = solve(system)
    assert found["frequency"] == pytest.approx(2 * 0.1 * 20) and found["relaxation_rate"] == pytest.approx(0.05 * 20)


# ------------------------------------------------------------------ momentum space


def xyz(sites, S=20, **couplings):
    return xyz_lattice.build(xyz_lattice.Params(convention="huber2021", sites=sites, S=S, **couplings))


LATTICES = {
    "staggered chain": gain_loss(2.5, 1.5, cells=20),
    "aligned chain": gain_loss(0.03, 1.0, cells=7),
    "staggered square": gain_loss(7.5, 3.5, cells=(4, 6)),
    "XYZ chain": xyz(24, Jx=0.4, Jy=-1.6, Jz=0.2),
    "XYZ square": xyz((4, 5), Jx=0.3, Jy=-0.6, Jz=0.2),
}


@pytest.mark.parametrize("name", LATTICES)
def test_momentum_space_is_real_space(name):
    """Without its symmetries a system is one cell, whose covariance is found in one piece."""
    system = LATTICES[name]
    found, real = solve(system), solve(replace(system, symmetries=()))
    assert found["stable"] == 1 and len(real) < len(found)
    for key in real:
        assert found[key] == pytest.approx(real[key], abs=1e-10, rel=1e-10), key


@pytest.mark.parametrize("name", LATTICES)
def test_correlations_and_waves_are_those_of_the_whole_covariance(name):
    system = LATTICES[name]
    found, lattice = solve(system), lattice_of(system)
    up = np.sign(found["direction"][2])[system.sublattice]
    frames, linear = fixed_point(system, lattice, np.outer(up, [0, 0, 1]))
    A, D, N = linear.drift.dense(system.sites), linear.diffusion.dense(system.sites), system.sites
    spectrum = np.linalg.eigvals(lattice.transform(linear.drift)).ravel()
    assert np.sort(spectrum.real) == pytest.approx(np.sort(np.linalg.eigvals(A).real), abs=1e-7)
    V = solve_continuous_lyapunov(A, -D).reshape(N, 2, N, 2)
    slope = np.sqrt(system.spins / 2)[:, None, None] * frames[:, 1:]
    places = lines_along(system)
    for s in range(1, len(places) // 2 + 1):
        pairs = zip(places[0], places[s])
        expected = {}
        for i, j in pairs:
            value = np.trace((slope[i].T @ V[i, :, j] @ slope[j])[:2, :2])
            expected.setdefault(system.sublattice[i], []).append(value)
        for k, values in expected.items():
            assert found["correlation"][k, s] == pytest.approx(np.mean(values), abs=1e-10)
    for m in (0, 1):
        for k in range(len(system.sublattices)):
            wave = np.zeros(N)
            wave[places] = np.cos(2 * np.pi * m * np.arange(len(places)) / len(places))[:, None]
            wave *= system.sublattice == k
            quadratures = np.einsum("i,icjd,j->cd", wave, V, wave) / (wave @ wave)
            assert found["squeezing_of_waves"][k, m] == pytest.approx(np.linalg.eigvalsh(quadratures)[0], abs=1e-10)


def test_thousands_of_sites_are_the_infinite_chain():
    """Near the boundary, where ξ is many cells; huber2020, Eqs. A6-A18."""
    gain = loss = 1.503
    found = solve(gain_loss(gain, loss, cells=1500))
    expected = theory.gaussian_correlation_length(gain, loss, 1, 0.5)
    assert expected > 7 and found["correlation_length"] == pytest.approx(expected, rel=1e-6)
    assert found["Sz"][0] == pytest.approx(theory.gaussian_Sz(gain, loss, 1, 0.5, 100, "a"), abs=1e-9)


def test_a_translation_that_is_none_is_refused():
    system = gain_loss(2.5, 1.5, cells=4)
    rates = np.array([2.5, 2.5, 2.5, 2.6]) / 100
    broken = replace(system, jumps=(replace(system.jumps[0], rates=rates), system.jumps[1]))
    for options in (dict(), dict(task="configurations")):
        with pytest.raises(ValueError, match="Translation"):
            solve(broken, **options)


def test_phase_space_within_errors():
    """The staggered phase at S = 4000 and ξ = 1.4 cells, up to terms of relative order 1/S."""
    system = gain_loss(2.2, 1.8, cells=10, S=4000)
    expected, options = (
        solve(system),
        phase_space.Options(
            initial={"a": (0, 0), "b": (1, 0)},
            dt=0.05,
            burn_in=20.0,
            duration=40.0,
            sample_every=20,
            trajectories=256,
            batch=32,
            observables=("correlation",),
        ),
    )
    parts = [phase_space.run(system, options, record, CONTEXT) for record in phase_space.records(system, options)]
    for name in ("Sz", "correlation"):
        values = np.array([part[name] for part in parts])
        mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
        distance = np.abs(mean - expected[name].reshape(mean.shape)) / (error + 1e-5 * abs(mean))
        assert distance.max() < 4, name
        # a sharp statement: a factor of 2 in the occupation would be many standard errors
        assert name != "Sz" or (expected["occupation"] > 20 * error).all()


# ------------------------------------------------------------------ configurations


@pytest.mark.parametrize("name", ["staggered chain", "XYZ chain"])
def test_translations_spare_configurations_and_change_none(name):
    system = gain_loss(1.0, 0.7, cells=3) if name == "staggered chain" else xyz(5, Jx=1, Jy=-0.7, Jz=0.4)
    options = gaussian.Options(task="configurations")

    def all_of(system):
        parts = [gaussian.run(system, options, record, CONTEXT) for record in gaussian.records(system, options)]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        order = np.argsort(joined["code"])[: 2**system.sites]
        return {name: values[order] for name, values in joined.items()}

    found, alone = all_of(system), all_of(replace(system, symmetries=()))
    assert found["code"].tolist() == list(range(2**system.sites))
    for key in alone:
        assert found[key] == pytest.approx(alone[key], abs=1e-9), key


# point : (gain, loss), stable configurations, whether some are marginal: huber2020, Fig. 8
@pytest.mark.parametrize(
    "gain, loss, stable, marginal", [(0.4, 0.4, 0, True), (1.0, 1.0, 0, False), (2.0, 2.0, 1, False)]
)
def test_all_configurations_of_four_cells(gain, loss, stable, marginal):
    system, options = gain_loss(gain, loss, cells=4), gaussian.Options(task="configurations")
    records = [gaussian.run(system, options, record, CONTEXT) for record in gaussian.records(system, options)]
    damping, code = (np.concatenate([r[name][~np.isnan(r[name])] for r in records]) for name in ("damping", "code"))
    assert sorted(code) == list(range(256)) and len(records) == 16
    assert np.sum(damping > 1e-9) == stable
    assert (np.sum(abs(damping) < 1e-9) > 0) == marginal
    if stable:
        assert code[damping.argmax()] == 0b01010101 and damping.max() == pytest.approx(0.5)  # a up, b down


def test_configurations_agree_with_single_states_also_without_u1():
    system = xyz_lattice.build(xyz_lattice.Params(convention="huber2021", sites=3, S=10, Jx=1, Jy=-0.7, Jz=0.4))
    options = gaussian.Options(task="configurations")
    found = {}
    for record in gaussian.records(system, options):
        part = gaussian.run(system, options, record, CONTEXT)
        found |= dict(zip(part["code"][~np.isnan(part["code"])], part["damping"]))
    for bits in itertools.product((0, 1), repeat=3):
        z = 2.0 * np.array(bits) - 1
        linear = linearise(system, frames_along(z[:, None] * [0, 0, 1]))
        code = sum(bit << i for i, bit in enumerate(bits))
        assert found[code] == pytest.approx(-np.linalg.eigvals(linear.drift.dense(3)).real.max(), abs=1e-12)


def test_what_is_not_supported():
    assert "dephase" in gaussian.supports(collective_spin.build(collective_spin.Params(S=5, decay=1, dephasing=0.1)))
    assert "boson" in gaussian.supports(kerr_oscillator.build(kerr_oscillator.Params(detuning=1, U=1, F=1, cutoff=5)))
    with pytest.raises(ValidationError, match="belongs to task"):
        gaussian.Options(task="configurations", state=[0, 0])
    with pytest.raises(ValueError, match="2\\^60 of them"):
        gaussian.records(gain_loss(1, 1, cells=30), gaussian.Options(task="configurations"))


def test_relaxation_of_the_paramagnet_with_all_couplings():
    """lee2013, Eq. 4: the slowest rate is γ/2 - 2 sqrt(-(Jx c - Jz)(Jy c - Jz)), here at S = 1/2."""
    Jx, Jy, Jz, c = 0.9, 1.05, 1.0, np.cos(2 * np.pi * np.arange(30) / 30)
    system = xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=30, Jx=Jx, Jy=Jy, Jz=Jz, decay=1))
    growth = 2 * np.sqrt(-(Jx * c - Jz) * (Jy * c - Jz) + 0j).real - 0.5
    assert solve(system)["growth_rate"] == pytest.approx(growth[:16], abs=1e-9)
    assert growth.max() > -0.45


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_of_modes_with_equal_damping_the_slowest_is_named(monkeypatch, order):
    """Two spins of equal decay in different fields, whatever LAPACK's order and last digits."""
    system = spin_network.build(
        spin_network.Params(
            sites=2, S=2, Jx=0.0, Jy=0.0, Jz=0.0, edges=[[0, 1, 1.0]], field_z=[1.409, 1.268], decay=0.5
        )
    )
    exact = np.linalg.eigvals

    def elsewhere(matrix):
        values = exact(matrix)[..., order]
        return values + 1e-13 * np.arange(values.shape[-1])

    monkeypatch.setattr(np.linalg, "eigvals", elsewhere)
    found = gaussian.run(system, gaussian.Options(), 0, CONTEXT)
    assert found["frequency"] == pytest.approx(1.268)
    records = gaussian.Options(task="configurations", keep=4)
    listed = gaussian.run(system, records, 0, CONTEXT)
    assert listed["frequency"][np.nanargmax(listed["damping"])] == pytest.approx(1.268)
