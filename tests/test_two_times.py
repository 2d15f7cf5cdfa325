"""Two-time functions, their spectra and counting: closed forms of resonance fluorescence, and dense matrices."""

import numpy as np
import pytest
import reference
import yaml
from conftest import run_records
from exact import product
from runs import collected, command, run
from scipy import linalg
from test_liouvillian import CONTEXT, all_to_all, dimer, solve_all, xyz

import hpcsim
from hpcsim.methods import permutation
from hpcsim.models import kerr_oscillator, spin_network
from hpcsim.solvers import resolvent

RABI, DECAY = 2.3, 0.7
ATOM = {
    "name": "spin_network",
    "convention": "standard",
    "sites": 1,
    "field_x": RABI,
    "decay": DECAY,
}  # H = Ω σx/2, γ D[σ-]
LIGHT = {"name": "light", "A": [["S+", 0]], "B": [["S-", 0]]}


def mollow():
    """amplitudes a_j and rates Γ_j of ⟨σ+(τ) σ-⟩ - |⟨σ-⟩|² = Σ_j a_j exp(-Γ_j τ), and |⟨σ-⟩|² (Carmichael 1999)."""
    Y2, shift = 2 * (RABI / DECAY) ** 2, np.sqrt(DECAY**2 / 16 - RABI**2 + 0j)
    side = Y2 / (8 * (1 + Y2) ** 2)
    amplitudes = [Y2 / (4 * (1 + Y2))]
    amplitudes += [-side * (1 - Y2 + sign * (1 - 5 * Y2) * DECAY / 4 / shift) for sign in (1, -1)]
    rates = [DECAY / 2, 3 * DECAY / 4 - shift, 3 * DECAY / 4 + shift]
    return np.array(amplitudes), np.array(rates), Y2 / (2 * (1 + Y2) ** 2)


def test_resonance_fluorescence_through_the_command_line(tmp_path):
    """The correlations of Carmichael, the triplet of Mollow with its coherent part, the statistics of Mandel."""
    amplitudes, rates, coherent = mollow()
    tau, omega, excited = np.linspace(0, 8, 9), np.linspace(-4, 4, 17), RABI**2 / (DECAY**2 + 2 * RABI**2)
    own = {"name": "liouvillian", "functions": [LIGHT, {"name": "pairs", "lowering": [["S-", 0]]}]}
    sections = {"model": ATOM, "sweep": [], "figures": []}
    path = run(tmp_path / "c.h5", method=own | {"task": "correlation", "times": {"linspace": [0, 8, 9]}}, **sections)
    found = hpcsim.open(collected(path))
    assert found.light.dims == ("tau",) and np.allclose(found.tau, tau) and found.light.attrs["units"] == "ħ²"
    assert np.allclose(found.light, coherent + np.exp(-np.outer(tau, rates)) @ amplitudes, rtol=0, atol=1e-8)
    turning = np.sqrt(RABI**2 - DECAY**2 / 16)
    damped = np.exp(-3 * DECAY * tau / 4) * (np.cos(turning * tau) + 3 * DECAY / 4 / turning * np.sin(turning * tau))
    assert np.allclose(found.pairs, 1 - damped, rtol=0, atol=1e-7)
    path = run(tmp_path / "e.h5", method=own | {"task": "emission", "frequencies": omega.tolist()}, **sections)
    found = hpcsim.open(collected(path))
    triplet = 2 * (amplitudes / (rates + 1j * omega[:, None])).sum(axis=1).real
    for name in "light", "pairs":  # of a lowering operator c the spectrum of ⟨c†(τ) c⟩
        assert found[name].dims == ("omega",) and np.allclose(found[name], triplet, rtol=1e-9, atol=0)
        assert np.isclose(found[f"{name}_coherent"], coherent, rtol=1e-12)
    assert found.residual < 1e-9
    method = {"name": "liouvillian", "task": "counting", "channels": [{"name": "photons", "jumps": "S-"}]}
    found = hpcsim.open(collected(run(tmp_path / "n.h5", method=method, **sections)))
    assert np.isclose(found.photons, DECAY * excited, rtol=1e-12)
    fano = 1 - 6 * RABI**2 * DECAY**2 / (DECAY**2 + 2 * RABI**2) ** 2
    assert np.isclose(found.photons_fano, fano, rtol=1e-10) and np.isclose(found.photons_variance, found.photons * fano)


