"""Theory curves and estimates that the `figures` section of a config names.

THEORY    functions of model parameters, drawn as lines and compared with data. Their arguments
          carry the names of the model's parameters and of the data's dimensions; they broadcast,
          and are NaN where they do not hold.
ESTIMATES functions of one curve, (x, y, error, ...) -> Estimate; `error` is the standard error of
          y, or None where y has none.
"""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NAN = float("nan")


# ------------------------------------------------------------------ theory: the gain/loss chain
# Linearised spin waves (Holstein-Primakoff) about the ordered states of `gain_loss_lattice`,
# huber2020, Appendix A; the infinite chain, h = 0 being the dimer. Sublattice a has gain Γg, b has
# loss Γl. Phases by the direction of (a, b): P = Γg Γl,
# g and h of one sign,
#     up-up      Γg > Γl, P < (g-h)²        down-down  Γl > Γg, P < (g-h)²        up-down  P > (g+h)²

def _edges(g, h):
    """Extremes of |g + h e^{ik}|² over the band: (|g|-|h|)² and (|g|+|h|)²."""
    return (abs(g) - abs(h)) ** 2, (abs(g) + abs(h)) ** 2


def _phase(gain, loss, g, h):
    """Boolean arrays up-up, down-down, up-down: where each ordered state is stable."""
    lower, upper = _edges(g, h)
    aligned = gain * loss < lower
    return aligned & (gain > loss), aligned & (loss > gain), gain * loss > upper


def _occupation(gain, loss, g, h, sublattice):
    """n = S ∓ ⟨Sz⟩, the excitations per site (huber2020, Eqs. A6-A14).

    With C = sqrt{[(g-h)² - P][(g+h)² - P]}:
        up-up      n_a = Γl/(Γg-Γl) (1 + P/C)      n_b = Γl/(Γg-Γl) (1 + Γg²/C)
        down-down  n_a = Γg/(Γl-Γg) (1 + Γl²/C)    n_b = Γg/(Γl-Γg) (1 + P/C)
        up-down    n_a = Γl/(Γl+Γg) (P/C - 1)      n_b = Γg/(Γl+Γg) (P/C - 1)
    """
    up, down, anti = _phase(gain, loss, g, h)
    P, (lower, upper) = gain * loss, _edges(g, h)
    with np.errstate(divide="ignore", invalid="ignore"):
        C = np.sqrt((lower - P) * (upper - P))
        if sublattice == "a":
            cases = [loss / (gain - loss) * (1 + P / C), gain / (loss - gain) * (1 + loss**2 / C),
                     loss / (loss + gain) * (P / C - 1)]
        else:
            cases = [loss / (gain - loss) * (1 + gain**2 / C), gain / (loss - gain) * (1 + P / C),
                     gain / (loss + gain) * (P / C - 1)]
    return np.select([up, down, anti], cases, NAN)


def gaussian_Sz(gain, loss, g, h, S, sublattice):
    """⟨Sz⟩ per site in the ordered phases: S - n where the sublattice points up, n - S where down."""
    gain, loss = np.broadcast_arrays(np.asarray(gain, float), np.asarray(loss, float))
    up, _, anti = _phase(gain, loss, g, h)
    sign = np.where(up | (anti & (sublattice == "a")), 1, -1)
    return sign * (S - _occupation(gain, loss, g, h, sublattice))


def gaussian_var_Sz(gain, loss, g, h, S, sublattice):
    """(ΔSz)² per site in the ordered phases: the number variance n² + n of a Gaussian state.

    In general it is n² + n + |⟨cc⟩|². Here ⟨c_i c_i⟩ = 0 on every site, also in up-down, whose spin
    waves are created in pairs c_a c_b: rotations about z conserve Σ_a c†c - Σ_b c†c.
    """
    gain, loss = np.broadcast_arrays(np.asarray(gain, float), np.asarray(loss, float))
    n = _occupation(gain, loss, g, h, sublattice)
    return n**2 + n


