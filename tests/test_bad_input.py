"""Every kind of bad input gets one message with the key's path, the value and what is allowed, and status 2."""

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from conftest import mpi_environment

from hpcsim import cli
from hpcsim.system import shown
from hpcsim.system.operators import adjoint

GOOD = """
title: a dimer
model: {name: gain_loss_lattice, cells: 1, S: 1, g: 1.0, gain: 0.5, loss: 0.5}
method: {name: liouvillian, task: spectrum, eigenvalues: 4}
sweep:
  - {model.S: [0.5, 1]}
  - model.gain: {linspace: [0.2, 1.0, 3]}
    model.loss: {linspace: [0.2, 1.0, 3]}
run: {seed: 1}
quick: {model: {g: 2.0}}
"""
MODEL = "{name: gain_loss_lattice, cells: 1, S: 1, g: 1.0, gain: 0.5, loss: 0.5}"
METHOD = "{name: liouvillian, task: spectrum, eigenvalues: 4}"
PHASE = "{name: phase_space, task: steady_state, trajectories: 64, batch: 32}"
XYZ = "{name: xyz_lattice, convention: lee2013, sites: 3, Jx: 1, Jy: 2, Jz: 0, decay: 1}"
ALL = "{name: all_to_all_xyz, N: 3, Jx: 0.6, Jy: 1, Jz: 1, decay: 1}"
INFINITE = "{name: gain_loss_lattice, cells: 2, S: 1, h: 0.5, gain: 0.5, loss: 0.5}"
KERR = "{name: kerr_oscillator, detuning: 1, U: 1, F: 1, D: 2, cutoff: 8}"
CAVITY = "{name: cavity_dimer, S: 0.5, detuning: 9, Gc: 1, G: 1, decay_a: 1, decay_b: 1}"


def text(model=MODEL, method=METHOD, more=""):
    return f"model: {model}\nmethod: {method}\n{textwrap.dedent(more)}"


