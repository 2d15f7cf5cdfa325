"""Both ends of the spectrum of any system, against the whole dense spectrum from Kronecker products made here."""

from dataclasses import replace

import numpy as np
import pytest
import xarray
import yaml
from mpi4py import MPI

from hpcsim import cli, solvers
from hpcsim.methods import Context, liouvillian
from hpcsim.methods.liouvillian import Options
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME, Name
from hpcsim.models import (
    all_to_all_xyz,
    cavity_dimer,
    collective_spin,
    gain_loss_lattice,
    kerr_oscillator,
    spin_network,
)
from hpcsim.observables import reduced
from hpcsim.system import Jumps, System, Terms

CONTEXT = Context(MPI.COMM_SELF, (0, 0), lambda: False)
params = pytest.mark.parametrize


def spin_matrices(S):
    m = np.arange(S, -S - 1, -1)
    up = np.diag(np.sqrt(S * (S + 1) - m[1:] * (m[1:] + 1)), 1)
    return {"S+": up, "S-": up.T, "Sx": (up + up.T) / 2, "Sy": (up - up.T) / 2j, "Sz": np.diag(m)}


def mode_matrices(cutoff):
    n = np.arange(cutoff)[::-1]
    raising = np.diag(np.sqrt(n[:-1]), 1)
    return {
        "a+": raising,
        "a": raising.T,
        "n": np.diag(n),
        "x": raising + raising.T,
        "p": 1j * (raising - raising.T),
    }


def dense_liouvillian(system):
    """-i(H ⊗ 1 - 1 ⊗ Hᵀ) + Σ γ (L ⊗ L* - (L†L ⊗ 1 + 1 ⊗ (L†L)ᵀ)/2) on row-stacked ρ."""
    sites = [mode_matrices(c) if c else spin_matrices(S) for S, c in zip(system.spins, system.cutoffs)]

    def at(name, site):
        factors = [each[name] if i == site else np.eye(len(next(iter(each.values())))) for i, each in enumerate(sites)]
        product = np.eye(1)
        for factor in factors:
            product = np.kron(product, factor)
        return product

    D = round(system.dimension)
    H, one = np.zeros((D, D), complex), np.eye(D)
    for terms in system.hamiltonian:
        for c, where in zip(terms.coefficients, terms.sites):
            product = c * one
            for name, site in zip(terms.operators, where):
                product = product @ at(name, site)
            H += product
    L = -1j * (np.kron(H, one) - np.kron(one, H.T))
    for jumps in system.jumps:
        each = [at(*jumps.operators, site) for site in jumps.site]
        for rate, A in zip(jumps.rates, [sum(each)] if jumps.collective else each):
            loss = A.conj().T @ A
            L += rate * (np.kron(A, A.conj()) - (np.kron(loss, one) + np.kron(one, loss.T)) / 2)
    return L


def dense_spectrum(system):
    return np.linalg.eigvals(dense_liouvillian(system))


def both(system, **more):
    """{output: value} of a point, reduced over its sectors as collect does."""
    options = Options(task="antigap", **more)
    results = [liouvillian.run(system, options, record, CONTEXT) for record in liouvillian.records(system, options)]
    declared = liouvillian.outputs(system, options)
    assert all(result.keys() == {o.name for o in declared if o.stored} for result in results)

    def rows(name):
        return np.stack([np.asarray(result[name]) for result in results])

    return {output.name: reduced(output, rows)[0] for output in declared}


def expected(system):
    real = np.sort(dense_spectrum(system).real)
    return {"gap": -real[-2], "antigap": real[1] - real[0], "fastest": -real[:2]}


def agrees(system, found, tolerance=1e-8):
    wanted = expected(system)
    scale = tolerance * max(1, wanted["fastest"][0])
    for name, value in wanted.items():
        assert np.allclose(found[name], value, rtol=0, atol=scale), (name, found[name], value)
    assert found["mirror_defect"] == pytest.approx(abs(wanted["gap"] - wanted["antigap"]), abs=2 * scale)


def network(sites, **more):
    return spin_network.build(spin_network.Params(**{"sites": sites, "periodic": False, **more}))


def dimer(S, gain, loss):
    return gain_loss_lattice.build(gain_loss_lattice.Params(S=S, gain=gain, loss=loss))


def all_to_all(N, **more):
    return all_to_all_xyz.build(all_to_all_xyz.Params(N=N, Jx=0.6, Jy=1.2, Jz=1, **more))


def without_symmetries(system):
    return replace(system, symmetries=())


