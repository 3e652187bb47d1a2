"""K8, Adam in Triton: fp32 parameters and moments, a copy for computing, lines of 16 without gradient left alone."""

from torch import Tensor

from .language import tl, triton
from .launch import launched

LINE: tl.constexpr = tl.constexpr(16)
"""Numbers that are updated or left alone together, as on the CPU: a cache line of fp32."""

ADAM_LINES = 64


@launched
@triton.jit
def adam(
    parameters,
    first_moment,
    second_moment,
    gradient,
    computing,
    state_i,
    state_f,
    lines,
    loss_scale,
    beta1,
    beta2,
    epsilon,
    LINES: tl.constexpr,
):
    """K8: update `lines` lines of 16 numbers, write the computing copy, and zero the gradient.

    Kingma & Ba 2015, algorithm 1, at step ``state_i[0]`` (from 0) with the rate ``state_f[0]``; the gradient carries
    `loss_scale`. Does nothing but zero the gradient when ``state_i[5]`` says that something was not finite.
    """
    line = tl.program_id(0) * LINES + tl.arange(0, LINES)
    at = line[:, None] * LINE + tl.arange(0, LINE)[None, :]
    g = tl.load(gradient + at, mask=(line < lines)[:, None], other=0.0).to(tl.float32)
    nonzero = tl.sum((g != 0.0).to(tl.int32), axis=1)
    # Most of a large table is met by no sample of a step.
    if tl.sum(nonzero, axis=0) == 0:
        return
    touched = (nonzero > 0)[:, None]
    tl.store(gradient + at, tl.zeros((LINES, LINE), gradient.dtype.element_ty), mask=touched)
    if tl.load(state_i + 5) != 0:
        return
    step = (tl.load(state_i) + 1).to(tl.float32)
    correction1 = 1.0 / (1.0 - tl.exp2(step * tl.log2(beta1)))
    correction2 = 1.0 / (1.0 - tl.exp2(step * tl.log2(beta2)))
    rate = tl.load(state_f)
    g = g / loss_scale
    mean = beta1 * tl.load(first_moment + at, mask=touched, other=0.0) + (1.0 - beta1) * g
    square = beta2 * tl.load(second_moment + at, mask=touched, other=0.0) + (1.0 - beta2) * g * g
    value = tl.load(parameters + at, mask=touched, other=0.0)
    value -= rate * (mean * correction1) / (tl.sqrt(square * correction2) + epsilon)
    tl.store(first_moment + at, mean, mask=touched)
    tl.store(second_moment + at, square, mask=touched)
    tl.store(parameters + at, value, mask=touched)
    tl.store(computing + at, value.to(computing.dtype.element_ty), mask=touched)


def launch_adam(
    parameters: Tensor,
    first_moment: Tensor,
    second_moment: Tensor,
    gradient: Tensor,
    computing: Tensor,
    state_i: Tensor,
    state_f: Tensor,
    loss_scale: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    lines: int = ADAM_LINES,
) -> None:
    """Run K8 over the table or over the flat weights, whose number of numbers is a multiple of 16.

    Parameters
    ----------
    parameters, first_moment, second_moment : fp32 tensors of one size
        Updated in place.
    gradient : tensor
        fp32 or fp16; zeroed.
    computing : tensor
        Copy of the parameters in fp16 (or fp32) that the other kernels read.
    state_i, state_f : (16,) tensors
        Step at ``state_i[0]``, non-finite count at ``state_i[5]``, learning rate at ``state_f[0]``.
    loss_scale, beta1, beta2, epsilon : float
    lines : int
        Lines a program.

    Raises
    ------
    ValueError
        Where the numbers do not fill whole lines.
    """
    if parameters.numel() % 16:
        raise ValueError("Adam's kernel updates whole lines of 16 numbers")
    count = parameters.numel() // 16
    adam[(triton.cdiv(count, lines),)](
        parameters,
        first_moment,
        second_moment,
        gradient,
        computing,
        state_i,
        state_f,
        count,
        loss_scale,
        beta1,
        beta2,
        epsilon,
        LINES=lines,
    )
