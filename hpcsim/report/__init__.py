"""A page on one file: figures, checks, reliability, timings, provenance.

It is one HTML file that loads nothing. Whatever the data bring is text in it; no code of theirs is executed.
"""

import logging
from pathlib import Path

from hpcsim import store
from hpcsim.report import contents
from hpcsim.report.page import MARK, document
from hpcsim.store.collect import opened

log = logging.getLogger("hpcsim")

__all__ = ["report"]


def report(path, to=None, section=None) -> tuple[Path, bool]:
    """Write the page on a collected file, or on a run file; returns it and whether all checks passed.

    to      : the page, by default FILE.html beside the file
    section : the `figures` of a config that the user names, in place of those of the file
    Raises store.StoreError; nothing but an earlier report is replaced.
    """
    data = opened(path)
    page = Path(to) if to else Path(path).with_suffix(".html")
    if page.exists() and not _is_report(page):
        raise store.StoreError(f"{page}: exists and is not a report; give another name with --to", 2)
    if there := store.shortfall(data):
        log.warning("%s: holds %s; the report lacks the others", path, there)
    title, sections, checks = contents.whole(data, Path(path).name, section)
    store.write_whole(page, document(title, *sections).encode())
    return page, all(check.passed for check in checks)


def _is_report(page: Path) -> bool:
    try:
        with open(page, "rb") as file:
            return MARK.encode() in file.read(200)
    except OSError:
        return False
