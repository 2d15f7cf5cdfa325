"""Mean field of the all-to-all spins, and what figures make of whole curves."""

import numpy as np
import pytest
from test_figures import collected

from hpcsim.analysis import ESTIMATES, THEORY
from hpcsim.figures.curves import Curve, _reduced, curves
from hpcsim.figures.section import Data

POINTS = [
    (50, 0.6, 1.7, 1.0, 1.0, 0.0),
    (50, 0.6, 1.4, 1.0, 1 / 3, 2 / 3),
    (20, 1.6, 0.7, 1.0, 1.0, 0.0),
    (20, 1.9, 0.5, 1.1, 0.8, 0.3),
    (30, 0.6, 1.1, 1.0, 0.5, 0.5),
]


@pytest.mark.parametrize("point", POINTS)
def test_mean_field_is_stationary(point):
    """Put into huybrechts2020, Eq. 7, with the sign of ⟨σx⟩⟨σy⟩ that the second equation gives."""
    N, Jx, Jy, Jz, decay, collective = point
    x2, z = THEORY["all_to_all_Sxx"](*point), THEORY["all_to_all_Mz"](*point)
    loss = decay + collective / (N - 1)
    x = np.sqrt(x2)
    y = 2 * (Jz - Jx) * x * z / (loss / 2 - collective * z / 2)
    rates = (
        2 * (Jy - Jz) * y * z - loss / 2 * x + collective / 2 * x * z,
        2 * (Jx - Jy) * x * y - loss * (z + 1) - collective / 2 * (x2 + y**2),
    )
    assert np.allclose(rates, 0, atol=1e-14)
    p = (1 + np.sqrt(x2 + y**2 + z**2)) / 2
    expected = -p * np.log(p) - (1 - p) * np.log(1 - p) if p < 1 else 0
    assert THEORY["all_to_all_entropy"](*point) == pytest.approx(expected, abs=1e-12)
    assert (x2 > 0) == (point != POINTS[-1])


@pytest.mark.parametrize("decay, collective", [(1.0, 0.0), (1 / 3, 2 / 3)])
def test_both_dissipations_have_one_critical_point(decay, collective):
    critical = THEORY["all_to_all_critical_Jy"](0.6, 1.0, decay, collective)
    assert critical == pytest.approx(1.15625)
    below, above = (THEORY["all_to_all_Sxx"](1e12, 0.6, critical + d, 1.0, decay, collective) for d in (-1e-6, 1e-6))
    assert below == 0 < above < 1e-4


def test_distance_to_a_theory():
    spec = dict(y="Sz", x="loss", by="S", divide="S", select={"sublattice": "b"})
    plain = curves(collected(), Data(**spec))
    apart = curves(collected(), Data(**spec, distance="critical_rate"))
    for a, b in zip(plain, apart):
        critical = THEORY["critical_rate"](b.known["g"], b.known["h"])
        assert np.allclose(b.y, np.abs(a.y - critical / b.known["S"]))


def lines(*several):
    x = np.linspace(0, 2, 21)
    return [Curve(x, f(x), None, {"N": n, "x": x}, "y") for n, f in several]


@pytest.mark.parametrize(
    "reduce, expected",
    [("maximum", [1.5, 2.25]), ("maximum_at", [1.03, 0.57]), ("minimum", [1.5 - 1.03**2, 2.25 - 1.43**2])],
)
def test_one_number_from_each_curve(reduce, expected):
    """Exact for parabolas, at the ends of the curve the value there; ordered by `by`."""
    found = lines((30, lambda x: 2.25 - (x - 0.57) ** 2), (20, lambda x: 1.5 - (x - 1.03) ** 2))
    curve = _reduced(found, Data(y="y", x="x", by="N", reduce=reduce))
    assert np.allclose(curve.x, [20, 30]) and np.allclose(curve.y, expected, atol=1e-12)


def test_crossings_of_neighbours():
    found = lines((10, lambda x: 0 * x), (15, lambda x: x**3 - 0.777**3), (20, lambda x: 2 * x - 3.9))
    curve = _reduced(found, Data(y="y", x="x", by="N", reduce="crossing"))
    assert np.allclose(curve.x, [10, 15])
    root = np.roots([1, 0, -2, 3.9 - 0.777**3])
    assert curve.y[0] == pytest.approx(0.777, abs=1e-12)
    assert np.isnan(curve.y[1]) and np.all(abs(root.imag[root.real > 0]) > 0)


def test_reduce_needs_curves():
    with pytest.raises(ValueError, match="give x and by"):
        Data(y="y", x="x", reduce="maximum")


def test_extrapolation_of_higher_degree():
    x = np.array([10.0, 20, 40, 80, 160])
    fit = ESTIMATES["extrapolate"](x, 1.2 - 3 / x + 5 / x**2, degree=2)
    assert fit.value == pytest.approx(1.2, abs=1e-12) and fit.line(np.array([5.0]))[0] == pytest.approx(0.8)
