"""Terms and jump operators in a config, and atoms in free space: from YAML to a collected file."""

import numpy as np
import pytest
import reference
import yaml
from scipy.linalg import expm
from scipy.special import spherical_jn

import hpcsim
from hpcsim import cli
from hpcsim.models import atom_array, spin_network
from hpcsim.system import Jumps, Parity, System, Terms, Translation, WeakU1, holds, matrices

BONDS = [[0, 1], [1, 2], [2, 0]]
MATRIX = [[1, [0.2, 0.3], 0.1], [[0.2, -0.3], 0.8, 0.2], [0.1, 0.2, 0.6]]
MODEL = {
    "name": "spin_network", "sites": 3, "Jz": 0.7, "field_x": 0.4, "decay": 0.2, "resolve": True,
    "terms": [
        {"operators": ["S+", "S-"], "sites": BONDS, "coefficients": [0.5, [0.1, 0.2], {"abs": 0.5, "phase": "pi/3"}]},
        {"operators": ["Sx", "Sy"], "coefficients": {"abs": 0.3, "phase": 0}},
        {"operators": ["S+", "S-", "Sz"], "sites": [[0, 1, 2]], "coefficients": 0.6},
    ],
    "jumps": [
        {"operators": ["S-", "S-"], "sites": "bonds", "rate": "2/5"},
        {"operators": ["S+", "S-"], "sites": [[0, 1], [1, 2]], "rate": [0.3, 0.1], "weights": None},
        {"operators": "S-", "rate": 0.5, "weights": [1, [0, 1], {"abs": 1, "phase": "pi"}]},
        {"operators": ["Sz"], "sites": [0, 2], "rate": 0.4, "collective": True},
        {"operators": "S-", "rate_matrix": MATRIX},
    ],
}  # fmt: skip


def by_hand(strength):
    """The system of MODEL, its rates of `jumps` multiplied."""
    bonds, sites = np.array(BONDS), np.arange(3)
    half = np.array([0.5, 0.1 + 0.2j, 0.5 * np.exp(1j * np.pi / 3)])
    hamiltonian = (
        Terms(("Sz", "Sz"), bonds, np.full(3, 0.7)), Terms(("Sx",), sites[:, None], np.full(3, 0.4)),
        Terms(("S+", "S-"), bonds, half, plus_hc=True), Terms(("Sx", "Sy"), bonds, np.full(3, 0.3)),
        Terms(("S+", "S-", "Sz"), np.array([[0, 1, 2]]), np.array([0.6]), plus_hc=True),
    )  # fmt: skip
    matrix = np.array([[complex(*each) if isinstance(each, list) else each for each in row] for row in MATRIX])
    jumps = (
        Jumps("S-", sites, np.full(3, 2 * 0.2)),  # huber2021: decay/2S D[S-], D is twice the standard form
        Jumps(("S-", "S-"), bonds, np.full(3, strength * 0.4)),
        Jumps(("S+", "S-"), bonds[:2], strength * np.array([0.3, 0.1])),
        Jumps("S-", sites, np.array([strength * 0.5]), weights=np.array([1, 1j, -1])),
        Jumps("Sz", np.array([0, 2]), np.array([strength * 0.4]), collective=True),
        Jumps.of_rate_matrix("S-", sites, strength * matrix),
    )
    return System(np.full(3, 0.5), hamiltonian, jumps)


def test_from_yaml_to_a_collected_file_and_again_from_the_config_it_holds(tmp_path):
    (tmp_path / "c.yaml").write_text(
        yaml.safe_dump({"model": MODEL, "method": "liouvillian", "sweep": [{"model.jumps_strength": [0.5, 1]}]})
    )
    run, collected, again = (str(tmp_path / name) for name in ("r.h5", "c.h5", "again.h5"))
    assert cli.main(["run", str(tmp_path / "c.yaml"), "--out", run]) == cli.main(["collect", collected, run]) == 0
    data = hpcsim.open(collected)
    for k, strength in enumerate((0.5, 1)):
        system = by_hand(strength)
        rho = reference.steady_state(system)
        for site in range(3):
            for name in ("Sx", "Sy", "Sz"):
                wanted = np.trace(reference.on_site(system, name, site) @ rho).real
                assert data[name].values[k, site] == pytest.approx(wanted, abs=1e-9)
    (tmp_path / "kept.yaml").write_text(data.attrs["config"])
    assert cli.main(["run", str(tmp_path / "kept.yaml"), "--out", again]) == 0
    assert np.array_equal(hpcsim.open(again).Sy, data.Sy)


