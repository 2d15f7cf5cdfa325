"""Theory curves by name: those of `hpcsim.analysis`, and functions of files of one's own, FILE.py:FUNCTION."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationInfo

from hpcsim.analysis import THEORY
from hpcsim.own import IN_A_FILE, executed, told


class NotExecuted(ValueError):
    """A theory of a file that only reads what others may have made."""


@dataclass(frozen=True)
class Theory:
    """A function whose arguments are found by their names.

    call : None where the file that has it is not to be executed
    """

    name: str
    call: Callable | None

    def __str__(self) -> str:
        return self.name

    @property
    def arguments(self) -> tuple[str, ...]:
        """Raises NotExecuted."""
        if self.call is None:
            raise NotExecuted(
                f"{self.name} is code that came with the collected file, which plot does not execute: if you trust it, "
                "name the config that names it: hpcsim plot FILE --config CONFIG.yaml"
            )
        return tuple(inspect.signature(self.call).parameters)

    def __call__(self, **arguments):
        """Raises ValueError in one line, whatever goes wrong in a file of one's own."""
        own = IN_A_FILE.fullmatch(self.name)
        try:
            return self.call(**arguments)
        except Exception as error:
            if not own:
                raise
            raise ValueError(told(error, "theory", Path(own["file"]).stem)) from None


def theory(word: str, info: ValidationInfo) -> Theory:
    """The Theory that a word of a config names. Raises ValueError.

    info : its context has `sources`, {file: source}, and `execute`, whether the user named these files
    """
    if word in THEORY:
        return Theory(word, THEORY[word])
    own, context = IN_A_FILE.fullmatch(word), info.context or {}
    if not own or own["file"] not in context.get("sources", {}):
        raise ValueError(f"unknown theory; known: {', '.join(THEORY)}, and functions of files, my_theory.py:FUNCTION")
    if not context["execute"]:
        return Theory(word, None)
    module = executed(Path(own["file"]).stem, context["sources"][own["file"]], "theory")
    call = getattr(module, own["name"], None)
    if not inspect.isfunction(call):
        known = ", ".join(name for name, each in vars(module).items() if inspect.isfunction(each)) or "none"
        raise ValueError(f"{own['file']} has no function {own['name']}; it has {known}")
    return Theory(word, call)
