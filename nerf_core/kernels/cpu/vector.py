"""LLVM vector code that numba cannot be asked for in Python: matrix micro-kernels, 4-float table rows, atomics.

Everything takes addresses as integers: `address(array) + 4 * offset`. The caller holds the arrays, so nothing here
can outlive them.
"""

import math
import os
import struct
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_I64 = ir.IntType(64)


def emitted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Numba's `intrinsic`; typed as what compiled code calls, not as the generator of LLVM code that it wraps."""
    return intrinsic(function)


def _has_avx512() -> bool:
    told = os.environ.get("NUMBA_CPU_FEATURES")  # what numba is told to compile for, if not for this machine
    if told is not None:
        return "+avx512f" in told.split(",")
    return bool(llvm.get_host_cpu_features().get("avx512f", False))


# Rows x columns of the block of a product that is held in registers. AVX512 has 32 registers of 16 floats; AVX2 has
# 16 of 8 and NEON 32 of 4, for which a 4 x 16 block is 8 and 16 registers.
WIDE_ROWS, WIDE_COLUMNS = (4, 64) if _has_avx512() else (4, 16)
NARROW_ROWS, NARROW_COLUMNS = (16, 16) if _has_avx512() else (4, 16)
ROW_MULTIPLE = 16
"""Buffers that products write to have their rows rounded up to this."""


@emitted
def address(typingctx: Any, array: Any) -> Any:  # noqa: D103
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, _I64)

    return types.int64(array), codegen


@emitted
def fetch_add(typingctx: Any, counter: Any, amount: Any) -> Any:  # noqa: D103
    """Add to the int64 at an address, atomically; gives what was there before."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], _I64.as_pointer())
        return builder.atomic_rmw("add", pointer, args[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@emitted
def prefetch(typingctx: Any, place: Any) -> Any:  # noqa: D103
    """Have the cache line at an address fetched, without waiting for it; any address will do."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        # For reading, to be kept in all caches, data.
        builder.call(function, [builder.inttoptr(args[0], byte), *(ir.Constant(_I32, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return types.none(types.int64), codegen


def _pointer(builder: Any, base: Any, element: Any, kind: Any) -> Any:
    """Turn an address and an index of 4-byte elements into a pointer to `kind`."""
    return builder.inttoptr(builder.add(base, builder.shl(element, ir.Constant(_I64, 2))), kind.as_pointer())


def _splat(builder: Any, value: Any, width: int) -> Any:
    kind = ir.VectorType(_F32, width)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, width), [0] * width))


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 4
    return value


def _store(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, pointer).align = 4


def _multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    # fmuladd, not fma: where the machine has no fused instruction it becomes two, not a library call.
    kind = a.type
    name = f"llvm.fmuladd.v{kind.count}f32"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    return builder.call(function, [a, b, c])


def _make_product_block(rows: int, columns: int) -> Callable[..., None]:
    @emitted
    def product_block(
        typingctx: Any,
        a: Any,
        a_row: Any,
        a_step: Any,
        b: Any,
        b_step: Any,
        c: Any,
        c_row: Any,
        steps: Any,
        accumulate: Any,
        floor: Any,
    ) -> Any:
        """C[rows, columns] = max(floor, sum over steps of A[row, step] * B[step, columns] (+ C))."""
        vector = ir.VectorType(_F32, columns)

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            a, a_row, a_step, b, b_step, c, c_row, steps, accumulate, floor = args
            targets = [_pointer(builder, c, builder.mul(c_row, ir.Constant(_I64, row)), vector) for row in range(rows)]
            zero = ir.Constant(vector, [0.0] * columns)
            keep = builder.icmp_signed("!=", accumulate, ir.Constant(_I64, 0))
            start = [builder.select(keep, _load(builder, target), zero) for target in targets]
            a_rows = [builder.mul(a_row, ir.Constant(_I64, row)) for row in range(rows)]
            entry = builder.basic_block
            loop = builder.append_basic_block("product")
            done = builder.append_basic_block("product.end")
            some = builder.icmp_signed(">", steps, ir.Constant(_I64, 0))
            builder.cbranch(some, loop, done)
            builder.position_at_end(loop)
            step = builder.phi(_I64)
            step.add_incoming(ir.Constant(_I64, 0), entry)
            sums = []
            for value in start:
                phi = builder.phi(vector)
                phi.add_incoming(value, entry)
                sums.append(phi)
            right = _load(builder, _pointer(builder, b, builder.mul(step, b_step), vector))
            along = builder.mul(step, a_step)
            results = []
            for row in range(rows):
                left = _load(builder, _pointer(builder, a, builder.add(a_rows[row], along), _F32))
                results.append(_multiply_add(builder, _splat(builder, left, columns), right, sums[row]))
            following = builder.add(step, ir.Constant(_I64, 1))
            step.add_incoming(following, loop)
            for phi, result in zip(sums, results, strict=True):
                phi.add_incoming(result, loop)
            builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)
            builder.position_at_end(done)
            for row in range(rows):
                total = builder.phi(vector)
                total.add_incoming(start[row], entry)
                total.add_incoming(results[row], loop)
                start[row] = total
            lowest = _splat(builder, floor, columns)
            for row in range(rows):
                above = builder.fcmp_ordered(">", start[row], lowest)
                _store(builder, builder.select(above, start[row], lowest), targets[row])
            return context.get_dummy_value()

        i = types.int64
        return types.void(i, i, i, i, i, i, i, i, i, types.float32), codegen

    return product_block


