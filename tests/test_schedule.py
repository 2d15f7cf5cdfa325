"""Who computes which record: the queue against the bound, the process that keeps it, real ranks whose records sleep."""

import json
import logging
import random
import re
import socket
import sys
import time

import h5py
import numpy as np
import pytest
from conftest import ROOT, mpirun
from mpi4py import MPI

from hpcsim import store
from hpcsim.run import config, dispatch, execute, progress
from hpcsim.run import plan as planning
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
    for seed in range(5 if groups < 128 else 2):
        seconds, work = costs(seed, 20 * groups)
        known = schedule.queued(seconds, Work.of(work.records, seconds, work.records), groups)
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
    assert queue.correction(1) > 4 > 2 > queue.correction(0)


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
    """What `dispatch.Shares` needs of run.parallel.Groups, for a world of one process."""

    def __init__(self, count, index):
        self.leaders = self.world = MPI.COMM_SELF
        self.count, self.index = count, index


@pytest.fixture
def served():
    """(records, groups) -> addresses and token of a process that keeps a queue of records of one second.

    signals : sent to it when it has the queue
    """
    started = []

    def serve(records, groups, signals=()):
        token = b"0123456789abcdef"
        process = dispatch._start(token)
        started.append(process)
        addresses = [("127.0.0.1", int(process.stdout.readline()))]
        dispatch._send_queue(process.stdin, alike(records), groups)
        assert process.stdout.readline() == b"1\n"
        for number in signals:
            process.send_signal(number)
        return addresses, token

    yield serve
    for process in started:
        dispatch._end(process)
        assert process.returncode == 0


def line_to(group, addresses, token):
    line = dispatch.Line(group, token, addresses)
    line.begin()
    return line


def test_a_repeated_question_gets_the_same_answer_and_a_stranger_none(served):
    addresses, token = served(5, 2)
    line, other = line_to(0, addresses, token), line_to(1, addresses, token)
    assert line.next([]) == [0] and line.next([(0, 1.0)]) == [1]
    question = dispatch.QUESTION.pack(0, 1, 2, 1) + dispatch.FINISHED.pack(0, 1.0)
    assert line._ask(question, 2, (5,)) == [1]
    assert [other.next([]) for _ in range(4)] == [[2], [3], [4], []] and line.next([]) == []
    with pytest.raises(dispatch.Unreachable):
        dispatch.Line(1, b"another token...", addresses)
    with pytest.raises(dispatch.Unreachable):  # of a queue that is not there yet
        line._ask(dispatch.QUESTION.pack(0, 2, 1, 0), 1, (0.2,))
    for junk in (b"", token, token + b"x" * 9, token + dispatch.QUESTION.pack(0, 1, 9, 700), b"\0" * 60000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(junk, addresses[0])
    assert line.next([]) == []
    line.close()
    other.close()


def test_signals_that_stop_a_run_do_not_end_the_queue(served):
    """Slurm sends them to all processes of a job; every rank still asks, after the record that it computes."""
    line = line_to(0, *served(2, 1, signals=STOPPING))
    assert [line.next([]) for _ in range(3)] == [[0], [1], []]
    line.close()


def test_answers_that_are_lost_are_asked_for_again(served, monkeypatch):
    addresses, token = served(30, 1)
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
    addresses, token = served(3, 1)
    line = line_to(0, addresses, token)
    monkeypatch.setattr(dispatch, "WAITS", (0.05, 0.05))
    line._token = b"not the same one"
    with pytest.raises(RuntimeError, match="has not answered.*give the same command again"):
        line.next([])
    line.close()


def test_where_it_cannot_be_started_records_are_shared_out_beforehand(monkeypatch, caplog):
    def refuse(*_):
        raise OSError("no process for you")

    monkeypatch.setattr(dispatch, "_start", refuse)
    shares = dispatch.Shares(Groups(2, 1), logging.getLogger("hpcsim"))
    source = shares.begin(np.arange(4), Work.of(range(4), [4.0, 3.0, 2.0, 1.0], np.zeros(4)))
    assert [source.next([]) for _ in range(3)] == [[1], [2], []]
    assert "shared out beforehand" in caplog.text and "no process for you" in caplog.text
    shares.close()


def test_a_process_that_nobody_needs_ends_without_a_word(capfd):
    for _ in range(3):
        shares = dispatch.Shares(Groups(2, 0), logging.getLogger("hpcsim"))
        shares.close()
        assert shares._process.returncode == 0
    assert capfd.readouterr().err == ""


def test_a_queue_for_each_round_of_records():
    shares = dispatch.Shares(Groups(2, 0), logging.getLogger("hpcsim"))
    for records in (np.arange(3), np.arange(7, 9)):
        source = shares.begin(records, Work.of(records, np.ones(len(records)), *np.zeros((2, len(records)))))
        given = []
        while mine := source.next([(record, 1.0) for record in given[-1:]]):
            given += mine
        assert given == records.tolist()
    shares.close()


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


def test_what_was_learned_is_known_in_the_next_round():
    first = Queue(alike(4), later=alike(3, 10.0))
    assert first.waiting() == pytest.approx(4 + 30)
    for _ in range(4):
        first.finished(first.take()[0], 3.0)
    second = Queue(alike(3, 10.0), 100, costs=first.costs)
    assert second.time_left() == pytest.approx(30, rel=0.2)  # of one record, however many groups there are


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


SLEEPING = '''
"""A method whose records do nothing but sleep, for as long as the model's decay says."""
import time
import numpy as np
from hpcsim.methods import Cost, Output
from hpcsim.system import Parameters

class Options(Parameters):
    pass

def supports(system): return None
def seconds(system): return float(system.jumps[0].rates[0])
def records(system, options): return (0,)
def cost(system, options, record): return Cost(1e3, 1.0)
def outputs(system, options): return (Output("slept"),)
def run(system, options, record, context):
    time.sleep(seconds(system))
    return {"slept": seconds(system)}
'''

PROGRAM = """
import sys, time, json
import hpcsim.methods
hpcsim.methods.__path__.append(sys.argv[1])
from mpi4py import MPI
from hpcsim.run import config, execute, plan
lengths = json.loads(sys.argv[2])
raw = {"model": {"name": "collective_spin", "S": 0.5}, "method": {"name": "sleeping"}}
raw["sweep"] = [{"model.decay": lengths}]
execute.run(lambda: plan.plan(config.resolve(raw)), sys.argv[3], None, MPI.COMM_WORLD)
"""


@pytest.mark.parametrize("ranks", [2, 8])
def test_ranks_whose_records_sleep_do_as_well_as_the_replay(tmp_path, ranks):
    """Estimates know nothing of the lengths: what is measured is the queue, on processors that have nothing to do."""
    methods = tmp_path / "methods"
    methods.mkdir()
    (methods / "sleeping.py").write_text(SLEEPING)
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
