"""The model of spins on any graph: its couplings, and its terms against matrices built here."""

import numpy as np
import pytest
import scipy.linalg
from mpi4py import MPI
from pydantic import ValidationError

from hpcsim import cli
from hpcsim.methods import Context, liouvillian
from hpcsim.methods.phase_space.compile import compile_system
from hpcsim.models import spin_network, xyz_lattice
from hpcsim.run.problem import Problem
from hpcsim.system import Translation

CONTEXT = Context(MPI.COMM_SELF, (1, 2), lambda: False)
KEY = (66744315, 176293844)


def network(**values):
    return spin_network.build(spin_network.Params(**values))


@pytest.mark.parametrize("sites", [6, [2, 4], [3, 3]])
@pytest.mark.parametrize("periodic", [True, False])
def test_nearest_neighbours_are_those_of_the_lattice(sites, periodic):
    values = {"S": 2, "Jx": 0.5, "Jy": -1.6, "Jz": 0.3, "decay": 0.7, "periodic": periodic}
    ours = compile_system(network(sites=sites, **values), "spin_conserving")
    other = compile_system(
        xyz_lattice.build(xyz_lattice.Params(convention="huber2021", sites=sites, **values)), "spin_conserving"
    )
    for one, same in zip(ours, other):
        assert np.allclose(one, same)


def test_cubic_lattice():
    """Six neighbours each, and the translations along x, y and z map the bonds to themselves."""
    system = network(sites=[3, 4, 5], S=3, Jx=1.0)
    bonds = {frozenset(map(int, pair)) for pair in system.hamiltonian[3].sites}
    assert len(bonds) == 3 * 60 and np.all(np.bincount(system.hamiltonian[3].sites.ravel()) == 6)
    moves = [s.permutation for s in system.symmetries if isinstance(s, Translation)]
    assert [np.flatnonzero(move == 0)[0] for move in moves] == [2, 9, 48]
    for move in moves:
        assert {frozenset(int(move[i]) for i in bond) for bond in bonds} == bonds


@pytest.mark.parametrize("periodic, last", [(True, 1.0), (False, 4.0**-3)])
def test_power_law_of_the_shortest_distance(periodic, last):
    terms = network(sites=5, S=2, Jy=4.0, power=3, periodic=periodic).hamiltonian[4]
    weight = {tuple(pair): c for pair, c in zip(terms.sites.tolist(), terms.coefficients)}
    assert len(weight) == 10
    assert weight[0, 1] == 1 and weight[0, 2] == pytest.approx(1 / 8) and weight[0, 4] == pytest.approx(last)
    plane = network(sites=[4, 4], S=0.5, Jx=1.0, power=2).hamiltonian[3]
    assert plane.coefficients[(plane.sites == [0, 5]).all(axis=1)] == pytest.approx(1 / 2)
    assert np.all(network(sites=4, S=2, Jx=4.0, power=0).hamiltonian[3].coefficients == 1)


def embed(one, place):
    return np.kron(np.kron(np.eye(3**place), one), np.eye(3 ** (2 - place)))


