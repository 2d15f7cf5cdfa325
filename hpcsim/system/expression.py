"""Functions of time as text, such as 0.3*cos(2*pi*t/T): parsed and checked, never executed as code."""

import ast
import operator
from collections.abc import Callable, Iterator, Mapping

import numpy as np

LONGEST, DEEPEST = 500, 40  # characters; parts within each other
OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
SIGNS = {ast.UAdd: operator.pos, ast.USub: operator.neg}
TIME, NUMBERS = "t", {"pi": np.pi}


def step(x):
    """0 where x < 0, else 1."""
    return np.where(x < 0, 0.0, 1.0)


def ramp(x):
    """0 where x < 0, 1 where x > 1, and x between."""
    return np.clip(x, 0.0, 1.0)


def smooth(x):
    """As ramp, 3x² - 2x³ between: its slope is 0 at both ends."""
    return ramp(x) ** 2 * (3 - 2 * ramp(x))


# name: function, number of arguments, and what of the arguments is zero where the function is not smooth
FUNCTIONS: dict[str, tuple[Callable, int, Callable]] = {
    **{name: (getattr(np, name), 1, lambda x: ()) for name in ("sin", "cos", "tan", "exp", "log", "sqrt", "tanh")},
    "abs": (np.abs, 1, lambda x: (x,)),
    "min": (np.minimum, 2, lambda x, y: (x - y,)),
    "max": (np.maximum, 2, lambda x, y: (x - y,)),
    "step": (step, 1, lambda x: (x,)),
    "ramp": (ramp, 1, lambda x: (x, x - 1)),
    "smooth": (smooth, 1, lambda x: (x, x - 1)),
}


class Expression:
    """A function of t and of named constants.

    Numbers, + - * / ** and parentheses, pi, t, the constants, and FUNCTIONS. Raises ValueError, which says what is
    wrong, where the text is anything else.
    """

    def __init__(self, text: str, constants: Mapping[str, float]):
        if len(text) > LONGEST:
            raise ValueError(f"{len(text)} characters are more than {LONGEST}")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"no expression: {getattr(error, 'msg', None) or 'it cannot be read'}") from None
        self._constants = {name: np.float64(value) for name, value in constants.items()}
        self._check(self._tree, 1)

    def __call__(self, t: np.ndarray) -> np.ndarray:
        """Values at times (n,), inf or NaN where there are none."""
        with np.errstate(all="ignore"):
            return np.broadcast_to(self._value(self._tree, np.asarray(t, float)), np.shape(t)).astype(float)

    def switches(self, t: np.ndarray) -> Iterator[np.ndarray]:
        """Values at times (n,) of the functions at whose zeros the expression may jump, or bend."""
        with np.errstate(all="ignore"):
            for node in ast.walk(self._tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    arguments = (self._value(each, t) for each in node.args)
                    for found in FUNCTIONS[node.func.id][2](*arguments):
                        yield np.broadcast_to(found, np.shape(t))

    def _check(self, node: ast.expr, depth: int):
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} parts within each other")
        match node:
            case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
                parts = []
                if not -1e300 < node.value < 1e300:
                    raise ValueError("a number beyond 1e300")
            case ast.Name():
                parts = []
                if node.id not in {TIME, *NUMBERS, *self._constants}:
                    raise ValueError(f"unknown name {node.id}; known: {', '.join((TIME, *NUMBERS, *self._constants))}")
            case ast.UnaryOp() if type(node.op) in SIGNS:
                parts = [node.operand]
            case ast.BinOp() if type(node.op) in OPERATIONS:
                parts = [node.left, node.right]
            case ast.Call(func=ast.Name(id=name), keywords=[]):
                parts = node.args
                self._check_call(name, len(parts))
            case _:
                raise ValueError(
                    f"{ast.unparse(node)[:40]!r} is not allowed: write numbers, t, + - * / ** and functions"
                )
        for part in parts:
            self._check(part, depth + 1)

    def _check_call(self, name: str, given: int):
        if name not in FUNCTIONS:
            raise ValueError(f"unknown function {name}; known: {', '.join(FUNCTIONS)}")
        if given != (wanted := FUNCTIONS[name][1]):
            raise ValueError(f"{name} has {wanted} argument{'s' * (wanted > 1)}, not {given}")

    def _value(self, node: ast.expr, t: np.ndarray):
        match node:
            case ast.Constant():
                return np.float64(node.value)
            case ast.Name(id=name):
                return t if name == TIME else (self._constants | NUMBERS)[name]
            case ast.UnaryOp():
                return SIGNS[type(node.op)](self._value(node.operand, t))
            case ast.BinOp():
                return OPERATIONS[type(node.op)](self._value(node.left, t), self._value(node.right, t))
            case ast.Call(func=ast.Name(id=name)):
                return FUNCTIONS[name][0](*(self._value(each, t) for each in node.args))
