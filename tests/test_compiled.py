"""Compiled kernels are kept for one state of the sources."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

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
