"""Merging run files: reductions against numpy by hand, extended sweeps, a file that xarray understands."""

import functools
import itertools
import json
import os
import random as random_module
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from conftest import mpi_environment, random_seed, require_module
from functions import NORM, VARIANCE
from mpi4py import MPI

from hpcsim import store
from hpcsim.methods import Dim, Output
from hpcsim.store import StoreError, is_collected, seal
from hpcsim.store.align import method_names
from hpcsim.store.collect import collect

SUBLATTICE = Dim("sublattice", ("a", "b"))
ENSEMBLE = (
    Output("Sx", (SUBLATTICE,), "ħ", "mean of ⟨Sx⟩", reduce="mean"),
    Output("Sy", (SUBLATTICE,), "ħ", "mean of ⟨Sy⟩", reduce="mean"),
    Output("Sx2", (SUBLATTICE,), "ħ²", "mean of ⟨Sx²⟩", reduce="mean"),
    Output(
        "var_Sx", (SUBLATTICE,), "ħ²", "variance of Sx", reduce="function", function=VARIANCE, sources=("Sx2", "Sx")
    ),
    Output("S_perp", (SUBLATTICE,), "ħ", "sqrt(Sx² + Sy²)", reduce="function", function=NORM, sources=("Sx", "Sy")),
)
EIGENVALUE = Dim("eigenvalue", (0, 1, 2, 3))
SPECTRUM = (
    Output("eigenvalues", (EIGENVALUE,), "g", "eigenvalues", dtype="c16", reduce="merge"),
    Output("sector", (EIGENVALUE,), reduce="merge", sources=("eigenvalues",)),
    Output("gap", (), "g", "gap", reduce="min"),
    Output("gap_sector", (), reduce="at_min", sources=("gap",)),
    Output("gap_vector", (Dim("component", (0, 1)),), reduce="at_min", sources=("gap",)),
)
GAINS = {"model.gain": [0.5, 1.0, 1.5]}


def write(path, outputs, records, sweep=(GAINS,), count=4, skip=(), **config):
    """A run file of `count` records a point. records(coordinates, index) -> arrays; `skip` is not done."""
    sections = {
        "title": "test",
        "model": {"name": "m", "S": 2.0},
        "method": {"name": "x"},
        "sweep": list(sweep),
        "run": {"seed": 7},
        "figures": [],
    } | config
    places = list(itertools.product(*(zip(*axis.values()) for axis in sweep)))
    point, index = np.repeat(np.arange(len(places)), count), np.tile(np.arange(count), len(places))
    layout = store.Layout(sections, tuple(sweep), outputs, point, index)
    with store.open_run(path, layout, MPI.COMM_SELF) as run:
        for r, (p, i) in enumerate(zip(point, index)):
            if (p, i) not in skip:
                run.write(r, records(tuple(itertools.chain(*places[p])), int(i)), 0.25)
        run.finish({"started": 1e9, "ended": "complete"})
    return path


def random(where, index, shape=(2,)):
    return np.random.default_rng([*(int(1000 * x) for x in where), index]).normal(size=shape)


def ensemble(where, index):
    x = random(where, index, (3, 2))
    return {"Sx": x[0], "Sy": x[1], "Sx2": x[0] ** 2 + 1 + x[2] ** 2}


def spectrum(where, index):
    x = random(where, index, (9,))
    found = 3 if index % 2 else 4  # a sector may have fewer than there is room for
    return {
        "eigenvalues": -abs(x[:found]) + 1j * x[4 : 4 + found],
        "sector": np.full(found, float(index)),
        "gap": abs(x[8]),
        "gap_sector": float(index),
        "gap_vector": x[:2],
    }


def collected(tmp_path, *runs):
    collect(tmp_path / "c.h5", runs)
    return store.load(tmp_path / "c.h5")


