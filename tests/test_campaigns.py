"""A small part of the campaigns in jobs/benchmarks/faults, with a new seed each time."""

import subprocess
import sys

from conftest import FAULTS, campaign, mpi_environment, random_seed, require_program


def test_damaged_configs_and_command_lines_get_one_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(configs := campaign("configs"), "SECONDS", 200)
    counts = configs.campaign(20, 10, random_seed(), tmp_path / "configs")
    assert counts.keys() <= {"ok", "message"}, counts


def test_damaged_files_are_named_or_harmless():
    counts = campaign("corruption").campaign(40, random_seed())
    good = ("named", "harmless", "told")
    assert all(key.partition(": ")[2].startswith(good) for key in counts), counts


def test_too_little_memory_is_one_message_and_loses_nothing():
    command = [sys.executable, FAULTS / "memory.py", "--limits", "4", "--cases", "gaussian"]
    ended = subprocess.run([*command, "--seed", str(random_seed())], capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0 and "WRONG" not in ended.stdout, ended.stdout + ended.stderr


def test_writes_that_fail_and_kills_at_them_lose_nothing(tmp_path):
    require_program("cc")
    command = [sys.executable, FAULTS / "writes.py", "--faults", "6", "--seed", str(random_seed())]
    command += ["--only", "run", "extended run", "collect"]
    loaded = mpi_environment(LD_PRELOAD=campaign("writes").library(tmp_path))
    ended = subprocess.run(command, env=loaded, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0 and "WRONG" not in ended.stdout, ended.stdout + ended.stderr
