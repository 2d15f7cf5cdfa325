"""A small part of the campaigns in jobs/benchmarks/faults, with a new seed each time."""

import importlib.util
import sys

from conftest import ROOT, random_seed

FOLDER = ROOT / "jobs" / "benchmarks" / "faults"


def campaign(name):
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location(f"campaign_{name}", FOLDER / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
    return module


def test_damaged_configs_and_command_lines_get_one_message(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(configs := campaign("configs"), "SECONDS", 200)
    counts = configs.campaign(20, 10, random_seed(), tmp_path / "configs")
    assert counts.keys() <= {"ok", "message"}, counts


def test_damaged_files_are_named_or_harmless():
    counts = campaign("corruption").campaign(40, random_seed())
    good = ("named", "harmless", "told")
    assert all(key.partition(": ")[2].startswith(good) for key in counts), counts
