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
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def symbol(name: str) -> str | None:
    """The symbol of a result, None where it has none."""
    for pattern, text in SYMBOLS.items():
        if found := re.fullmatch(pattern, name):
            return text.replace("{a}", found.groupdict().get("a", ""))
    return None


def number(value, style: str = "") -> str:
    """A number as a figure has it: 1.05e+06 is 1.05×10⁶, and 1e-05 is 10⁻⁵.

    style : a number's format; else six digits, and three of what is written with a power
    """
    text = format(value, style or "g")
    if "e" in text and style in ("", "g"):
        text = f"{value:.3g}"
    digits, e, exponent = text.partition("e")
    if not e:
        return text
    return {"1": "", "-1": "-"}.get(digits, f"{digits}×") + "10" + str(int(exponent)).translate(RAISED)


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
