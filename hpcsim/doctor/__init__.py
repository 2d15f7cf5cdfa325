"""What this installation has, and the fix for what is missing or does not fit together.

`probe` asks the libraries and returns plain data, `judge` turns it into findings, `report` prints
them. Only the standard library is imported here, so that it runs where everything else is broken.
"""

from hpcsim.doctor.judge import judge
from hpcsim.doctor.probe import probe, probe_launcher


def report(comm) -> tuple[list[str], bool]:
    """The table, and whether hpcsim can run here. Collective over `comm` (None where mpi4py is missing)."""
    facts = probe()
    ranks = [facts] if comm is None else comm.gather(facts)
    if ranks:
        facts |= probe_launcher() | {"ranks": ranks}
    facts = facts if comm is None else comm.bcast(facts)
    findings = judge(facts)
    width = max(len(finding.name) for finding in findings)
    lines = [f"hpcsim {facts['hpcsim']}: what this installation has"]
    for finding in findings:
        lines.append(f"{finding.status:8} {finding.name:{width}}  {finding.value}")
        if finding.fix:
            lines.append(f"{'':8} {'':{width}}  fix: {finding.fix}")
    return lines, not any(finding.status in ("missing", "wrong") for finding in findings)
