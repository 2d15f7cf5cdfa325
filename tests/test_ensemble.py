"""Random streams and the split of trajectories over records and ranks."""

from types import SimpleNamespace

import numpy as np
import pytest
from mpi4py import MPI
from pydantic import ValidationError

from hpcsim.ensemble.burn_in import relaxed
from hpcsim.ensemble.options import EnsembleOptions, share
from hpcsim.ensemble.reduce import looks
from hpcsim.ensemble.streams import fill_normals, fill_three_point, fill_words, philox4x32, uniform
from hpcsim.methods import Context, Dim, Output, phase_space, trajectories
from hpcsim.observables import largest_error
from hpcsim.run import plan as planning
from hpcsim.run.config import ConfigError, resolve
from hpcsim.store import Layout
from hpcsim.store.target import Targets
from hpcsim.system import Jumps, System

KEY = np.array([0x12345678, 0x9ABCDEF0], np.uint64)
CONTEXT = Context(MPI.COMM_SELF, (12, 34), lambda: False)
PURPOSE = np.uint64(5)


@pytest.mark.parametrize(
    "counter, key, words",
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
@pytest.mark.parametrize("columns", [1, 37])
def test_philox_known_answers(counter, key, words, columns):
    """The published vectors of Random123 1.14 (kat_vectors), in every column of an array."""

    def parse(text):
        return np.array([int(word, 16) for word in text.split()], np.uint64)

    state = np.repeat(parse(counter)[:, None], columns, axis=1)
    philox4x32(state, parse(key))
    assert np.array_equal(state, np.repeat(parse(words)[:, None], columns, axis=1))


def _three_point(draws, step, block, first, count, purpose=PURPOSE, scale=1.0, key=KEY):
    out, words = np.empty((draws, count)), np.empty((4, count), np.uint64)
    fill_three_point(
        out, words, np.full(draws, scale), np.uint64(step), np.uint64(block), np.uint64(first), purpose, key
    )
    return out


def test_counter_words_are_step_block_trajectory_purpose():
    words = np.empty((4, 3), np.uint64)
    fill_words(words, np.uint64(11), np.uint64(22), np.uint64(33), np.uint64(44), KEY)
    for t in range(3):
        counter = np.array([[11], [22], [33 + t], [44]], np.uint64)
        philox4x32(counter, KEY)
        assert np.array_equal(words[:, t], counter[:, 0])


def test_numbers_do_not_depend_on_the_batch():
    whole = _three_point(20, step=3, block=0, first=100, count=50)
    parts = np.hstack([_three_point(20, 3, 0, 100, 17), _three_point(20, 3, 0, 117, 33)])
    assert np.array_equal(whole, parts)
    assert np.array_equal(whole[8:], _three_point(12, step=3, block=1, first=100, count=50))
    for other in (
        _three_point(20, 4, 0, 100, 50),
        _three_point(20, 3, 5, 100, 50),
        _three_point(20, 3, 0, 200, 50),
        _three_point(20, 3, 0, 100, 50, purpose=np.uint64(6)),
        _three_point(20, 3, 0, 100, 50, key=KEY[::-1]),
    ):
        assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(1000)


def test_three_point_moments():
    """The moments of a normal up to the fifth, and no correlation between draws of one block."""
    x = _three_point(16, 0, 0, 0, 100_000, scale=2.0) / 2
    assert len(np.unique(x)) == 3
    n = x.size
    # standard errors from the exact sixth, eighth, ... moments 9, 27, ... of ±√3 with probability 1/3
    for power, exact, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 9), (4, 3, 18), (5, 0, 81)):
        assert abs((x**power).mean() - exact) < 4 * np.sqrt(variance / n) + 1e-4
    correlations = np.corrcoef(np.vstack([x, x**2]))[~np.eye(32, dtype=bool)]
    assert np.abs(correlations).max() < 5 / np.sqrt(x.shape[1])


def test_normals_are_normal():
    n = 200_000
    out, words = np.empty((4, n)), np.empty((4, n), np.uint64)
    fill_normals(out, words, np.uint64(0), np.uint64(0), np.uint64(0), PURPOSE, KEY)
    for power, exact, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert np.all(abs((out**power).mean(axis=1) - exact) < 4 * np.sqrt(variance / n))
    assert np.all(abs((out > 2).mean(axis=1) - 0.0227501) < 4 * np.sqrt(0.0227501 / n))
    products = np.corrcoef(np.vstack([out, out**2]))[~np.eye(8, dtype=bool)]
    assert np.abs(products).max() < 4 / np.sqrt(n)


def test_uniform_never_reaches_its_ends():
    words = np.array([0, 2**31, 2**32 - 1], np.uint64)
    low, middle, high = (uniform(word) for word in words)
    assert 0 < low < 1e-9 and abs(middle - 0.5) < 1e-9 and 1 - 1e-9 < high < 1


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_ranks_share_every_trajectory_once(size):
    shares = [share(5, SimpleNamespace(rank=rank, size=size)) for rank in range(size)]
    assert [t for part in shares for t in part] == list(range(5))


