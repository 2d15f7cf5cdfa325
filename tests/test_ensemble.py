"""Random streams and the split of trajectories over records and ranks."""
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from hpcsim.ensemble import (
    EnsembleOptions, fill_normals, fill_three_point, fill_words, philox4x32, share, uniform)

KEY = np.array([0x12345678, 0x9ABCDEF0], np.uint64)
PURPOSE = np.uint64(5)


@pytest.mark.parametrize("counter, key, words", [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
])
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
    fill_three_point(out, words, np.full(draws, scale), np.uint64(step), np.uint64(block), np.uint64(first),
                     purpose, key)
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
    for other in (_three_point(20, 4, 0, 100, 50), _three_point(20, 3, 5, 100, 50),
                  _three_point(20, 3, 0, 200, 50), _three_point(20, 3, 0, 100, 50, purpose=np.uint64(6)),
                  _three_point(20, 3, 0, 100, 50, key=KEY[::-1])):
        assert abs(np.corrcoef(whole.ravel(), other.ravel())[0, 1]) < 4 / np.sqrt(1000)


def test_three_point_moments():
    """The moments of a normal up to the fifth, and no correlation between draws of one block."""
    x = _three_point(16, 0, 0, 0, 100_000, scale=2.0) / 2
    assert len(np.unique(x)) == 3
    n = x.size
    # standard errors from the exact sixth, eighth, ... moments 9, 27, ... of ±√3 with probability 1/3
    for power, exact, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 9), (4, 3, 18), (5, 0, 81)):
        assert abs((x ** power).mean() - exact) < 4 * np.sqrt(variance / n) + 1e-4
    correlations = np.corrcoef(np.vstack([x, x ** 2]))[~np.eye(32, dtype=bool)]
    assert np.abs(correlations).max() < 5 / np.sqrt(x.shape[1])


def test_normals_are_normal():
    n = 200_000
    out, words = np.empty((4, n)), np.empty((4, n), np.uint64)
    fill_normals(out, words, np.uint64(0), np.uint64(0), np.uint64(0), PURPOSE, KEY)
    for power, exact, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert np.all(abs((out ** power).mean(axis=1) - exact) < 4 * np.sqrt(variance / n))
    assert np.all(abs((out > 2).mean(axis=1) - 0.0227501) < 4 * np.sqrt(0.0227501 / n))
    products = np.corrcoef(np.vstack([out, out ** 2]))[~np.eye(8, dtype=bool)]
    assert np.abs(products).max() < 4 / np.sqrt(n)


def test_uniform_never_reaches_its_ends():
    words = np.array([0, 2 ** 31, 2 ** 32 - 1], np.uint64)
    low, middle, high = (uniform(word) for word in words)
    assert 0 < low < 1e-9 and abs(middle - 0.5) < 1e-9 and 1 - 1e-9 < high < 1


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_ranks_share_every_trajectory_once(size):
    shares = [share(5, SimpleNamespace(rank=rank, size=size)) for rank in range(size)]
    assert [t for part in shares for t in part] == list(range(5))


@pytest.mark.parametrize("values", [{"trajectories": 100, "batch": 64}, {"trajectories": 64, "batch": 64},
                                    {"trajectories": 32, "batch": 64}])
def test_trajectories_must_fill_two_batches_or_more(values):
    with pytest.raises(ValidationError, match="trajectories = .* batch = .* for example trajectories: 128"):
        EnsembleOptions(**values)


def test_batches():
    assert EnsembleOptions(trajectories=192, batch=64).batches == 3
