"""The command line; `main` returns the exit status.

0 complete, 2 bad input, 75 stopped early and resumable, 1 anything else. Errors with an attribute `status`
explain themselves and are printed as one message. Each command imports what it needs, so that `doctor`
runs where the rest is broken.
"""

import argparse
import logging
import os
import re
import sys
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

from hpcsim import __version__, environment

COMPLETE, FAILED, BAD_INPUT, RESUMABLE = 0, 1, 2, 75


class UsageError(Exception):
    """The command line is wrong."""

    status = BAD_INPUT


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}")


def _ranks(text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,6}", text):
        raise argparse.ArgumentTypeError(f"{text[:20]!r}: a number of ranks from 1 to 9999999 is needed")
    return int(text)


def _path(text: str) -> str:
    if not text or "\0" in text or max(map(len, text.encode(errors="replace").split(b"/"))) > 255:
        raise argparse.ArgumentTypeError(f"{text[:20]!r}: the name of a file is needed")
    return text


def _completes(action, what: str):
    """What a shell may complete an argument with: a key of guide.words()."""
    action.completes = what


def parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="hpcsim", description="Driven-dissipative spin systems on clusters and workstations.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    def add(name, action, text, configured=False):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(action=action)
        if configured:
            command.add_argument("config", type=_path, help="YAML config")
            command.add_argument("--quick", action="store_true", help="apply the config's quick section")
            text = "override one value, for example model.S=4"
            override = command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help=text)
            _completes(override, "keys")
        return command

    run = add("run", _run, "compute what is not yet in the run file; the same line again resumes", True)
    run.add_argument("--out", type=_path, help="run file (default: results/NAME.h5 for a config NAME.yaml)")
    run.add_argument("--max-walltime", metavar="T", help="stop in time: seconds, 90m, 12h or H:MM:SS")
    run.add_argument(
        "--share", metavar="I/N", help="compute this part of the points, into OUT.I-of-N.h5; see array.sbatch"
    )
    run.add_argument("--retry-failed", action="store_true", help="also compute records again that have failed")
    check = add("check", _check, "validate and estimate points, records, memory and time; compute nothing", True)
    check.add_argument("--ranks", type=_ranks, default=1, help="ranks to estimate for")
    add("status", _status, "progress of a running or stopped run").add_argument("run", type=_path)
    merge = add("collect", _collect, "merge run files into one self-describing file")
    merge.add_argument("out", type=_path)
    merge.add_argument("runs", type=_path, nargs="+")
    merge.add_argument(
        "--over",
        action="append",
        default=[],
        type=lambda text: tuple(text.split(",")),
        metavar="KEY",
        help="make an axis of a parameter that the files do not sweep, for example model.S; KEY,KEY advance together",
    )
    plot = add("plot", _plot, "draw the config's figures and print its checks")
    plot.add_argument("collected", type=_path)
    plot.add_argument("--to", type=_path, help="folder for the figures (default: beside the file)")
    plot.add_argument(
        "--config",
        type=_path,
        help="take the figures from this YAML, which may hold nothing else, not from the one run",
    )
    plot.add_argument(
        "--csv", action="store_true", help="also write the numbers of each figure, and its checks, as CSV"
    )
    export = add("export", _export, "write the results of a collected file or a run file as tables")
    export.add_argument("file", type=_path)
    export.add_argument("--csv", action="store_true", required=True, help="as CSV: one file for each result")
    export.add_argument("--to", type=_path, help="folder for the tables (default: beside the file)")
    page = add("report", _report, "write one HTML page on a collected file or a run file: figures, checks, reliability")
    page.add_argument("file", type=_path)
    page.add_argument("--to", type=_path, help="the page (default: FILE.html beside the file)")
    page.add_argument("--config", type=_path, help="take the figures from this YAML, as plot does")
    listing = add(
        "list",
        _list,
        "the models, methods, observables, theories, analyses and examples there are; features: what methods take",
    )
    _completes(listing.add_argument("kind", nargs="?", help="one of these"), "kinds")
    describe = add("describe", _describe, "formula, keys, defaults and outputs of one of them")
    _completes(describe.add_argument("name"), "names")
    add("schema", _schema, "the JSON Schema of a config, for editors that complete and check YAML")
    new = add("new", _new, "write a commented config that runs as it is, an example, or a script for Slurm")
    new.add_argument("config", nargs="?", type=_path, help="file to write (an example's own name by default)")
    _completes(new.add_argument("--model", help="of a new config"), "models")
    _completes(new.add_argument("--method", default="liouvillian", help="of a new config"), "methods")
    _completes(new.add_argument("--example", metavar="NAME", help="copy this one of hpcsim list examples"), "examples")
    shell = add("completion", _completion, "print the script that lets a shell complete this command line")
    shell.add_argument("shell", choices=["bash", "zsh"])
    doctor = add("doctor", _doctor, "what this installation has, and the fix for what is missing")
    doctor.add_argument(
        "--calibrate",
        action="store_true",
        help="measure how fast this processor is, half a minute and compiling, for the estimates of check",
    )
    return parser