def test_averages_have_standard_errors(tmp_path):
    got = collected(tmp_path, write(tmp_path / "r.h5", ENSEMBLE, ensemble)).variables
    for p, gain in enumerate(GAINS["model.gain"]):
        x, y, x2 = (np.array([ensemble((gain,), i)[name] for i in range(4)]) for name in ("Sx", "Sy", "Sx2"))
        assert np.array_equal(got["Sx"].values[p], x.mean(0))
        expected = np.sqrt(((x - x.mean(0)) ** 2).sum(0) / 3 / 4)
        np.testing.assert_allclose(got["Sx_stderr"].values[p], expected, rtol=1e-13)
        for name, function in {
            "var_Sx": lambda k: x2[k].mean(0) - x[k].mean(0) ** 2,
            "S_perp": lambda k: np.sqrt(x[k].mean(0) ** 2 + y[k].mean(0) ** 2),
        }.items():
            np.testing.assert_allclose(got[name].values[p], function([0, 1, 2, 3]), rtol=1e-12)
            without = np.array([function([j for j in range(4) if j != i]) for i in range(4)])
            jackknife = np.sqrt(3 / 4 * ((without - without.mean(0)) ** 2).sum(0))
            np.testing.assert_allclose(got[f"{name}_stderr"].values[p], jackknife, rtol=1e-12)
    assert got["Sx_stderr"].dims == got["Sx"].dims == ("gain", "sublattice")
    assert got["records_done"].values.tolist() == got["records_total"].values.tolist() == [4, 4, 4]


def test_the_jackknife_error_is_the_spread_of_repeated_ensembles():
    """Independent of the formula: 2000 ensembles of 50 batches, S_perp and the variance of each."""
    from hpcsim.observables import reduced

    rng = np.random.default_rng(3)
    x, y = 1.0 + rng.normal(size=(2000, 50)), 2.0 + rng.normal(size=(2000, 50))
    for output, samples in ((ENSEMBLE[4], {"Sx": x, "Sy": y}), (ENSEMBLE[3], {"Sx": x, "Sx2": x**2})):
        found = np.array([reduced(output, {k: v[i] for k, v in samples.items()}.get) for i in range(2000)])
        assert abs(found[:, 1].mean() / found[:, 0].std() - 1) < 0.06


def test_spectra_of_sectors_are_merged(tmp_path):
    got = collected(tmp_path, write(tmp_path / "r.h5", SPECTRUM, spectrum)).variables
    for p, gain in enumerate(GAINS["model.gain"]):
        records = [spectrum((gain,), i) for i in range(4)]
        together = sorted(
            ((value, r["gap_sector"]) for r in records for value in r["eigenvalues"]), key=lambda pair: -pair[0].real
        )[:4]
        assert got["eigenvalues"].values[p].tolist() == [value for value, _ in together]
        assert got["sector"].values[p].tolist() == [sector for _, sector in together]
        best = min(records, key=lambda r: r["gap"])
        assert got["gap"].values[p] == best["gap"] and got["gap_sector"].values[p] == best["gap_sector"]
        assert got["gap_vector"].values[p].tolist() == best["gap_vector"].tolist()
    assert "gap_stderr" not in got and got["eigenvalues"].dims == ("gain", "eigenvalue")


def test_a_record_without_a_value_has_no_minimum(tmp_path):
    """NaN from a sector that has no such eigenvalue does not hide the others' gap."""

    def some(where, index):
        return spectrum(where, index) | ({"gap": np.nan} if index < 3 or where == (1.5,) else {})

    got = collected(tmp_path, write(tmp_path / "r.h5", SPECTRUM, some)).variables
    assert got["gap"].values[0] == spectrum((0.5,), 3)["gap"]
    assert got["gap_sector"].values.tolist()[:2] == [3, 3]
    assert np.isnan(got["gap"].values[2]) and np.isnan(got["gap_sector"].values[2])