WRONG = {
    "terms: 3": "model.terms = 3: must be a list of mappings",
    "terms: [{operators: [S+, Q]}]": "model.terms.0.operators = ['S+', 'Q']: must be a list of operators out of Sx, Sy",
    "terms: [{operators: [S+, S-], coeff: 1}]": "model.terms.0.coeff = 1: unknown key",
    "terms: [{operators: [S+, S-], coefficients: [1, x]}]": "model.terms.0.coefficients = [1, 'x']: 'x': a number, [re",
    "terms: [{operators: [Sx], coefficients: [[1, 2], 0, 0]}]": "terms.0.coefficients: Sx is Hermitian",
    "terms: [{operators: [Sx, Sz], coefficients: [1, 2]}]": "terms.0.coefficients: 2 for 3 rows of sites",
    "terms: [{operators: [S+, S-], sites: [[0, 3]]}]": "terms.0.sites: site 3: the sites are numbered 0 to 2",
    "terms: [{operators: [S+, S-], sites: [0, 1]}]": "sites: [0] has 1 sites for 2 operators",
    "terms: [{operators: [S+, S-, Sz]}]": "sites is missing; 3 operators need a list of rows",
    "terms: [{operators: [S+, S-], sites: all}]": "sites: all is for 1 operators, and there are 2",
    "terms: [{operators: S+, sites: {a: 1}}]": "model.terms.0.sites = {'a': 1}: must be all, bonds, or a list",
    "terms: [{operators: '|0><2|'}]": "terms.0.operators: |0><2|: a site has the levels 0 to 1",
    "jumps: [{operators: S-}]": "rate is missing; give it, or rate_matrix",
    "jumps: [{operators: S-, rate: -1}]": "model.jumps.0.rate = -1: must be a number greater than or equal to 0",
    "jumps: [{operators: S-, rate: 1, weights: [1]}]": "jumps.0.weights: 1 for 3 rows of sites",
    "jumps: [{operators: S-, rate: 1, weights: 2}]": "model.jumps.0.weights = 2: must be a list with one for each row",
    "jumps: [{operators: S-, rate: [1, 1, 1], collective: true}]": "a sum of rows is one jump operator, with one rate",
    "jumps: [{operators: S-, rate: 1, weights: [1, 1, 1], collective: true}]": "delete one of them",
    "jumps: [{operators: S-, rate: 1, rate_matrix: [[1]]}]": "rate_matrix and rate exclude each other",
    "jumps: [{operators: [S-, S-], rate_matrix: [[1]]}]": "rate_matrix is for one operator",
    "jumps: [{operators: S-, rate_matrix: [[1, 2]]}]": "rate_matrix: 3 rows and columns are needed",
    "jumps: [{operators: S-, sites: [0, 1], rate_matrix: [[1, 2], [2, 1]]}]": "has the eigenvalue -1",
    "jumps: [{operators: S-, sites: [0, 1], rate_matrix: [[1, 2], [3, 1]]}]": "a rate matrix is Hermitian",
    "edges: [[0, 1, -1]], jumps: [{operators: [S-, S-], rate: 1}]": "a rate has the factor w of its bond",
    "jumps_strength: -1": "model.jumps_strength = -1: must be greater than or equal to 0",
}


