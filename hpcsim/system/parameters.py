"""Parameters that the YAML file may contain, frozen, and the types of their values."""

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Parameters(BaseModel):
    """Base of every model's `Params` and method's `Options`: frozen, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def shown(value, length: int = 60) -> str:
    """`value` as a message shows it: repr, cut to `length` characters."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of lists in lists
        text = f"<{type(value).__name__}>"
    return text if len(text) <= length else text[: length - 3] + "..."


def _no_bool(value):
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true/false")
    return value


def _half_integer(value):
    if value <= 0 or 2 * value != round(2 * value):
        raise ValueError("a spin is a positive multiple of 1/2 (0.5, 1, 1.5, ...)")
    return value


def _numbers(value) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(x, (int, float)) and not isinstance(x, bool) for x in value
    )


def _direction(value):
    if not _numbers(value) or len(value) != 2 or not 0 <= value[0] <= 1:
        raise ValueError("a direction is [polar, azimuth] in units of π, with 0 <= polar <= 1; [0, 0] is up")
    return float(value[0]), float(value[1])


def _initial(value):
    if isinstance(value, dict) and value:
        return {str(name): _direction(direction) for name, direction in value.items()}
    return _direction(value)


def _times(value):
    if isinstance(value, dict) and list(value) == ["linspace"]:
        try:
            value = [float(f"{t:.12g}") for t in np.linspace(*value["linspace"])]
        except (TypeError, ValueError):
            raise ValueError("write linspace: [first, last, count]") from None
    if not _numbers(value) or not value or value[0] < 0 or np.any(np.diff(value) <= 0):
        raise ValueError("times are a rising list of numbers, not negative, or linspace: [first, last, count]")
    return tuple(float(t) for t in value)


Direction = tuple[float, float]
# directions of spin coherent states, of all spins or by sublattice; times of results
Initial = Annotated[Direction | dict[str, Direction], BeforeValidator(_initial)]
Times = Annotated[tuple[float, ...], BeforeValidator(_times)]
Number = Annotated[float, BeforeValidator(_no_bool)]
Whole = Annotated[int, BeforeValidator(_no_bool)]
Count = Annotated[Whole, Field(ge=1)]
Rate = Annotated[Number, Field(ge=0)]
Spin = Annotated[Number, AfterValidator(_half_integer)]
