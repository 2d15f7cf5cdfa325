"""What a user types first: the shell's completion, examples and scripts to start from, and that they are installed."""

import subprocess

import pytest
from conftest import ROOT, require_program
from setuptools import find_namespace_packages
from setuptools.config.pyprojecttoml import read_configuration

from hpcsim import cli, completion, examples, guide
from hpcsim.run import config

NAMES = {
    "models": ["xyz_lattice", "kerr_oscillator"],
    "methods": ["liouvillian", "mean_field"],
    "examples": ["huber2020/fig2c"],
    "kinds": ["models"],
    "names": ["xyz_lattice", "liouvillian"],
    "keys": ["model.S=", "method.dt="],
}
ASK = """
COMP_WORDS=({line}) COMP_CWORD=$(({count} - 1))
_hpcsim
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def completed(line: str, shell="bash") -> list[str]:
    """What bash offers for the last word of a command line."""
    words = [*line.split(), *[""] * line.endswith(" ")]
    quoted = " ".join(f"'{word}'" for word in words)
    text = completion.script(cli.parser(), NAMES, shell) + ASK.format(line=quoted, count=len(words))
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "line, offered",
    [
        ("hpcsim des", ["describe"]),
        ("hpcsim --v", ["--version"]),
        ("hpcsim describe l", ["liouvillian"]),
        ("hpcsim new c.yaml --model ", ["xyz_lattice", "kerr_oscillator"]),
        ("hpcsim new c.yaml --model xyz_lattice --method m", ["mean_field"]),
        ("hpcsim new --example huber2020/", ["huber2020/fig2c"]),
        ("hpcsim run c.yaml --q", ["--quick"]),
        ("hpcsim run c.yaml --set mod", ["model.S="]),
        ("hpcsim run c.yaml --out ", []),  # files, by the shell's default
        ("hpcsim status ", []),
        ("hpcsim completion ", ["bash", "zsh"]),
    ],
)
def test_the_shell_completes(line, offered):
    assert completed(line) == offered


def test_every_command_option_and_name_is_completed():
    known = guide.words()
    assert {"models", "methods", "examples", "kinds", "names", "keys"} <= known.keys()
    assert {"model.S=", "method.trajectories=", "run.seed="} <= {*known["keys"]}
    text = completion.script(cli.parser(), known, "bash")
    commands = next(action.choices for action in cli.parser()._actions if action.dest == "command")
    for name, command in commands.items():
        assert completed(f"hpcsim {name}") == [name]
        for action in command._actions:
            assert all(option in text for option in action.option_strings)
            assert getattr(action, "completes", "models") in known


def test_zsh_reads_it_through_its_own_emulation_of_bash(capsys):
    assert cli.main(["completion", "zsh"]) == 0
    text = capsys.readouterr().out
    assert "bashcompinit\n" in text and text.rstrip().endswith("complete -o bashdefault -o default -F _hpcsim hpcsim")
    assert subprocess.run([require_program("bash"), "-n"], input=text, text=True).returncode == 0


def test_an_example_is_copied_with_the_files_it_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "--example", "fig2c"]) == 0
    assert (tmp_path / "fig2c.yaml").read_text() == (ROOT / "configs/huber2020/fig2c.yaml").read_text()
    assert cli.main(["new", "mine.yaml", "--example", "tutorials/own_model"]) == 0
    assert config.load("mine.yaml") and (tmp_path / "ising_twist.py").exists()
    assert "hpcsim check mine.yaml" in capsys.readouterr().out
    assert cli.main(["new", "--example", "quench"]) == 0 and (tmp_path / "quench_steady.yaml").exists()
    assert "quench_steady.yaml: run this one first" in capsys.readouterr().out
    assert cli.main(["new", "job.sbatch"]) == 0
    assert (tmp_path / "job.sbatch").read_text() == (ROOT / "jobs/run.sbatch").read_text()
    assert cli.main(["new", "array.sbatch", "--example", "array.sbatch"]) == 0
    assert (tmp_path / "run.sbatch").exists()  # which does its work


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--example", "fig99"], "--example fig99: unknown; hpcsim list examples shows"),
        (["--example", "fig2"], "there are huber2021/fig2 and huybrechts2020/fig2"),
        (["c.yaml"], "give FILE.yaml --model NAME, --example NAME or FILE.sbatch"),
        ([], "give FILE.yaml --model NAME"),
        (["there.sbatch"], "there.sbatch: exists"),
        (["no/such/folder/job.sbatch"], "cannot be written (No such file or directory)"),
    ],
)
def test_what_cannot_be_started_is_told_in_one_message(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.sbatch").touch()
    assert cli.main(["new", *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told and told.count("hpcsim: error:") == 1 and "Traceback" not in told


def test_examples_are_listed_with_their_titles(capsys):
    assert cli.main(["list", "examples"]) == 0
    shown = capsys.readouterr().out
    for path in ROOT.glob("configs/*/*.yaml"):
        assert f"{path.parent.name}/{path.stem} " in shown
    assert "Liouvillian gap of the gain/loss dimer" in shown and "run.sbatch" in shown


def test_they_are_in_the_package():
    """As setuptools reads pyproject.toml, and finds packages and their data; the links lead into the checkout."""
    settings = read_configuration(ROOT / "pyproject.toml", expand=False)["tool"]["setuptools"]
    patterns = {*settings["package-data"]["*"]}
    packages = find_namespace_packages(str(ROOT), include=settings["packages"]["find"]["include"])
    folders = {(ROOT / package.replace(".", "/")).resolve() for package in packages}
    for path in examples.found().values():
        assert path.resolve().is_relative_to(ROOT) and f"*{path.suffix}" in patterns
        assert path.parent.resolve() in folders
    assert {"hpcsim", "hpcsim.data", "hpcsim.data.configs.huber2020"} <= {*packages}