def test_incomplete_points(tmp_path):
    """Averages over what is done, with its error; no gap over some of the sectors."""
    skip = {(0, 1), (1, 0), (1, 1), (1, 3), (2, 0), (2, 1), (2, 2), (2, 3)}
    got = collected(tmp_path, write(tmp_path / "e.h5", ENSEMBLE, ensemble, skip=skip)).variables
    x = np.array([ensemble((0.5,), i)["Sx"] for i in (0, 2, 3)])
    assert np.array_equal(got["Sx"].values[0], x.mean(0))
    np.testing.assert_allclose(got["Sx_stderr"].values[0], x.std(0, ddof=1) / np.sqrt(3), rtol=1e-13)
    assert np.array_equal(got["Sx"].values[1], ensemble((1.0,), 2)["Sx"])
    for name in ("Sx_stderr", "var_Sx_stderr", "S_perp_stderr"):
        assert np.isnan(got[name].values[1]).all()  # one batch has no standard error
    assert np.isfinite(got["var_Sx"].values[1]).all() and np.isnan(got["Sx"].values[2]).all()
    assert got["records_done"].values.tolist() == [3, 1, 0] and (got["records_total"].values == 4).all()
    got = collected(tmp_path, write(tmp_path / "s.h5", SPECTRUM, spectrum, skip={(1, 2)})).variables
    for name in ("eigenvalues", "sector", "gap", "gap_sector", "gap_vector"):
        assert np.isfinite(got[name].values[[0, 2]]).all() and np.isnan(got[name].values[1]).all()


SINGLE = (Output("purity", (), "1", "Tr ρ²"), Output("P_n", (Dim("n", (0, 1, 2)),)))


def test_failed_records_are_counted_and_named(tmp_path):
    """A minimum over the other records would be wrong; an average over them is not."""
    for outputs, records in ((SPECTRUM, spectrum), (ENSEMBLE, ensemble)):
        path = write(tmp_path / f"{records.__name__}.h5", outputs, records, skip={(1, 2), (2, 0)})
        layout = store.read_runs(path)[0].layout
        with store.open_run(path, layout, MPI.COMM_SELF) as run:
            run.fail(6, "RuntimeError: singular", 0.5)
        got = collected(tmp_path, path)
        assert got.variables["records_failed"].values.tolist() == [0, 1, 0]
        assert got.variables["records_done"].values.tolist() == [4, 3, 3]
        assert got.variables["records_total"].values.tolist() == [4, 4, 4]
        assert json.loads(got.attrs["failures"]) == [
            {"model.gain": 1.0, "record": 2, "reason": "RuntimeError: singular"}
        ]
        values = got.variables["gap" if outputs is SPECTRUM else "Sx"].values
        assert np.isnan(values[1:]).all() if outputs is SPECTRUM else np.isfinite(values).all()


def value(where, index):
    return {"purity": sum(where), "P_n": random(where, index, 3)}


def test_extended_sweeps_make_one_grid(tmp_path):
    """Values are united along each axis, each file's points stand where they belong, the rest is NaN."""
    a = write(
        tmp_path / "a.h5",
        SINGLE,
        value,
        count=1,
        title="first",
        sweep=({"model.gain": [1.0, 2.0], "model.loss": [10, 20]}, {"model.h": [0.0, 0.25]}),
    )
    b = write(
        tmp_path / "b.h5",
        SINGLE,
        value,
        count=1,
        run={"seed": 8},
        figures=[1],
        sweep=({"model.gain": [1.5, 2.0], "model.loss": [15, 20]}, {"model.h": [0.25, 0.125]}),
    )
    data = collected(tmp_path, a, b)
    got = data.variables
    assert got["gain"].values.tolist() == [1.0, 1.5, 2.0] and got["loss"].values.tolist() == [10, 15, 20]
    assert got["loss"].dims == ("gain",) and got["h"].values.tolist() == [0.0, 0.125, 0.25]
    there = [[1, 0, 1], [0, 1, 1], [1, 1, 1]]
    assert got["records_total"].values.tolist() == there
    for i, j in np.ndindex(3, 3):
        where = got["gain"].values[i], got["loss"].values[i], got["h"].values[j]
        if there[i][j]:
            assert got["purity"].values[i, j] == sum(where)
            assert got["P_n"].values[i, j].tolist() == random(where, 0, 3).tolist()
        else:
            assert np.isnan(got["purity"].values[i, j]) and np.isnan(got["P_n"].values[i, j]).all()
    assert data.config["sweep"] == [
        {"model.gain": [1.0, 1.5, 2.0], "model.loss": [10, 15, 20]},
        {"model.h": [0.0, 0.125, 0.25]},
    ]
    assert data.attrs["seed"].tolist() == [7, 8] and data.attrs["title"] == "first"