@pytest.mark.parametrize("keys", WRONG)
def test_what_is_wrong_is_said_in_one_line_with_the_key(tmp_path, capsys, keys):
    path = tmp_path / "c.yaml"
    path.write_text(f"model: {{name: spin_network, sites: 3, Jx: 1, decay: 1, {keys}}}\nmethod: liouvillian\n")
    assert cli.main(["check", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert WRONG[keys] in line and "model" in line


def test_what_the_config_does_not_use_changes_neither_streams_nor_symmetries():
    plain = {"sites": 3, "Jx": 1.0, "decay": 1.0}
    explicit = plain | {"terms": [], "jumps": [], "terms_strength": 1.0, "jumps_strength": 1.0}
    one, same = spin_network.Params(**plain), spin_network.Params(**explicit)
    assert one.identity() == same.identity() and not {"terms", "jumps"} & one.identity().keys()
    assert spin_network.build(one).key == spin_network.build(same).key


TERMS = [
    {"operators": ["S+", "S-"], "coefficients": {"abs": 0.5, "phase": 1}},
    {"operators": ["S+", "S+"]},
    {"operators": ["S+", "S-"], "sites": [[0, 1]]},
    {"operators": ["Sx", "Sx"]},
    {"operators": ["Sx", "Sy"]},
    {"operators": ["S+", "Sz"]},
    {"operators": ["S+", "S-", "Sz"], "sites": [[0, 1, 2], [1, 2, 0], [2, 0, 1]]},
    {"operators": "Sx"},
]
JUMPS = [
    {"operators": ["S-", "S-"], "rate": 0.3},
    {"operators": ["S+", "S-"], "rate": [0.1, 0.2, 0.3]},
    {"operators": ["S-", "Sz"], "rate": 0.3},
    {"operators": "S-", "rate": 1, "weights": [1, 1, 1]},
    {"operators": "S-", "rate": 1, "weights": [1, 1, -1]},
    {"operators": "S-", "rate_matrix": [[1, 0.4, 0.4], [0.4, 1, 0.4], [0.4, 0.4, 1]]},
    {"operators": "S-", "rate_matrix": [[1, 0.4, 0.1], [0.4, 1, 0.4], [0.1, 0.4, 1]]},
    {"operators": "Sx", "rate": 0.2},
]
CANDIDATES = (WeakU1(), Parity("z"), Translation(np.array([1, 2, 0])), Parity(None, np.array([1, 0, 2])))


@pytest.mark.parametrize("key, family", [("terms", each) for each in TERMS] + [("jumps", each) for each in JUMPS])
def test_a_symmetry_is_used_where_it_holds_and_only_there(key, family):
    """What the tables say of a family is what the matrices say."""
    bare = spin_network.build(spin_network.Params(sites=3, **{key: [family]}))
    terms, jumps = (bare.hamiltonian[-1:], ()) if key == "terms" else ((), bare.jumps[-1:])
    for symmetry in CANDIDATES:
        try:
            symmetry.verify(bare, matrices.hamiltonian(bare), matrices.jump_operators(bare))
            kept = True
        except ValueError:
            kept = False
        assert holds(symmetry, bare, terms, jumps) == kept, symmetry
    ring = spin_network.build(spin_network.Params(sites=3, Jx=1, Jy=1, decay=0.5, **{key: [family]}))
    declared = [str(symmetry) for symmetry in ring.symmetries]
    wanted = [each for each in CANDIDATES[:1] + CANDIDATES[2:3] if holds(each, bare, terms, jumps)]
    assert all(str(each) in declared for each in wanted)


def test_a_symmetry_that_only_a_sum_of_terms_has_is_seen():
    both = [{"operators": ["Sx", "Sx"]}, {"operators": ["Sy", "Sy"]}]
    for terms, found in ((both, WeakU1), (both[:1], Parity)):
        system = spin_network.build(spin_network.Params(sites=3, decay=1, terms=terms))
        assert type(system.symmetries[0]) is found and isinstance(system.symmetries[1], Translation)


# ---- atoms of several levels ----------------------------------------------------------------------------------------


def test_a_lambda_atom_goes_dark(tmp_path):
    """Two lasers on resonance from the levels 1 and 2 to the excited 0: the dark superposition is the steady state."""
    one, two = 0.7, 0.4
    model = {
        "name": "spin_network", "sites": 1, "S": 1,
        "terms": [{"operators": "|0><1|", "coefficients": one}, {"operators": "|0><2|", "coefficients": two}],
        "jumps": [{"operators": "|1><0|", "rate": 1}, {"operators": "|2><0|", "rate": 0.5}],
    }  # fmt: skip
    own = [{"name": f"rho{a}{b}", "product": [[f"|{b}><{a}|", 0]]} for a, b in ((0, 0), (1, 1), (2, 2), (1, 2))]
    for method in (
        {"name": "liouvillian"},
        {"name": "trajectories", "task": "evolve", "times": [60.0], "trajectories": 16},
    ):
        found = hpcsim.solve(model, method | {"observables": own})
        wanted = np.array([0, two**2, one**2, -one * two]) / (one**2 + two**2)
        assert np.allclose([found[item["name"]].item() for item in own], wanted, atol=1e-4)
    with pytest.raises(ValueError, match=r"terms.0.operators: \|0><1\|: a site has the levels 0 to 0|levels 0 to 1"):
        hpcsim.solve(model | {"S": 0.5})


# ---- thermal baths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model, levels",
    [
        ({"name": "spin_network", "sites": 2, "S": 1.5, "Jx": 1, "Jy": 1, "decay": [0.4, 0.7]}, 4),
        ({"name": "spin_network", "sites": 1, "convention": "standard", "S": 1, "decay": 0.4}, 3),
        ({"name": "collective_spin", "S": 2, "decay": 0.4}, 5),
        ({"name": "kerr_oscillator", "detuning": 1, "U": 0.7, "F": 0, "cutoff": 12}, 12),
    ],
)
def test_a_thermal_bath_gives_the_populations_of_its_temperature(model, levels):
    """n_th/(1 + n_th) between neighbouring levels, whatever conserves the quanta."""
    for n_th in (0.0, 0.6):
        populations = (n_th / (1 + n_th)) ** np.arange(levels)
        quanta = np.arange(levels) @ populations / populations.sum()
        found = hpcsim.solve(model | {"n_th": n_th})
        mean = found.n if "n" in found else found.Sz + (levels - 1) / 2
        assert mean.values == pytest.approx(quanta, abs=1e-8)


# ---- atoms in free space --------------------------------------------------------------------------------------------


def green(r, k):
    """The Green's tensor of free space at the wave number k: (3, 3)."""
    distance = np.linalg.norm(r)
    x, along = k * distance, np.outer(r, r) / distance**2
    return np.exp(1j * x) / (4 * np.pi * k**2 * distance**3) * (
        (x**2 + 1j * x - 1) * np.eye(3) + (3 - 3j * x - x**2) * along
    )  # fmt: skip


@pytest.mark.parametrize("dipole", [[0, 0, 1], [1, 0.5, 0], [1, [0, 1], 0.2]])
def test_couplings_are_those_of_the_greens_tensor(dipole):
    positions, k, decay = [[0, 0, 0], [0.3, 0.1, -0.2], [1.5, -2, 0.7]], 2.1, 0.8
    J, G = atom_array.couplings(atom_array.Params(positions=positions, dipole=dipole, wave_number=k, decay=decay))
    d = np.array([complex(*x) if isinstance(x, list) else x for x in dipole])
    d, r = d / np.linalg.norm(d), np.array(positions)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        both = -3 * np.pi * decay / k * (d.conj() @ green(r[i] - r[j], k) @ d)
        assert J[i, j] == J[j, i] == pytest.approx(both.real) and G[i, j] == pytest.approx(-2 * both.imag)
    assert np.all(G.diagonal() == decay) and np.all(J.diagonal() == 0)


def test_textbook_limits_of_two_atoms():
    """Far apart, close together, and dipoles across and along the line between them (Lehmberg 1970)."""

    def pair(x, dipole):
        J, G = atom_array.couplings(atom_array.Params(spacing=x, wave_number=1, dipole=dipole))
        return J[0, 1], G[0, 1]

    across, along = [0, 0, 1], [1, 0, 0]
    for x in (0.02, 0.7, 5.0):
        # j_0 and j_1 of the literature: Γ = Γ0 3/2 (j_0 - j_1/x) across, and 3 j_1/x along
        assert pair(x, across)[1] == pytest.approx(1.5 * (spherical_jn(0, x) - spherical_jn(1, x) / x))
        assert pair(x, along)[1] == pytest.approx(3 * spherical_jn(1, x) / x)
    assert pair(1e-3, across)[0] == pytest.approx(0.75e9, rel=1e-5) and pair(1e-3, along)[0] == pytest.approx(
        -1.5e9, rel=1e-5
    )
    assert pair(1e-6, across)[1] == pytest.approx(1) and pair(1e3, across)[0] == pytest.approx(
        -0.75e-3 * np.cos(1e3), rel=1e-2
    )


@pytest.mark.parametrize("spacing", [0.05, 0.4])
def test_two_atoms_decay_faster_and_slower_together_than_alone(spacing):
    """The populations of the symmetric and the antisymmetric state decay at Γ ± Γ_12, coherences at half of that."""
    model = {"name": "atom_array", "spacing": spacing}
    params = atom_array.Params(spacing=spacing)
    rate = atom_array.couplings(params)[1][0, 1]
    values = -np.linalg.eigvals(reference.liouvillian(atom_array.build(params))).real
    for wanted in (1 + rate, 1 - rate, (1 - rate) / 2, 2):
        assert abs(values - wanted).min() < 1e-7
    assert hpcsim.solve(model, {"name": "liouvillian", "task": "gap"}).gap.item() == pytest.approx(
        (1 - rate) / 2, rel=1e-5
    )
    assert abs(rate) > 0.05 and (spacing > 0.1 or rate > 0.95)


def test_a_driven_array_is_that_of_kronecker_products_and_keeps_its_inversion():
    square = atom_array.Params(
        sites=[2, 2], spacing=0.3, rabi=0.7, detuning=0.4, laser=[0, 0, 1], dipole=[1, [0, 1], 0]
    )
    system = atom_array.build(square)
    assert [type(each) for each in system.symmetries] == [Parity]
    found, rho = hpcsim.solve(system), reference.steady_state(system)
    for name in ("Sx", "Sy", "Sz"):
        wanted = np.mean([np.trace(reference.on_site(system, name, i) @ rho).real for i in range(4)])
        assert found[name].item() == pytest.approx(wanted, abs=1e-8)
    tilted = atom_array.build(square.model_copy(update={"laser": (1.0, 0.0, 0.0)}))
    assert not tilted.symmetries  # the phases of the laser differ
    assert [type(each) for each in atom_array.build(atom_array.Params(sites=3)).symmetries] == [WeakU1, Parity]


@pytest.mark.parametrize(
    "keys, words",
    [
        ("dipole: [0, 0, 0]", "model.dipole = [0, 0, 0]: must not be zero"),
        ("dipole: [1, 2]", "a list of three numbers"),
        ("positions: [[0, 0]]", "a list of positions [x, y, z]"),
        ("positions: [[0, 0, 0], [1, 0, 0], [0, 0, 0]]", "the atoms 0 and 2 are at the same place"),
        ("positions: [[0, 0, 0]], sites: 2", "in place of sites and spacing"),
        ("laser: [1, [0, 1], 0]", "a wave vector is real"),
        ("sites: 5000", "5000 atoms are more than"),
    ],
)
def test_wrong_arrays_are_said_in_one_line(tmp_path, capsys, keys, words):
    (tmp_path / "c.yaml").write_text(f"model: {{name: atom_array, {keys}}}\nmethod: liouvillian\n")
    assert cli.main(["check", str(tmp_path / "c.yaml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


SUM = "S- + 0.3*Sz - 0.5i*Sx"


def test_a_jump_of_different_operators_of_a_site_is_their_sum():
    """Relaxation under L = S- + 0.3 Sz - 0.5i Sx of one spin, and what trajectories make of it."""
    model = {"name": "spin_network", "convention": "standard", "sites": 1, "field_z": 0.7, "field_x": 0.4}
    model |= {"jumps": [{"operators": SUM, "rate": 0.8}]}
    Sx, Sy, Sz = (np.array(m, complex) / 2 for m in ([[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]))
    H, L, one = 0.7 * Sz + 0.4 * Sx, Sx - 1j * Sy + 0.3 * Sz - 0.5j * Sx, np.eye(2)
    loss = L.conj().T @ L
    generator = -1j * (np.kron(one, H) - np.kron(H.T, one)) + 0.8 * (
        np.kron(L.conj(), L) - (np.kron(one, loss) + np.kron(loss.T, one)) / 2
    )
    rho = (expm(generator * 1.3) @ np.diag([1.0, 0]).ravel("F")).reshape(2, 2, order="F")
    wanted = [np.trace(S @ rho).real for S in (Sx, Sy, Sz)]
    for name, more in (("liouvillian", {}), ("trajectories", {"trajectories": 2048, "batch": 8})):
        method = {"name": name, "task": "evolve", "times": [1.3], "initial": [0, 0], **more}
        data = hpcsim.solve(model, method)
        for axis, exact in zip("xyz", wanted):
            error = 4 * float(data[f"S{axis}_stderr"].squeeze()) if more else 1e-8
            assert abs(float(data[f"S{axis}"].squeeze()) - exact) < error < 0.1, (name, axis)
    with pytest.raises(hpcsim.run.config.ConfigError, match=r"it has the jump operator S- \+ 0.3\*Sz"):
        hpcsim.solve(model, "mean_field")
    with pytest.raises(hpcsim.run.config.ConfigError, match="a sum of operators of one site is written as"):
        hpcsim.solve(model | {"jumps": [{"operators": "S- + 3*Sq", "rate": 1}]}, "liouvillian")
    with pytest.raises(hpcsim.run.config.ConfigError, match="is a sum: write a term for each"):
        hpcsim.solve(model | {"terms": [{"operators": ["Sx + 2*Sz"]}]}, "liouvillian")


def test_sums_keep_the_charge_only_where_all_parts_do():
    network = spin_network
    given = {"convention": "standard", "sites": 3, "Jx": 1, "Jy": 1, "decay": 0.1}
    kept, broken = (
        network.build(network.Params(**given, jumps=[{"operators": name, "rate": 1}])).symmetries
        for name in ("Sz + 0.5*|0><0|", SUM)
    )
    names = [{type(each).__name__ for each in found} for found in (kept, broken)]
    assert "WeakU1" in names[0] and "WeakU1" not in names[1] and "Translation" in names[1]
