"""Who computes which record: the queue against the bound, the process that keeps it, real ranks whose records sleep."""

import json
import logging
import math
import random
import re
import shutil
import socket
import sys
import time

import h5py
import numpy as np
import pytest
from conftest import ROOT, mpirun
from mpi4py import MPI

import hpcsim.methods
from hpcsim import store
from hpcsim.run import config, dispatch, execute, progress, shares
from hpcsim.run import plan as planning
from hpcsim.run.board import Board
from hpcsim.run.costs import Costs, Work
from hpcsim.run.interrupt import STOPPING
from hpcsim.run.schedule import LARGEST_SHARE, Queue, assign, kinds_of, spread

sys.path.insert(0, str(ROOT / "jobs" / "benchmarks"))
schedule = __import__("schedule")


def costs(seed: int, records: int, kinds: int = 6):
    """Seconds, and records whose estimates err by a factor of their kind, 0.2 to 5, and by 30 % more."""
    random_numbers = np.random.default_rng(seed)
    kind = random_numbers.integers(kinds, size=records)
    size = np.exp(random_numbers.uniform(-2, 3, kinds))[kind]
    seconds = size * np.exp(0.3 * random_numbers.standard_normal(records))
    estimates = size * np.exp(random_numbers.uniform(np.log(0.2), np.log(5), kinds))[kind]
    return seconds, Work.of(range(records), estimates, kind)


def alike(records: int, seconds: float = 1.0) -> Work:
    """Records of one kind and point."""
    same = np.zeros(records)
    return Work.of(np.arange(records), np.full(records, seconds), same, same)


@pytest.mark.parametrize("groups", [2, 8, 32, 128, 512])
def test_the_queue_does_nearly_as_well_as_if_costs_were_known(groups):
    """And better than shares fixed beforehand. Whole records do not always fill all groups, even where all is known."""
    ratios, fixed = [], []
    for seed in range(5 if groups < 128 else 1):
        seconds, work = costs(seed, 20 * groups)
        known = schedule.fixed(seconds, seconds, groups)
        assert known >= max(seconds.sum() / groups, seconds.max()) - 1e-9
        ratios.append(known / schedule.queued(seconds, work, groups))
        fixed.append(known / schedule.fixed(seconds, work.seconds, groups))
    assert min(ratios) > 0.83 and np.mean(ratios) > 0.93
    assert np.mean(fixed) < np.mean(ratios) - 0.05


def test_every_record_is_given_once_costliest_first_short_ones_together():
    queue = Queue(Work.of([5, 6, 7, 8, 9], [1.0, 3.0, 2.0, 0.5, 3.0], np.arange(5)))
    assert [queue.take() for _ in range(6)] == [[6], [9], [7], [5], [8], []]
    queue = Queue(alike(1000, 1e-4), groups=4)
    shares = []
    while share := queue.take():
        shares.append(share)
    assert sorted(sum(shares, [])) == list(range(1000))
    assert (
        max(map(len, shares)) == LARGEST_SHARE
        and len(shares[-1]) == 1
        and queue.waiting() == pytest.approx(0, abs=1e-12)
    )


def test_what_is_finished_corrects_the_order_and_the_time_left():
    """Records of kind 1 take 10 times their estimate: they come first as soon as that is known."""
    records, kinds = np.arange(20), np.repeat([0, 1], 10)
    queue = Queue(Work.of(records, np.repeat([2.0, 1.0], 10), kinds, kinds))
    # two of the costliest kind, and the first of the other
    assert [queue.take() for _ in range(3)] == [[0], [1], [10]] and queue.waiting() == pytest.approx(25)
    queue.finished(0, 2.0)
    queue.finished(1, 2.0)
    queue.finished(10, 10.0)
    assert queue.take() == [11]
    # 8 of 2 s and 8 of 10 s, the kinds drawn a little to the mean of all, and one of 10 s that has just been given
    assert queue.waiting() == pytest.approx(8 * 2 + 8 * 10, rel=0.5)
    assert queue.time_left() == pytest.approx(queue.waiting() + 10, rel=0.1)
    assert queue.costs.factors()[1] > 4 > 2 > queue.costs.factors()[0]


def test_what_is_under_way_is_known():
    queue = Queue(Work.of([0, 1, 2], [3.0, 2.0, 2.0], [0, 0, 0], [0, 0, 0]))
    assert queue.under_way() == (0, 0.0) and queue.take() == [0]
    queue.take()
    records, seconds = queue.under_way()
    assert records == 2 and 2 < seconds <= 3
    queue.finished(0, 3.0)
    records, seconds = queue.under_way()
    assert records == 1 and 1 < seconds <= 2