def test_extended_sizes_are_matched_by_label(tmp_path):
    """A larger cutoff has more m values, on both sides: P(m) is placed by m, not by position."""

    def of(ms):
        return (Output("P_m", (Dim("m", ms),)),)

    small = write(
        tmp_path / "a.h5",
        of((-1, 0, 1)),
        lambda where, i: {"P_m": np.array([1.0, 2.0, 3.0])},
        sweep=({"model.S": [1]},),
        count=1,
    )
    large = write(
        tmp_path / "b.h5",
        of((-2, -1, 0, 1, 2)),
        lambda where, i: {"P_m": np.arange(5.0)},
        sweep=({"model.S": [2]},),
        count=1,
    )
    falling = write(
        tmp_path / "c.h5",
        of((2, 1, 0, -1, -2)),
        lambda where, i: {"P_m": np.arange(5.0)},
        sweep=({"model.S": [3]},),
        count=1,
    )
    collect(tmp_path / "all.h5", [large, small, falling])
    got = store.load(tmp_path / "all.h5").variables
    assert got["m"].values.tolist() == [-2, -1, 0, 1, 2] and got["S"].values.tolist() == [1, 2, 3]
    expected = [[np.nan, 1, 2, 3, np.nan], [0, 1, 2, 3, 4], [4, 3, 2, 1, 0]]
    np.testing.assert_array_equal(got["P_m"].values, expected)


def test_one_record_may_stand_in_two_files_if_it_is_the_same(tmp_path):
    a = write(tmp_path / "a.h5", ENSEMBLE, ensemble, skip={(0, 0), (1, 2)})
    b = write(tmp_path / "b.h5", ENSEMBLE, ensemble, skip={(1, 3)})
    whole = collected(tmp_path, write(tmp_path / "w.h5", ENSEMBLE, ensemble)).variables
    got = collected(tmp_path, a, b, a).variables
    for name in whole:
        assert np.array_equal(got[name].values, whole[name].values), name  # order of index, not of files

    def changed(where, index):
        return ensemble(where, 2 if (where, index) == ((1.0,), 1) else index)

    other = write(tmp_path / "o.h5", ENSEMBLE, changed)
    with pytest.raises(StoreError, match=r"a\.h5 and .*o\.h5: their records 5 and 5 .*differ in S") as caught:
        collect(tmp_path / "no.h5", [a, other])
    assert caught.value.status == 2 and not (tmp_path / "no.h5").exists()


@pytest.mark.parametrize(
    "change, names",
    [
        ({"model": {"name": "m", "S": 3.0}}, ["model.S", "2.0 and 3.0", "--over model.S"]),
        ({"model": {"name": "m", "S": 3.0, "h": 1.0}}, ["model.S = 2.0 and 3.0", "model.h = absent and 1.0"]),
        ({"model": {"name": "n", "S": 2.0}}, ["model.name = 'm' and 'n'"]),
        ({"sweep": ({"model.loss": [0.5, 1.0, 1.5]},)}, ["a.h5: has no one value of model.loss, an axis of"]),
        (
            {"sweep": ({"model.gain": [1.0], "model.loss": [1.0]},)},
            ["model.gain advance together in one, model.gain, model.loss in the other"],
        ),
        ({"outputs": ENSEMBLE[:3]}, ["outputs.var_Sx"]),
    ],
)
def test_numbers_that_mean_different_things_are_refused(tmp_path, change, names):
    a = write(tmp_path / "a.h5", ENSEMBLE, ensemble)
    b = write(tmp_path / "b.h5", **{"outputs": ENSEMBLE, "records": ensemble} | change)
    with pytest.raises(StoreError) as caught:
        collect(tmp_path / "c.h5", [a, b])
    assert caught.value.status == 2 and not (tmp_path / "c.h5").exists()
    for name in ["a.h5", "b.h5", *names]:
        assert name in str(caught.value)
    assert ("--over" in str(caught.value)) == (names[0] == "model.S")


