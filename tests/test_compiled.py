"""Compiled kernels are kept for one state of the sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import mpirun

import hpcsim


def test_a_changed_kernel_is_compiled_again_and_nothing_else(tmp_path):
    copy = tmp_path / "hpcsim"
    shutil.copytree(Path(hpcsim.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}

    def folder():
        code = "import hpcsim.methods, os; print(os.environ['NUMBA_CACHE_DIR'])"
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        ).stdout

    def append(name):
        with open(copy / name, "a") as file:
            file.write("# changed\n")

    first = folder()
    assert str(copy) in first
    append("cli.py")
    assert folder() == first
    append("ensemble/streams.py")  # called by the kernels of other files
    assert folder() != first


PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from mpi4py import MPI
import kernels

MPI.COMM_WORLD.Barrier()
assert kernels.outer(3.0) == 45.0
misses = [sum(f.stats.cache_misses.values()) for f in (kernels.outer, kernels.inner)]
print(*misses, flush=True)
"""
KERNELS = """
from hpcsim.compiled import njit

@njit
def inner(x):
    total = 0.0
    for k in range(6):
        total += k * x
    return total

@njit(error_model="numpy")
def outer(x):
    return inner(x)
"""


def test_ranks_that_need_a_kernel_at_once_compile_it_once(tmp_path):
    (tmp_path / "kernels.py").write_text(KERNELS)
    (tmp_path / "program.py").write_text(PROGRAM.format(folder=str(tmp_path)))
    done = mpirun(3, [tmp_path / "program.py"], env={"NUMBA_CACHE_DIR": tmp_path / "cache"})
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["0 0", "0 0", "1 1"]
