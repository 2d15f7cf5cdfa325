"""Findings from the facts: what is there, what is missing, what does not fit together, and the fix."""

import re
from dataclasses import dataclass
from pathlib import Path

from hpcsim.doctor.fixes import FIXES
from hpcsim.doctor.probe import OPTIMISED_BLAS, PLAIN, SOLVERS

NEED_PETSC = ("liouvillian", "permutation")


@dataclass(frozen=True)
class Finding:
    """One line of the table. status: ok; warn (works, not well); missing; wrong (does not fit)."""

    name: str
    value: str
    status: str = "ok"
    fix: str = ""


def judge(facts: dict) -> list[Finding]:
    """Findings from the facts of `probe` and, in facts["ranks"], of every rank."""
    return [
        _judge_python(facts),
        *_judge_mpi(facts),
        *_judge_petsc(facts),
        _judge_h5py(facts),
        _judge_one_libmpi(facts),
        _judge_blas(facts),
        *(_judge_plain(facts, package) for package in PLAIN.values()),
        *_judge_machine(facts),
    ]


def _fix(facts, item, suffix="") -> str:
    """What to do about `item` here, or in each kind of installation where it is none of them."""
    if facts["kind"]:
        return FIXES[facts["kind"]][item] + suffix
    return "; ".join(f"{kind}: {fixes[item]}{suffix}" for kind, fixes in FIXES.items())


def _numbers(version) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _absent(facts, package, name):
    """A package bound to MPI that cannot be imported; facts[package] is the error."""
    said = facts[package]
    if "numpy" in said:  # "numpy.dtype size changed", "numpy.core.multiarray failed to import"
        value = f"{said} (it was compiled for another numpy than {_version(facts['numpy'])})"
        return Finding(name, value, "wrong", _fix(facts, "numpy"))
    return Finding(name, said, "missing", _fix(facts, package))


def _version(found) -> str:
    return found if isinstance(found, str) else found["version"]


def _judge_python(facts):
    value = f"{facts['python']} ({facts['executable']})"
    if _numbers(facts["python"]) < (3, 11):
        return Finding("Python", value, "wrong", "Python 3.11 or later is needed; jobs/env/ has environments with it")
    return Finding("Python", value)


def _judge_mpi(facts):
    mpi = facts["mpi4py"]
    if isinstance(mpi, str):
        return [_absent(facts, "mpi4py", "mpi4py")]
    return [
        Finding("MPI", f"{mpi['library']} (standard {mpi['standard']})"),
        Finding("mpi4py", mpi["version"]),
        _judge_mpirun(facts, mpi),
        _judge_ranks(facts),
    ]


def _judge_mpirun(facts, mpi):
    if facts["mpirun"] is None:
        return Finding(
            "mpirun", "not on the PATH", "warn", _fix(facts, "mpirun") + "; under Slurm, srun will do as well"
        )
    if _vendor(facts["mpirun"]) != _vendor(mpi["library"]):
        value = f"{facts['mpirun']}, but mpi4py uses {mpi['library']}: every rank would be alone"
        return Finding("mpirun", value, "wrong", _fix(facts, "mpirun"))
    return Finding("mpirun", facts["mpirun"])


def _judge_ranks(facts):
    size = len(facts["ranks"])
    if facts["started"] > size:
        value = f"{facts['started']} started, but mpi4py sees {size}: the launcher is of another MPI"
        return Finding("ranks", value, "wrong", _fix(facts, "mpirun"))
    hosts = {rank["host"] for rank in facts["ranks"]}
    return Finding("ranks", f"{size} on {len(hosts)} host{'s' * (len(hosts) > 1)}")


def _vendor(text) -> str:
    """Which MPI a version text speaks of; MPICH and its kin start programs by Hydra."""
    marks = {
        "open mpi": "Open MPI",
        "openrte": "Open MPI",
        "intel": "Intel MPI",
        "mpich": "MPICH",
        "mvapich": "MPICH",
        "cray": "MPICH",
        "hydra": "MPICH",
    }
    return next((name for mark, name in marks.items() if mark in text.lower()), text)


def _judge_petsc(facts):
    petsc = facts["petsc4py"]
    if isinstance(petsc, str):
        return [_without_petsc(facts, "petsc4py", "PETSc")]
    value = f"{petsc['version']}, {petsc['scalar']} scalars, {petsc['integer']}-bit integers"
    if petsc["scalar"] == "real":
        scalars = Finding("PETSc", value)
    else:
        value += ": correct, but for the real matrices here it takes twice the memory and thrice the time"
        scalars = Finding("PETSc", value, "warn", _fix(facts, "petsc4py"))
    names = " and ".join(SOLVERS[name] for name in petsc["solvers"])
    if "mumps" in petsc["solvers"]:
        solvers = Finding("solvers", names)
    else:
        value = f"{names or 'none'}, no MUMPS: no distributed LU for shift-invert"
        solvers = Finding("solvers", value, "missing", _fix(facts, "mumps"))
    return [scalars, solvers, _judge_slepc(facts, petsc)]


