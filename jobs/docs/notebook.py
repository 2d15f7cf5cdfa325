"""Run a notebook from top to bottom without Jupyter, and write it as a page of the manual."""

import ast
import contextlib
import io
import json
import shlex
import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt

from hpcsim import cli


def cells(path: Path):
    """(whether it is code, source) of each cell."""
    for cell in json.loads(path.read_text())["cells"]:
        yield cell["cell_type"] == "code", "".join(cell["source"])


def run(path: Path, draw=lambda figure: figure.canvas.draw()):
    """Yield (whether it is code, source, what it prints, [draw(figure), ...]) of each cell, run in one namespace.

    `!hpcsim ...` is a command; the value of a last line without a semicolon is printed.
    """
    space = {"__name__": "__main__"}
    with matplotlib.rc_context({"backend": "Agg"}):
        for is_code, source in cells(path):
            printed = io.StringIO()
            if is_code:
                with contextlib.redirect_stdout(printed):
                    _execute(source, path.name, space)
            figures = [plt.figure(number) for number in plt.get_fignums()]
            yield is_code, source, printed.getvalue(), [draw(figure) for figure in figures]
            plt.close("all")


def _execute(source: str, name: str, space: dict):
    if source.startswith("!hpcsim "):
        if cli.main(shlex.split(source.removeprefix("!hpcsim "))):
            raise RuntimeError(f"{name}: {source} failed")
        return
    body = ast.parse(source, name).body
    shown = body.pop() if isinstance(body[-1], ast.Expr) and not source.rstrip().endswith(";") else None
    exec(compile(ast.Module(body, []), name, "exec"), space)
    if shown is not None:
        value = eval(compile(ast.Expression(shown.value), name, "eval"), space)
        if value is not None and not isinstance(value, list):  # lists are what matplotlib returns
            print(value)


def write_page(path: Path, folder: Path):
    """Run the notebook in the folder `folder`, and write it there as NAME.md, with its pictures."""
    parts, pictures = [], []

    def save(figure):
        pictures.append(f"{path.stem}-{len(pictures)}.png")
        figure.savefig(folder / pictures[-1], dpi=144, bbox_inches="tight")
        return pictures[-1]

    with contextlib.chdir(folder):
        for is_code, source, printed, drawn in run(path, save):
            if is_code:
                parts.append(f"```{'text' if source.startswith('!') else 'python'}\n{source}\n```")
            else:
                parts.append(source)
            parts += [f"```text\n{printed.rstrip()}\n```"] * bool(printed.strip())
            parts += [f"![]({name})" for name in drawn]
    (folder / f"{path.stem}.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    write_page(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
