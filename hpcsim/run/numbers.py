"""Numbers as people write them: 1/2, 2*pi, sqrt(3)/2. Nothing is evaluated but arithmetic of numbers."""

import ast
import math
import operator
import re

from hpcsim.run.text import in_range

LONGEST = 100  # characters of an expression
CHARACTERS = re.compile(r"(?:[\d.eE+\-*/() ]|pi|sqrt)+")
OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
TEXTS = ("name", "file", "source", "source_hash", "package", "state", "state_hash", "function")
A_WORD = re.compile(r"[\d-]+")  # a date
SIGNS = {ast.UAdd: operator.pos, ast.USub: operator.neg}


class _Word(Exception):
    """The text is no expression."""


def number(text: str) -> float | int | str:
    """The value of a text that is an expression of numbers, pi, sqrt, + - * / and parentheses; any other text as it is.

    A quotient of whole numbers that is whole is a whole number. Raises ValueError where the expression has no finite
    real value.
    """
    if len(text) > LONGEST or not CHARACTERS.fullmatch(text) or A_WORD.fullmatch(text):
        return text
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        value = text if isinstance(tree, ast.Constant) else in_range(_value(tree))
    except (_Word, SyntaxError):
        return text
    except (ArithmeticError, ValueError) as error:
        raise ValueError(f"no number: {error}") from None
    if not isinstance(value, str) and not math.isfinite(value):
        raise ValueError("no number: the result is not finite")
    return value


def _value(tree: ast.expr) -> float | int:
    match tree:
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.Name(id="pi"):
            return math.pi
        case ast.UnaryOp() if type(tree.op) in SIGNS:
            return SIGNS[type(tree.op)](_value(tree.operand))
        case ast.Call(func=ast.Name(id="sqrt"), args=[argument], keywords=[]):
            return math.sqrt(_value(argument))
        case ast.BinOp() if type(tree.op) in OPERATIONS:
            left, right = _value(tree.left), _value(tree.right)
            whole = isinstance(tree.op, ast.Div) and right and isinstance(left, int) and isinstance(right, int)
            return left // right if whole and left % right == 0 else OPERATIONS[type(tree.op)](left, right)
    raise _Word


def numbers(value, where: str):
    """Plain data with every expression replaced by its value, but for names, files and sources.

    where : the path of the value, for the message of the ValueError
    """
    if isinstance(value, dict):
        return {key: item if key in TEXTS else numbers(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item, where) for item in value]
    try:
        return number(value) if isinstance(value, str) else value
    except ValueError as error:
        raise ValueError(f"{where} = {value!r}: {error}") from None
