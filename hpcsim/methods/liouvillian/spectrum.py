"""The tasks gap and spectrum: the slowest eigenvalues of one sector, or the proof that a sector decays faster."""

import logging

import numpy as np

from hpcsim.methods import Context, Dim, Output
from hpcsim.methods.liouvillian import certificate, exclusion, uniqueness
from hpcsim.methods.liouvillian.estimate import LOW
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME, Name
from hpcsim.system import System

log = logging.getLogger("hpcsim")
ZERO = 1e-9  # an eigenvalue this small, relative to |H_eff|, is that of the steady state
LABELS = {"k": "k", "parity": "parity (bits of the involutions it is odd under)", "momentum": "momentum"}


def outputs(system: System, options) -> tuple:
    """Eigenvalues, rates and the gap in the unit of the model's rates."""
    last = "gap" if options.task == "gap" else "eigenvalues"
    rate = dict(units=system.units, reduce="min")
    found = [
        Output("gap", long_name="smallest -Re λ, the steady state's zero left out", **rate),
        *(
            Output(f"gap_{label}", reduce="at_min", sources=("gap",), long_name=f"{what} of the sector with the gap")
            for label, what in LABELS.items()
        ),
        Output(
            "certified_decay",
            long_name="rate below which all eigenvalues of the sectors looked into are shown to have been found",
            **rate,
        ),
        Output(
            "certified",
            reduce="reaches",
            sources=("certified_decay", last),
            long_name=f"1 if certified_decay is not below the {'gap' if last == 'gap' else 'last eigenvalue'}, else 0",
        ),
        Output("certificate", reduce="min", long_name=f"what shows it. {certificate.CODES}"),
    ]
    if options.task == "gap":
        return (
            *found,
            Output("residual", reduce="at_min", sources=("gap",), long_name="|Lx - λx| / |L||x|"),
            Output("excluded_decay", long_name="rate that all eigenvalues of the excluded sectors exceed", **rate),
        )
    merged = dict(dims=(Dim("eigenvalue", tuple(range(options.eigenvalues))),), reduce="merge")
    along = dict(merged, sources=("eigenvalues",))
    return (
        Output(
            "eigenvalues",
            units=system.units,
            dtype="c16",
            long_name="eigenvalues of the Liouvillian, largest real part first",
            **merged,
        ),
        Output("residual", long_name="|Lx - λx| / |L||x|", **along),
        *(
            Output(f"sector_{label}", long_name=f"{what} of the eigenvalue's sector", **along)
            for label, what in LABELS.items()
        ),
        *found,
    )


def gap(system: System, options, record: Name, names, context: Context) -> dict:
    """Gap of one sector k < LOW, or of all sectors of a higher k that is not shown to decay faster.

    names : makes the list of all sectors that are looked into

    What decays faster than the gap of an earlier record need not be known exactly: a sector's own gap is certified
    where it is below that one, and otherwise that nothing is.
    """
    smallest = min([_nan_last(float(found["gap"])) for found in context.earlier.values()], default=np.inf)
    if record.k < LOW:
        return _gap_of(system, options, record, context, smallest) | {"excluded_decay": np.nan}
    fastest = np.nan
    weights = certificate.kept_weights(system, options.petsc_options, context) if smallest < np.inf else None
    if weights is not None:
        fastest = context.comm.bcast(exclusion.decay(weights, record.k, smallest) if context.comm.rank == 0 else None)
    if np.isnan(fastest):
        results = []
        for name in (name for name in names() if name.k == record.k):
            results.append(_gap_of(system, options, name, context, smallest))
            smallest = min(smallest, _nan_last(results[-1]["gap"]))
        best = min(results, key=lambda result: _nan_last(result["gap"]))
        weakest = {key: min(result[key] for result in results) for key in ("certified_decay", "certificate")}
        return best | weakest | {"excluded_decay": np.nan}
    missing = {output.name: np.nan for output in outputs(system, options) if output.stored}
    return missing | {"certified_decay": fastest, "certificate": certificate.BOUND, "excluded_decay": fastest}


def _nan_last(rate: float) -> float:
    return np.inf if np.isnan(rate) else rate


def _gap_of(system: System, options, name: Name, context: Context, smallest: float) -> dict:
    """smallest : gap of the sectors that were solved before"""
    found, decaying = _slowest(system, options, name, 1, context, smallest)
    first = decaying[0] if len(decaying) else None
    if first is not None:
        uniqueness.refuse_zero(found.values[first], Sector(kept_operators(system, context), name))
    return _common(name, found, decaying) | {"residual": np.nan if first is None else found.errors[first]}


def spectrum(system: System, options, name: Name, context: Context) -> dict:
    """The slowest eigenvalues of one sector; none has to be shown that decays faster than all that will be kept."""
    wanted = options.eigenvalues
    rates = np.sort([-value.real for found in context.earlier.values() for value in found["eigenvalues"]])  # NaN last
    enough = _nan_last(float(rates[wanted - 1])) if len(rates) >= wanted else np.inf
    found, decaying = _slowest(system, options, name, wanted, context, enough)

    def kept(array):
        return np.pad(array[:wanted], (0, max(wanted - len(array), 0)), constant_values=np.nan)

    labels = {
        f"sector_{label}": kept(np.full(len(found.values), float(value))) for label, value in name._asdict().items()
    }
    return _common(name, found, decaying) | {"eigenvalues": kept(found.values), "residual": kept(found.errors)} | labels


def _slowest(system: System, options, name: Name, wanted: int, context: Context, enough: float = np.inf):
    """certificate.Slowest of a sector, the zero of the steady state among them, and the places of all others."""
    sector, steady = Sector(kept_operators(system, context), name), name == HOME
    count = max(wanted, 2) if steady else wanted  # the gap is beside the zero
    found = certificate.slowest(system, sector, count, options.petsc_options, context, enough)
    places = np.arange(len(found.values))
    if steady:
        zero = int(np.argmin(abs(found.values)))
        if abs(found.values[zero]) > ZERO * abs(sector.operators.effective).sum(1).max():
            found = found._replace(values=np.insert(found.values, 0, 0), errors=np.insert(found.errors, 0, np.nan))
            places, zero = np.arange(len(found.values)), 0
        places = np.delete(places, zero)
    last = min(wanted + (options.task == "gap" and steady), len(found.values)) - 1
    needed = min(-found.values[last].real, enough) if last >= 0 else 0.0
    if context.comm.rank == 0 and found.decay < needed * (1 - certificate.TIE):
        context.cache.get(("liouvillian", "uncertified"), lambda: _warn(sector, found.decay))  # once in a run
    return found, places


def _warn(sector: Sector, decay: float):
    log.warning(
        "%s: eigenvalues that decay with %.6g or faster may be missing beside those found; the results are certified "
        "where they decay more slowly, see certified_decay. Further sectors like this are not named",
        sector,
        decay,
    )


def _common(name: Name, found: certificate.Slowest, decaying) -> dict:
    return {
        "gap": -found.values[decaying[0]].real if len(decaying) else np.nan,
        **{f"gap_{label}": float(value) for label, value in name._asdict().items()},
        "certified_decay": found.decay,
        "certificate": found.code,
    }
