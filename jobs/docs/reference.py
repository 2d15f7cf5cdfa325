"""The reference pages of the manual, from the parser of the command line, the docstrings and the parameters' types."""

import inspect
import re
import sys
from pathlib import Path

import hpcsim
from hpcsim import cli, guide

EXPLAINED = {
    "models": "What `hpcsim describe NAME` says of each.",
    "methods": "What `hpcsim describe NAME` says of each. [Methods and their errors](methods.md) compares them.",
    "observables": "For the list `observables` of a method. Beside these, products such as `Sx_0_Sy_3`, and items with "
    "`product`, `sum`, `reduced` or `negativity` (see [the config](config.md)).",
    "theories": "Closed forms that a figure can draw: `theory: NAME`.",
    "analyses": "Numbers taken from a curve, for the checks of a figure: `analysis: NAME`.",
}


TAKES = (
    "`hpcsim list features`, made by asking the methods with small systems. Where it says yes, other properties of a "
    "system may still be refused, with the reason."
)


def page(folder: Path, name: str, title: str, intro: str, entries):
    """entries: (heading, preformatted text)."""
    parts = [f"# {title}", intro] + [f"## {heading}\n\n```text\n{text.strip()}\n```" for heading, text in entries]
    (folder / f"{name}.md").write_text("\n\n".join(parts) + "\n")


def literal(text: str) -> str:
    """Text that Markdown leaves as it is."""
    return re.sub(r"([\\`*_{}\[\]<>|^~])", r"\\\1", text)


def commands():
    subcommands = next(action for action in cli.parser()._actions if action.dest == "command").choices
    return [(f"hpcsim {name}", command.format_help()) for name, command in subcommands.items()]


def python():
    for name in hpcsim.__all__:
        thing = getattr(hpcsim, name)
        yield f"hpcsim.{name}", f"{name}{inspect.signature(thing)}\n\n{inspect.getdoc(thing)}"


def write(folder: Path):
    catalogue = guide.catalogue()
    page(
        folder,
        "commands",
        "Commands",
        "Exit status: 0 complete, 2 bad input, 75 stopped early and resumable, 1 anything else.",
        commands(),
    )
    page(
        folder,
        "python",
        "Python",
        "`import hpcsim` gives these; nothing else is loaded until one of them is used.",
        python(),
    )
    for kind, file in ("models", "models"), ("methods", "method_options"):
        page(
            folder,
            file,
            kind.capitalize(),
            EXPLAINED[kind],
            [(name, guide.described(name)) for name in catalogue[kind]],
        )
    (folder / "features.md").write_text(f"# What each method takes\n\n{TAKES}\n\n{guide.listed('features')}\n")
    parts = ["# Observables, theories, analyses"]
    for kind in ("observables", "theories", "analyses"):
        rows = [f"| `{name}` | {literal(text)} |" for name, text in catalogue[kind].items()]
        parts += [f"## {kind.capitalize()}\n\n{EXPLAINED[kind]}", "\n".join(["| name | |", "|---|---|", *rows])]
    (folder / "observables.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