def test_methods_become_an_axis(tmp_path):
    """Each with its own reductions and labels; what a method does not have is NaN."""

    def exact(where, index):
        return {"Sx": random(where, 99), "P": np.arange(3.0) + where[0], "Sy": 2.0}

    runs = [
        write(tmp_path / "a.h5", ENSEMBLE, ensemble, method={"name": "wave", "dt": 0.1}, skip={(1, 3)}),
        write(
            tmp_path / "b.h5",
            ENSEMBLE,
            ensemble,
            method={"name": "wave", "dt": 0.2},
            sweep=(),
            count=4,
            model={"name": "m", "S": 2.0, "gain": 1.5},
        ),
        write(
            tmp_path / "x.h5",
            (Output("Sx", (SUBLATTICE,), "ħ"), Output("P", (Dim("time", (0.0, 0.5, 1.0)),)), Output("Sy")),
            exact,
            count=1,
            sweep=({"model.gain": [0.7, 1.5]},),
            method={"name": "exact"},
        ),
    ]
    data = collected(tmp_path, *runs)
    got = data.variables
    assert got["method"].values.tolist() == ["wave dt=0.1", "wave dt=0.2", "exact"]
    assert got["gain"].values.tolist() == [0.5, 0.7, 1.0, 1.5]
    assert got["records_total"].values.tolist() == [[4, 0, 4, 4], [0, 0, 0, 4], [0, 1, 0, 1]]
    assert got["records_done"].values.sum() == 17
    assert got["Sx"].dims == ("method", "gain", "sublattice") and got["P"].dims == ("method", "gain", "time")
    assert np.array_equal(got["Sx"].values[2, 1], random((0.7,), 99))
    assert np.array_equal(got["Sx"].values[0, 0], np.mean([ensemble((0.5,), i)["Sx"] for i in range(4)], 0))
    there = np.isfinite(got["Sx"].values).all(-1)
    assert np.array_equal(there, got["records_total"].values > 0)
    assert np.isnan(got["Sx_stderr"].values[2]).all() and np.isfinite(got["Sx_stderr"].values[0, 0]).all()
    assert np.isnan(got["P"].values[:2]).all() and got["P"].values[2, 3].tolist() == [1.5, 2.5, 3.5]
    for name, dims in {"exact": (), "wave_dt_0_1": ("sublattice",), "wave_dt_0_2": ("sublattice",)}.items():
        assert got[f"Sy_{name}"].dims == ("method", "gain", *dims)
    assert "Sy" not in got and got["Sy_exact"].values[2, 1] == 2 and "Sy_exact_stderr" not in got
    assert [*data.config["methods"].values()] == [{"name": "wave", "dt": dt} for dt in (0.1, 0.2)] + [{"name": "exact"}]
    assert "method" not in data.config and data.config["sweep"] == [{"model.gain": [0.5, 0.7, 1.0, 1.5]}]


def test_names_of_methods_tell_them_apart():
    a, b, long = {"name": "a", "dt": 0.1, "key": "x"}, {"name": "b"}, "x" * 100
    assert method_names([a, b, a]) == ["a", "b", "a"]
    assert method_names([a, {**a, "dt": [1, 2]}, {"name": "a"}]) == ["a dt=0.1 key=x", "a dt=[1, 2] key=x", "a"]
    assert method_names([{**a, "source": "1"}, {**a, "source": "2"}, b]) == ["a", "a (2)", "b"]
    assert method_names([{**a, "file": "x/a.py"}, {**a, "file": "y/a.py"}]) == ["a", "a"]
    first, second, third = method_names([{**b, "key": long + end} for end in "123"])
    assert first == "b key=" + 37 * "x" + "..." and second == first + " (2)" and third == first + " (3)"


def test_an_axis_is_made_of_what_the_files_do_not_sweep(tmp_path):
    runs = [
        write(tmp_path / f"{S}.h5", SINGLE, value, count=1, model={"name": "m", "S": S, "N": int(4 * S)})
        for S in (2.0, 0.5)
    ]
    collect(tmp_path / "c.h5", runs, over=[("model.S", "model.N")])
    got = store.load(tmp_path / "c.h5").variables
    assert got["purity"].dims == ("gain", "S") and got["S"].values.tolist() == [0.5, 2.0]
    assert got["N"].values.tolist() == [2, 8] and got["N"].dims == ("S",)
    assert (got["records_total"].values == 1).all()
    with pytest.raises(StoreError, match="no one value of model.x, an axis of --over"):
        collect(tmp_path / "d.h5", runs[:1], over=[("model.x",)])