def test_records_of_one_size_are_of_one_kind():
    kinds = kinds_of([1e6, 1e6, 1e6, 1e9], [1.0, 1.01, 9.0, 1.0])
    assert kinds[0] == kinds[1] and len(set(kinds)) == 3


class Groups:
    """What `shares.Shares` needs of run.parallel.Groups, for a world of one process."""

    def __init__(self, count, index):
        self.leaders = self.world = MPI.COMM_SELF
        self.count, self.index = count, index


@pytest.fixture
def served():
    """(work, groups, needs=None) -> addresses and token of a process that keeps a queue.

    signals : sent to it when it has the queue
    """
    started = []

    def serve(work, groups, signals=(), needs=None):
        token = b"0123456789abcdef"
        process = shares._start(token)
        started.append(process)
        addresses = [("127.0.0.1", int(process.stdout.readline()))]
        dispatch.send_queue(process.stdin, work, groups, needs)
        assert process.stdout.readline() == b"1\n"
        for number in signals:
            process.send_signal(number)
        return addresses, token

    yield serve
    for process in started:
        shares._end(process)
        assert process.returncode == 0


def line_to(group, addresses, token):
    line = dispatch.Line(group, token, addresses)
    line.begin()
    return line


def test_a_repeated_question_gets_the_same_answer_and_a_stranger_none(served):
    addresses, token = served(alike(5), 2)
    line, other = line_to(0, addresses, token), line_to(1, addresses, token)
    assert line.next([]) == [0] and line.next([(0, 1.0)]) == [1]
    number = line._number
    question = dispatch.QUESTION.pack(dispatch.NEXT, 0, 1, number) + dispatch.COUNT.pack(1)
    state, rest = line._ask(question + dispatch.FINISHED.pack(0, 1.0), (5,))
    assert state == dispatch.GIVEN and rest.endswith(np.int64(1).tobytes())
    assert [other.next([]) for _ in range(4)] == [[2], [3], [4], []] and line.next([]) == []
    with pytest.raises(dispatch.Unreachable):
        dispatch.Line(1, b"another token...", addresses)
    with pytest.raises(dispatch.Unreachable):  # of a queue that is not there yet
        line._ask(dispatch.QUESTION.pack(dispatch.NEXT, 0, 2, number) + dispatch.COUNT.pack(0), (0.2,))
    shorter = [token + dispatch.QUESTION.pack(kind, 0, 1, 9) + b"\1\2\3" for kind in (*dispatch.KINDS, 200)]
    for junk in (b"", token, token + b"x" * 9, *shorter, b"\0" * 60000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(junk, addresses[0])
    assert line.next([]) == []
    line.close()
    other.close()


def test_signals_that_stop_a_run_do_not_end_the_queue(served):
    """Slurm sends them to all processes of a job; every rank still asks, after the record that it computes."""
    line = line_to(0, *served(alike(2), 1, signals=STOPPING))
    assert [line.next([]) for _ in range(3)] == [[0], [1], []]
    line.close()


def test_answers_that_are_lost_are_asked_for_again(served, monkeypatch):
    addresses, token = served(alike(30), 1)
    lost = random.Random(1)

    class Lossy(socket.socket):
        def sendto(self, data, address):
            return len(data) if lost.random() < 0.5 else super().sendto(data, address)

    monkeypatch.setattr(dispatch, "WAITS", (0.05,) * 50)
    monkeypatch.setattr(dispatch.socket, "socket", Lossy)
    line, found = line_to(0, addresses, token), []
    while mine := line.next([(record, 1.0) for record in found[-1:]]):
        found += mine
    assert found == list(range(30))
    line.close()


def test_where_nobody_answers_the_run_ends_with_the_reason(served, monkeypatch):
    addresses, token = served(alike(3), 1)
    line = line_to(0, addresses, token)
    monkeypatch.setattr(dispatch, "WAITS", (0.05, 0.05))
    line._token = b"not the same one"
    with pytest.raises(RuntimeError, match="has not answered.*give the same command again"):
        line.next([])
    line.close()


def test_where_it_cannot_be_started_records_are_shared_out_beforehand(monkeypatch, caplog):
    def refuse(*_):
        raise OSError("no process for you")

    monkeypatch.setattr(shares, "_start", refuse)
    sources = shares.Shares(Groups(2, 1), logging.getLogger("hpcsim"))
    work = Work.of(range(4), [4.0, 3.0, 2.0, 1.0], np.zeros(4))
    source = sources.begin(work, {3: (1, 9)}, results={9: "of 9"})
    assert [source.next([]) for _ in range(3)] == [[1], [2], []] and source.get(9) == "of 9"
    source.put(1, "of 1")
    source = sources.begin(Work(*(array[3:] for array in work)), {3: (1, 9)})  # to the other group
    assert source.next([]) == [] and (source.get(1), source.get(9)) == ("of 1", "of 9")
    assert "shared out beforehand" in caplog.text and "no process for you" in caplog.text
    sources.close()


def test_a_process_that_nobody_needs_ends_without_a_word(capfd):
    for _ in range(3):
        sources = shares.Shares(Groups(2, 0), logging.getLogger("hpcsim"))
        sources.close()
        assert sources._process.returncode == 0
    assert capfd.readouterr().err == ""


def test_a_queue_for_each_round_of_records():
    sources = shares.Shares(Groups(2, 0), logging.getLogger("hpcsim"))
    for records in (np.arange(3), np.arange(7, 9)):
        source = sources.begin(Work.of(records, np.ones(len(records)), *np.zeros((2, len(records)))), {})
        given = []
        while mine := source.next([(record, 1.0) for record in given[-1:]]):
            given += mine
        assert given == records.tolist()
    sources.close()


def test_a_record_that_compiled_tells_nothing_of_others():
    queue = Queue(alike(10))
    before = queue.waiting()
    queue.take()
    queue.finished(0, execute._telling(40.0, 30.0))
    assert queue.waiting() == pytest.approx(before * 0.9) and queue.under_way()[0] == 0
    assert np.isnan(queue.time_left())
    queue.take()
    queue.finished(1, execute._telling(2.0, 0.1))
    assert queue.waiting() == queue.time_left() == pytest.approx(1.9 * 8, rel=0.05)


def test_the_time_left_counts_the_records_that_groups_are_at():
    """And not as done what lasts longer than estimated: three of four groups are at records of 10 s, 3 are waiting."""
    now = [0.0]
    queue = Queue(alike(7, 10.0), 4, clock=lambda: now[0])
    given = [queue.take() for _ in range(4)]
    now[0] = 10.0
    queue.finished(given[0][0], 10.0)
    now[0] = 4.0
    assert queue.time_left() == pytest.approx((3 * 10 + 3 * 6) / 4)
    now[0] = 40.0
    assert queue.under_way() == (3, pytest.approx(20)) and queue.time_left() == pytest.approx((3 * 10 + 3 * 20) / 4)


def a_stage_that_waits(point, part):
    """The first record of each point tells the others what to look for."""
    return 2.0 - (part > 0), np.ones(len(part)), {i: (i - p,) for i, p in enumerate(part.tolist()) if p}


def costs_along_the_sweep(point, part):
    return 0.2 * np.exp(point / 24), np.ones(len(part)), {}


def first_records_that_prepare(point, part):
    """Points of falling size, whose first records find what the others use."""
    size = 4 / (1 + point)
    return size * np.where(part, 1.0, 20.0), size, {}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    "case, points",
    [
        (a_stage_that_waits, 30),
        (costs_along_the_sweep, 48),
        (first_records_that_prepare, 8),
    ],
)
def test_what_is_finished_stands_for_what_is_waiting(case, points, groups):
    point, part = np.divmod(np.arange(5 * points), 5)
    seconds, estimates, needs = case(point, part)
    work = Work.of(range(len(part)), estimates, kinds_of(estimates, estimates), point, part)
    assert 1 <= schedule.error_of_left(seconds, work, groups, needs) < schedule.FACTOR


