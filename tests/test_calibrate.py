"""hpcsim doctor --calibrate: measured seconds of small problems correct the estimates of all."""

import json

import pytest

from hpcsim import cli
from hpcsim.run import calibrate, config, speed
from hpcsim.run import plan as planning

SPIN = {"name": "collective_spin", "S": 20, "drive": 1.0, "decay": 1.0}
CASES = {
    "liouvillian steady_state": (SPIN, {}, ({"S": 1}, {})),
    "liouvillian spectrum": (SPIN, {"eigenvalues": 2}, ({"S": 1}, {"eigenvalues": 1})),
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("HPCSIM_SPEED", str(tmp_path / "kept" / "speed.json"))
    return tmp_path / "kept" / "speed.json"


def estimate(**method):
    return planning.plan(config.resolve({"model": SPIN, "method": {"name": "liouvillian"} | method})).time.sum()


def test_what_was_measured_corrects_the_estimates(file, monkeypatch, capsys, tmp_path):
    before = estimate()
    (tmp_path / "c.yaml").write_text(json.dumps({"model": SPIN, "method": "liouvillian"}))
    assert cli.main(["check", str(tmp_path / "c.yaml")]) == 0
    assert "(rough; hpcsim doctor --calibrate" in capsys.readouterr().out
    monkeypatch.setattr(calibrate, "CASES", CASES)
    for _ in range(
        2
    ):  # the second time it starts from calibrated estimates, and finds those of the program all the same
        assert cli.main(["doctor", "--calibrate"]) == 0
        lines = capsys.readouterr().out.splitlines()
        shown = {" ".join(words[:2]): [float(word) for word in words[2:]] for words in map(str.split, lines[2:4])}
        assert shown.keys() == CASES.keys()
        estimated, measured, factor = shown["liouvillian steady_state"]
        assert estimated == pytest.approx(before, rel=0.01) and factor == pytest.approx(
            min(measured / estimated, 20), rel=0.02
        )
    kept = json.loads(file.read_text())[speed.processor()]
    assert estimate() == pytest.approx(before * kept["liouvillian steady_state"])
    assert cli.main(["check", str(tmp_path / "c.yaml")]) == 0
    assert "(calibrated here)" in capsys.readouterr().out


def test_processors_have_their_own_factors_and_kinds_their_relatives(file):
    file.parent.mkdir()
    file.write_text(json.dumps({"another": {"liouvillian gap": 7.0}}))
    assert speed.known() == {} and speed.factor({}, "liouvillian gap") == 1
    calibrate.keep([calibrate.Measured("liouvillian gap", 1, 2), calibrate.Measured("liouvillian evolve", 1, 8)])
    assert json.loads(file.read_text())["another"] == {"liouvillian gap": 7.0}
    calibrate.keep([calibrate.Measured("permutation gap", 1e-9, 8), *map(measured, ("gap", "evolve"), (2, 8))])
    known = speed.known()
    assert known == {"permutation gap": 20, "liouvillian gap": 2, "liouvillian evolve": 8}
    for kind, factor in {
        "liouvillian gap": 2,
        "liouvillian steady_state": 4,
        "mean_field": (20 * 16) ** (1 / 3),
    }.items():
        assert speed.factor(known, kind) == pytest.approx(factor)


def measured(task, seconds):
    return calibrate.Measured(f"liouvillian {task}", 1, seconds)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"PROCESSOR": 3}', '{"PROCESSOR": {"a b": "x"}}', '{"PROCESSOR": {"a b": 1e9}}']
)
def test_a_file_that_is_something_else_is_none(file, text):
    file.parent.mkdir()
    file.write_text(text.replace("PROCESSOR", speed.processor()))
    assert speed.known() == {}
    calibrate.keep([measured("gap", 3)])
    assert speed.known() == {"liouvillian gap": 3}


def test_the_cases_are_valid_and_take_a_second_or_so():
    for kind, (model, method, (less, shorter)) in calibrate.CASES.items():
        name, task = kind.split()
        method = {"name": name, "task": task} | method
        small, whole = (
            planning.plan(config.resolve({"model": model | a, "method": method | b})).time.sum()
            for a, b in ((less, shorter), ({}, {}))
        )
        assert small < 0.6 * whole and 0.1 < whole < 10, (kind, small, whole)