def gaussian_gap(gain, loss, g, h):
    """Smallest decay rate of a spin-wave amplitude: the Liouvillian gap of an ordered phase, S → ∞.

    Linearising huber2020, Eq. A3, with J the extreme |g + h e^{ik}|, Γ± = (Γg ± Γl)/2:
        up-down                gap = Γ+ - sqrt(Γ-² + J²),             J = |g| + |h|
        up-up, down-down       gap = |Γ-| - Re sqrt(Γ+² - J²),        J = ||g| - |h||
    One amplitude changes Σ Sz by one, so the mode is in the weak-U(1) sectors k = ±1.
    """
    gain, loss = np.broadcast_arrays(np.asarray(gain, float), np.asarray(loss, float))
    up, down, anti = _phase(gain, loss, g, h)
    mean, half, (lower, upper) = (gain + loss) / 2, (gain - loss) / 2, _edges(g, h)
    staggered = mean - np.sqrt(half**2 + upper)
    aligned = abs(half) - np.sqrt(np.maximum(mean**2 - lower, 0))
    return np.select([up | down, anti], [aligned, staggered], NAN)


def lower_boundary(gain, g, h):
    """Γl at which the aligned phases end: Γg Γl = (g-h)² (huber2020, Eq. 3)."""
    return _edges(g, h)[0] / np.asarray(gain, float)


def upper_boundary(gain, g, h):
    """Γl at which the staggered phase begins: Γg Γl = (g+h)² (huber2020, Eq. 3)."""
    return _edges(g, h)[1] / np.asarray(gain, float)


def critical_rate(g, h):
    """Γ̄ = Γg = Γl at which the staggered phase begins: g + h (huber2020, Eq. 3)."""
    return np.sqrt(_edges(g, h)[1])


# ------------------------------------------------------------------ estimates from one curve

@dataclass(frozen=True)
class Estimate:
    """A number from a curve, its standard error (or the resolution it was found with), a remark,
    and for a fit the fitted y(x)."""

    value: float
    error: float = 0.0
    note: str = ""
    line: Callable = None


def _weighted_fit(columns, y, error):
    """Least squares y ≈ columns @ c: (c, standard errors).

    With errors they weigh the points, and the covariance is theirs, enlarged where the scatter
    exceeds them; without, the scatter about the fit is the error. As many points as columns leave
    no scatter: the errors are then those of the data alone.
    """
    weight = np.ones(len(y)) if error is None else 1 / error
    A, b = columns * weight[:, None], y * weight
    c, *_ = np.linalg.lstsq(A, b, rcond=None)
    spare = len(y) - A.shape[1]
    chi2 = float(np.sum((A @ c - b) ** 2)) / spare if spare else NAN
    scale = chi2 if error is None else np.fmax(chi2, 1.0)
    return c, np.sqrt(np.diag(np.linalg.inv(A.T @ A)) * scale)


def _at_least(points, x, what):
    if len(x) < points:
        raise ValueError(f"{what} needs at least {points} points, not {len(x)}")


def power_law(x, y, error=None, correction=0.0):
    """The exponent α of y = A x^α, by least squares of ln y over ln x, weights (y/error)².

    correction : ω > 0 fits y = A x^α exp(B x^-ω) instead, the leading correction to scaling
    """
    def columns(x):
        return np.column_stack([np.log(x), np.ones(len(x))] + ([x**-correction] if correction else []))

    _at_least(2 + bool(correction) + (error is None), x, "a power law")
    if np.any(y <= 0) or np.any(x <= 0):
        raise ValueError("a power law needs positive x and y")
    c, stderr = _weighted_fit(columns(x), np.log(y), None if error is None else error / y)
    return Estimate(c[0], stderr[0], f"{len(x)} points, {x.min():g} to {x.max():g}",
                    lambda x: np.exp(columns(x) @ c))


