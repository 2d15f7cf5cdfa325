"""Compiled kernels are kept for one state of the sources."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import mpi_environment, mpirun, random_seed

import hpcsim
from hpcsim import environment


def test_a_changed_kernel_is_compiled_again_and_nothing_else(tmp_path):
    copy = tmp_path / "hpcsim"
    shutil.copytree(Path(hpcsim.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    own = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}

    def folder():
        code = "import hpcsim.methods, os; print(os.environ['NUMBA_CACHE_DIR'])"
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=own, check=True, capture_output=True, text=True
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
misses = [sum(f.dispatcher.stats.cache_misses.values()) for f in (kernels.outer, kernels.inner)]
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


ALONE = """
import sys
sys.path.insert(0, {folder!r})
import kernels
assert kernels.outer(3.0) == 45.0
print(sum(kernels.outer.dispatcher.stats.cache_misses.values()))
"""


def run_alone(tmp_path, **more):
    code = ALONE.format(folder=str(tmp_path))
    own = mpi_environment(NUMBA_CACHE_DIR=tmp_path / "cache", **more)
    return subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True)


def test_a_damaged_cache_is_compiled_again(tmp_path):
    """Cut, empty, or with zeros anywhere: numba by itself stops with a traceback or aborts."""
    (tmp_path / "kernels.py").write_text(KERNELS)
    assert run_alone(tmp_path).stdout == "1\n" and run_alone(tmp_path).stdout == "0\n"
    rng = random.Random(random_seed())
    for suffix in ("nbi", "nbc"):
        [path] = (tmp_path / "cache").rglob(f"*outer*.{suffix}")
        whole = path.read_bytes()
        at = rng.randrange(len(whole) - 64)
        damaged = b"" if suffix == "nbi" else whole[: len(whole) // 2]
        for content in (damaged, whole[:at] + rng.randbytes(64) + whole[at + 64 :]):
            path.write_bytes(content)
            ended = run_alone(tmp_path)
            assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr
        assert run_alone(tmp_path).stdout == "0\n"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "kernels.py").write_text(KERNELS)
    (tmp_path / "sitecustomize.py").write_text(
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    ended = run_alone(tmp_path, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE=1)
    assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr
    assert "compiled kernels are not kept" in ended.stderr


class OneOfTwo:
    """A communicator of two ranks on one node, seen by the second."""

    size, rank = 2, 1

    def Split_type(self, kind):
        return self

    def bcast(self, value):
        assert value is None
        return "found by the first"

    def Free(self):
        pass


def test_one_rank_of_a_node_reads_the_sources_for_all(monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", "")  # which is then put back at the end
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    monkeypatch.setattr(environment, "kernels_folder", lambda: pytest.fail("the second rank has read the sources"))
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.setattr(environment.os, "access", lambda *given: True)
    environment.prepare(OneOfTwo())
    assert os.environ["NUMBA_CACHE_DIR"] == "found by the first"
