"""Every observable of every exact method against dense Kronecker products, where no value is zero.

The expected numbers are written here from their definitions, with the matrices of reference.py.
"""

import numpy as np
import pytest
import reference
from exact import along, entropy, moments, negativity, product, reduced, squeezing, whole
from mpi4py import MPI
from scipy import linalg

from hpcsim import observables
from hpcsim.methods import Context, liouvillian, matrix_product, mean_field, permutation, phase_space, trajectories
from hpcsim.models import all_to_all_xyz
from hpcsim.system import Jumps, System, Terms, Translation

METHODS = {
    "liouvillian": liouvillian,
    "mean_field": mean_field,
    "trajectories": trajectories,
    "phase_space": phase_space,
}
CONTEXT = Context(MPI.COMM_SELF, (1, 2), lambda: False)


def family(operators, sites, coefficients):
    return Terms(tuple(operators), np.array(sites), np.array(coefficients, float))


def local(operator, rates):
    return Jumps(operator, np.arange(len(rates)), np.array(rates, float))


def open_chain():
    """Three different spins in a row, no symmetry at all; the first and the last are one sublattice."""
    bonds = [[0, 1], [1, 2]]
    return System(
        spins=np.array([0.5, 1.0, 0.5]),
        hamiltonian=(
            *(family((a, a), bonds, c) for a, c in zip(("Sx", "Sy", "Sz"), ([1.7, 1.1], [-1.5, -0.9], [0.3, 0.7]))),
            *(family((a,), [[0], [1], [2]], c) for a, c in zip(("Sx", "Sz"), ([0.5, 0.3, -0.6], [0.2, -0.4, 0.3]))),
        ),
        jumps=(local("S-", [0.8, 0.6, 0.7]), local("S+", [0.01, 0.03, 0.02]), local("Sz", [0.02, 0.01, 0.03])),
        sublattice=np.array([0, 1, 0]),
        sublattices=("a", "b"),
    )


def ring(coupled=1.0):
    """Two cells of two different spins 1/2; uncoupled dimers with coupled = 0."""
    sites = [[i] for i in range(4)]
    bonds = [[0, 1], [2, 3], [1, 2], [3, 0]]
    return System(
        spins=np.full(4, 0.5),
        hamiltonian=(
            *(
                family((a, a), bonds, [c, c, coupled * c / 2, coupled * c / 2])
                for a, c in zip(("Sx", "Sy", "Sz"), (0.8, -0.5, 0.6))
            ),
            *(family((a,), sites, c * 2) for a, c in zip(("Sx", "Sz"), ([0.5, 0.3], [0.2, -0.4]))),
        ),
        jumps=(local("S-", [0.5, 0.2] * 2), local("S+", [0.1, 0.3] * 2)),
        symmetries=(Translation(np.array([2, 3, 0, 1])),),
        sublattice=np.array([0, 1] * 2),
        sublattices=("a", "b"),
    )


def all_to_all():
    """Three equal spins 1/2 that `permutation` knows."""
    return all_to_all_xyz.build(all_to_all_xyz.Params(N=3, Jx=0.6, Jy=1.4, Jz=1, decay=1, field=0.4))


ITEMS = [
    "squeezing",
    "Sy_1",
    "Sx_0_Sz_1",
    {"name": "three", "product": [["Sz", 0], ["S+", 1], ["Sx", 2]]},
    {"name": "one_site", "product": [["Sx", 1], ["Sy", 1], ["Sz", 1]]},
    {"name": "staggered", "sum": "Sz", "weights": [1.0, -1.0, 1.0]},
    {"name": "raised", "sum": "S+"},
    {"name": "rho", "reduced": [2, 0]},
    {"name": "apart", "negativity": [0, 1]},
    {"name": "halves", "negativity": [[0], [2, 1]]},
    {"name": "purity_12", "purity": [1, 2]},
    {"name": "entropy_12", "entropy": [1, 2]},
    {"name": "renyi2_0", "renyi2": [0]},
]
OF_RING = [{**item, "weights": "alternating"} if "weights" in item else item for item in ITEMS]
WHOLE = ["purity", "entropy", "renyi2"]