XYZ = {"Jx": 0.7, "Jy": 1.1, "Jz": 0.3}
SYSTEMS = {
    "chain of spins 1/2": network(3, **XYZ, decay=(0.3, 0.5, 0.2), field_z=0.4),
    "spins 1": network(2, S=1, **XYZ, decay=(0.3, 0.1), dephasing=(0, 0.2)),
    "spins 3/2": network(2, S=1.5, **XYZ, decay=0.4, gain=0.1),
    "balanced dimer": dimer(1, 1, 1),
    "dimer": dimer(1.5, 0.4, 0.9),
    "collective decay": all_to_all(3, decay=0.4, collective_decay=0.6),
    "ring": spin_network.build(spin_network.Params(sites=4, **XYZ, decay=0.5, dephasing=0.2)),
    "Kerr": kerr_oscillator.build(kerr_oscillator.Params(detuning=1, U=1, F=0.5, D=2, cutoff=8)),
    "cavities": cavity_dimer.build(cavity_dimer.Params(S=0.5, detuning=3, Gc=0.5, G=0.3, decay_a=1, decay_b=0.8)),
    "driven spin": collective_spin.build(collective_spin.Params(S=5, drive=1.3, decay=1, twist=0.4)),
    "mirrored": network(3, **XYZ, decay=(0.3, 0.5, 0.2)),
    "mirrored, no symmetry declared": without_symmetries(network(2, **XYZ, decay=(0.3, 0.5))),
    # both extremes degenerate: nothing couples the spins
    "free spins": network(3, decay=0.7, dephasing=0.2),
    "free spins, no symmetry declared": without_symmetries(network(3, decay=0.7, dephasing=0.2)),
    "free spins 1": without_symmetries(network(2, S=1, decay=0.7)),
    "one spin": network(1, S=1.5, decay=0.4, field_x=0.3),
}


@params("system", SYSTEMS.values(), ids=SYSTEMS)
def test_both_ends_against_the_whole_spectrum(system):
    agrees(system, both(system))


def random_system(seed):
    """Unequal spins and perhaps a boson mode, coupled by random products, with local and collective dissipation."""
    random = np.random.default_rng(seed)
    kinds = [0.5, 1.0, 1.5] if seed % 3 else [0.5]
    spins = random.choice(kinds, int(random.integers(2, 4 if seed % 3 else 5)))
    while np.prod(2 * spins + 1) > 18:
        spins = spins[:-1]
    n, mode = len(spins), bool(seed % 4 == 0 and np.prod(2 * spins + 1) < 7)
    pairs = np.array([(i, j) for i in range(n) for j in range(i)]).reshape(-1, 2)
    terms = [Terms((f"S{a}",) * 2, pairs, random.normal(size=len(pairs))) for a in "xyz"]
    terms += [Terms((f"S{a}",), np.arange(n)[:, None], random.normal(size=n) * (random.random() < 0.4)) for a in "xyz"]
    weak = 10 ** random.uniform(-3, 0.3)
    jumps = [Jumps(name, np.arange(n), weak * random.random(n)) for name in ("S-", "Sz", "S+")[: random.integers(1, 4)]]
    if random.random() < 0.5 and n > 1:
        jumps.append(Jumps("S-", np.arange(n), np.array([weak * random.random()]), collective=True))
    cutoffs = np.zeros(n, int)
    if mode:
        spins, cutoffs = np.append(spins, 0), np.append(cutoffs, 3)
        terms += [Terms(("x", "Sx"), np.array([[n, 0]]), random.normal(size=1)), Terms(("n",), np.array([[n]]), [0.7])]
        jumps.append(Jumps("a", np.array([n]), np.array([weak])))
    return System(spins=spins, hamiltonian=tuple(terms), jumps=tuple(jumps), cutoffs=cutoffs)


def test_random_systems_against_the_whole_spectrum():
    for seed in range(25):
        agrees(random_system(seed), both(random_system(seed)))


@params("seed", [1, 2, 5, 9])
def test_krylov_spaces_and_shift_invert_agree_with_lapack(monkeypatch, seed):
    system = without_symmetries(random_system(seed))
    monkeypatch.setattr(solvers.ends, "DENSE", 40)
    found = both(system, tolerance=1e-11)
    agrees(system, found, 1e-7)