def test_every_term_in_the_steady_state():
    """Three spins 1 with edges, fields, twists and rates of their own: the null vector of the Liouvillian."""
    values = {
        "field_x": (0.3, 0.0, -0.2),
        "field_y": 0.15,
        "field_z": (0.5, 1.0, -0.4),
        "twist": (0.8, 0.0, 0.4),
        "decay": (1.0, 0.3, 0.6),
        "gain": (0.0, 0.4, 0.1),
        "dephasing": (0.2, 0.0, 0.5),
    }
    J, edges = {"Jx": 0.9, "Jy": -0.7, "Jz": 0.4}, ((0, 1), (2, 1, -0.6))
    system = network(sites=3, S=1, edges=edges, resolve=True, **J, **values)
    m = np.array([1, 0, -1])
    plus = np.diag(np.sqrt([2, 2]), 1).astype(complex)
    spin = {
        "x": (plus + plus.T) / 2,
        "y": (plus - plus.T) / 2j,
        "z": np.diag(m).astype(complex),
        "-": plus.T,
        "+": plus,
    }
    S = {name: [embed(one, i) for i in range(3)] for name, one in spin.items()}
    at = {name: np.broadcast_to(value, 3) for name, value in values.items()}
    H = sum(at[f"field_{a}"][i] * S[a][i] for a in "xyz" for i in range(3))
    H = H + sum(at["twist"][i] / 2 * S["x"][i] @ S["x"][i] for i in range(3))
    H = H + sum(w / 2 * J[f"J{a}"] * S[a][i] @ S[a][j] for i, j, w in ((0, 1, 1.0), (1, 2, -0.6)) for a in "xyz")
    one = np.eye(27)
    L = -1j * (np.kron(H, one) - np.kron(one, H.T))
    for i in range(3):
        for c, rate in (
            (S["-"][i], at["decay"][i] / 2),
            (S["+"][i], at["gain"][i] / 2),
            (S["z"][i], at["dephasing"][i]),
        ):
            number = c.conj().T @ c
            L += rate * (2 * np.kron(c, c.conj()) - np.kron(number, one) - np.kron(one, number.T))
    rho = scipy.linalg.solve(np.vstack([one.ravel(), L[1:]]), np.eye(729)[0]).reshape(27, 27)
    options = liouvillian.Options()
    found = liouvillian.run(system, options, liouvillian.records(system, options)[0], CONTEXT)
    for a in "xyz":
        assert np.allclose(found[f"S{a}"], [np.trace(o @ rho).real for o in S[a]], atol=1e-8)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"edges": [[0, 4]]}, "does not join two of the sites 0 ... 3"),
        ({"edges": [[1, 1]]}, "does not join"),
        ({"edges": [[0, 1, 2, 3]]}, "a list of couplings"),
        ({"edges": [[0, 1]], "power": 2}, "exclude each other"),
        ({"decay": [1, 2]}, "2 values for 4 sites"),
        ({"decay": [1, 2, 3, -1]}, "greater than or equal to 0"),
        ({"field_x": [1, 2, "x", 4]}, "one for each site"),
        ({"sites": [2, 2, 1, 1]}, r"\[nx, ny, nz\]"),
        ({"sites": 20000, "power": 2}, "pairs, more than"),
    ],
)
def test_bad_parameters(values, message):
    with pytest.raises(ValidationError, match=message):
        spin_network.Params(**({"sites": 4, "S": 1} | values))


RATES = {"field_x": 0.3, "field_z": 0.8, "Jx": 0.9, "Jy": -0.7, "Jz": 0.4, "twist": 0.6}
RATES |= {"decay": 1.1, "gain": 0.2, "dephasing": 0.5}


@pytest.mark.parametrize("S", [0.5, 1.5])
def test_the_standard_convention_has_nothing_over_2S(S):
    """Coefficients and standard rates are the numbers given; huber2021 divides by 2S and doubles D."""
    system = network(convention="standard", sites=3, S=S, **RATES)
    named = {terms.operators: terms.coefficients[0] for terms in system.hamiltonian}
    for operators, key in ((("Sx",), "field_x"), (("Sz",), "field_z"), (("Sy", "Sy"), "Jy"), (("Sz", "Sz"), "Jz")):
        assert named[operators] == RATES[key]
    assert [jump.rates[0] for jump in system.jumps] == [RATES[key] for key in ("decay", "gain", "dephasing")]
    over = {key: RATES[key] * 2 * S for key in ("Jx", "Jy", "Jz", "twist")}
    over |= {"decay": RATES["decay"] * S, "gain": RATES["gain"] * S, "dephasing": RATES["dephasing"] / 2}
    same = network(convention="huber2021", sites=3, S=S, **RATES | over)
    for one, other in zip(system.hamiltonian, same.hamiltonian):
        assert np.allclose(one.coefficients, other.coefficients, rtol=1e-14)
    assert all(np.allclose(one.rates, other.rates, rtol=1e-14) for one, other in zip(system.jumps, same.jumps))
    assert type(system.symmetries[0]) is type(same.symmetries[0]) and len(system.symmetries) == len(same.symmetries)


def test_without_a_convention_it_is_that_of_former_versions():
    """Down to the key of the random streams, which version 0.1 had from the parameters without it."""
    model = {"name": "spin_network", "sites": 2, "Jx": 1.0, "decay": 1.0}
    old = Problem(model, {"name": "trajectories"})
    assert old.key(5) == KEY
    assert old.system.key == Problem(model | {"convention": "huber2021"}, {"name": "trajectories"}).system.key
    assert Problem(model | {"convention": "standard"}, {"name": "trajectories"}).key(5) != KEY


def test_the_convention_is_said(capsys, tmp_path):
    (tmp_path / "c.yaml").write_text("model: {name: spin_network, sites: 2, Jx: 1, decay: 1}\nmethod: liouvillian\n")
    said = {"huber2021": "(decay/2S) D[S-]", "standard": "dissipation Σ_i decay D[S-]"}
    for convention, words in said.items():
        assert cli.main(["check", str(tmp_path / "c.yaml"), "--set", f"model.convention={convention}"]) == 0
        shown = capsys.readouterr().out
        assert words in shown and not any(other in shown for key, other in said.items() if key != convention)
    assert cli.main(["describe", "spin_network"]) == 0
    shown = capsys.readouterr().out
    assert all(words in shown for words in said.values()) and "convention : huber2021 or standard" in shown
