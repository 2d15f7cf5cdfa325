"""Known vulnerabilities of the versions that CI uses, without a network: from a copy of the PyPA's advisory database.

    python jobs/env/audit.py FOLDER

FOLDER is a checkout of pypa/advisory-database, with vulns/NAME/*.yaml. With a network, pip-audit asks the package index
for the same advisories, see constraints.txt. The exit status is 1 where a version is affected.
"""

import re
import sys
from pathlib import Path

import yaml
from packaging.version import Version

LOCK = Path(__file__).with_name("constraints.txt")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> dict[str, Version]:
    return {plain(name): Version(version) for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.M)}


def within(version: Version, events: list[dict]) -> bool:
    """Whether a range of versions, of introduced, fixed and last_affected in rising order, holds a version."""
    inside = False
    for kind, value in (item for event in events for item in event.items()):
        bound = Version(value)
        if kind == "introduced" and version >= bound:
            inside = True
        elif kind == "fixed" and version >= bound or kind == "last_affected" and version > bound:
            inside = False
    return inside


def affected(name: str, version: Version, advisory: dict) -> bool:
    found = [one for one in advisory.get("affected", []) if plain(one["package"]["name"]) == name]
    ranges = [each for one in found for each in one.get("ranges", []) if each["type"] == "ECOSYSTEM"]
    listed = any(str(version) in one.get("versions", []) for one in found)
    return not advisory.get("withdrawn") and (listed or any(within(version, each["events"]) for each in ranges))


def audit(packages: dict[str, Version], folder: Path) -> tuple[int, list[str]]:
    """How many advisories there are on the packages, and a line for each that holds for the version."""
    read, lines = 0, []
    for name, version in packages.items():
        for path in sorted((folder / "vulns" / name).glob("*.yaml")):
            advisory, read = yaml.safe_load(path.read_text()), read + 1
            if affected(name, version, advisory):
                told = (advisory.get("summary") or advisory.get("details") or "").strip().partition("\n")[0]
                lines.append(f"{name} {version}: {advisory['id']}: {told[:200]}")
    return read, lines


def main():
    if len(sys.argv) != 2 or not (folder := Path(sys.argv[1]) / "vulns").is_dir():
        sys.exit("usage: python jobs/env/audit.py FOLDER, a checkout of pypa/advisory-database")
    packages = locked(LOCK.read_text())
    read, lines = audit(packages, folder.parent)
    print(
        *lines, f"{len(packages)} packages, {read} advisories on them, {len(lines)} hold for these versions", sep="\n"
    )
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