BAD = {  # name: (file text, words that the one message must hold)
    "not YAML": ("model: {name: [", ["not YAML", "line"]),
    "empty file": ("", ["mapping", "model"]),
    "a list": ("- 1\n- 2\n", ["mapping", "model"]),
    "a tab": ("model:\n\tname: x\n", ["not YAML"]),
    "unknown section": (text(more="modell: {}"), ["modell", "unknown key", "did you mean model"]),
    "no model": (f"method: {METHOD}", ["model", "missing"]),
    "no method": (f"model: {MODEL}", ["method", "missing"]),
    "model without name": (text(model="{S: 1}"), ["model.name", "needed"]),
    "unknown model": (text(model="{name: ising}"), ["model.name", "'ising'", "gain_loss_lattice", "collective_spin"]),
    "unknown method": (text(method="{name: dmrg}"), ["method.name", "'dmrg'", "liouvillian", "phase_space"]),
    "a list for the name of a model": (text(model="{name: [1]}"), ["model.name", "[1]", "name of a model"]),
    "a mapping for the name of a method": (text(method="{name: {a: 1}}"), ["method.name", "name of a method"]),
    "unknown key": (text(model=MODEL.replace("cells", "cels")), ["model.cels", "unknown key", "did you mean cells"]),
    "unknown method key": (text(method=METHOD.replace("task", "tusk")), ["method.tusk", "unknown key", "task"]),
    "duplicate key": ("model: {name: x}\nmodel: {name: y}\n", ["duplicate key 'model'", "line 2"]),
    "duplicate nested key": (text(model=MODEL.replace("g: 1.0", "g: 1.0, g: 2.0")), ["duplicate key 'g'"]),
    "missing parameter": (text(model="{name: gain_loss_lattice, gain: 1, loss: 1}"), ["model.S", "missing"]),
    "wrong type": (text(model=MODEL.replace("g: 1.0", "g: strong")), ["model.g", "'strong'", "number"]),
    "true for a number": (text(model=MODEL.replace("g: 1.0", "g: yes")), ["model.g", "True", "number"]),
    "list for a number": (text(model=MODEL.replace("g: 1.0", "g: [1, 2]")), ["model.g", "[1, 2]", "number"]),
    "not a number": (text(model=MODEL.replace("g: 1.0", "g: .nan")), ["model.g", "nan", "finite"]),
    "infinite": (text(model=MODEL.replace("gain: 0.5", "gain: .inf")), ["model.gain", "inf", "finite"]),
    "S = 0.3": (text(model=MODEL.replace("S: 1", "S: 0.3")), ["model.S", "0.3", "multiple of 1/2"]),
    "S = 0": (text(model=MODEL.replace("S: 1", "S: 0")), ["model.S", "0", "multiple of 1/2"]),
    "negative rate": (text(model=MODEL.replace("gain: 0.5", "gain: -0.5")), ["model.gain", "-0.5", "greater than"]),
    "no cells": (text(model=MODEL.replace("cells: 1", "cells: 0")), ["model.cells", "0", "greater than"]),
    "half a cell": (text(model=MODEL.replace("cells: 1", "cells: 1.5")), ["model.cells", "1.5", "integer"]),
    "no rows": (text(model=MODEL.replace("cells: 1", "cells: [2, 0]")), ["model.cells", "[2, 0]", "greater than"]),
    "three lengths": (
        text(model=MODEL.replace("cells: 1", "cells: [2, 2, 2]")),
        ["model.cells", "[2, 2, 2]", "[nx, ny]"],
    ),
    "odd periodic square": (
        text(model=MODEL.replace("cells: 1", "cells: [2, 3]")),
        ["[2, 3]", "even", "periodic: false"],
    ),
    "no convention": (text(model=XYZ.replace("convention: lee2013, ", "")), ["model.convention", "missing"]),
    "unknown convention": (
        text(model=XYZ.replace("lee2013", "lee")),
        ["model.convention", "'lee'", "lee2013", "huber2021"],
    ),
    "no sites": (text(model=XYZ.replace("sites: 3", "sites: 0")), ["model.sites", "0", "greater than"]),
    "one length": (text(model=XYZ.replace("sites: 3", "sites: [3]")), ["model.sites", "[3]", "[nx, ny]"]),
    "length of a half": (text(model=XYZ.replace("sites: 3", "sites: [3, 2.5]")), ["model.sites", "2.5", "integer"]),
    "sites in words": (text(model=XYZ.replace("sites: 3", "sites: many")), ["model.sites", "'many'", "4x6"]),
    "Pauli matrices of S = 1": (
        text(model=XYZ.replace("sites: 3", "sites: 3, S: 1")),
        ["S = 1", "lee2013", "huber2021"],
    ),
    "negative decay": (text(model=XYZ.replace("decay: 1", "decay: -1")), ["model.decay", "-1", "greater than"]),
    "lonely spin": (text(model=ALL.replace("N: 3", "N: 1")), ["model.N", "1", "greater than or equal to 2"]),
    "half a spin": (text(model=ALL.replace("N: 3", "N: 2.5")), ["model.N", "2.5", "integer"]),
    "negative pump": (text(model=ALL.replace("decay: 1", "pump: -1")), ["model.pump", "-1", "greater than"]),
    "negative collective decay": (
        text(model=ALL.replace("decay: 1", "collective_decay: -2")),
        ["model.collective_decay", "-2", "greater than"],
    ),
    "no coupling": (text(model=ALL.replace("Jz: 1, ", "")), ["model.Jz", "missing"]),
    "cutoff 0": (
        text(model=KERR.replace("cutoff: 8", "cutoff: 0")),
        ["model.cutoff", "0", "greater than or equal to 2"],
    ),
    "no cutoff": (text(model=KERR.replace(", cutoff: 8", "")), ["model.cutoff", "missing"]),
    "D of zero": (text(model=KERR.replace("D: 2", "D: 0")), ["model.D", "0", "greater than"]),
    "one Fock state": (
        text(model=CAVITY.replace("G: 1", "G: 1, cutoff_c: 1")),
        ["model.cutoff_c", "1", "greater than"],
    ),
    "mode without decay": (text(model=CAVITY.replace(", decay_b: 1", "")), ["model.decay_b", "missing"]),
    "bosons by phase space": (
        text(model=KERR, method="{name: phase_space}"),
        ["method.name", "'phase_space'", "kerr_oscillator", "boson"],
    ),
    "unknown task": (text(method=METHOD.replace("spectrum", "spectre")), ["method.task", "'spectre'", "steady_state"]),
    "no eigenvalues": (text(method=METHOD.replace("4", "0")), ["method.eigenvalues", "0", "greater than"]),
    "batch does not divide": (text(method=PHASE.replace("64", "65")), ["trajectories", "65", "batch", "32"]),
    "errors from nothing": (
        text(model=INFINITE, method="{name: matrix_product, bond_dimension: 8, smaller: 8}"),
        ["method", "smaller", "8", "below bond_dimension"],
    ),
    "bond dimension 1": (
        text(model=INFINITE, method="{name: matrix_product, bond_dimension: 1}"),
        ["method.bond_dimension", "1", "greater than or equal to 2"],
    ),
    "one cell for ever": (
        text(method="{name: matrix_product}"),
        ["method.name", "'matrix_product'", "at least two cells", "periodic: true"],
    ),
    "large spins in matrix products": (
        text(model=INFINITE.replace("S: 1", "S: 4"), method="{name: matrix_product}"),
        ["9 levels", "S = 3", "phase_space"],
    ),
    "dt of zero": (text(method=PHASE[:-1] + ", dt: 0}"), ["method.dt", "0", "greater than"]),
    "sweep not a list": (text(more="sweep: {model.S: [1, 2]}"), ["list of axes", "sweep: [{model.S: [1, 2]}]"]),
    "sweep a number": (text(more="sweep: 2"), ["sweep = 2", "list"]),
    "empty axis": (text(more="sweep: [{model.S: []}]"), ["sweep.0.model.S", "at least one value"]),
    "axis without keys": (text(more="sweep: [{}]"), ["sweep.0", "empty axis"]),
    "unequal lengths": (
        text(more="sweep: [{model.gain: [1, 2], model.loss: [1, 2, 3]}]"),
        ["sweep.0", "equal lengths", "model.gain: 2", "model.loss: 3"],
    ),
    "scalar axis": (text(more="sweep: [{model.S: 2}]"), ["sweep.0.model.S", "2", "list"]),
    "unknown range": (text(more="sweep: [{model.g: {linspc: [0, 1, 3]}}]"), ["sweep.0.model.g", "linspc", "linspace"]),
    "bad range": (text(more="sweep: [{model.g: {linspace: [0, 1]}}]"), ["sweep.0.model.g.linspace", "[0, 1]", "count"]),
    "swept twice": (text(more="sweep: [{model.g: [0, 1]}, {model.g: [2, 3]}]"), ["sweep", "model.g", "two axes"]),
    "same value twice": (text(more="sweep: [{model.g: [0, 1, 0]}]"), ["sweep.0.model.g", "twice"]),
    "sweep of run": (text(more="sweep: [{run.seed: [0, 1]}]"), ["sweep.0.run.seed", "model.KEY"]),
    "unknown swept key": (text(more="sweep: [{model.gian: [0, 1]}]"), ["model.gian", "unknown key", "gain"]),
    "bad swept value": (text(more="sweep: [{model.S: [1, 0.3]}]"), ["model.S", "0.3", "multiple of 1/2", "point 1"]),
    "sweep of triples": (text(more="sweep: [{model.cells: [[2, 2, 2]]}]"), ["model.cells", "2x2x2", "[nx, ny]"]),
    "sweep of pairs": (text(more="sweep: [{model.S: [[1, 1]]}]"), ["model.S", "[1, 1]", "number"]),
    "negative seed": (text(more="run: {seed: -1}"), ["run.seed", "-1", "greater than"]),
    "unknown run key": (text(more="run: {rank_per_point: 2}"), ["run.rank_per_point", "did you mean ranks_per_point"]),
    "ranks per point": (text(more="run: {ranks_per_point: 0}"), ["run.ranks_per_point", "0", "greater than"]),
    "does not fit in memory": (text(model=MODEL.replace("S: 1", "S: 300")), ["S", "300", "GB", "available"]),
    "beyond any memory": (
        text(model=MODEL.replace("cells: 1", "cells: 50")),
        ["method.name", "liouvillian", "10^", "fewer sites"],
    ),
    "figure key": (text(more="figures: [{fle: a}]"), ["figures", "fle"]),
    "no float": (text(model=MODEL.replace("g: 1.0", "g: !!float abc")), ["line 1", "'abc'", "float"]),
    "date": (text(model=MODEL.replace("g: 1.0", "g: 2020-13-45")), ["model.g", "'2020-13-45'", "number"]),
    "explicit date": (text(model=MODEL.replace("g: 1.0", "g: !!timestamp 2020-01-01")), ["not YAML", "timestamp"]),
    "time of the day": (text(model=MODEL.replace("g: 1.0", "g: 1:30")), ["model.g", "'1:30'", "number"]),
    "octal": (text(model=MODEL.replace("cells: 1", "cells: 010")), ["model.cells", "'010'", "integer"]),
    "5000 digits": (text(model=MODEL.replace("g: 1.0", "g: " + "9" * 5000)), ["line 1", "999...", "int"]),
    "5000 hexadecimal digits": (text(model=MODEL.replace("g: 1.0", "g: 0x" + "f" * 5000)), ["line 1", "0xfff", "int"]),
    "times beyond 64 bits": (
        text(method="{name: liouvillian, task: evolve, times: [1000000000000000000000000000000, 1]}"),
        ["method.times", "rising"],
    ),
    "a billion samples": (
        text(method=PHASE.replace("64", "64, duration: 5.0e+8, sample_every: 1")),
        ["1e+10 samples", "raise sample_every"],
    ),
    "5000 lists": (text(more="sweep: " + "[" * 5000 + "]" * 5000), ["line 3", "in each other"]),
    "alias of itself": (text(more="sweep: &a [*a]"), ["line 3", "alias"]),
    "edge to a list": (
        text(model="{name: spin_network, sites: 3, edges: [[0, [1]]]}", method="{name: liouvillian}"),
        ["model", "edges: [0, [1]]"],
    ),
    "S = 1e308": (text(model=MODEL.replace("S: 1", "S: 1e308")), ["model.S", "1e+308", "at most"]),
    "a billion points": (
        text(more="sweep: [{model.g: {linspace: [0, 1, 1000000000]}}]"),
        ["sweep.0.model.g.linspace", "1000000000", "more than 1000000"],
    ),
    "a product of a billion points": (
        text(
            more="""
        sweep:
          - {model.g: {linspace: [0, 1, 100000]}}
          - {model.loss: {linspace: [0, 1, 100000]}}
        """
        ),
        ["sweep", "100000 times 100000", "more than 1000000"],
    ),
    "a trillion trajectories": (
        text(method=PHASE.replace("64", "1000000000000")),
        ["method.trajectories", "1000000000000", "less than or equal to"],
    ),
    "a hundred million records": (
        text(method=PHASE.replace("64", "960000000")),
        ["trajectories = 960000000", "30000000 records", "raise batch"],
    ),
    "a billion sites": (text(model=XYZ.replace("sites: 3", "sites: 1000000000")), ["model.sites", "more than 1000000"]),
    "a billion cells": (
        text(model=MODEL.replace("cells: 1", "cells: [99999, 99999]")),
        ["model.cells", "1000000 sites"],
    ),
    "ten thousand spins": (
        text(model=ALL.replace("N: 3", "N: 10000"), method="{name: permutation}"),
        ["model.N", "10000", "less than or equal to 5000"],
    ),
    "long title of a figure": (
        text(more=f"figures: [{{file: a, title: {'x' * 10**5}, panels: [{{y: gap, x: S}}]}}]"),
        ["figures.0.title", "300 characters"],
    ),
    "100 MB": ("# " + "x" * 10**8, ["more than", "characters"]),
    "aliases of aliases": (
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{y}: &{y} [{','.join([f'*{x}'] * 10)}]\n" for x, y in zip("abcdefgh", "bcdefghi")),
        ["line 6", "aliases"],
    ),
    "unknown observable": (
        text(model=MODEL, method="{name: liouvillian, observables: [energy]}"),
        ["method.observables", "energy", "squeezing", "product"],
    ),
    "observables not in a list": (
        text(model=MODEL, method="{name: liouvillian, observables: squeezing}"),
        ["method.observables", "list"],
    ),
    "observable twice": (
        text(model=MODEL, method="{name: liouvillian, observables: [squeezing, squeezing]}"),
        ["squeezing", "twice"],
    ),
    "observable without a name": (
        text(model=MODEL, method="{name: liouvillian, observables: [{product: [[Sz, 0]]}]}"),
        ["method.observables", "name must be a word"],
    ),
    "observable of no kind": (
        text(model=MODEL, method="{name: liouvillian, observables: [{name: edge, produkt: [[Sz, 0]]}]}"),
        ["edge", "product", "reduced"],
    ),
    "observable with a further key": (
        text(model=MODEL, method="{name: liouvillian, observables: [{name: edge, product: [[Sz, 0]], weight: 2}]}"),
        ["edge", "unknown key weight"],
    ),
    "observable with the name of another": (
        text(model=MODEL, method="{name: liouvillian, observables: [{name: squeezing, product: [[Sz, 0]]}]}"),
        ["squeezing", "not that of another"],
    ),
    "observable with the name of a result": (
        text(model=MODEL, method="{name: liouvillian, observables: [{name: residual, product: [[Sz, 0]]}]}"),
        ["residual", "another name"],
    ),
    "product without sites": (
        text(model=MODEL, method="{name: liouvillian, observables: [{name: edge, product: [Sz, Sx]}]}"),
        ["product", "[[Sz, 0], [Sz, 3]]"],
    ),
    "product of a site that is not there": (
        text(model=MODEL, method="{name: liouvillian, observables: [{name: edge, product: [[Sz, 0], [Sz, 7]]}]}"),
        ["edge", "site 7", "0 to 1"],
    ),
    "product of unknown operators": (
        text(model=MODEL, method="{name: liouvillian, observables: [{name: edge, product: [[Sq, 0]]}]}"),
        ["edge", "Sq", "S+"],
    ),
    "too few weights": (
        text(model=MODEL, method="{name: liouvillian, observables: [{name: sum, sum: Sz, weights: [1]}]}"),
        ["1 weights", "2 sites"],
    ),
    "weights that do not alternate": (
        text(model=ALL, method="{name: liouvillian, observables: [{name: sum, sum: Sz, weights: alternating}]}"),
        ["sum", "odd"],
    ),
    "a negativity of one site": (
        text(model=MODEL, method="{name: liouvillian, observables: [{name: half, negativity: [0]}]}"),
        ["negativity", "two sites"],
    ),
    "a large reduced density matrix": (
        text(
            model=MODEL.replace("S: 1,", "S: 10,"),
            method="{name: liouvillian, observables: [{name: rho, reduced: [0, 1]}]}",
        ),
        ["rho", "441", "64"],
    ),
    "correlation without a translation": (
        text(
            model=XYZ.replace("decay", "periodic: false, decay"),
            method="{name: liouvillian, observables: [correlation]}",
        ),
        ["correlation", "periodic: true"],
    ),
    "entropy of a mean field": (
        text(model=MODEL, method="{name: mean_field, observables: [entropy]}"),
        ["entropy", "mean_field", "[0, 1]"],
    ),
    "a product that mean field does not know": (
        text(model=MODEL, method="{name: mean_field, observables: [{name: both, product: [[Sx, 0], [Sz, 0]]}]}"),
        ["both", "cluster: 1"],
    ),
    "squeezing of an infinite chain": (
        text(model=INFINITE, method="{name: matrix_product, observables: [squeezing]}"),
        ["squeezing", "infinite"],
    ),
    "a product of three in Gaussian theory": (
        text(
            model=MODEL, method="{name: gaussian, observables: [{name: three, product: [[Sz, 0], [Sz, 1], [Sx, 0]]}]}"
        ),
        ["three", "two spin components"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_one_message_and_status_2(name, tmp_path, capsys):
    content, words = BAD[name]
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    assert cli.main(["check", str(path)]) == 2
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("hpcsim: error: "), err
    assert str(path) in lines[0]
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["run", "nowhere.yaml"], ["nowhere.yaml", "no such file"]),
        (["check", "."], [".", "no such file"]),
        (["check", "{good}", "--set", "model.S"], ["--set model.S", "key=value"]),
        (["check", "{good}", "--set", "model.T=3"], ["model.T", "3", "unknown key"]),
        (["check", "{good}", "--set", "model.S=2"], ["--set model.S=2", "sweep.0", "'sweep=[{model.S: [2]}]'"]),
        (["check", "{good}", "--set", "model={{loss: 2}}"], ["model.loss", "sweep.1", "'sweep=[{model.loss: [2]}]'"]),
        (["run", "{good}", "--out", "nosuch/x.h5"], ["--out nosuch/x.h5", "no folder nosuch", "make it"]),
        (["check", "{good}", "--set", "sweep.0=3"], ["sweep.0=3", "replaced whole"]),
        (["run", "{good}", "--max-walltime", "soon"], ["--max-walltime soon", "90m"]),
        (["launch"], ["launch", "run", "check"]),
        (["run"], ["config"]),
        (["status", "nowhere.h5"], ["nowhere.h5"]),
        (["collect", "out.h5", "nowhere.h5"], ["nowhere.h5"]),
        (["plot", "nowhere.h5"], ["nowhere.h5"]),
        (["check", "{good}", "--ranks", "1000000000"], ["--ranks", "9999999"]),
        (["check", "{good}", "--ranks", "0"], ["--ranks", "from 1"]),
        (["check", ""], ["config", "name of a file"]),
        (["run", "{good}", "--out", "x" * 300], ["--out", "name of a file"]),
        (["plot", "a\0b"], ["collected", "name of a file"]),
        (["check", "{good}", "--set", "model.g=!!float x"], ["--set model.g", "no float"]),
    ],
)
def test_command_line(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(GOOD)
    assert cli.main([a.format(good="good.yaml") for a in arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("hpcsim: error: ") and "Traceback" not in err
    for word in words:
        assert word in err
    assert not list(tmp_path.glob("**/*.h5"))


def test_the_good_file_is_good(tmp_path, capsys):
    (tmp_path / "good.yaml").write_text(GOOD)
    assert cli.main(["check", str(tmp_path / "good.yaml")]) == 0
    assert "points           6" in capsys.readouterr().out


def test_quick_must_exist(tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text(text())
    assert cli.main(["check", str(tmp_path / "bad.yaml"), "--quick"]) == 2
    assert "quick" in capsys.readouterr().err


def test_aliases_and_merges_are_read(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(text(model="&m " + MODEL, more="quick: {model: {<<: *m, S: 2}}"))
    assert cli.main(["check", str(tmp_path / "c.yaml"), "--quick"]) == 0
    assert "25 states" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error, words",
    [
        (ImportError("x.so: failed to map segment from shared object", name="scipy.x"), "map segment.*hpcsim doctor"),
        (MemoryError(), "not enough memory"),
        (SystemError("error return without exception set"), "not enough memory"),
    ],
)
def test_a_library_or_numbers_without_room_are_one_message(monkeypatch, capsys, error, words):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(cli, "_check", fail)
    assert cli.main(["check", "c.yaml"]) == 1
    assert re.fullmatch(f"hpcsim: error: .*{words}.*\n", capsys.readouterr().err)
    with pytest.raises(ImportError):  # a mistake in hpcsim
        monkeypatch.setattr(cli, "_check", lambda *arguments: exec("from hpcsim.store import nothing"))
        cli.main(["check", "c.yaml"])


@pytest.mark.parametrize("letter, kilobytes", [("v", 60_000), ("v", 400_000), ("d", 100_000)])
def test_a_limit_that_keeps_libraries_from_loading_is_one_message(letter, kilobytes):
    """OpenBLAS would try for ever, MPI abort, and numpy speak of its source directory."""
    line = f"ulimit -{letter} {kilobytes}; exec {sys.executable} -m hpcsim run c.yaml"
    ended = subprocess.run(["bash", "-c", line], env=mpi_environment(), capture_output=True, text=True, timeout=100)
    assert ended.returncode == 1 and not ended.stdout
    assert re.fullmatch(f"hpcsim: error: ulimit -{letter} = {kilobytes} kB leaves .*\n", ended.stderr), ended.stderr


def test_an_estimate_that_would_take_long_is_left_to_the_run(tmp_path, capsys):
    """The trial runs of what the truncation and a step of dt: auto leave out."""
    for dt in ("0.05", "auto"):
        (tmp_path / "c.yaml").write_text(text(method=PHASE[:-1] + f", burn_in: 2.0e+13, dt: {dt}" + "}"))
        assert cli.main(["check", str(tmp_path / "c.yaml")]) == 0
        out = capsys.readouterr().out
        assert "warning" not in out and "model  " in out


def test_a_null_is_the_default(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(text(method=METHOD.replace("4", "null")))
    assert cli.main(["check", str(tmp_path / "c.yaml")]) == 0


def test_numbers_of_numpy_are_written_as_numbers():
    assert shown(np.float64(-1.0)) == "-1.0" and shown([np.float64(0.5), [np.int64(3)]]) == "[0.5, [3]]"
    assert adjoint("S- + 0.3*Sz - 0.5i*Sx") == "1.0*S+ + 0.3*Sz + 0.5i*Sx"