def test_axes_are_matched_by_their_keys(tmp_path):
    first, second = {"model.gain": [1.0, 2.0]}, {"model.h": [0.0, 0.25, 0.5]}
    a = write(tmp_path / "a.h5", SINGLE, value, (first, second), count=1)
    b = write(tmp_path / "b.h5", SINGLE, value, (second, {"model.gain": [3.0]}), count=1)
    got = collected(tmp_path, a, b).variables
    assert got["purity"].dims == ("gain", "h")
    assert np.array_equal(got["purity"].values, np.add.outer([1.0, 2.0, 3.0], [0.0, 0.25, 0.5]))


def test_a_damaged_file_is_never_used(tmp_path):
    good, bad = (write(tmp_path / f"{name}.h5", SINGLE, value, count=1) for name in ("good", "bad"))
    collect(tmp_path / "c.h5", [good])
    before = (tmp_path / "c.h5").read_bytes()
    raw = bad.read_bytes()
    for damaged in (raw[:-100], raw[:-3] + bytes([raw[-3] ^ 4]) + raw[-2:], b"x" * 100):
        bad.write_bytes(damaged)
        with pytest.raises(StoreError, match="bad.h5"):
            collect(tmp_path / "c.h5", [good, bad])
    assert (tmp_path / "c.h5").read_bytes() == before


def test_only_collected_files_are_written_over(tmp_path):
    run = write(tmp_path / "r.h5", SINGLE, value, count=1)
    before = run.read_bytes()
    (tmp_path / "notes.h5").write_text("mine")
    for out in (run, tmp_path / "notes.h5"):
        with pytest.raises(StoreError, match="first argument") as caught:
            collect(out, [run])
        assert caught.value.status == 2
    assert run.read_bytes() == before and (tmp_path / "notes.h5").read_text() == "mine"
    collect(tmp_path / "c.h5", [run])
    collect(tmp_path / "c.h5", [run])
    with pytest.raises(StoreError, match="is not a run file"):
        collect(tmp_path / "d.h5", [tmp_path / "c.h5"])
    with pytest.raises(StoreError, match="not collected"):
        store.load(run)
    with pytest.raises(StoreError, match="no such file"):
        store.load(tmp_path / "nothing.h5")
    raw = (tmp_path / "c.h5").read_bytes()
    (tmp_path / "c.h5").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(StoreError, match="damaged"):
        store.load(tmp_path / "c.h5")


def test_no_room_for_the_collected_file(tmp_path):
    run = write(tmp_path / "r.h5", SINGLE, value, count=1)
    collect(tmp_path / "c.h5", [run])
    before, old = (tmp_path / "c.h5").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
    try:
        with pytest.raises(StoreError, match="c.h5: cannot be written") as caught:
            collect(tmp_path / "c.h5", [run])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert caught.value.status == 1 and (tmp_path / "c.h5").read_bytes() == before
    with pytest.raises(StoreError, match="x.h5: cannot be written"):
        collect(tmp_path / "r.h5" / "x.h5", [run])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.h5", "r.h5"]


def test_names_of_dimensions_do_not_collide(tmp_path):
    outputs = (Output("gap"), Output("P_n", (Dim("n", (0, 1)),)), Output("Sx", reduce="mean"))
    sweep = (
        {"model.gap": [1, 2]},
        {"model.n": [3.0]},
        {"model.Sx_stderr": ["up", "down"]},
        {"model.task": [True, "x"]},
        {"method.task": [1, 2]},
        {"model.dt": [0.5]},
    )

    def records(where, index):
        return {"gap": where[0], "P_n": [0.5, where[1]], "Sx": where[4]}

    got = collected(tmp_path, write(tmp_path / "r.h5", outputs, records, sweep, count=1)).variables
    assert got["gap"].dims == ("model_gap", "model_n", "model_Sx_stderr", "model_task", "method_task", "dt")
    assert got["P_n"].dims[-1] == "n" and got["gap"].values.shape == (2, 1, 2, 2, 2, 1)
    assert got["model_Sx_stderr"].values.tolist() == ["up", "down"]
    assert got["model_gap"].values.tolist() == [1, 2]
    assert got["model_task"].values.tolist() == ["true", "x"]


