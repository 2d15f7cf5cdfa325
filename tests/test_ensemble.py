"""Random streams and the split of trajectories over records and ranks."""

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
from functions import VARIANCE
from mpi4py import MPI
from pydantic import ValidationError

from hpcsim import observables
from hpcsim.ensemble.burn_in import relaxed
from hpcsim.ensemble.options import EnsembleOptions, share
from hpcsim.ensemble.stopping import FIRST_LOOK, deciding, needed, next_look
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
    assert EnsembleOptions(trajectories=49, batch=1, target_error={"Sz": "1e-2"}).target_error == {"Sz": 0.01}
    with pytest.raises(ValidationError, match="trajectories = 256, the most to take, are 4 of batch = 64; raise"):
        EnsembleOptions(batch=64, target_error={"Sz": 0.01})
    with pytest.raises(ValidationError, match="greater than 0"):
        EnsembleOptions(trajectories=49, batch=1, target_error={"Sz": 0})


def test_looks_of_a_target_error():
    """The next look is where the last expects the end, but neither just after it nor beyond twice as many records."""
    assert [next_look(48, expected, 1000) for expected in (49, 70.2, 96, 500, np.inf)] == [54, 71, 96, 96, 96]
    assert next_look(48, 500, 70) == 70 and next_look(48, 50, 51) == 51
    assert [deciding(records) for records in (48, 60, 600)] == [8, 10, 100]
    # of 8 normal records, the standard error is a tenth of what it may be to 69 % or less in one case of ten
    assert needed(1.0, 8) == pytest.approx(8 * 7 / 2.8331, rel=1e-4)
    assert needed(np.inf, 8) == np.inf


def _ended(samples, targets):
    """Records taken of every point, their average and its standard error: the rule, for many points at once."""
    points, batches = samples.shape
    look, end = np.full(points, FIRST_LOOK), np.zeros(points, int)
    while np.any(end == 0):
        for n in np.unique(look[end == 0]):
            here = np.flatnonzero((end == 0) & (look == n))
            d = deciding(n)
            expected = needed(samples[here, :d].std(axis=1, ddof=1) / np.sqrt(d) / targets[here], d)
            enough = (expected <= n) | (n == batches)
            end[here[enough]] = n
            look[here[~enough]] = [next_look(n, x, batches) for x in expected[~enough]]
    taken = [x[:n] for x, n in zip(samples, end)]
    return end, np.array([x.mean() for x in taken]), np.array([x.std(ddof=1) / np.sqrt(len(x)) for x in taken])


@pytest.mark.parametrize("shape, excess, beyond", [(None, 1.01, 0.005), (8, 1.01, 0.01), (1, 1.03, 0.015)])
def test_a_stated_error_is_the_true_one_whatever_ended_the_point(shape, excess, beyond):
    """Points that need 4 to 250 records, normal ones or Gamma variables, of skewness 0.7 and 2.

    rms of the true error over that of the stated one, and what lies beyond two standard errors, compared with as many
    records that had no part in the decision; and the rms error is below the target.
    """
    rng, size = np.random.default_rng(8), (12000, 1600)
    samples = rng.normal(size=size) if shape is None else rng.gamma(shape, size=size) / np.sqrt(shape) - np.sqrt(shape)
    targets = 1 / np.sqrt(np.exp(rng.uniform(np.log(4), np.log(250), len(samples))))
    end, mean, error = _ended(samples, targets)
    others = [x[-n:] for x, n in zip(samples, end)]
    outside = [abs(x.mean()) > 2 * x.std(ddof=1) / np.sqrt(len(x)) for x in others]
    first = end == FIRST_LOOK
    assert 0.2 < first.mean() < 0.7 and np.all(end < 1600)
    for which in (first, ~first):
        noise = 2.2 / np.sqrt(which.sum())  # three standard errors of the ratio
        true, stated = (np.mean(end[which] * x[which] ** 2) for x in (mean, error))
        assert 1 - noise < np.sqrt(true / stated) < excess + noise
        usual = np.mean(np.array(outside)[which])
        assert np.mean(np.abs(mean) > 2 * error, where=which) < usual + beyond + 3 * np.sqrt(2 * usual / which.sum())
        assert np.sqrt(np.mean((mean[which] / targets[which]) ** 2)) < 1
    # the former rule: at the first look, after 8 records, those points end whose error seems small
    mean, error = samples[:, :8].mean(1), samples[:, :8].std(1, ddof=1) / np.sqrt(8)
    seems = error <= targets
    assert np.sqrt(np.mean(mean[seems] ** 2) / np.mean(error[seems] ** 2)) > 1.1


SIZES = Dim("distance", (0, 1, 2))
AVERAGES = (
    Output("x", (SIZES,), reduce="mean"),
    Output("x2", (SIZES,), reduce="mean"),
    Output("steps", reduce="mean"),
    Output("var_x", (SIZES,), reduce="function", function=VARIANCE, sources=("x2", "x")),
)


MOST = 120  # records of a point