def steepening(x, y, error=None):
    """How the local exponent d ln y / d ln x changes between the two ends of the curve."""
    _at_least(3, x, "the change of an exponent")
    exponent = np.diff(np.log(y)) / np.diff(np.log(x))
    note = f"exponent {exponent[0]:.3f} at {x[0]:g}-{x[1]:g}, {exponent[-1]:.3f} at {x[-2]:g}-{x[-1]:g}"
    if error is None:
        return Estimate(exponent[-1] - exponent[0], 0.0, note)
    relative = np.hypot((error / y)[1:], (error / y)[:-1]) / np.abs(np.diff(np.log(x)))
    return Estimate(exponent[-1] - exponent[0], float(np.hypot(relative[0], relative[-1])), note)


def extrapolate(x, y, error=None):
    """y at x → ∞, by least squares of y = y∞ + B/x."""
    _at_least(2 + (error is None), x, "an extrapolation")
    c, stderr = _weighted_fit(np.column_stack([np.ones(len(x)), 1 / x]), y, error)
    return Estimate(c[0], stderr[0], f"{len(x)} points, {x.min():g} to {x.max():g}",
                    lambda x: c[0] + c[1] / x)


def value(x, y, error=None):
    """The only point of the curve."""
    if len(y) != 1:
        raise ValueError(f"a single value is needed, not a curve of {len(y)} points: select one")
    return Estimate(y[0], 0.0 if error is None else error[0])


def maximum(x, y, error=None):
    """The largest y."""
    i = int(np.argmax(y))
    return Estimate(y[i], 0.0 if error is None else error[i], f"of {len(y)} values")


def minimum_at(x, y, error=None):
    """The x of the smallest y; its error is the larger distance to a neighbouring point."""
    i = int(np.argmin(y))
    if not 0 < i < len(x) - 1:
        return Estimate(x[i], NAN, "at the end of the curve: no minimum inside")
    return Estimate(x[i], float(np.max(np.abs(np.diff(x[i - 1:i + 2])))), f"minimum {y[i]:.3g}")


def steepest_at(x, y, error=None):
    """The x where y changes most between neighbours, halfway; its error is half their distance."""
    _at_least(2, x, "a jump")
    i = int(np.argmax(np.abs(np.diff(y) / np.diff(x))))
    return Estimate((x[i] + x[i + 1]) / 2, abs(x[i + 1] - x[i]) / 2, f"from {y[i]:.3g} to {y[i + 1]:.3g}")


def _deviations(x, y, error, theory, allowance):
    """|y - theory| / sqrt(error² + allowance²). Raises ValueError."""
    if error is None:
        raise ValueError("a comparison in standard errors needs data with standard errors")
    theory = np.broadcast_to(theory, y.shape)
    if np.any(np.isnan(theory)):
        raise ValueError(f"the theory does not hold at {x[np.isnan(theory)][0]:g}: select where it does")
    return np.abs(y - theory) / np.hypot(error, allowance)


def max_deviation(x, y, error=None, theory=NAN, allowance=0.0):
    """The largest |y - theory| in standard errors.

    allowance : systematic uncertainty, in units of y, added to the statistical one in quadrature: a
                theory for S → ∞, or a method with a finite time step, is never exact
    """
    deviation = _deviations(x, y, error, theory, allowance)
    i = int(np.argmax(deviation))
    return Estimate(deviation[i], 0.0, f"{len(x)} points, largest at {x[i]:g}")


def rms_deviation(x, y, error=None, theory=NAN, allowance=0.0):
    """The root mean square of |y - theory| in standard errors; allowance as in `max_deviation`."""
    deviation = _deviations(x, y, error, theory, allowance)
    return Estimate(float(np.sqrt(np.mean(deviation**2))), 0.0, f"{len(x)} points")


THEORY = {f.__name__: f for f in (gaussian_Sz, gaussian_var_Sz, gaussian_gap,
                                  lower_boundary, upper_boundary, critical_rate)}
ESTIMATES = {f.__name__: f for f in (power_law, steepening, extrapolate, value, maximum, minimum_at,
                                     steepest_at, max_deviation, rms_deviation)}
