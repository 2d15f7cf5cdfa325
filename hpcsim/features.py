"""Which terms, jump operators and sites every method takes: asked of the methods, with small examples of each."""

import itertools
from collections.abc import Callable

import numpy as np

from hpcsim.system import Jumps, Parity, System, Terms, Translation

SITES = 4
PHASE = 0.3 + 0.4j
Tables = list[Terms | Jumps]
# each feature: of the coupled pairs (pairs, 2) the tables that have it
FEATURES: dict[str, Callable[[np.ndarray], Tables]] = {
    "fields, and couplings of equal components: Sx, Sz Sz": lambda pairs: [
        Terms(("Sx",), _alone(), np.ones(SITES)),
        Terms(("Sz", "Sz"), pairs, np.ones(len(pairs))),
    ],
    "different components: Sx Sy - Sy Sx (Dzyaloshinskii-Moriya)": lambda pairs: [
        Terms(("Sx", "Sy"), pairs, np.ones(len(pairs))),
        Terms(("Sy", "Sx"), pairs, -np.ones(len(pairs))),
    ],
    "hopping with phases: c S+ S- + h.c., c complex": lambda pairs: [
        Terms(("S+", "S-"), pairs, np.full(len(pairs), PHASE), plus_hc=True)
    ],
    "several operators on one site: Sx Sz + h.c.": lambda pairs: [
        Terms(("Sx", "Sz"), np.repeat(_alone(), 2, axis=1), np.ones(SITES), plus_hc=True)
    ],
    "products of three and more operators: Sz Sz Sz": lambda pairs: [
        Terms(("Sz",) * 3, np.column_stack([pairs, (pairs[:, 1] + 1) % SITES]), np.ones(len(pairs)))
    ],
    "decay and gain of every site: S-, S+": lambda pairs: [
        Jumps("S-", np.arange(SITES), np.ones(SITES)),
        Jumps("S+", np.arange(SITES), np.full(SITES, 0.3)),
    ],
    "dephasing: Sz": lambda pairs: [Jumps("Sz", np.arange(SITES), np.ones(SITES))],
    "collective jumps: Σ_i S-_i": lambda pairs: [Jumps("S-", np.arange(SITES), np.ones(1), collective=True)],
    "weighted sums: Σ_i w_i S-_i, w complex": lambda pairs: [
        Jumps("S-", np.arange(SITES), np.ones(1), weights=1j ** np.arange(SITES))
    ],
    "rate matrices Γ_ij": lambda pairs: [Jumps.of_rate_matrix("S-", np.arange(SITES), _rates(pairs))],
    "jumps of pairs: S+_i S-_j (hopping), S-_i S-_j (pair loss)": lambda pairs: [
        Jumps(("S+", "S-"), pairs, np.ones(len(pairs))),
        Jumps(("S-", "S-"), pairs, np.ones(len(pairs))),
    ],
    "boson modes": lambda pairs: [],
}


def _alone() -> np.ndarray:
    return np.arange(SITES)[:, None]


def _rates(pairs) -> np.ndarray:
    """Γ_ij of coupled pairs is a fifth of Γ_ii."""
    matrix = np.eye(SITES)
    matrix[tuple(pairs.T)] = matrix[tuple(pairs.T[::-1])] = 0.2
    return matrix


def _examples(feature: str | None):
    """Rings and completely coupled spins of two sizes, without a feature or with it."""
    ring = np.column_stack([np.arange(SITES), np.roll(np.arange(SITES), -1)])
    every = np.array(list(itertools.combinations(range(SITES), 2)))
    symmetries = Translation(ring[:, 1]), Parity(None, np.arange(SITES)[::-1])
    modes = feature == "boson modes"
    for pairs, S in itertools.product((ring, every), (0.5, 1.0)):
        tables: Tables = [Jumps("a" if modes else "S-", np.arange(SITES), np.ones(SITES))]
        tables += FEATURES[feature](pairs) if feature else []
        yield System(
            np.full(SITES, 0.0 if modes else S),
            tuple(table for table in tables if isinstance(table, Terms)),
            tuple(table for table in tables if isinstance(table, Jumps)),
            symmetries[: 1 if len(pairs) == SITES else 0],
            cutoffs=np.full(SITES, 3) if modes else None,
        )


def supported(module, feature: str) -> str | None:
    """None where a method takes some system with a feature, or why it refuses it."""
    reasons = [
        module.supports(example)
        for plain, example in zip(_examples(None), _examples(feature))
        if module.supports(plain) is None
    ]
    return None if None in reasons else reasons[0]


def table(methods: dict) -> dict[str, dict[str, str | None]]:
    """{feature: {method: None, or why it refuses}} of methods {name: module}."""
    return {feature: {name: supported(module, feature) for name, module in methods.items()} for feature in FEATURES}


def markdown(found: dict[str, dict[str, str | None]]) -> str:
    """What `table` found, and below it the reasons of what is refused, by their numbers."""
    names, reasons = list(next(iter(found.values()))), []
    lines = [f"| | {' | '.join(f'`{name}`' for name in names)} |", "|---" * (1 + len(names)) + "|"]
    for feature, row in found.items():
        cells = []
        for name, reason in row.items():
            if reason and f"`{name}`: {reason}" not in reasons:
                reasons.append(f"`{name}`: {reason}")
            cells.append(f"no ({reasons.index(f'`{name}`: {reason}') + 1})" if reason else "yes")
        lines.append(f"| {feature} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{i + 1}. {reason}" for i, reason in enumerate(reasons))])