def evolved(system, direction, time):
    """ρ at a time, from spin coherent states along [polar, azimuth] in units of π."""
    start = reference.product_state(system, np.pi * np.array([direction] * system.sites))
    return (linalg.expm(reference.liouvillian(system) * time) @ start.ravel()).reshape(start.shape)


def expected(system, rho):
    """Every output that ITEMS and the defaults name, from ρ (D, D)."""
    N = system.sites

    def mean(*factors):
        return np.trace(product(system, *factors) @ rho)

    found, site = moments(system, rho), {a: [mean((f"S{a}", i)).real for i in range(N)] for a in "xyz"}
    total = [sum(reference.on_site(system, f"S{a}", i) for i in range(N)) for a in "xyz"]
    found["squeezing"] = squeezing(total, rho, system.spins.sum())
    found["Sy_1"] = site["y"][1]
    found["Sx_0_Sz_1"] = mean(("Sx", 0), ("Sz", 1)).real
    found["three"] = mean(("Sz", 0), ("S+", 1), ("Sx", 2))
    found["one_site"] = mean(("Sx", 1), ("Sy", 1), ("Sz", 1))
    found["staggered"] = np.dot(site["z"], [1.0, -1.0, 1.0, -1.0][:N])
    found["raised"] = sum(mean(("S+", i)) for i in range(N))
    found["rho"] = reduced(system, rho, [2, 0])
    found["apart"] = negativity(reduced(system, rho, [0, 1]), system.levels[0])
    found["halves"] = negativity(reduced(system, rho, [0, 2, 1]), system.levels[0])
    two = reduced(system, rho, [1, 2])
    found["purity_12"], found["entropy_12"] = np.trace(two @ two).real, entropy(two)
    found["renyi2_0"] = -np.log(np.trace(np.linalg.matrix_power(reduced(system, rho, [0]), 2)).real)
    found |= {name: value for name, value in whole(system, rho).items() if name in WHOLE}
    return found


def assert_equal(found, exact, tolerance, zero=()):
    """All of the exact values are found, within the tolerance, and is neither zero nor its negative."""
    for name, value in exact.items():
        distance = np.abs(np.asarray(found[name]) - value).max()
        assert np.shape(found[name]) == np.shape(value), name
        assert distance < tolerance * max(1, np.abs(value).max()), (name, found[name], value)
        assert name in zero or np.abs(value).max() > 100 * tolerance, f"{name} = {value} says nothing here"


def test_liouvillian_of_unequal_sites():
    system = open_chain()
    found = liouvillian.run(system, liouvillian.Options(observables=[*ITEMS, *WHOLE]), liouvillian.HOME, CONTEXT)
    assert_equal(found, expected(system, reference.steady_state(system)), 1e-9, zero=("apart", "halves"))


def test_liouvillian_of_unequal_sites_in_time():
    """Early, when the sites are entangled."""
    system, times = open_chain(), (0.2, 0.3)
    options = liouvillian.Options(task="evolve", times=times, initial=(0.4, 0.3), observables=[*ITEMS, *WHOLE])
    found = liouvillian.run(system, options, liouvillian.HOME, CONTEXT)
    for at, time in enumerate(times):
        exact = expected(system, evolved(system, (0.4, 0.3), time))
        now = {name: value[..., at] for name, value in found.items() if name != "squeezing_minimum"}
        assert_equal(now, exact, 1e-7)
    assert found["squeezing_minimum"] == found["squeezing"].min()


