"""Who computes what."""

import numpy as np
import pytest

from hpcsim.run.schedule import assign


@pytest.mark.parametrize("groups", [1, 2, 3, 7])
def test_every_record_goes_to_one_group_largest_first(groups):
    costs = np.random.default_rng(5).exponential(size=40)
    shares = assign(costs, groups)
    assert sorted(np.concatenate(shares)) == list(range(40))
    for share in shares:
        assert (np.diff(costs[share]) <= 0).all()
    loads = [costs[share].sum() for share in shares]
    # each group was the least loaded when it got its last record
    assert max(loads) - min(loads) <= max(costs[share[-1]] for share in shares)


def test_largest_first_beats_the_given_order():
    costs = [1, 1, 1, 1, 1, 1, 6]
    assert [sum(np.array(costs)[share]) for share in assign(costs, 2)] == [6, 6]


def test_more_groups_than_records():
    assert [len(share) for share in assign([1.0, 2.0], 4)] == [1, 1, 0, 0]