def test_estimates_are_corrected_by_the_mean_not_the_median():
    """Of records that take 0.1 s, and one in eleven 20 s."""
    work = alike(110)
    found = Costs(work)
    for i in range(110):
        found.learn(found.place[i], 1.0, 20.0 if i % 11 == 3 else 0.1)
    assert found.factors() == [pytest.approx((20 + 10 * 0.1) / 11, rel=0.1)]


def chained(records: int) -> tuple[Work, dict]:
    """Every second record waits for the one before it."""
    return alike(records), {record: (record - 1,) for record in range(1, records, 2)}


def test_a_record_begins_when_what_it_needs_is_there():
    """Not when all that can begin is done; what was learned before counts for it; and no result is kept too long."""
    work, needs = chained(6)
    board = Board(range(6), needs)
    queue = Queue(work, 2, board=board)
    assert [queue.take() for _ in range(3)] == [[0], [2], [4]] and queue.take() == [] and not queue.over
    board.put(4, "of 4")
    queue.finished(4, 3.0)
    assert queue.take() == [5] and queue.take() == [] and board.get(4) == "of 4" and board.get(0) is None
    assert queue.waiting() == pytest.approx(3 * 2 / 2, rel=0.2)
    queue.finished(0, math.nan)  # has failed, or compiled
    queue.finished(5, 3.0)
    assert queue.take() == [1] and board.get(4) is None
    queue.finished(2, 3.0)
    assert queue.take() == [3] and queue.over


