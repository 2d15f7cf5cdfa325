"""Which terms, jump operators and sites every method takes: asked of the methods, with a small config of each."""

import itertools
from typing import Any

from pydantic import ValidationError

from hpcsim.models import kerr_oscillator, spin_network
from hpcsim.system import System, starts

ROWS = [[i, (i + 1) % 4, (i + 2) % 4] for i in range(4)]
RATES = [[1.0 if i == j else 0.2 + 0.1 * (i + j) / 6 for j in range(4)] for i in range(4)]
PHASE = {"abs": 0.5, "phase": 1.0}
# each feature: keys of the model spin_network with four sites; None: boson modes
FEATURES: dict[str, dict[str, Any] | None] = {
    "fields, and couplings of equal components: Sx, Sz Sz": {"field_x": 1, "Jz": 1},
    "Dzyaloshinskii-Moriya: Sx Sy - Sy Sx": {
        "terms": [{"operators": ["Sx", "Sy"]}, {"operators": ["Sy", "Sx"], "coefficients": -1}],
    },
    "hopping with phases: c S+ S- + h.c., c complex": {
        "terms": [{"operators": ["S+", "S-"], "coefficients": PHASE}],
    },
    "different operators on one site: Sx Sz + h.c.": {
        "terms": [{"operators": ["Sx", "Sz"], "sites": [row[:1] * 2 for row in ROWS]}],
    },
    "products of three and more operators: Sz Sz Sz": {"terms": [{"operators": ["Sz"] * 3, "sites": ROWS}]},
    "decay and gain of every site: S-, S+": {"gain": 0.3},
    "dephasing: Sz": {"dephasing": 0.3},
    "collective jumps: Σ_i S-_i": {"jumps": [{"operators": "S-", "rate": 1, "collective": True}]},
    "weighted sums: Σ_i w_i S-_i, w complex": {
        "jumps": [{"operators": "S-", "rate": 1, "weights": [1, [0, 1], -1, [0, -1]]}]
    },
    "sums of different operators of a site: S- + 0.3 Sz": {"jumps": [{"operators": "S- + 0.3*Sz", "rate": 1}]},
    "rate matrices Γ_ij": {"jumps": [{"operators": "S-", "rate_matrix": RATES}]},
    "jumps of pairs: S+_i S-_j (hopping), S-_i S-_j (pair loss)": {
        "jumps": [{"operators": [name, "S-"], "rate": 0.3} for name in ("S+", "S-")],
    },
    "boson modes": None,
}

IN_TIME = "parameters that depend on time: schedule"
PERIODIC = "periodic steady states and their gap: task: floquet, floquet_gap"
STARTS = {  # rows of initial states: kinds of hpcsim.system.starts
    "coherent spin states": "direction",
    "random directions": "random",
    "levels: fock": "fock",
    "coherent states of modes: alpha": "alpha",
    "Dicke states": "dicke",
    "mixed: 1/D": "mixed",
    "saved states": "state",
    "steady states of other parameters": "steady_state",
    "ground states": "ground_state",
    "thermal states": "thermal",
}


def _examples(keys: dict[str, Any] | None) -> list[System]:
    """Rings and completely coupled spins 1/2 and 1, with the keys of a feature."""
    if keys is None:
        mode = kerr_oscillator.build(kerr_oscillator.Params(detuning=1, U=1, F=1, cutoff=4))
        return [mode] * 4
    always = {"sites": 4, "decay": 1.0, "convention": "standard"}
    kinds = itertools.product((None, 0.0), (0.5, 1.0))
    return [spin_network.build(spin_network.Params(**always, power=power, S=S, **keys)) for power, S in kinds]


def supported(module, feature: str) -> str | None:
    """None where a method takes some system with a feature, or why it refuses it."""
    both = zip(_examples({}), _examples(FEATURES[feature]))
    reasons = [module.supports(example) for plain, example in both if module.supports(plain) is None]
    return None if None in reasons else reasons[0]


def table(methods: dict) -> dict[str, dict[str, str | None]]:
    """{feature: {method: None, or why it refuses}} of methods {name: module}."""
    found = {feature: {name: supported(module, feature) for name, module in methods.items()} for feature in FEATURES}
    found[IN_TIME] = {name: _without_time(module) for name, module in methods.items()}
    found[PERIODIC] = {name: _without_period(module) for name, module in methods.items()}
    for row, kind in STARTS.items():
        found[f"start from {row}"] = {name: _without_start(module, kind) for name, module in methods.items()}
    return found


def _without_time(module) -> str | None:
    return None if getattr(module, "DRIVEN", ()) else "none of its tasks takes parameters that depend on time"


def _without_period(module) -> str | None:
    return None if "floquet" in getattr(module, "DRIVEN", ()) else "it has no task: floquet"


def _without_start(module, kind: str) -> str | None:
    """None where a method evolves from a state of this kind, or why it does not."""
    if "initial" not in module.Options.model_fields:
        return "it does not evolve a state in time"
    try:
        module.Options(task="evolve", times=[1.0], initial=starts.EXAMPLES[kind])
    except ValidationError as error:
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return None


def markdown(found: dict[str, dict[str, str | None]]) -> str:
    """What `table` found, and below it the reasons of what is refused, by their numbers."""
    names, reasons = list(next(iter(found.values()))), []
    lines = [f"| | {' | '.join(f'`{name}`' for name in names)} |", "|---" * (1 + len(names)) + "|"]
    for feature, row in found.items():
        cells = []
        for name, reason in row.items():
            told = f"`{name}`: {reason}"
            if reason and told not in reasons:
                reasons.append(told)
            cells.append(f"no ({reasons.index(told) + 1})" if reason else "yes")
        lines.append(f"| {feature} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{i + 1}. {reason}" for i, reason in enumerate(reasons))])