def test_a_run_without_a_sweep(tmp_path):
    got = collected(tmp_path, write(tmp_path / "r.h5", ENSEMBLE, ensemble, sweep=())).variables
    assert got["Sx"].dims == ("sublattice",) and got["records_done"].values.shape == ()
    assert got["Sx"].values.tolist() == np.mean([ensemble((), i)["Sx"] for i in range(4)], 0).tolist()


def test_xarray_opens_it_with_labels_units_and_errors(tmp_path):
    xarray = require_module("xarray")
    require_module("h5netcdf")
    sweep = ({"model.gain": [0.5, 1.0, 1.5], "model.loss": [1, 2, 3]}, {"model.kind": ["open", "periodic"]})

    def both(where, index):
        where = where[:2]
        return ensemble(where, index) | spectrum(where, index)

    run = write(
        tmp_path / "r.h5",
        ENSEMBLE + SPECTRUM,
        both,
        sweep=sweep,
        title="Gap of the chain, ħ = 1",
        figures=[{"note": "ψ" * 100_000}],
    )
    collect(tmp_path / "c.h5", [run])
    with xarray.open_dataset(tmp_path / "c.h5", engine="h5netcdf") as data:
        data.load()
    assert dict(data.sizes) == {"gain": 3, "kind": 2, "sublattice": 2, "eigenvalue": 4, "component": 2}
    assert set(data.coords) == {"method", "gain", "loss", "kind", "sublattice", "eigenvalue", "component"}
    assert data.method.item() == "x"
    assert data.gain.dtype == float and data.loss.dims == ("gain",)
    assert data.kind.values.tolist() == ["open", "periodic"]
    x = np.mean([ensemble((1.0, 2), i)["Sx"] for i in range(4)], 0)
    at = data.sel(gain=1.0, kind="periodic")
    assert at.loss == 2 and at.Sx.sel(sublattice="b") == x[1] and at.Sx_stderr.sel(sublattice="b") > 0
    assert data.Sx.attrs["units"] == "ħ" and data.Sx_stderr.attrs["units"] == "ħ"
    assert data.Sx.attrs["long_name"] == "mean of ⟨Sx⟩" and data.gain.attrs["long_name"] == "model.gain"
    assert data.Sx_stderr.attrs["long_name"] == "standard error of mean of ⟨Sx⟩"
    assert data.eigenvalues.dtype == complex and (np.diff(data.eigenvalues.real) <= 0).all()
    assert abs(data.eigenvalues.imag).max() > 0
    assert np.isfinite(data.var_Sx_stderr).all() and data.records_done.dtype.kind == "i"
    config = yaml.safe_load(data.attrs["config"])
    assert config["figures"] == [{"note": "ψ" * 100_000}] and config["sweep"] == list(sweep)
    assert data.attrs["title"] == "Gap of the chain, ħ = 1" and data.attrs["seed"] == 7
    assert len(data.attrs["config_hash"]) == 64 and json.loads(data.attrs["versions"])[0]["numpy"]
    assert json.loads(data.attrs["sessions"])[0]["records_done"] == 24
    assert data.attrs["compute_seconds"] == 6.0
    own = store.load(tmp_path / "c.h5")
    assert own.config == config and set(own.variables) == set(data.variables)
    for name, variable in own.variables.items():
        assert variable.dims == data[name].dims, name
        np.testing.assert_array_equal(variable.values, data[name].values)
        assert variable.attrs["long_name"]
        assert set(variable.attrs) <= {"units", "long_name", "ancillary_variables"}


def test_it_is_compressed_and_opens_without_hpcsim(tmp_path):
    flat = (
        Output(
            "P",
            (Dim("n", tuple(range(200))), Dim("m", tuple(range(200)))),
        ),
    )
    run = write(tmp_path / "r.h5", flat, lambda where, i: {"P": np.zeros((200, 200))}, count=1)
    collect(tmp_path / "c.h5", [run])
    assert run.stat().st_size > 3 * 8 * 200**2 > 20 * (tmp_path / "c.h5").stat().st_size
    script = (
        "import sys, h5py; f = h5py.File(sys.argv[1]); d = f['P']; "
        "print(d.dims[0].keys()[0], d.dims[2].keys()[0], 'hpcsim' in sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "c.h5"],
        capture_output=True,
        text=True,
        env=mpi_environment(),
        cwd=os.path.dirname(sys.executable),
    )
    assert shown.stdout.split() == ["gain", "m", "False"], shown.stderr


DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def sealed_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sealed")
    collect(folder / "c.h5", [write(folder / "r.h5", ENSEMBLE, ensemble)])
    return folder / "c.h5"


def test_a_collected_file_of_the_version_without_seals_opens(caplog):
    data = store.load(DATA / "collected_format_1.h5")
    assert data.variables["records_done"].values.tolist() == [4, 1, 0] and "no seal" in caplog.text


def test_a_collected_file_of_the_first_version_with_seals_opens(caplog):
    data = store.load(DATA / "collected_format_2.h5")
    assert data.variables["records_done"].values.tolist() == [4, 1, 0] and "no seal" not in caplog.text
    assert data.variables["records_failed"].values.tolist() == [0, 1, 0]


@pytest.mark.parametrize("zeros", [1, 64])
def test_damage_of_a_collected_file_is_named_before_hdf5_sees_it(sealed_file, tmp_path, monkeypatch, zeros):
    """It is damage wherever it is; only where it hits the seal's own mark does another process look into the file."""
    whole, path, seed = sealed_file.read_bytes(), tmp_path / "c.h5", random_seed()
    positions = random_module.Random(seed).sample(range(len(whole) - seal.SEAL - 64), 200)
    monkeypatch.setattr(h5py, "File", None)
    for position in positions:
        damaged = bytearray(whole)
        damaged[position : position + zeros] = bytes(zeros) if zeros > 1 else [whole[position] ^ 1]
        if damaged != whole:
            path.write_bytes(damaged)
            with pytest.raises(StoreError, match=r"c\.h5: is damaged"):
                store.load(path)


def test_damage_of_the_seal_itself_is_named(sealed_file, tmp_path):
    whole, path = sealed_file.read_bytes(), tmp_path / "c.h5"
    for cut in (
        whole[: -seal.SEAL],
        whole[:-1],
        whole[:-30] + b"0" * 29 + b"\n",
        whole + b"\0",
        whole[:-80] + bytes(80),
    ):
        path.write_bytes(cut)
        with pytest.raises(StoreError, match=r"c\.h5: is damaged, or was changed"):
            store.load(path)
    with h5py.File(shutil.copy(sealed_file, path), "r+") as file:
        file.attrs["title"] = "changed"
    with pytest.raises(StoreError, match=r"c\.h5: is damaged, or was changed"):
        store.load(path)
    assert is_collected(path)


def test_truncated_files_and_those_of_other_programs_are_named(sealed_file, tmp_path):
    path = tmp_path / "c.h5"
    for content in (sealed_file.read_bytes()[:4000], b"", b"text\n" * 100):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"c\.h5: is not an HDF5 file, or is truncated or damaged") as caught:
            store.load(path)
        assert caught.value.status == 1
    with h5py.File(path, "w") as file:
        file["x"] = 1.0
    with pytest.raises(StoreError, match="is not collected yet") as caught:
        store.load(path)
    assert caught.value.status == 2
    with pytest.raises(StoreError, match="is not collected yet"):
        store.load(sealed_file.with_name("r.h5"))


def test_what_hdf5_hangs_or_crashes_on_ends_in_a_message(tmp_path, monkeypatch):
    path = tmp_path / "c.h5"
    path.write_bytes(b"x")
    monkeypatch.setattr(seal, "PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(StoreError, match="signal 11"):
        store.load(path)
    monkeypatch.setattr(seal, "PROBE", "import time; time.sleep(1000)")
    monkeypatch.setattr(seal.subprocess, "run", functools.partial(limited, seal.subprocess.run))
    with pytest.raises(StoreError, match="does not come to an end"):
        store.load(path)


def limited(run, *arguments, timeout, **keys):
    assert timeout >= 60
    return run(*arguments, timeout=1, **keys)