@pytest.mark.parametrize(
    "values", [{"trajectories": 100, "batch": 64}, {"trajectories": 64, "batch": 64}, {"trajectories": 32, "batch": 64}]
)
def test_trajectories_must_fill_two_batches_or_more(values):
    with pytest.raises(ValidationError, match="trajectories = .* batch = .* for example trajectories: 128"):
        EnsembleOptions(**values)


def test_a_target_error_needs_more_records_than_the_first_look():
    assert EnsembleOptions(trajectories=9, batch=1, target_error={"Sz": "1e-2"}).target_error == {"Sz": 0.01}
    with pytest.raises(ValidationError, match="trajectories = 256, the most to take, are 4 of batch = 64; raise"):
        EnsembleOptions(target_error={"Sz": 0.01})
    with pytest.raises(ValidationError, match="greater than 0"):
        EnsembleOptions(trajectories=9, batch=1, target_error={"Sz": 0})


def test_looks_of_a_target_error():
    assert looks(50) == [8, 12, 16, 24, 32, 48, 50]
    assert looks(16) == [8, 12, 16] and looks(9) == [8, 9]


SIZES = Dim("distance", (0, 1, 2))
AVERAGES = (
    Output("x", (SIZES,), reduce="mean"),
    Output("x2", (SIZES,), reduce="mean"),
    Output("steps", reduce="mean"),
    Output("var_x", (SIZES,), reduce="variance", sources=("x2", "x")),
)


