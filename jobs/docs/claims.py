"""The claims of the papers and what the configs show of them, as a page of the manual: from the configs' checks.

    python jobs/docs/claims.py [folder of configs, default configs]

A check with the key `claim` decides a statement, see `hpcsim.figures.section.Check`. Ours is what `hpcsim plot --csv`
wrote beside the config at its last full run; a verdict is `open` where there is none.
"""

import sys
from collections import Counter
from pathlib import Path

from hpcsim import figures, store
from hpcsim.figures import numbers
from hpcsim.run import config

INTRO = (
    "Every check of a config that decides a statement of a paper: *published* is the paper's number, where it gives "
    "one. *reproduced*: ours and the published number meet the check's criterion; *differs*: ours alone does, or what "
    "it asserts is the opposite of the statement; *open*: ours does not meet it, or no full run is kept beside the "
    "config. `python jobs/docs/claims.py` prints this table."
)
HEAD = ("config", "statement", "published", "check", "ours", "criterion", "verdict")


def rows(folder: Path):
    """The cells of each claim, as in HEAD."""
    for path in sorted(folder.glob("*/*.yaml")):
        for figure in figures.parse(config.load(path)["figures"], execute=True):
            table = path.with_name(f"{figure.file}.csv")
            kept = numbers.checks(table) if table.exists() else {}
            for check in figure.checks:
                if check.claim:
                    yield _row(path, check, kept)


def _row(path: Path, check, kept: dict) -> tuple[str, ...]:
    of = [row for name, row in kept.items() if name == check.name or name.startswith(f"{check.name} (")]
    ours = "; ".join(map(_number, of)) or "no run kept"
    criterion = "; ".join(dict.fromkeys(row["expected"] for row in of))
    verdicts = {row["verdict"] for row in of}
    verdict = next((each for each in ("open", "differs", "reproduced") if each in verdicts), "open")
    published = "no number" if check.published is None else f"{check.published:g}"
    return f"{path.parent.name}/{path.stem}", check.claim, published, check.name, ours, criterion, verdict


def _number(row: dict) -> str:
    """The value of a check and its error."""
    error = f" ± {float(row['stderr']):.2g}" if row["stderr"] else ""
    return f"{float(row['value'] or 'nan'):.4g}{error}"


def page(folder: Path) -> str:
    """The table in Markdown, and how many verdicts of each kind there are."""
    found = [*rows(folder)]
    count = Counter(row[HEAD.index("verdict")] for row in found)
    total = ", ".join(f"{count[kind]} {kind}" for kind in ("reproduced", "differs", "open"))
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in (HEAD, *found)]
    lines.insert(1, "|" + "---|" * len(HEAD))
    return f"# Claims of the papers\n\n{INTRO}\n\n{len(found)} claims: {total}.\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    try:
        print(page(Path(sys.argv[1] if len(sys.argv) > 1 else "configs")), end="")
    except (store.StoreError, config.ConfigError) as error:
        sys.exit(f"claims.py: {error}")
