"""Functions of averages written as formulas: text in the file, which is evaluated without executing code."""

import ast

import numpy as np

from hpcsim.observables.outputs import Output
from hpcsim.observables.terms import Derived, Function
from hpcsim.system import expression

LONGEST = 300  # characters
OPERATIONS = expression.OPERATIONS | expression.SIGNS
CALLS = {
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "abs": np.abs,
    "real": np.real,
    "imag": np.imag,
    "conj": np.conj,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


def formula(name: str, text: str, dims=(), units: str = "1", long_name: str = "") -> Derived:
    """A function of the averages that its text names, such as formula("binder", "1 - M4/(3*M2**2)").

    text : numbers, names of `Mean`, + - * / **, parentheses, and sqrt, exp, log, abs, real, imag, conj, maximum,
           minimum. Averages are combined element by element: their dimensions are `dims`, or they have none
    Of an ensemble the formula is evaluated after averaging, with a jackknife error. Raises ValueError.
    """
    tree = _parsed(text)
    calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    named = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in calls]
    sources = tuple(dict.fromkeys(named))
    if not sources:
        raise ValueError(f"the formula {text!r} names no average")
    _check(tree, sources)
    return Derived(Output(name, tuple(dims), units, long_name, reduce="function", function=text, sources=sources))


def function(text: str, sources: tuple[str, ...]) -> Function:
    """The finishing function of a formula, of the averages `sources`. Raises ValueError."""
    tree = _parsed(text)
    _check(tree, sources)

    def call(*averages):
        with np.errstate(all="ignore"):  # NaN where averages are
            return np.asarray(_value(tree, dict(zip(sources, averages))))

    return Function(call)


def _check(tree: ast.expr, sources):
    """ValueError where a formula cannot be evaluated."""
    with np.errstate(all="ignore"):
        _value(tree, dict.fromkeys(sources, np.ones(1)))


def _parsed(text: str) -> ast.expr:
    try:
        if len(text) > LONGEST:
            raise SyntaxError
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(
            f"{text[:60]!r} is no formula of at most {LONGEST} characters, such as 1 - M4/(3*M2**2)"
        ) from None


def _value(tree: ast.expr, averages: dict):
    match tree:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return np.float64(number)
        case ast.Name(id=name) if name in averages:
            return averages[name]
        case ast.UnaryOp(op=operation, operand=one) if type(operation) in OPERATIONS:
            return OPERATIONS[type(operation)](_value(one, averages))
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in OPERATIONS:
            return OPERATIONS[type(operation)](_value(left, averages), _value(right, averages))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in CALLS:
            try:
                return CALLS[name](*(_value(each, averages) for each in arguments))
            except TypeError as error:
                raise ValueError(f"formula: {error}") from None
    raise ValueError(
        f"formula: {ast.unparse(tree)!r} is not allowed: numbers, names, + - * / ** and {', '.join(CALLS)} are"
    )