def main(argv=None) -> int:
    environment.require_memory()
    if argv is None and sys.argv[1:2] == ["run"]:
        from hpcsim.run import interrupt

        interrupt.hold()
    world = _world(sys.argv[1:] if argv is None else argv)
    rank = world.rank if world else 0
    logging.raiseExceptions = False  # a message that cannot be written, as to a closed pipe, is dropped
    logging.basicConfig(format="hpcsim: %(message)s", stream=sys.stderr)
    logging.getLogger("hpcsim").setLevel(logging.ERROR if rank else logging.INFO)
    try:
        arguments = parser().parse_args(argv)
        with _all_or_none(world):
            environment.prepare(world)
            return arguments.action(arguments, world)
    except BrokenPipeError:  # nobody reads on, as in hpcsim status | head
        return COMPLETE
    except KeyboardInterrupt:
        if rank == 0:
            with suppress(OSError, ValueError):
                print("hpcsim: interrupted; the same command begins again", file=sys.stderr)
        return FAILED
    except Exception as error:
        unloaded = isinstance(error, ImportError) and not (error.name or "").startswith("hpcsim")
        # C code that was given no memory raises SystemError where it forgets to say why
        if not hasattr(error, "status") and not unloaded and not isinstance(error, (OSError, MemoryError, SystemError)):
            raise
        text = f"{error}; hpcsim doctor says what is missing" if unloaded else str(error) or "not enough memory"
        text += "; not enough memory?" * isinstance(error, SystemError)
        if rank == 0:
            with suppress(OSError, ValueError):
                print(f"hpcsim: error: {text}", file=sys.stderr)
        return getattr(error, "status", FAILED)
    finally:
        _flush()


@contextmanager
def _all_or_none(world):
    """What ends one rank, a failed import or too little memory among it, ends them all at once, with the reason.

    The others would wait for it for ever. Errors with a status come to all ranks.
    """
    try:
        yield
    except BaseException as error:
        if world is None or world.size == 1 or hasattr(error, "status"):
            raise
        try:
            told = "interrupted\n" if isinstance(error, KeyboardInterrupt) else traceback.format_exc()
            sys.stderr.write(f"[rank {world.rank}] {told}")
            sys.stderr.flush()
        finally:
            world.Abort(1)