def test_the_entropy_of_an_evolving_ring_adds_up_over_its_sectors():
    system, times, directions = ring(), (0.4, 1.0), {"a": (0.3, 0.1), "b": (0.8, 0.6)}
    options = liouvillian.Options(task="evolve", times=times, initial=directions, observables=WHOLE)
    found = liouvillian.run(system, options, liouvillian.HOME, CONTEXT)
    start = reference.product_state(system, np.pi * np.array([*directions.values()] * 2))
    for at, time in enumerate(times):
        rho = (linalg.expm(reference.liouvillian(system) * time) @ start.ravel()).reshape(start.shape)
        assert found["entropy"][at] == pytest.approx(entropy(rho) / 4, abs=1e-8)
        assert found["purity"][at] == pytest.approx(np.trace(rho @ rho).real, abs=1e-8)


def test_permutation():
    system = all_to_all()
    found = permutation.run(system, permutation.Options(observables=[*ITEMS, "renyi2"]), 0, CONTEXT)
    assert_equal(found, expected(system, reference.steady_state(system)), 1e-9, zero=("apart",))
    times = (0.4, 0.9)
    options = permutation.Options(task="evolve", times=times, initial=(0.4, 0.3), observables=[*ITEMS, "renyi2"])
    found = permutation.run(system, options, 0, CONTEXT)
    for at, time in enumerate(times):
        exact = expected(system, evolved(system, (0.4, 0.3), time))
        now = {name: value[..., at] for name, value in found.items() if name != "squeezing_minimum"}
        assert_equal(now, exact, 1e-7, zero=("apart", "halves"))


def test_mean_field_of_one_cluster_is_exact():
    system = open_chain()
    options = mean_field.Options(cluster=3, starts=1, observables=ITEMS, tolerance=1e-10, settled=1e-10)
    found = mean_field.run(system, options, 0, CONTEXT)
    exact = expected(system, reference.steady_state(system))
    assert found["cluster_purity"] == pytest.approx(exact["purity"], abs=1e-7)
    assert_equal(
        found, {name: value for name, value in exact.items() if name not in WHOLE}, 1e-6, zero=("apart", "halves")
    )


def test_mean_field_of_spins_half_is_a_product_state():
    """Everything follows from the averages that the method itself gives for every site."""
    system = ring()
    options = mean_field.Options(starts=1, initial=(0.3, 0.2), observables=OF_RING)
    found = mean_field.run(system, options, 0, CONTEXT)
    pauli = [2 * site for site in (reference.site_matrices(system, 0)[f"S{a}"] for a in "xyz")]
    rho = np.ones((1, 1))
    for s in found["profile"].T:
        rho = np.kron(rho, np.eye(2) / 2 + sum(c * matrix for c, matrix in zip(s, pauli)))
    exact = {name: value for name, value in expected(system, rho).items() if name not in WHOLE}
    assert_equal(found, exact, 1e-10, zero=("apart", "halves"))


def test_correlations_along_a_ring():
    system = ring()
    items = ["correlation", "structure_factor", "Sx_Sy"]
    found = liouvillian.run(system, liouvillian.Options(observables=items), liouvillian.HOME, CONTEXT)
    assert_equal(found, along(system, reference.steady_state(system), system.symmetries[0].permutation), 1e-9)


def test_matrix_product_of_uncoupled_dimers_is_exact():
    system = ring(coupled=0.0)
    items = [item for item in OF_RING if item != "squeezing"]
    options = matrix_product.Options(
        bond_dimension=8, smaller=4, dt=0.1, tolerance=1e-7, distances=1, observables=[*items, "Sx_Sy"]
    )
    found = matrix_product.run(system, options, 0, CONTEXT)
    rho = reference.steady_state(system)
    exact = expected(system, rho)
    assert found["renyi2"] == pytest.approx(exact["renyi2"], abs=1e-5)
    wanted = {name: value for name, value in exact.items() if name not in (*WHOLE, "squeezing")}
    wanted |= {
        name: value
        for name, value in along(system, rho, system.symmetries[0].permutation).items()
        if "factor" not in name
    }
    for name in wanted:
        assert found[f"{name}_error"].max() < 1e-4, name
    assert_equal(found, wanted, 1e-5, zero=("apart", "halves"))


