"""The course of one parameter: its value as a function of time, from a table or an expression."""

from collections.abc import Callable

import numpy as np

from hpcsim.system.expression import NUMBERS, TIME, Expression, smooth
from hpcsim.system.parameters import shown

GRID = 4096  # points in time between which a function may have one zero at most
MOST_VALUES, MOST_PERIODS = 100_000, 100_000
KINDS = {
    "linear": "straight between the times",
    "step": "each value from its time on",
    "smooth": "3x² - 2x³ between the times, flat at each",
}
EXAMPLE = "{times: [0, 10], values: [0.5, 2]} or {function: 0.3*cos(2*pi*t/T), T: 5}"


class Course:
    """A parameter as a function of the time t >= 0.

    section : {times: [...], values: [...], kind: one of KINDS}, the first value before the first time and the last one
              after the last; or {function: text, NAME: number, ...}; either with `period`: the times 0 ... period are
              repeated
    Raises ValueError with the key, below `where`, that is wrong.
    """

    def __init__(self, section: dict, where: str):
        if not isinstance(section, dict) or ("function" in section) == ("times" in section):
            raise ValueError(f"{where} = {shown(section)}: write {EXAMPLE}")
        self._where, section = where, dict(section)
        self.period = self._number(section.pop("period"), "period") if "period" in section else None
        if self.period is not None and not self.period > 0:
            raise ValueError(f"{where}.period = {self.period:g}: must be greater than 0")
        self._of_time, self._switches = self._function(section) if "function" in section else self._table(section)

    def __call__(self, t: np.ndarray) -> np.ndarray:
        """Values at times (n,). Raises ValueError with the first time that has none."""
        t = np.asarray(t, float)
        values = self._of_time(t if self.period is None else t % self.period)
        if not np.all(good := np.isfinite(values)):
            raise ValueError(f"{self._where}: has no finite value at t = {t[~good][0]:.6g}")
        return values

    def edges(self, end: float) -> np.ndarray:
        """Times between 0 and `end` at which the course may jump or bend; it is smooth between them."""
        last = end if self.period is None else min(end, self.period)
        found = np.concatenate([np.zeros(0), *self._switches(last)])
        if self.period is not None:
            if end / self.period > MOST_PERIODS:
                raise ValueError(f"{self._where}.period = {self.period:g}: more than {MOST_PERIODS} periods in {end:g}")
            begins = self.period * np.arange(np.ceil(end / self.period))
            found = (begins[:, None] + np.append(0.0, found)).ravel()
        return np.unique(found[(found > 0) & (found < end)])

    def _number(self, value, key: str) -> float:
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e300:
            raise ValueError(f"{self._where}.{key} = {shown(value)}: a number is needed")
        return float(value)

    def _numbers(self, section: dict, key: str) -> np.ndarray:
        values = section.pop(key, None)
        if not isinstance(values, (list, tuple)) or not 1 <= len(values) <= MOST_VALUES:
            raise ValueError(f"{self._where}.{key} = {shown(values)}: a list of numbers is needed")
        return np.array([self._number(value, key) for value in values])

    def _table(self, section: dict):
        times, values, kind = (
            self._numbers(section, "times"),
            self._numbers(section, "values"),
            section.pop("kind", "linear"),
        )
        if kind not in KINDS:
            raise ValueError(f"{self._where}.kind = {shown(kind)}: must be {' or '.join(KINDS)}")
        if section:
            raise ValueError(f"{self._where}.{next(iter(section))}: unknown key; known: times, values, kind, period")
        if len(times) != len(values):
            raise ValueError(
                f"{self._where}: {len(times)} times and {len(values)} values; give one value for each time"
            )
        last = np.inf if self.period is None else self.period
        if times[0] < 0 or times[-1] > last or np.any(np.diff(times) <= 0):
            within = f" between 0 and the period, {last:g}" if self.period else ", not negative"
            raise ValueError(f"{self._where}.times = {shown(times.tolist())}: a rising list is needed{within}")

        def value(t):
            if kind == "linear":
                return np.interp(t, times, values)
            left = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(times) - 1)
            if kind == "step":
                return values[left]
            right = np.minimum(left + 1, len(times) - 1)
            part = np.where(
                t < times[0], 0.0, (t - times[left]) / np.where(right > left, times[right] - times[left], 1.0)
            )
            return values[left] + smooth(part) * (values[right] - values[left])

        return value, lambda end: [times]

    def _function(self, section: dict):
        text = section.pop("function")
        if not isinstance(text, (str, int, float)) or isinstance(text, bool):
            raise ValueError(f"{self._where}.function = {shown(text)}: a text is needed, such as 0.3*cos(2*pi*t/T)")
        constants = {key: self._number(value, key) for key, value in section.items()}
        if taken := sorted(set(constants) & {TIME, *NUMBERS}):
            raise ValueError(f"{self._where}.{taken[0]}: is the name of something else; take another one")
        try:
            expression = Expression(str(text), constants)
        except ValueError as error:
            raise ValueError(f"{self._where}.function = {shown(text)}: {error}") from None
        return expression, lambda end: _zeros(expression.switches, end)


def _zeros(functions: Callable, end: float) -> list[np.ndarray]:
    """Where functions change sign between 0 and `end`: the first numbers at which each has the later sign.

    functions : times (n,) -> an iterator of arrays of values
    """
    grid, found = np.linspace(0, end, GRID), []
    for k, values in enumerate(functions(grid)):
        left = np.flatnonzero((values[1:] >= 0) != (values[:-1] >= 0))
        low, high, rising = grid[left], grid[left + 1], values[left + 1] >= 0
        for _ in range(64):
            middle = (low + high) / 2
            beyond = (list(functions(middle))[k] >= 0) == rising
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        found.append(high)
    return found