def _samples(record):
    """A record of one of 3 points with 40 records each: the first point has two distances, the last no noise."""
    x = np.random.default_rng(record).normal(size=3) * (1 - record // 80)
    x[2] = np.nan if record < 40 else x[2]
    return {"x": x, "x2": x**2, "steps": 7.0}


@pytest.mark.parametrize("group", [1, 2, 7])
@pytest.mark.parametrize(
    "name, target, needed",
    [("x", 0.25, None), ("var_x", 0.43, None), ("x", 1e-3, [40, 40, 8]), ("steps", 1e-9, [8, 8, 8])],
)
def test_records_that_a_target_error_needs(name, target, needed, group):
    """Records of every point are taken up to the first look that meets it, however many are computed at a time."""
    config = {"method": {"target_error": {name: target}}}
    layout = Layout(config, (), AVERAGES, np.repeat(np.arange(3), 40), np.tile(np.arange(40), 3))
    targets, done, values = Targets(layout), np.zeros(120, bool), {}
    while len(todo := targets.todo(done, values)):
        for record in todo[-group:]:
            done[record], values[int(record)] = True, _samples(record)
    if needed is None:
        needed = []
        for p in range(3):
            for n in (8, 12, 16, 24, 32, 40):
                x = np.array([_samples(40 * p + r)["x"][:2] for r in range(n)])
                if name == "var_x":  # jackknife
                    left = np.array([np.var(np.delete(x, r, 0), axis=0) for r in range(n)])
                    error = np.sqrt((n - 1) * left.var(0))
                else:
                    error = x.std(0, ddof=1) / np.sqrt(n)
                if error.max() <= target:
                    break
            needed.append(n)
        assert min(needed) == 8 and 8 < max(needed) < 40
    assert done.reshape(3, 40).sum(1).tolist() == needed
    assert (targets.skipped == ~done).all() and not values
    assert sorted(targets.missed) == [p for p in range(2) if needed[p] == 40]


def test_a_look_sees_the_records_before_it_alone():
    """A record that was damaged is computed again, and the looks before the later records are those there were."""
    layout = Layout({"method": {"target_error": {"x": 0.28}}}, (), AVERAGES, np.zeros(40, int), np.arange(40))
    values = {record: _samples(40 + record) for record in range(40)}
    done = np.arange(40) != 3
    targets = Targets(layout)
    assert targets.todo(done, values).tolist() == [3]
    done[3] = True
    assert targets.todo(done, values).tolist() == []
    assert np.flatnonzero(targets.skipped)[0] == 12
    first = np.array([_samples(40 + record)["x"] for record in range(8)])
    assert first.std(0, ddof=1).max() > 0.28 * np.sqrt(8)


def test_an_average_that_is_not_known_is_above_every_target():
    mean, length = AVERAGES[0], Output("xi", (SIZES,), reduce="function", function="correlation_length", sources=("x",))
    value, error = np.array([1.0, np.nan, 2.0]), np.array([0.1, np.nan, 0.3])
    assert largest_error(mean, value, error) == 0.3  # a distance that is not there
    assert largest_error(length, value, error) == np.inf  # a length that was not found
    assert largest_error(mean, value, np.array([0.1, np.nan, np.nan])) == np.inf
    assert largest_error(mean, np.full(3, np.nan), error) == np.inf


def test_targets_are_outputs_with_a_standard_error():
    raw = {
        "model": {"name": "collective_spin", "S": 2},
        "sweep": [{"model.S": [1, 2]}],
        "method": {"name": "phase_space", "trajectories": 640, "target_error": {"Sq": 0.1}},
    }
    with pytest.raises(
        ConfigError,
        match=r"method.target_error.Sq = 0.1: no output with a standard error; those of "
        r"this method are: Sx, Sx2, var_Sx, .*S_perp.*\(point 0 of the sweep",
    ):
        planning.plan(resolve(raw))
    raw["method"] = {"name": "liouvillian", "target_error": {"Sz": 0.1}}
    with pytest.raises(ConfigError, match="method.target_error .*unknown key"):
        planning.plan(resolve(raw))


def _relaxing(amplitude, records=200, slots=200, trajectories=8, memory=4.0, decay=6.0):
    """(records, slots, 6, 1, trajectories) sums of 3 samples: correlated noise and, in one moment, a transient."""
    rng, series = np.random.default_rng(2), np.empty((slots, records, 6, 1, trajectories))
    noise, keep = rng.normal(size=series.shape), np.exp(-1 / memory)
    series[0] = noise[0]
    for t in range(1, slots):
        series[t] = keep * series[t - 1] + np.sqrt(1 - keep**2) * noise[t]
    series[:, :, 2] += amplitude * np.exp(-np.arange(slots) / decay)[:, None, None, None]
    return 3 * np.moveaxis(series, 1, 0)


@pytest.mark.parametrize("amplitude", [3.0, 30.0])
def test_what_is_left_of_a_transient_is_below_the_error_of_many_records(amplitude):
    """Each record finds its own burn-in; all of them together still see no bias."""
    averages, cuts = [], []
    for sums in _relaxing(amplitude):
        cuts.append(relaxed(sums, np.full(200, 3)))
        averages.append(sums[cuts[-1] :].sum(axis=0)[2].mean() / 3 / (200 - cuts[-1]))
    assert np.mean(averages) < 3 * np.std(averages) / np.sqrt(len(averages))
    assert np.log(amplitude) * 6 < np.mean(cuts) < 80  # samples, of 200


@pytest.mark.parametrize("burn_in", [20.0, "auto"])
def test_burn_in_and_autocorrelation_time_of_quantum_trajectories(burn_in):
    """Loss and gain without a Hamiltonian: Sz = ±½ is a telegraph signal, C(t) = C(0) exp(-(γ↓ + γ↑) t)."""
    loss, gain, one = 0.6, 0.2, np.array([0])
    system = System(np.array([0.5]), (), (Jumps("S-", one, np.array([loss])), Jumps("S+", one, np.array([gain]))))
    options = trajectories.Options(
        initial=(0, 0), burn_in=burn_in, duration=200, sample_every=0.2, batch=64, trajectories=512
    )
    runs = [trajectories.run(system, options, record, CONTEXT) for record in range(options.batches)]
    assert runs[0].keys() == {o.name for o in trajectories.outputs(system, options) if o.stored}
    tau = np.array([run["autocorrelation_time"][0] for run in runs])
    assert abs(tau.mean() - 1 / (loss + gain)) < 4 * tau.std(ddof=1) / np.sqrt(8) < 0.4
    used = np.array([run["burn_in_used"] for run in runs])
    assert np.all(used == 20) if burn_in == 20 else 3 / (loss + gain) < used.mean() < 60
    Sz = np.array([run["Sz"][0] for run in runs])
    assert abs(Sz.mean() - (gain - loss) / (gain + loss) / 2) < 4 * Sz.std(ddof=1) / np.sqrt(8) < 0.02


@pytest.mark.parametrize(
    "method, values, message",
    [
        (trajectories, {"duration": 19}, "needs at least 20 samples, and duration = 19 has 19"),
        (phase_space, {"duration": 19, "sample_every": 20}, "needs at least 20 samples, and duration = 19 has 19"),
        *(
            (method, *case)
            for method in (trajectories, phase_space)
            for case in (({"batch": 1}, "needs batch >= 2"), ({"burn_in": -1}, "or auto"))
        ),
    ],
)
def test_burn_in_that_cannot_be_found(method, values, message):
    with pytest.raises(ValidationError, match=message):
        method.Options(**{"burn_in": "auto", "trajectories": 64, "batch": 8} | values)


def test_nothing_is_left_out_of_a_steady_state():
    cuts = [relaxed(sums, np.full(200, 3)) for sums in _relaxing(0.0)]
    assert np.mean(cuts) < 4 and max(cuts) <= 100
    assert relaxed(np.ones((1, 6, 1, 8)), np.array([1])) == 0
    assert relaxed(np.ones((20, 6, 1, 8)), np.ones(20)) == 0  # no noise at all


def test_batches():
    assert EnsembleOptions(trajectories=192, batch=64).batches == 3