def collected(method, system, options):
    """{output: (value, standard error)} of one point, as collect makes them."""
    arrays = [method.run(system, options, record, CONTEXT) for record in method.records(system, options)]

    def rows(name):
        return np.stack([each[name] for each in arrays])

    outputs = method.outputs(system, options)
    return {output.name: observables.reduced(output, rows) for output in outputs if not output.internal}


def test_trajectories_measure_the_same():
    """Every item and every variance of unequal sites, within errors that tell it from twice as much."""
    system = open_chain()
    options = trajectories.Options(
        task="evolve", times=(0.3,), initial=(0.4, 0.3), trajectories=2048, batch=64, observables=ITEMS
    )
    found = collected(trajectories, system, options)
    exact = expected(system, evolved(system, (0.4, 0.3), 0.3))
    for name in exact.keys() - {*WHOLE, "apart", "halves"}:
        value, error = (np.asarray(x)[..., 0] for x in found[name])
        assert (abs(value - exact[name]) < 4 * error + 1e-6).all(), (name, value, exact[name], error)
        assert (error < np.abs(exact[name]).max() / 4).all(), f"{name}: {error} says nothing of {exact[name]}"
    assert "squeezing_minimum" in found


@pytest.mark.parametrize("S", [0.5, 5.0])
@pytest.mark.parametrize("name", ["liouvillian", "mean_field", "trajectories", "phase_space"])
def test_the_variance_is_that_of_a_site_not_between_sites(name, S):
    """One spin decays and one is pumped, in one sublattice: each is in an eigenstate of Sz, and Sz is 0 on average.

    Pooled over the sites the variance would be S², and more for phase_space. What remains
    is what phase_space leaves out at a small spin.
    """
    S = min(S, 1.5) if name == "mean_field" else S  # its cluster takes minutes at S = 5
    system = System(
        spins=np.full(2, S),
        hamiltonian=(),
        jumps=(Jumps("S-", np.array([0]), np.ones(1)), Jumps("S+", np.array([1]), np.ones(1))),
    )
    options = {
        "liouvillian": liouvillian.Options(),
        "mean_field": mean_field.Options(cluster=2),
        "trajectories": trajectories.Options(trajectories=16, batch=8, burn_in=40, duration=20),
        "phase_space": phase_space.Options(trajectories=128, batch=32, burn_in=20, duration=20),
    }[name]
    found = collected(METHODS[name], system, options)
    assert np.abs(found["Sz"][0]) < 0.1 * S
    left_out = {0.5: 0.8, 5.0: 0.2}[S] if name == "phase_space" else 1e-6
    assert np.abs(found["var_Sz"][0]) < left_out * S**2
    assert found["var_Sx"][0] == pytest.approx(S / 2, rel=0.3)
    assert found["S_perp"][0] < 0.1 * S


def test_lengths_of_known_curves():
    """ξ of A (μ^s + μ^(L-s)) with every second correlation of the other sign; 1/e of a straight line."""
    s = np.arange(13)
    curves = np.array([0.7 * (-1) ** s * (np.exp(-s / 2.5) + np.exp(-(24 - s) / 2.5)), 1 - s / 20])
    found = observables.FUNCTIONS["correlation_length"](curves[:, :, None])
    assert found.shape == (2, 1) and found[0, 0] == pytest.approx(2.5, rel=1e-6)
    shorter = np.pad(curves[:, :9], ((0, 0), (0, 4)), constant_values=np.nan)  # beside a longer ring in one file
    shorter[0, :9] = 0.7 * (np.exp(-s[:9] / 2.5) + np.exp(-(16 - s[:9]) / 2.5))
    assert observables.FUNCTIONS["correlation_length"](shorter)[0] == pytest.approx(2.5, rel=1e-6)
    assert observables.FUNCTIONS["correlation_distance"](curves)[1] == pytest.approx(12)
    line = np.array([1 - s / 15])
    assert observables.FUNCTIONS["correlation_distance"](line)[0] == pytest.approx(15 * (1 - 1 / np.e))