@params("system", [dimer(4, 1, 0.8), network(5, **XYZ, decay=0.5, dephasing=0.2)], ids=["dimer", "chain"])
def test_the_two_ways_agree_where_damping_is_not_weak(monkeypatch, system):
    exact = both(system)
    monkeypatch.setattr(solvers.ends, "DENSE", 40)
    found = both(system)
    for name in ("gap", "fastest", "antigap"):
        assert np.allclose(found[name], exact[name], rtol=0, atol=1e-7)
    assert found["gap_check"] < 1e-7 and np.nanmax(found["fastest_check"]) < 1e-7


def test_where_the_two_ways_disagree_lapack_decides(monkeypatch):
    """The further of two wrong answers would do here; both are made wrong."""
    sector = Sector(operators(SYSTEMS["dimer"]), HOME)
    right = solvers.both_ends(MPI.COMM_SELF, sector, (2, 2), 1e-10, {})
    monkeypatch.setattr(solvers.ends, "DENSE", 10)
    monkeypatch.setattr(solvers.ends, "_shift_invert", lambda *_: (np.array([-0.5, -0.7 + 0j]), np.zeros(2)))
    found = solvers.both_ends(MPI.COMM_SELF, sector, (2, 2), 1e-10, {})
    for a, b in zip(found, right):
        assert np.allclose(a.values.real, b.values.real, rtol=0, atol=1e-9) and np.isnan(a.differences).all()
    monkeypatch.setattr(solvers.ends, "DENSE_IF_NEEDED", 10)
    assert solvers.both_ends(MPI.COMM_SELF, sector, (2, 2), 1e-10, {})[0].differences.max() > 0.1


def test_the_mirror_symmetry_certifies_the_gap_and_its_absence_shows():
    mirrored, other = both(SYSTEMS["mirrored"]), both(SYSTEMS["chain of spins 1/2"])
    assert mirrored["mirror_defect"] < 1e-8 and mirrored["antigap"] > 1e-3
    assert other["mirror_defect"] > 1e-3
    same = both(SYSTEMS["mirrored, no symmetry declared"])
    assert same["mirror_defect"] < 1e-8


def test_the_labels_are_those_of_the_sectors_that_hold_the_ends():
    system = dimer(2, 0.4, 0.9)
    found = both(system)
    for label in ("k", "parity", "momentum"):
        assert {f"gap_{label}", f"fastest_{label}"} <= found.keys()

    def values(*labels):
        sector = Sector(operators(system), Name(*map(int, labels)))
        return np.linalg.eigvals(sector.rows(0, sector.size).toarray()).real

    gap = values(found["gap_k"], found["gap_parity"], found["gap_momentum"])
    assert abs(gap + found["gap"]).min() < 1e-9
    for i in range(2):
        held = values(*(found[f"fastest_{label}"][i] for label in ("k", "parity", "momentum")))
        assert abs(held + found["fastest"][i]).min() < 1e-9


def test_a_second_steady_state_and_foreign_options_are_refused():
    free = replace(network(2, edges=[[0, 1]], Jx=1, Jy=1, decay=0), symmetries=())
    with pytest.raises(ValueError, match="method.task = antigap: the steady state is not unique"):
        liouvillian.records(free, Options(task="antigap"))
    with pytest.raises(solvers.NotUnique):
        both(network(3, Jx=1, Jy=1, edges=[[0, 1, 0.7], [1, 2, 1.3]], decay=(0, 1, 0)))
    with pytest.raises(ValueError, match="sectors belongs to"):
        Options(task="antigap", sectors=[0])


def test_the_path_from_a_config_to_xarray_and_what_it_costs(tmp_path, capsys):
    path, run, out = (tmp_path / name for name in ("c.yaml", "r.h5", "o.h5"))
    config = {
        "model": {"name": "gain_loss_lattice", "S": 1, "gain": 1.0, "loss": 0.8},
        "method": {"name": "liouvillian", "task": "antigap"},
        "sweep": [{"model.S": [0.5, 1, 1.5]}],
    }
    path.write_text(yaml.safe_dump(config))
    assert cli.main(["run", str(path), "--out", str(run)]) == 0
    assert cli.main(["collect", str(out), str(run)]) == 0
    with xarray.open_dataset(out, engine="h5netcdf") as data:
        for S in (0.5, 1, 1.5):
            wanted, at = expected(dimer(S, 1.0, 0.8)), data.sel(S=S)
            for name in ("gap", "antigap"):
                assert float(at[name]) == pytest.approx(wanted[name], abs=1e-8)
    assert cli.main(["check", str(path), "--set", "model.S=120", "--set", "sweep=[]"]) == 2
    assert "GB" in capsys.readouterr().err
