"""What comes with hpcsim to start from: the papers' configs, the tutorials and the scripts for Slurm.

In a checkout `data` holds links to configs/ and jobs/, in an installed package the files themselves.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from hpcsim.system import meant


class StartError(ValueError):
    """There is no such example, or the file cannot be written."""

    status = 2


DATA = Path(__file__).parent / "data"


def found() -> dict[str, Path]:
    """{name: file}: huber2020/fig2c, ..., run.sbatch."""
    configs = {f"{path.parent.name}/{path.stem}": path for path in sorted(DATA.glob("configs/*/*.yaml"))}
    return {**configs, **{path.name: path for path in sorted(DATA.glob("*.sbatch"))}}


def titles() -> dict[str, str]:
    """{name: one line}."""
    return {name: _title(path.read_text()) for name, path in found().items()}


def _title(text: str) -> str:
    """The title of a config, the first comment of a script."""
    return (re.search(r"^title: *(.*)$", text, re.M) or re.search(r"^# (.*?)\.?$", text, re.M))[1]


def copy(name: str, target: str | None = None) -> list[Path]:
    """Write an example, named with or without its folder, and the files of its own that it names: code, and the config
    that makes the state it starts from. Returns all, the example first. Raises StartError."""
    known = found()
    fitting = [each for each in known if name in (each, each.split("/")[-1])]
    if len(fitting) > 1:
        raise StartError(f"--example {name}: there are {' and '.join(fitting)}; give one of these names")
    if not fitting:
        hint = meant(name, [*known, *(each.split("/")[-1] for each in known)])
        raise StartError(f"--example {name}: unknown; hpcsim list examples shows the {len(known)} there are{hint}")
    source = known[fitting[0]]
    text = source.read_text()
    written = [write(Path(target or source.name), text)]
    states = [f"{name}.yaml" for name in re.findall(r"state: results/([\w-]+)\.h5", text)]
    for own in dict.fromkeys([*re.findall(r"\b[\w-]+\.(?:py|sbatch)\b", text), *states]):
        if own != source.name and (source.parent / own).is_file():
            written.append(write(written[0].parent / own, (source.parent / own).read_text()))
    return written


def write(path: Path, text: str) -> Path:
    """A new file, whole or not at all; one that exists stays as it is. Raises StartError."""
    if os.path.lexists(path):
        raise StartError(f"{path}: exists; give another name, or move it away")
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.write_text(text, encoding="utf-8")
        os.replace(new, path)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise StartError(f"{path}: cannot be written ({error.strerror}); choose another place") from None
    return path
