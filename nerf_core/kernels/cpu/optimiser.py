"""Adam (Kingma & Ba 2015), lazily: a cache line of 16 parameters whose gradients are all zero is left alone."""

import math

import numpy as np

from .compile import compiled
from .vector import address, line_is_zero

ZERO = np.float32(0.0)


@compiled
def adam(parameters, first, second, gradients, start, stop, rate, beta1, beta2, epsilon, step):
    """Update flat float32 parameters ``start:stop`` (multiples of 16) in place and zero their gradients.

    `step` counts from 1. A line without gradient keeps its moments too, as instant-NGP does for table rows that no
    sample touched; returns the number of lines updated.
    """
    correction1 = np.float32(1.0 / (1.0 - beta1**step))
    correction2 = np.float32(1.0 / (1.0 - beta2**step))
    b1, b2 = np.float32(beta1), np.float32(beta2)
    c1, c2 = np.float32(1.0 - beta1), np.float32(1.0 - beta2)
    eps, lr = np.float32(epsilon), np.float32(rate)
    base = address(gradients)
    updated = 0
    for line in range(start, stop, 16):
        if line_is_zero(base + 4 * line):
            continue
        updated += 1
        p = parameters[line : line + 16]
        m = first[line : line + 16]
        v = second[line : line + 16]
        g = gradients[line : line + 16]
        for i in range(16):
            gradient = g[i]
            mean = b1 * m[i] + c1 * gradient
            square = b2 * v[i] + c2 * gradient * gradient
            m[i] = mean
            v[i] = square
            p[i] -= lr * (mean * correction1) / (np.float32(math.sqrt(square * correction2)) + eps)
            g[i] = ZERO
    return updated
