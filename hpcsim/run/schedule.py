"""Who computes which record."""

import heapq

import numpy as np


def assign(costs, groups: int) -> list[np.ndarray]:
    """Records for every group: largest first, each to the group with the least work so far.

    The order within a group is largest first too. Ties go to the lowest record and group, so the
    assignment is the same on every rank.
    """
    loads = [(0.0, group) for group in range(groups)]
    mine = [[] for _ in range(groups)]
    for record in np.argsort(-np.asarray(costs, float), kind="stable"):
        load, group = heapq.heappop(loads)
        mine[group].append(record)
        heapq.heappush(loads, (load + costs[record], group))
    return [np.array(records, int) for records in mine]