def test_records_that_others_wait_for_come_first():
    """One of 1 s, with one of 5 s behind it, before those of 2 s."""
    work = Work.of(range(5), [2.0, 2.0, 1.0, 2.0, 5.0], [0, 0, 1, 0, 2])
    queue = Queue(work, board=Board(range(5), {4: (2,)}))
    assert queue.take() == [2] and queue.take()[0] in (0, 1, 3)
    queue.finished(2, 1.0)
    assert queue.take() == [4]


def test_a_look_decides_how_many_records_of_a_point_begin():
    """Two points of six records, of which two are looked at first; and the group that is there first takes the look."""
    looks = {0: ([0, 1, 2, 3, 4, 5], 2), 1: ([6, 7, 8, 9, 10, 11], 2)}
    board = Board(range(12), None, looks)
    queue = Queue(alike(12), 4, board=board)
    first = [queue.take()[0] for _ in range(4)]
    assert sorted(first) == [0, 1, 6, 7] and queue.take() == [] and not queue.over
    for record in (0, 1):
        board.put(record, f"of {record}")
        queue.finished(record, 1.0)
    assert queue.take() == [-1, 2] and queue.take() == []
    queue.finished(-1, 5.0)  # the look wants three more
    assert sorted(queue.take()[0] for _ in range(3)) == [2, 3, 4] and queue.take() == []
    for record in (2, 3, 4, 6, 7):
        queue.finished(record, math.nan)
    assert [queue.take() for _ in range(3)] == [[-1, 5], [-2, 2], []] and board.get(0) == "of 0"
    queue.finished(-1, 0.0)
    assert not queue.over and board.get(0) is None
    queue.finished(-2, 0.0)
    assert queue.over and queue.take() == []


def test_what_was_done_before_a_look_is_looked_at_at_once():
    """A record that was damaged is computed again, and those beyond the look before it are there."""
    queue = Queue(alike(1), board=Board([0], None, {0: ([0, 1, 2], 2)}, {1: "of 1", 2: "of 2"}))
    assert queue.take() == [0]
    queue.finished(0, 1.0)
    assert queue.take() == [-1, 2]
    queue.finished(-1, 3.0)
    assert queue.take() == [-1, 3] and queue.board.get(2) == "of 2"
    queue.finished(-1, 0.0)
    assert queue.over


def test_results_come_to_the_records_that_wait_for_them(served):
    """However large they are; and a group without work gets its record when it can begin, also where this was lost."""
    work, needs = chained(2)
    addresses, token = served(work, 2, needs=needs)
    line, other = line_to(0, addresses, token), line_to(1, addresses, token)
    assert line.next([]) == [0] and other.next([]) is None and other.next([]) is None
    result = {"rho": np.arange(5000) * 1j, "file": np.float64(np.nan)}
    line.put(0, result)
    assert line.next([(0, 1.0)]) is not None or other.next([]) is not None
    found = other.get(0)
    assert found.keys() == result.keys() and all(found[name].tobytes() == result[name].tobytes() for name in found)
    assert line.get(1) is None
    line.close()
    other.close()


def test_the_first_points_taken_are_all_over_the_sweep():
    points = np.repeat(np.arange(40), 2)
    for kind in range(3):
        order = spread(np.arange(80), points, kind)
        assert sorted(order) == list(range(80)) and (order[1::2] == order[::2] + 1).all()
        assert np.diff(sorted(points[order[:16:2]])).max() <= 8
    assert spread(np.arange(1), np.zeros(1)).tolist() == [0] and len(spread(np.arange(0), np.zeros(0))) == 0


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_the_time_left_is_right_within_a_factor_of_three_after_a_minute(groups):
    """Where the estimates of each kind are wrong by a factor of its own between 0.2 and 5."""
    errors = [schedule.error_of_left(*costs(seed, 200), groups) for seed in range(4)]
    assert max(errors) < schedule.FACTOR and max(errors) > 1


