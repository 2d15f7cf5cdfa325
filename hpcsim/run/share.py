"""One sweep shared by jobs that know nothing of each other, as the tasks of a job array: each has its own run file."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from hpcsim.run.config import ConfigError

ARRAY = "array"  # the share of a task of a job array of Slurm


class Share(NamedTuple):
    """index of count, from 1."""

    index: int
    count: int

    def __str__(self):
        return f"{self.index} of {self.count}"


def read(text: str, environment=os.environ) -> Share:
    """I/N, or `array`: what Slurm says of this task of a job array. Raises ConfigError."""
    if text == ARRAY:
        return _of_slurm(environment)
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match and 1 <= int(match[1]) <= int(match[2]):
        return Share(int(match[1]), int(match[2]))
    raise ConfigError(
        f"--share {text}: write I/N with I from 1 to N, for example 3/8, or {ARRAY} in a job array of Slurm"
    )


def _of_slurm(environment) -> Share:
    names = [f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "STEP")]
    try:
        task, count = (int(environment[name]) for name in names[:2])
        first, step = (int(environment.get(name, default)) for name, default in zip(names[2:], (0, 1)))
    except KeyError as error:
        raise ConfigError(f"--share {ARRAY}: no job array ({error.args[0]} is not set); write I/N, as 3/8") from None
    except ValueError as error:
        raise ConfigError(f"--share {ARRAY}: {', '.join(names)} are to be numbers ({error})") from None
    index, rest = divmod(task - first, max(step, 1))
    if rest or not 0 <= index < count:
        raise ConfigError(
            f"--share {ARRAY}: task {task} is none of {count} in steps of {step} from {first}; "
            f"number the tasks without gaps, as --array=0-{count - 1}, or write I/N"
        )
    return Share(index + 1, count)


def file_of(out: Path, share: Share) -> Path:
    """Where a share goes: gap.3-of-8.h5 beside gap.h5."""
    return out.with_name(f"{out.stem}.{share.index}-of-{share.count}{out.suffix}")
