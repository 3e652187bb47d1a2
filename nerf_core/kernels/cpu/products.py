"""Small matrix products and the two networks' passes over a block of samples, on top of the micro-kernels.

Matrices are row-major float32; addresses are integers (see `vector`).
"""

import numpy as np

from .compile import compiled
from .vector import (
    NARROW_COLUMNS,
    NARROW_ROWS,
    WIDE_COLUMNS,
    WIDE_ROWS,
    product_block_narrow,
    product_block_wide,
)

LOWEST = np.float32(-3.4e38)
ZERO = np.float32(0.0)


@compiled
def product(a, a_row, a_step, b, c, c_row, rows, columns, steps, accumulate, floor):
    """C = max(floor, A B (+ C)): `rows` is a multiple of 16, `columns` of 16; B's rows are `columns` long.

    A is read at ``a + 4 * (row * a_row + step * a_step)``, so the same product serves A and its transpose.
    """
    column = np.int64(0)
    while column + WIDE_COLUMNS <= columns:
        for row in range(0, rows, WIDE_ROWS):
            product_block_wide(
                a + 4 * row * a_row,
                a_row,
                a_step,
                b + 4 * column,
                columns,
                c + 4 * (row * c_row + column),
                c_row,
                steps,
                accumulate,
                floor,
            )
        column += WIDE_COLUMNS
    while column < columns:
        for row in range(0, rows, NARROW_ROWS):
            product_block_narrow(
                a + 4 * row * a_row,
                a_row,
                a_step,
                b + 4 * column,
                columns,
                c + 4 * (row * c_row + column),
                c_row,
                steps,
                accumulate,
                floor,
            )
        column += NARROW_COLUMNS


@compiled
def weight_gradient(x, x_row, dy, gradient, rows, inputs, outputs):
    """Add X^T dY to the gradient of a weight matrix [inputs, outputs], over exactly `rows` rows."""
    one = np.int64(1)
    product(x, one, x_row, dy, gradient, outputs, inputs, outputs, rows, one, LOWEST)


@compiled
def mask_where_zero(gradient, activation, count):
    """ReLU's backward pass: zero the gradient where the activation is zero (flat arrays)."""
    for i in range(count):
        gradient[i] = gradient[i] if activation[i] > ZERO else ZERO