def network(seed, **more):
    """Unequal fields, couplings and rates."""
    rng = np.random.default_rng(seed)
    values = {f"field_{a}": rng.normal(size=3).tolist() for a in "xyz"} | {f"J{a}": rng.normal() for a in "xyz"}
    rates = {name: rng.uniform(0.2, 1, 3).tolist() for name in ("decay", "gain", "dephasing")}
    return spin_network.build(spin_network.Params(sites=3, S=0.5, convention="standard", **values | rates | more))


# with sectors of every kind: none, k, parities, momenta, and without an antilinear map
SYSTEMS = {
    "unequal": network(1),
    "unequal, U(1)": network(2, field_x=0.0, field_y=0.0, Jx=0.7, Jy=0.7),
    "balanced dimer": dimer(1, 0.7, 0.7),
    "ring": xyz(sites=4, Jz=0.3),
    "all to all": all_to_all(decay=1.0, field=0.4, field_angle=0.3),
    "oscillator": kerr_oscillator.build(kerr_oscillator.Params(detuning=0.6, U=1, F=0.9, decay=1, cutoff=7)),
}


def asked(system):
    """Functions of a config, and A and B of each as matrices, c†c and c of a lowering operator."""
    down, up, diagonal = ("a", "a+", "n") if np.any(system.cutoffs) else ("S-", "S+", "Sz")
    last, weights = system.sites - 1, [1.0, -0.5, 0.3, 0.8][: system.sites]
    on = [reference.on_site(system, down, i) for i in range(system.sites)]
    mixed = product(system, (diagonal, 0), (down, last))
    total = sum(w * each for w, each in zip(weights, on))
    functions = [
        {"name": "own", "A": [[up, 0]], "B": [[down, 0]]},
        {"name": "mixed", "A": [[up, last]], "B": [[diagonal, 0], [down, last]]},
        {"name": "pairs", "A": [[diagonal, last]], "B": {"sum": down, "weights": weights}},
        {"name": "cloud", "lowering": {"sum": down, "weights": weights}},
    ]
    operators = [(on[0].T, on[0]), (on[-1].T, mixed), (reference.on_site(system, diagonal, last), total)]
    return functions, operators, total


def assert_correlations(found, times, names, operators, L, rho):
    """Functions with (A, B), and last the g2 of a lowering operator, against exp(Lt) of a dense L."""
    *pairs, c = operators
    quanta = np.trace(c.T @ c @ rho).real
    for at, t in enumerate(times):
        later = linalg.expm(L * t)
        for name, (A, B) in zip(names, pairs):
            wanted = np.trace(A @ (later @ (B @ rho).ravel()).reshape(rho.shape))
            assert np.isclose(found[name][at], wanted, rtol=0, atol=1e-8)
        wanted = np.trace(c.T @ c @ (later @ (c @ rho @ c.T).ravel()).reshape(rho.shape)).real / quanta**2
        assert np.isclose(found[names[-1]][at], wanted, rtol=1e-7)


@pytest.mark.parametrize("name", SYSTEMS)
def test_two_time_functions_against_dense_matrices(name):
    system = SYSTEMS[name]
    functions, operators, c = asked(system)
    L, rho, times, omega = reference.liouvillian(system), reference.steady_state(system), (0.3, 1.1), (-1.3, 0.0, 0.7)
    ((_, found),) = solve_all(system, task="correlation", times=times, functions=functions)
    ((_, spectra),) = solve_all(system, task="emission", frequencies=omega, functions=functions, tolerance=1e-11)
    assert_correlations(found, times, [each["name"] for each in functions], [*operators, c], L, rho)
    one, deflated = np.eye(len(L)), L - np.outer(rho.ravel(), np.eye(len(rho)).ravel())
    for at, w in enumerate(omega):
        inverse = linalg.inv(1j * w * one - deflated)
        for each, (A, B) in zip(functions, [*operators, (c.T, c)]):
            means = np.trace(A @ rho), np.trace(B @ rho)
            wanted = np.trace(A @ (inverse @ (B @ rho - means[1] * rho).ravel()).reshape(rho.shape))
            assert np.isclose(spectra[each["name"]][at], 2 * wanted.real, rtol=0, atol=1e-9)
            assert np.isclose(spectra[f"{each['name']}_coherent"], means[0] * means[1], rtol=0, atol=1e-10)