def _flush():
    """Python itself would end with status 120 where its last words find no reader."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _world(argv):
    """COMM_WORLD for the commands that compute in parallel; the others need no MPI."""
    if "run" not in argv[:1] and "doctor" not in argv[:1]:
        return None
    try:
        from mpi4py import MPI
    except ImportError as error:
        if "run" in argv[:1]:
            raise SystemExit(f"hpcsim: error: no mpi4py ({error}): hpcsim doctor says how to fix it") from None
        return None
    return MPI.COMM_WORLD


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text):
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
    if match := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return 86400 * days + 3600 * hours + 60 * minutes + seconds
    raise UsageError(f"--max-walltime {text}: write seconds, 90m, 12h, H:MM:SS or D-HH:MM:SS")


def _run(arguments, world) -> int:
    from hpcsim import api

    limit, given = _seconds(arguments.max_walltime), (arguments.set, arguments.quick, arguments.share)
    stopped = api.run_config(arguments.config, arguments.out, *given, limit, arguments.retry_failed, world)
    return RESUMABLE if stopped else COMPLETE


def _check(arguments, world) -> int:
    from hpcsim import api, guide
    from hpcsim.run import config, memory

    with config.in_file(arguments.config):
        plans = api.plans(arguments.config, arguments.set, arguments.quick)
        for number, plan in enumerate(plans):
            if number:
                print()
            print(*guide.estimates(plan, arguments.ranks, len(plans) > 1), sep="\n")
            memory.check_memory(plan, max(arguments.ranks, plan.config["run"]["ranks_per_point"]))
    if not arguments.quick and config.read(arguments.config).get("quick"):
        with config.in_file(arguments.config), config.in_file("with --quick"):
            api.plan(arguments.config, arguments.set, quick=True)
    return COMPLETE


def _status(arguments, world) -> int:
    from hpcsim import store

    print(store.format_status(store.read_status(arguments.run)))
    return COMPLETE


def _collect(arguments, world) -> int:
    from hpcsim.store.collect import collect

    collect(arguments.out, arguments.runs, arguments.over)
    return COMPLETE


def _section(path):
    """The figures of a config that the user names; None where there is none."""
    from hpcsim import figures
    from hpcsim.run import config

    if path is None:
        return None
    with config.in_file(path), config.explained("figures"):
        section = config.figures(path)
        figures.parse(section, execute=True)
    return section


def _plot(arguments, world) -> int:
    from hpcsim import figures

    files, results = figures.plot(arguments.collected, arguments.to, _section(arguments.config), arguments.csv)
    for file in files:
        print(file)
    if not files:
        log = logging.getLogger("hpcsim")
        log.warning(
            "%s: its config has no figures, so none is drawn; hpcsim plot %s --config FIGURES.yaml takes them from "
            "another YAML, which needs nothing but figures: [{file: NAME, panels: [{y: RESULT, x: KEY}]}]",
            *2 * (arguments.collected,),
        )
    print(figures.table(results))
    return COMPLETE if all(result.passed for result in results) else FAILED


def _export(arguments, world) -> int:
    from hpcsim import store
    from hpcsim.store.collect import opened
    from hpcsim.store.export import export_csv

    data = opened(arguments.file)
    if there := store.shortfall(data):
        logging.getLogger("hpcsim").warning("%s: holds %s; their fields are empty", arguments.file, there)
    for file in export_csv(data, arguments.file, arguments.to):
        print(file)
    return COMPLETE


def _report(arguments, world) -> int:
    from hpcsim.report import report

    page, passed = report(arguments.file, arguments.to, _section(arguments.config))
    print(page)
    return COMPLETE if passed else FAILED


def _list(arguments, world) -> int:
    from hpcsim import guide

    print(guide.listed(arguments.kind))
    return COMPLETE


def _describe(arguments, world) -> int:
    from hpcsim import guide

    print(guide.described(arguments.name))
    return COMPLETE


def _schema(arguments, world) -> int:
    import json

    from hpcsim import schema

    print(json.dumps(schema.schema(), indent=1, ensure_ascii=False))
    return COMPLETE


def _new(arguments, world) -> int:
    from hpcsim import examples, guide

    name = arguments.config or ""
    if example := arguments.example or "run.sbatch" * name.endswith(".sbatch"):
        target, *others = examples.copy(example, arguments.config)
    elif name and arguments.model:
        target, others = examples.write(Path(name), guide.template(arguments.model, arguments.method)), []
    else:
        raise UsageError("new: give FILE.yaml --model NAME, --example NAME or FILE.sbatch; hpcsim list shows the names")
    for other in others:
        print(f"{other}{': run this one first' * (other.suffix == '.yaml')}")
    tries = f"try hpcsim check {target}, then mpirun -n 2 hpcsim run {target}"
    print(target if target.suffix == ".sbatch" else f"{target}: {tries}")
    return COMPLETE


def _completion(arguments, world) -> int:
    from hpcsim import completion, guide

    print(completion.script(parser(), guide.words(), arguments.shell))
    return COMPLETE


def _calibrate(world) -> int:
    from hpcsim.run import calibrate, speed

    if world is not None and world.rank:
        return COMPLETE
    found = []
    print(f"{speed.processor()}\n{'kind of work':30} {'s estimated':>11} {'s measured':>11} {'factor':>7}")
    for each in calibrate.measure():
        print(f"{each.kind:30} {each.estimated:11.3g} {each.measured:11.3g} {each.factor:7.2f}", flush=True)
        found.append(each)
    calibrate.keep(found)
    print(f"kept in {speed.path()}: hpcsim check and run multiply their estimates on such a processor with the factors")
    return COMPLETE


def _doctor(arguments, world) -> int:
    from hpcsim import doctor

    if arguments.calibrate:
        return _calibrate(world)
    lines, ok = doctor.report(world)
    if world is None or world.rank == 0:
        print("\n".join(lines))
    return COMPLETE if ok else FAILED