product_block_wide = _make_product_block(WIDE_ROWS, WIDE_COLUMNS)
product_block_narrow = _make_product_block(NARROW_ROWS, NARROW_COLUMNS)

_i, _f = types.int64, types.float32


@emitted
def interpolate_rows(  # noqa: D103
    typingctx: Any,
    table: Any,
    out: Any,
    i0: Any,
    i1: Any,
    i2: Any,
    i3: Any,
    i4: Any,
    i5: Any,
    i6: Any,
    i7: Any,
    w0: Any,
    w1: Any,
    w2: Any,
    w3: Any,
    w4: Any,
    w5: Any,
    w6: Any,
    w7: Any,
) -> Any:
    """Write the weighted sum of eight 4-number rows of a table to an address.

    `table` is an array of float32, or of uint16: the upper halves of float32 numbers, which are numbers themselves.
    """
    vector = ir.VectorType(_F32, 4)
    is_half = table.dtype == types.uint16

    def load(builder: Any, base: Any, index: Any) -> Any:
        element = builder.shl(index, ir.Constant(_I64, 2))
        if not is_half:
            return _load(builder, _pointer(builder, base, element, vector))
        place = builder.add(base, builder.shl(element, ir.Constant(_I64, 1)))
        halves = builder.load(builder.inttoptr(place, ir.VectorType(ir.IntType(16), 4).as_pointer()))
        halves.align = 2
        whole = ir.VectorType(_I32, 4)
        return builder.bitcast(builder.shl(builder.zext(halves, whole), ir.Constant(whole, [16] * 4)), vector)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        base, out = builder.ptrtoint(data, _I64), args[1]
        total = None
        for index, weight in zip(args[2:10], args[10:18], strict=True):
            row = load(builder, base, index)
            factor = _splat(builder, weight, 4)
            total = builder.fmul(factor, row) if total is None else _multiply_add(builder, factor, row, total)
        _store(builder, total, builder.inttoptr(out, vector.as_pointer()))
        return context.get_dummy_value()

    return types.void(table, _i, *([_i] * 8), *([_f] * 8)), codegen


@emitted
def scatter_row(typingctx: Any, table: Any, gradient: Any, index: Any, weight: Any) -> Any:  # noqa: D103
    """Add weight times the 4 floats at `gradient` to one 4-float row of a table."""
    vector = ir.VectorType(_F32, 4)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        table, gradient, index, weight = args
        value = _load(builder, builder.inttoptr(gradient, vector.as_pointer()))
        pointer = _pointer(builder, table, builder.shl(index, ir.Constant(_I64, 2)), vector)
        total = _multiply_add(builder, _splat(builder, weight, 4), value, _load(builder, pointer))
        _store(builder, total, pointer)
        return context.get_dummy_value()

    return types.void(_i, _i, _i, _f), codegen


@emitted
def line_is_zero(typingctx: Any, line: Any) -> Any:  # noqa: D103
    """Whether the 16 floats at an address are all zero."""
    vector = ir.VectorType(_I32, 16)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = _load(builder, builder.inttoptr(args[0], vector.as_pointer()))
        # The sign bit is shifted out: -0.0 is zero too.
        magnitude = builder.shl(bits, ir.Constant(vector, [1] * 16))
        whole = builder.bitcast(magnitude, ir.IntType(512))
        return builder.icmp_unsigned("==", whole, ir.Constant(ir.IntType(512), 0))

    return types.boolean(_i), codegen


_LOG2_E = 1.4426950408889634
_EXP2 = [0.6931471805599453**n / math.factorial(n) for n in range(7)]


@emitted
def fast_exp(typingctx: Any, x: Any) -> Any:  # noqa: D103
    """Exp of a float32 to a relative 1e-6, and 1e-38 below that; in line, unlike a library's.

    2^n by its bits times 2^f, |f| <= 1/2, by its series.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def number(value: float) -> Any:
            return ir.Constant(_F32, struct.unpack("f", struct.pack("f", value))[0])

        power = builder.fmul(args[0], number(_LOG2_E))
        least = number(-126.0)
        power = builder.select(builder.fcmp_ordered(">", power, least), power, least)
        half = builder.select(builder.fcmp_ordered("<", power, number(0.0)), number(-0.5), number(0.5))
        whole = builder.fptosi(builder.fadd(power, half), _I32)
        rest = builder.fsub(power, builder.sitofp(whole, _F32))
        total = number(_EXP2[-1])
        fused = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F32, [_F32] * 3), "llvm.fmuladd.f32")
        for factor in _EXP2[-2::-1]:
            total = builder.call(fused, [total, rest, number(factor)])
        bits = builder.shl(builder.add(whole, ir.Constant(_I32, 127)), ir.Constant(_I32, 23))
        return builder.fmul(total, builder.bitcast(bits, _F32))

    return types.float32(types.float32), codegen
