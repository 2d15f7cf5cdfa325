"""Eight rows of a sparse product at once, in vector registers.

numba's loops do not keep eight sums in one register while they go through the entries of a row, so this writes
LLVM's vectors of eight doubles itself; LLVM maps them onto the registers that the processor has.
"""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

CHUNK = 8  # states in one vector
COEFFICIENT_BITS = 24  # an entry is a shift above these bits and, in them, where its coefficients begin

_VECTOR = ir.VectorType(ir.DoubleType(), CHUNK)
_INTEGER = ir.IntType(64)
_FUSED = ("contract",)  # a product and a sum in one rounding


class _Writer:
    """Emits loads, stores and sums at the place of an LLVM builder."""

    def __init__(self, builder, table, entries, real, imag):
        self.builder, self.table, self.entries, self.real, self.imag = builder, table, entries, real, imag

    def load(self, array, index):
        return self.builder.load(self._at(array, index), align=8)

    def store(self, value, array, index):
        self.builder.store(value, self._at(array, index), align=8)

    def _at(self, array, index):
        return self.builder.bitcast(self.builder.gep(array, [index]), _VECTOR.as_pointer())

    def madd(self, a, b, c):
        return self.builder.fadd(self.builder.fmul(a, b, flags=_FUSED), c, flags=_FUSED)

    def permuted(self, vector, mask):
        """vector[k ^ mask]"""
        order = ir.Constant(ir.VectorType(ir.IntType(32), CHUNK), [k ^ mask for k in range(CHUNK)])
        return self.builder.shuffle_vector(vector, vector, order) if mask else vector

    def everywhere(self, number):
        one = self.builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), CHUNK), [0] * CHUNK))

    def add_entries(self, sums, place, first, last, mask):
        """sums + Σ_e coefficients(e) x[place + shift(e) + (k ^ mask)], of real and imaginary part."""
        builder, before = self.builder, self.builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("entries", "entry", "summed"))
        builder.branch(head)
        builder.position_at_end(head)
        e, real, imag = builder.phi(_INTEGER), builder.phi(_VECTOR), builder.phi(_VECTOR)
        builder.cbranch(builder.icmp_signed("<", e, last), body, after)
        builder.position_at_end(body)
        word = builder.load(builder.gep(self.entries, [e]))
        source = builder.add(place, builder.ashr(word, ir.Constant(_INTEGER, COEFFICIENT_BITS)))
        row = builder.and_(word, ir.Constant(_INTEGER, 2**COEFFICIENT_BITS - 1))
        factor = self.load(self.table, row)
        found = (
            builder.add(e, ir.Constant(_INTEGER, 1)),
            self.madd(factor, self.permuted(self.load(self.real, source), mask), real),
            self.madd(factor, self.permuted(self.load(self.imag, source), mask), imag),
        )
        for phi, start, value in zip((e, real, imag), (first, *sums), found):
            phi.add_incoming(start, before)
            phi.add_incoming(value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return real, imag


@intrinsic
def product_row(
    typing,
    y_real,
    y_imag,
    x_real,
    x_imag,
    place,
    factor,
    diagonal_real,
    diagonal_imag,
    state,
    table,
    entries,
    segments,
    inner,
    outer,
):
    """y = factor (d x + c'' x' - i c' x') of eight states from `place` of y and x, `state` of the diagonal d.

    c' and c'' are real: Re and Im of the coefficients of -i times the off-diagonal matrix, with x' the states
    that the entries point at. segments[inner ...] are where the entries with the permutations 0 ... 7 and the
    imaginary ones begin and end, segments[outer ...] the real and the imaginary ones of the block.
    """
    signature = types.void(
        y_real,
        y_imag,
        x_real,
        x_imag,
        types.intp,
        types.float64,
        diagonal_real,
        diagonal_imag,
        types.intp,
        table,
        entries,
        segments,
        types.intp,
        types.intp,
    )

    def generate(context, builder, signature, arguments):
        y_real, y_imag, x_real, x_imag, place, factor, d_real, d_imag, state, table, entries, segments, inner, outer = (
            context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
            for kind, value in zip(signature.args, arguments)
        )
        writer = _Writer(builder, table, entries, x_real, x_imag)

        def bound(start, k):
            return builder.load(builder.gep(segments, [builder.add(start, ir.Constant(_INTEGER, k))]))

        zero = ir.Constant(_VECTOR, [0.0] * CHUNK)
        turned = straight = (zero, zero)
        for mask in range(CHUNK):
            turned = writer.add_entries(turned, place, bound(inner, mask), bound(inner, mask + 1), mask)
        straight = writer.add_entries(straight, place, bound(inner, CHUNK), bound(inner, CHUNK + 1), 0)
        turned = writer.add_entries(turned, place, bound(outer, 0), bound(outer, 1), 0)
        straight = writer.add_entries(straight, place, bound(outer, 1), bound(outer, 2), 0)
        a, b = writer.load(x_real, place), writer.load(x_imag, place)
        c, d = writer.load(d_real, state), writer.load(d_imag, state)
        scale = writer.everywhere(factor)
        real = builder.fadd(turned[1], straight[0])
        imag = builder.fsub(straight[1], turned[0])
        real = builder.fsub(writer.madd(c, a, real), builder.fmul(d, b), flags=_FUSED)
        imag = writer.madd(c, b, writer.madd(d, a, imag))
        writer.store(builder.fmul(scale, real), y_real, place)
        writer.store(builder.fmul(scale, imag), y_imag, place)
        return context.get_dummy_value()

    return signature, generate