def _without_petsc(facts, package, name):
    """Where it is not installed the other methods run; an installation that is broken has to be repaired."""
    if not facts[package].startswith("ModuleNotFoundError"):
        return _absent(facts, package, name)
    value = f"not here: the methods {' and '.join(NEED_PETSC)} need it, all others run"
    return Finding(name, value, "warn", _fix(facts, package))


def _judge_slepc(facts, petsc):
    slepc = facts["slepc4py"]
    if isinstance(slepc, str):
        return _without_petsc(facts, "slepc4py", "SLEPc")
    if _numbers(slepc["version"])[:2] != _numbers(petsc["version"])[:2]:
        return Finding(
            "SLEPc",
            f"{slepc['version']} does not belong to PETSc {petsc['version']}",
            "wrong",
            _fix(facts, "slepc4py"),
        )
    return Finding("SLEPc", slepc["version"])


def _judge_h5py(facts):
    h5py = facts["h5py"]
    if isinstance(h5py, str):
        return _absent(facts, "h5py", "h5py")
    value = f"{h5py['version']}, HDF5 {h5py['hdf5']}"
    return Finding("h5py", f"{value}, {'with' if h5py['mpi'] else 'without'} MPI (either will do)")


def _judge_one_libmpi(facts):
    """All packages must use the same MPI library: the communicators of one mean nothing to another."""
    linked = {path for paths in facts["links"].values() for path in paths}
    if len(linked | set(facts["libmpi"])) > 1:
        named = [f"{package} is linked to {' and '.join(paths)}" for package, paths in facts["links"].items()]
        return Finding(
            "one libmpi",
            "; ".join([*named, f"loaded: {' and '.join(facts['libmpi'])}"]),
            "wrong",
            _fix(facts, "libmpi"),
        )
    if any(rank["libmpi"] != facts["libmpi"] for rank in facts["ranks"]):
        named = sorted({f"{rank['host']} {' and '.join(rank['libmpi'])}" for rank in facts["ranks"]})
        return Finding(
            "one libmpi",
            f"hosts differ: {'; '.join(named)}",
            "wrong",
            "give all hosts the same modules and environment",
        )
    return Finding("one libmpi", " ".join(facts["libmpi"]) or "not found among the loaded libraries")


def _judge_blas(facts):
    for path in facts["blas"]:
        for mark, name in OPTIMISED_BLAS.items():
            if Path(path).name.startswith(f"lib{mark}"):
                return Finding("BLAS of PETSc", f"{name} ({path})")
    if facts["blas"]:
        value = f"the reference BLAS ({facts['blas'][0]}): MUMPS is many times slower"
        return Finding("BLAS of PETSc", value, "warn", _fix(facts, "blas"))
    return Finding("BLAS of PETSc", "not found among the loaded libraries")


def _judge_plain(facts, package):
    found = facts[package]
    if isinstance(found, str):
        return Finding(package, found, "missing", _fix(facts, "python", f" {package}"))
    version = found["version"]
    lowest, *too_new = facts["requires"].get(package, ["0"])
    if _numbers(version) < _numbers(lowest):
        wanted, spec = f"{lowest} or later", f">={lowest}"
    elif too_new and _numbers(version) >= _numbers(too_new[0]):
        wanted, spec = f"a version below {too_new[0]}", f"<{too_new[0]}"
    else:
        return Finding(package, version)
    return Finding(package, f"{version}, but {wanted} is needed", "wrong", _fix(facts, "python", f" '{package}{spec}'"))


def _judge_machine(facts):
    here = [rank for rank in facts["ranks"] if rank["host"] == facts["host"]]
    threads = f"{facts['threads']} per rank (OMP_NUM_THREADS)"
    if sum(rank["threads"] for rank in here) > facts["cores"]:
        value = f"{threads}, {len(here)} ranks here, but only {facts['cores']} cores"
        fix = "export OMP_NUM_THREADS=1, and start no more ranks than cores"
        crowded = Finding("threads", value, "warn", fix)
    else:
        crowded = Finding("threads", threads)
    machine = (
        f"{facts['host']}: {facts['cores']} cores ({facts['usable']} for this rank), "
        f"{facts['memory'] / 1e9:.1f} GB of memory available"
    )
    return [
        crowded,
        Finding("machine", machine),
        Finding("Slurm", facts["slurm"] or "not here: hpcsim runs under mpirun alone"),
    ]