def test_the_log_counts_the_time_left_from_the_first_record_on(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    shown = progress.Progress(5, 0)
    for now[0] in (40.0, 46.0, 52.0):  # the first one compiles for 34 s
        shown(1)
    lines = capsys.readouterr().err.splitlines()
    assert "left" not in lines[0] and [line.split(", ")[-1] for line in lines[1:]] == ["18 s left", "12 s left"]


def test_the_status_has_the_time_left_from_the_run(tmp_path, monkeypatch):
    raw = {"model": {"name": "collective_spin", "S": 0.5, "decay": 1}, "method": "liouvillian"}
    planned = planning.plan(config.resolve(raw))
    with store.open_run(tmp_path / "r.h5", planned.layout, MPI.COMM_SELF) as run:
        assert "left" not in store.format_status(store.read_status(tmp_path / "r.h5"))
        progress.Progress(1, 0).left(100.0, run)
        for seconds in (time.time(), 1e6, 4e9):  # the time of day is set back, or forward, and changes nothing
            monkeypatch.setattr(time, "time", lambda seconds=seconds: seconds)
            status = store.read_status(tmp_path / "r.h5")
            assert re.search(r", (100|99|98) s left", store.format_status(status)) and status["elapsed_seconds"] < 100


def test_assign():
    assert [own.tolist() for own in assign([1, 5, 2, 4], 2)] == [[1, 0], [3, 2]]


STAGES = '''
"""Each record of a point adds one to the one before it; the first fails where the rate of decay is 4."""
from hpcsim.methods import Cost, Output
from hpcsim.system import Parameters

class Options(Parameters):
    pass

def supports(system): return None
def records(system, options): return (0, 1, 2)
def needs(system, options, record): return (record - 1,) if record else ()
def cost(system, options, record): return Cost(1e3, 1.0)
def outputs(system, options): return (Output("found", reduce="mean"),)
def run(system, options, record, context):
    if not record and 3 < system.jumps[0].rates[0] < 5:
        raise RuntimeError("too fast")
    return {"found": 1.0 + context.earlier[record - 1]["found"] if record else 0.0}
'''


def test_a_record_fails_with_the_one_that_it_starts_from_and_with_it_is_computed_again(tmp_path, monkeypatch):
    (tmp_path / "stages.py").write_text(STAGES)
    monkeypatch.setattr(hpcsim.methods, "__path__", [*hpcsim.methods.__path__, str(tmp_path)])
    raw = {"model": {"name": "collective_spin", "S": 0.5}, "method": {"name": "stages"}}
    resolved = config.resolve(raw | {"sweep": [{"model.decay": [1, 2, 3]}]})
    for again in (False, True):
        with pytest.raises(execute.RecordsFailed, match="3 of 9 records failed"):
            execute.run(lambda: planning.plan(resolved), tmp_path / "r.h5", retry_failed=again)
        (run,) = store.read_runs(tmp_path / "r.h5")
        assert run.arrays["found"][run.done].tolist() == [0, 1, 2, 0, 1, 2]
        starts = "a record whose result it starts from has failed"
        assert run.failures == {3: "RuntimeError: too fast", 4: starts, 5: starts}


PROGRAM = """
import sys, time, json
import hpcsim.methods
hpcsim.methods.__path__.append(sys.argv[1])
from mpi4py import MPI
from hpcsim.run import config, execute, plan
lengths = json.loads(sys.argv[2])
raw = {"model": {"name": "collective_spin", "S": 0.5, "decay": 1}, "method": {"name": "sleeping"}}
raw["sweep"] = [{"model.field_x": lengths}]
execute.run(lambda: plan.plan(config.resolve(raw)), sys.argv[3], None, MPI.COMM_WORLD)
"""


@pytest.mark.parametrize("ranks", [2, 8])
def test_ranks_whose_records_sleep_do_as_well_as_the_replay(tmp_path, ranks):
    """Estimates know nothing of the lengths: what is measured is the queue, on processors that have nothing to do."""
    methods = tmp_path / "methods"
    methods.mkdir()
    shutil.copy(ROOT / "jobs" / "benchmarks" / "sleeping.py", methods)
    lengths = [round(0.2 + random.Random(k).random(), 6) for k in range(5 * ranks)]
    for attempt in range(3):  # what else the machine does makes a run longer, never shorter
        out = tmp_path / f"run{attempt}.h5"
        done = mpirun(ranks, ["-c", PROGRAM, methods, json.dumps(lengths), out], timeout=300)
        assert done.returncode == 0, done.stderr
        with h5py.File(out) as file:
            seconds = file["records/seconds"][:]
        replayed = schedule.queued(
            seconds, Work.of(range(len(seconds)), np.ones(len(seconds)), np.zeros(len(seconds))), ranks
        )
        loop = store.read_status(out)["history"][-1]["loop_seconds"]
        short = (1 / replayed - 1 / loop) * seconds.sum() / ranks  # of the efficiency that the replay has
        if short < 0.05:
            break
    assert abs(short) < 0.05