def _samples(record):
    """A record of one of 3 points with MOST records each: the first point has two distances, the last no noise."""
    x = np.random.default_rng(record).normal(size=3) * (1 - record // (2 * MOST))
    x[2] = np.nan if record < MOST else x[2]
    return {"x": x, "x2": x**2, "steps": 7.0}


def _error(name, x):
    """Largest standard error of the average, or of the variance, of samples (records, distances)."""
    n = len(x)
    if name == "var_x":  # jackknife
        left = np.array([np.var(np.delete(x, r, 0), axis=0) for r in range(n)])
        return np.nanmax(np.sqrt((n - 1) * left.var(0)))
    return np.nanmax(x.std(0, ddof=1) / np.sqrt(n))


def _enough(name, x, target):
    """Records at the first look whose first sixth finds them enough, by the formula."""
    n = 48
    while n < len(x):
        d = max(8, n // 6)
        expected = d * (_error(name, x[:d]) / target) ** 2 * (d - 1) / scipy.stats.chi2.ppf(0.1, d - 1)
        if expected <= n:
            break
        n = min(len(x), max(n + n // 8, int(np.ceil(min(expected, 2 * n)))))
    return n


@pytest.mark.parametrize("group", [1, 2, 7])
@pytest.mark.parametrize(
    "name, target, expected",
    [("x", 0.19, None), ("var_x", 0.3, None), ("x", 1e-3, [MOST, MOST, 48]), ("steps", 1e-9, [48, 48, 48])],
)
def test_records_that_a_target_error_needs(name, target, expected, group):
    """Records of every point are taken up to the first look that meets it, however many are computed at a time."""
    config = {"method": {"target_error": {name: target}}}
    layout = Layout(config, (), AVERAGES, np.repeat(np.arange(3), MOST), np.tile(np.arange(MOST), 3))
    targets, done, values = Targets(layout), np.zeros(3 * MOST, bool), {}
    while len(todo := targets.todo(done, values)):
        for record in todo[-group:]:
            done[record], values[int(record)] = True, _samples(record)
    if expected is None:
        x = np.array([_samples(record)["x"] for record in range(3 * MOST)]).reshape(3, MOST, 3)
        expected = [_enough(name, point, target) for point in x]
        assert min(expected) == 48 and 48 < max(expected) < MOST
    assert done.reshape(3, MOST).sum(1).tolist() == expected
    assert (targets.skipped == ~done).all() and not values
    assert sorted(targets.missed) == [p for p in range(2) if expected[p] == MOST]


def test_a_look_sees_the_records_before_it_alone():
    """A record that was damaged is computed again, and the looks before the later records are those there were."""
    x = np.array([_samples(MOST + record)["x"] for record in range(MOST)])
    target = 0.28
    layout = Layout({"method": {"target_error": {"x": target}}}, (), AVERAGES, np.zeros(MOST, int), np.arange(MOST))
    values = {record: _samples(MOST + record) for record in range(MOST)}
    done = np.arange(MOST) != 3
    targets = Targets(layout)
    assert targets.todo(done, values).tolist() == [3]
    done[3] = True
    assert targets.todo(done, values).tolist() == []
    assert np.flatnonzero(targets.skipped)[0] == _enough("x", x, target) < MOST


def test_an_average_that_is_not_known_is_above_every_target():
    mean, length = AVERAGES[0], Output("xi", (SIZES,), reduce="function", function="correlation_length", sources=("x",))
    value, error = np.array([1.0, np.nan, 2.0]), np.array([0.1, np.nan, 0.3])
    assert largest_error(mean, value, error) == 0.3  # a distance that is not there
    assert largest_error(length, value, error) == np.inf  # a length that was not found
    assert largest_error(mean, value, np.array([0.1, np.nan, np.nan])) == np.inf
    assert largest_error(mean, np.full(3, np.nan), error) == np.inf


def test_targets_are_outputs_with_a_standard_error():
    raw = {
        "model": {"name": "collective_spin", "S": 2, "decay": 1.0},
        "sweep": [{"model.S": [1, 2]}],
        "method": {"name": "phase_space", "trajectories": 3200, "target_error": {"Sq": 0.1}},
    }
    with pytest.raises(
        ConfigError,
        match=r"method.target_error.Sq = 0.1: no output with a standard error; those of "
        r"this method are: Sx, Sy, Sz, Mz, S_perp, var_Sx, .*\(point 0 of the sweep",
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


@pytest.mark.parametrize(
    "method, S, extra", [(trajectories, 0.5, {"sample_every": 2.0}), (phase_space, 5, {"sample_every": 20})]
)
def test_a_variance_is_the_mean_of_the_sites_own(method, S, extra):
    """Two uncoupled spins of one sublattice, one decaying, one pumped: up and down, each without a variance."""
    jumps = (Jumps("S-", np.array([0]), np.array([1.0])), Jumps("S+", np.array([1]), np.array([1.0])))
    system = System(np.array([S, S]), (), jumps)
    options = method.Options(burn_in=20, duration=20, trajectories=64, batch=8, **extra)
    rows = [method.run(system, options, record, CONTEXT) for record in method.records(system, options)]
    declared = {output.name: output for output in method.outputs(system, options)}
    value, error = observables.reduced(declared["var_Sz"], lambda name: np.stack([row[name] for row in rows]))
    assert abs(value[0]) < 4 * error[0] + 0.02 * S**2 and error[0] < 0.01 * S**2
    assert np.mean([row["Sz2"][0] for row in rows]) == pytest.approx(S**2, rel=0.1)