def test_a_spectrum_by_factorisations_at_few_frequencies(monkeypatch):
    """Where a Krylov space is not enough. Fewer equations are factorised than there are frequencies."""
    system, solved, solve = SYSTEMS["unequal"], [], resolvent.Resolvent.solved
    functions, omega = asked(system)[0], np.linspace(-6, 6, 101).tolist()
    given = dict(task="emission", frequencies=omega, functions=functions, tolerance=1e-10)
    ((_, wanted),) = solve_all(system, **given)
    monkeypatch.setattr(resolvent, "KRYLOV", (3,))
    monkeypatch.setattr(resolvent.Resolvent, "solved", lambda *args: solved.append(args[1]) or solve(*args))
    ((_, found),) = solve_all(system, **given)
    assert 0 < len(solved) < 101  # of four functions with 51 frequencies > 0 each
    assert all(np.allclose(found[each["name"]], wanted[each["name"]], rtol=0, atol=1e-8) for each in functions)
    monkeypatch.setattr(resolvent, "LARGEST", 10)
    with pytest.raises(hpcsim.solvers.SolverError, match="too many for a factorisation: raise method.tolerance"):
        solve_all(system, **given)


@pytest.mark.parametrize("name", ["unequal", "balanced dimer", "ring"])
def test_counting_against_the_largest_eigenvalue_of_the_tilted_liouvillian(name):
    """θ(χ) of L + Σ_k (exp(ν_k χ) - 1) γ_k L_k · L_k†: the mean is θ'(0), the variance θ''(0)."""
    system, step = SYSTEMS[name], 2e-3
    has = {table.operators[0] for table in system.jumps}
    counted = {key: weight for key, weight in {"S-": 1.0, "S+": -0.5}.items() if key in has}
    channels = [{"name": "all", "jumps": counted}, {"name": "last", "jumps": "S-", "sites": [system.sites - 1]}]
    ((_, found),) = solve_all(system, task="counting", channels=channels)
    L = reference.liouvillian(system)
    for item, sites in zip(channels, (range(system.sites), [system.sites - 1])):
        weights = counted if item["name"] == "all" else {"S-": 1.0}
        chosen = [
            (weights[table.operators[0]], np.sqrt(rate) * reference.on_site(system, table.operators[0], site))
            for table in system.jumps
            for site, rate in zip(table.site, table.rates)
            if table.operators[0] in weights and site in sites
        ]

        def largest(chi):
            tilted = L + sum(np.expm1(weight * chi) * np.kron(jump, jump.conj()) for weight, jump in chosen)
            return np.linalg.eigvals(tilted).real.max()

        plus, minus = largest(step), largest(-step)
        assert np.isclose(found[item["name"]], (plus - minus) / (2 * step), rtol=1e-4, atol=1e-5)
        assert np.isclose(found[f"{item['name']}_variance"], (plus + minus) / step**2, rtol=1e-4, atol=1e-5)


