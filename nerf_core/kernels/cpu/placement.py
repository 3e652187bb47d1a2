"""Which few samples stand for the cells of the shell that a ray crossed."""

import numpy as np

from .compile import compiled, compiled_inside
from .march import ONE, ZERO

HALF = np.float32(0.5)
ENOUGH = np.float32(0.999)
"""A margin for rounding."""


@compiled_inside
def _best_cut(walk, ray, first, last, least):
    """Where cutting the cells ``first:last`` in two saves most of their weighted squared distances, and how much.

    Nothing is looked for where no cut can save more than `least`.
    """
    t, weight = walk.t[ray], walk.weight[ray]
    center = HALF * (t[last - 1] + t[first])
    half = t[last - 1] - center
    if half * half <= least:
        return first, ZERO
    total, mean, spread = ZERO, ZERO, ZERO
    for i in range(first, last):
        off = t[i] - center
        total += weight[i]
        mean += weight[i] * off
        spread += weight[i] * off * off
    mean = mean / total
    if spread - mean * mean * total <= ENOUGH * least:
        return first, ZERO
    mean += center
    best, at = ZERO, first
    before, moment = ZERO, ZERO
    for i in range(first, last - 1):
        before += weight[i]
        moment += weight[i] * (t[i] - mean)
        # w1 w2 / (w1 + w2) (m1 - m2)^2, by the moment about the common mean.
        gain = moment * moment * total / max(before * (total - before), np.float32(1e-12))
        if gain > best:
            best, at = gain, i + 1
    return at, best


@compiled_inside
def lies_together(walk, ray, least):
    """Whether no cut of a ray's cells can save more than `least`, so that one sample stands for all."""
    return walk.spread[ray] <= least


@compiled
def place(walk, ray, samples, least):
    """Divide a ray's cells into at most `samples` groups of neighbours; gives how many, their bounds in `walk.low`.

    A group is cut where that lowers the weighted squared distances to the groups' means most: 1-D quantisation of the
    ray's weight, done greedily, which parts a foreground's edge from what is behind it before it refines either. One
    whose cut would save less than `least` stays whole: an opaque wall needs one sample, whatever the budget is.
    """
    cells = walk.found[ray]
    if cells == 0:
        return np.int64(0)
    walk.low[0] = 0
    walk.low[1] = cells
    groups = np.int64(1)
    if samples == 1 or lies_together(walk, ray, least):
        return groups
    walk.cut[0], walk.gain[0] = _best_cut(walk, ray, np.int64(0), cells, least)
    while groups < samples:
        chosen = 0
        for g in range(1, groups):
            if walk.gain[g] > walk.gain[chosen]:
                chosen = g
        if walk.gain[chosen] <= least:
            break
        cut, high = walk.cut[chosen], walk.low[chosen + 1]
        for g in range(groups, chosen, -1):
            walk.low[g + 1] = walk.low[g]
            if g > chosen + 1:
                walk.gain[g] = walk.gain[g - 1]
                walk.cut[g] = walk.cut[g - 1]
        walk.low[chosen + 1] = cut
        groups += 1
        if groups < samples:
            walk.cut[chosen], walk.gain[chosen] = _best_cut(walk, ray, walk.low[chosen], cut, least)
            walk.cut[chosen + 1], walk.gain[chosen + 1] = _best_cut(walk, ray, cut, high, least)
    return groups


@compiled
def middle(walk, ray, first, last):
    """The weight of the cells ``first:last``, and the distance by which half of it lies nearer."""
    t, weight = walk.t[ray], walk.weight[ray]
    total = ZERO
    for i in range(first, last):
        total += weight[i]
    left = total * HALF
    at = first
    while at < last - 1 and left > weight[at]:
        left -= weight[at]
        at += 1
    part = min(left / weight[at], ONE)
    return total, t[at] + (part - HALF) * walk.length[ray, at]


@compiled_inside
def sample_of(walk, ray, group, groups):
    """The weight of the sample that stands for one of the `groups` that `place` made, and its distance, the median."""
    if groups == 1:
        return walk.total[ray], walk.median[ray]
    return middle(walk, ray, walk.low[group], walk.low[group + 1])
