"""How results, and words of a config, are written on figures."""

import re

AXES = r"(?P<a>[xyz])"
SYMBOLS = {
    rf"S{AXES}": r"$\langle S^{a}\rangle$",
    rf"var_S{AXES}": r"$(\Delta S^{a})^2$",
    rf"correlation_{AXES}(?P=a)": r"$\langle S^{a}_n S^{a}_{n+s}\rangle$",
    "correlation": r"$\langle S^+_n S^-_{n+s}\rangle$",
    "correlation_length": r"$\xi$",
    "S_perp": r"$\langle S_\perp\rangle$",
    "Mz": "$M_z$",
    "squeezing": r"$\xi^2$",
    "purity": r"Tr $\rho^2$",
}
WORDS = {
    "liouvillian": "Liouvillian",
    "pda": "PDA",
    "spin_conserving": "spin-conserving",
    "wigner": "Wigner",
}


def symbol(name: str) -> str | None:
    """The symbol of a result, None where it has none."""
    for pattern, text in SYMBOLS.items():
        if found := re.fullmatch(pattern, name):
            return text.replace("{a}", found.groupdict().get("a", ""))
    return None


def word(value: str) -> str:
    """A word of a config, as a method or a scheme, as it stands in a text."""
    first, *rest = value.split(" ")
    return " ".join([WORDS.get(first, first.replace("_", " ")), *rest])


def reduced_units(units: str, divide: str | None) -> str:
    """The units of a quantity that is divided by a parameter, as S^2 or g; "1" where that takes them away."""
    if divide is None:
        return units
    name, _, power = divide.partition("^")
    spin = {"ħ": "1", "ħ²": "2"}.get(units) == (power or "1") and name == "S"
    return "1" if spin or units == divide else units
