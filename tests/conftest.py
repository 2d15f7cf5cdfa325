"""What the tests share: dependencies that may be missing, and programs run under MPI.

from conftest import mpirun, require
"""

import dataclasses
import importlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FAULTS = ROOT / "jobs" / "benchmarks" / "faults"
os.environ["HPCSIM_SPEED"] = os.devnull  # nobody's calibration changes an estimate here


def require(available, reason):
    """Skip the test where `available` is false, with the reason; fail it if HPCSIM_REQUIRE_ALL=1.

    The variable says that everything is meant to be installed, so that nothing goes untested unseen.
    """
    if available:
        return
    if os.environ.get("HPCSIM_REQUIRE_ALL") == "1":
        pytest.fail(f"HPCSIM_REQUIRE_ALL=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def require_module(name):
    """The imported module `name`, or `require`'s verdict."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        require(False, f"Python module {name} is missing ({error})")


def require_program(name):
    """Path of the program `name`, or `require`'s verdict; /usr/sbin counts as on the PATH."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    require(path, f"program {name} is missing")
    return path


# More ranks than cores, none of them bound to a core: Open MPI 4, then 5; MPICH does so by itself
SHARED_CORES = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1",  # several mpirun at once share the cores, and none of them knows it
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
}


def campaign(name):
    """The module FAULTS/NAME.py, which finds those beside it."""
    sys.path.insert(0, str(FAULTS))
    try:
        spec = importlib.util.spec_from_file_location(f"campaign_{name}", FAULTS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FAULTS))
    return module


def run_records(method, system, options, context):
    """[(record, what it returned)] of all records of a point, each with the results it needs."""
    needs, records, found = getattr(method, "needs", lambda *_: ()), method.records(system, options), {}
    needed = {i: needs(system, options, record) for i, record in enumerate(records)}
    for i in TopologicalSorter(needed).static_order():
        earlier = {index: found[index] for index in needed[i]}
        found[i] = method.run(system, options, records[i], dataclasses.replace(context, earlier=earlier))
    return [(record, found[i]) for i, record in enumerate(records)]


def pytest_configure():
    """A new seed for all that is random here; the processes that share the tests inherit it."""
    os.environ["HPCSIM_SEED"] = os.environ.get("HPCSIM_SEED") or str(secrets.randbelow(2**31))


def pytest_report_header() -> str:
    return f"HPCSIM_SEED={random_seed()}, which repeats what is random"


def random_seed() -> int:
    """The seed of this session of tests, which its first lines tell."""
    return int(os.environ["HPCSIM_SEED"])


def mpi_environment(**extra):
    """Environment for mpirun: one thread per rank, more ranks than cores allowed, root allowed if root.

    What MPI has put into this process's own environment is left out: it would tell the new mpirun
    that it is a rank of this one.
    """
    inside_mpi = "OMPI_COMM_WORLD_SIZE" in os.environ
    environment = {
        key: value
        for key, value in os.environ.items()
        if not (inside_mpi and key.startswith(("OMPI_", "PMIX_", "PRTE_")))
    }
    environment |= {"OMP_NUM_THREADS": "1"} | SHARED_CORES
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    if os.geteuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return environment | {key: str(value) for key, value in extra.items()}


def mpi_command(n, args):
    """The command line of `n` ranks of this Python with the arguments `args`."""
    return [require_program("mpirun"), "-n", str(n), sys.executable, *map(str, args)]


def mpirun(n, args, timeout=120, env=None, **kw):
    """Run `n` ranks of `python *args`; a CompletedProcess with text stdout and stderr.

        mpirun(2, ["-m", "hpcsim", "run", config, "--out", file], cwd=tmp_path)

    timeout : seconds, after which all ranks are ended and subprocess.TimeoutExpired is raised
    env     : variables on top of `mpi_environment()`
    kw      : as for subprocess.Popen
    """
    kw = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | kw
    command = mpi_command(n, args)
    with subprocess.Popen(command, env=mpi_environment(**(env or {})), **kw) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.send_signal(signal.SIGTERM)  # mpirun ends its ranks; a SIGKILL would orphan them
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)