SYMMETRIC = {
    "two parities": all_to_all(N=3, decay=0.8, pump=0.2, collective_decay=0.7, dephasing=0.3),
    "no parity": all_to_all(N=3, decay=0.8, field=0.6, field_angle=0.3, collective_decay=0.7),
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_collective_functions_in_the_permutation_symmetric_space(name):
    system, times, omega = SYMMETRIC[name], (0.0, 0.4, 1.3), (-1.1, 0.0, 0.6)
    functions = [
        {"name": "own", "A": {"sum": "S+"}, "B": {"sum": "S-", "weights": [0.5] * 3}},
        {"name": "mixed", "A": [["S-", 1], ["Sy", 0]], "B": {"sum": "Sz"}},
        {"name": "quadratures", "A": [["Sx", 2]], "B": {"sum": "Sy"}},
        {"name": "levels", "A": [["|0><1|", 0]], "B": {"sum": "|1><0|"}},
        {"name": "light", "lowering": {"sum": "S-"}},
    ]

    def total(operator):
        return sum(reference.on_site(system, operator, i) for i in range(3))

    c = total("S-")
    operators = [
        (total("S+"), total("S-") / 2),
        (product(system, ("S-", 1), ("Sy", 0)), total("Sz")),
        (reference.on_site(system, "Sx", 2), total("Sy")),
        (reference.on_site(system, "S+", 0), c),
    ]
    L, rho = reference.liouvillian(system), reference.steady_state(system)
    ((_, found),) = run_records(permutation, system, options_of("correlation", functions, times=times), CONTEXT)
    ((_, spectra),) = run_records(permutation, system, options_of("emission", functions, frequencies=omega), CONTEXT)
    assert_correlations(found, times, [each["name"] for each in functions], [*operators, c], L, rho)
    deflated = L - np.outer(rho.ravel(), np.eye(len(rho)).ravel())
    for at, w in enumerate(omega):
        for each, (A, B) in zip(functions, [*operators, (c.T, c)]):
            means = np.trace(A @ rho), np.trace(B @ rho)
            x = (B @ rho - means[1] * rho).ravel()
            wanted = np.trace(A @ np.linalg.solve(1j * w * np.eye(len(L)) - deflated, x).reshape(rho.shape))
            assert np.isclose(spectra[each["name"]][at], 2 * wanted.real, rtol=0, atol=1e-8)
            assert np.isclose(spectra[f"{each['name']}_coherent"], means[0] * means[1], rtol=0, atol=1e-10)


def options_of(task, functions, **more):
    return permutation.Options(task=task, functions=functions, tolerance=1e-10, **more)


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"task": "correlation", "functions": [LIGHT]}, "times is missing; task: correlation requires it"),
        ({"task": "emission", "functions": [LIGHT]}, "frequencies is missing"),
        ({"task": "emission", "frequencies": [0]}, "functions is missing"),
        ({"task": "emission", "frequencies": [1, 0], "functions": [LIGHT]}, "rising list of numbers"),
        ({"functions": [LIGHT]}, "functions belongs to the tasks correlation and emission, not to steady_state"),
        ({"task": "counting"}, "channels is missing"),
        ({"task": "counting", "channels": [{"name": "x1", "jumps": "Sx"}]}, "there are no jumps Sx on these sites"),
        ({"task": "counting", "channels": [{"name": "x1", "jumps": "S-", "sites": [4]}]}, "numbered 0 to 0"),
        ({"task": "counting", "channels": [{"name": "x1"}]}, "says no channels: write"),
        ({"task": "counting", "channels": [{"name": "x1", "jumps": {"S-": "a"}}]}, "a weight is a number"),
        ({"task": "emission", "frequencies": [0], "functions": [{"name": "S"}]}, "is no function: write"),
        ({"task": "emission", "frequencies": [0], "functions": [LIGHT, LIGHT]}, "light stands twice"),
        (
            {"task": "emission", "frequencies": [0], "functions": [LIGHT | {"name": "residual"}]},
            "method.functions: each name once, and residual stands twice",
        ),
        (
            {"task": "emission", "frequencies": [0], "functions": [LIGHT | {"A": "S+"}]},
            "light: A = S+: write a product",
        ),
        (
            {"task": "emission", "frequencies": [0], "functions": [LIGHT | {"A": [["S+", 3]]}]},
            "method.functions: light: A: site 3: the sites are numbered 0 to 0",
        ),
        (
            {"task": "emission", "frequencies": [0], "functions": [LIGHT | {"B": [["a", 0]]}]},
            "method.functions: light: B: a is not an operator of site 0",
        ),
        (
            {"name": "permutation", "task": "emission", "frequencies": [0], "functions": [LIGHT]},
            "light: B: it must keep the symmetry of all sites",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_message(keys, message, tmp_path, capsys):
    config = {"model": ATOM, "method": {"name": "liouvillian"} | keys}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    assert command("check", tmp_path / "c.yaml") == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
