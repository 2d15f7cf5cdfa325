"""The steps of spin-conserving trajectories on a GPU, with the CPU's tables and random numbers.

A thread takes one block of random numbers, up to four sites, of one or two trajectories; the WIDTH threads of a warp
take neighbouring trajectories, so that all memory accesses are contiguous. Where the spins of a warp fit into a
multiprocessor's shared memory, one launch makes all steps up to the next sample there; larger lattices make one
launch for each half of the sites (eo) or each stage (sib), from the device's memory.

Numbers are those of `advance` up to rounding: the counters of the random numbers are the same.
"""

import functools
import os
import types

import numba
import numpy as np
from numba import cuda

from hpcsim.ensemble import streams
from hpcsim.ensemble.streams import DRAWS_PER_BLOCK, THREE_POINT_AMPLITUDE
from hpcsim.methods.phase_space.compile import Tables
from hpcsim.methods.phase_space.kernels import EO, FIELD, FIELD_END, FIELD_START, SIB

WIDTH = 32  # threads of a warp
# trajectories of a thread, which reads its tables once for all; warps of a thread block: fastest of what was tried
LANES = {np.float32: (2, 1), np.float64: (1,)}
WARPS = 4
INTEGRATORS = (SIB, EO)
# the number of a rank on its node, as MPI libraries and Slurm tell it
LOCAL_RANK = ("OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "PMI_LOCAL_RANK", "SLURM_LOCALID")

# as 32-bit words, which the device multiplies fastest
M0, M1, SHIFT = streams._M0, streams._M1, np.uint64(32)
W0, W1, LOW, HALF_SHIFT, HALF_WORD = streams._W0, streams._W1, streams._LOW, np.uint32(16), np.uint32(0xFFFF)
TAIL, UPPER = np.uint32(streams._TAIL), np.uint32(streams._UPPER)
START, WHOLE, END = int(FIELD_START), int(FIELD), int(FIELD_END)


class NoDevice(Exception):
    """No GPU can be used here: the message says why, and what to do."""

    status = 2


def choose(scheme: str, named: str, integrator: int):
    """Take the GPU of this rank: the ranks of a node share its GPUs in turn. Raises NoDevice."""
    if scheme != "spin_conserving" or integrator not in INTEGRATORS:
        raise NoDevice(
            f"run.device = gpu: scheme = {scheme}, integrator = {named}: a GPU takes "
            "scheme: spin_conserving with the integrators auto, eo and sib, and no discrete samples; change them, or "
            "take run.device: cpu"
        )
    if not cuda.is_available():
        raise NoDevice(
            "run.device = gpu: numba finds no CUDA device here; pip install numba-cuda[cu12] (or [cu13], as the driver "
            "has it) where there is a GPU, or take run.device: cpu"
        )
    local = next((int(os.environ[name]) for name in LOCAL_RANK if os.environ.get(name, "").isdigit()), 0)
    cuda.select_device(local % len(cuda.gpus))


@cuda.jit(device=True)
def _round(c0, c1, c2, c3, k0, k1):
    """One round of Philox4x32, see ensemble.streams, in 32-bit words: half of the instructions of 64-bit ones."""
    p0, p1 = M0 * np.uint64(c0), M1 * np.uint64(c2)
    return np.uint32(p1 >> SHIFT) ^ c1 ^ k0, np.uint32(p1), np.uint32(p0 >> SHIFT) ^ c3 ^ k1, np.uint32(p0)


@cuda.jit(device=True)
def _random_words(step, block, trajectory, purpose, k0, k1):
    a, b, c, d = np.uint32(step), np.uint32(block), np.uint32(trajectory), np.uint32(purpose)
    for _ in range(10):
        a, b, c, d = _round(a, b, c, d, np.uint32(k0), np.uint32(k1))
        k0, k1 = (k0 + W0) & LOW, (k1 + W1) & LOW
    return a, b, c, d


@cuda.jit(device=True)
def _counter_of(k, last, begin, trajectory, key):
    """The counter and the tables (0: half a step) of sweep k out of 0..last of eo."""
    purpose = START if k == 0 else (END if k == last else WHOLE)
    return (begin + max(0, k - 1) // 2, trajectory, purpose, key[0], key[1]), 0 if k in (0, last) else 1


def _turning(real, lanes: int):
    """The function that turns the spins of one block, of the type `real` in so many trajectories to a thread."""
    one, two, none = real(1), real(2), real(0)

    @cuda.jit(device=True)
    def draw(row, strength, a, b, c, d):
        """The row's three-point variable, from the four words of its block; see streams.fill_three_point."""
        if row >= DRAWS_PER_BLOCK:
            return none
        word = a if row < 2 else (b if row < 4 else (c if row < 6 else d))
        bits = word >> HALF_SHIFT if row % 2 else word & HALF_WORD
        return strength if bits < TAIL else (-strength if bits >= UPPER else none)

    @cuda.jit(device=True)
    def turn_block(to, at, s, width, lane, block, which, stage, tables, counter):
        """Turn the sites of a block: from `at`, whose fields count, those of s, into `to`.

        lane  : of the first trajectory; the others of this thread are WIDTH apart
        stage : 0 the midpoint of the rotation alone (sib), 1 the rotation in the field at `at`, 2 both (eo)
        which : the tables of half a step, 0, or of a whole one, 1
        """
        begin, order, start, neighbour, rows, coupling, constant, square, damping, strength = tables
        step, trajectory, purpose, k0, k1 = counter
        words = cuda.local.array((lanes, 4), numba.uint32)
        for v in range(lanes):
            words[v, 0], words[v, 1], words[v, 2], words[v, 3] = _random_words(
                step, block, trajectory + v * WIDTH, purpose, k0, k1
            )
        for place in range(begin[block], begin[block + 1]):
            i = order[place]
            e, end = start[i], start[i + 1]
            n, o = 3 * neighbour[e] * width, 3 * neighbour[e + 1] * width
            na, nb, nc = coupling[which, e, 0], coupling[which, e, 1], coupling[which, e, 2]
            oa, ob, oc = coupling[which, e + 1, 0], coupling[which, e + 1, 1], coupling[which, e + 1, 2]
            fx, fy, fz = constant[which, i, 0], constant[which, i, 1], constant[which, i, 2]
            xx, yy, zz, turn = square[which, i, 0], square[which, i, 1], square[which, i, 2], damping[which, i]
            j, k, m = rows[i, 0], rows[i, 1], rows[i, 2]
            sj, sk, sm = strength[which, block, j], strength[which, block, k], strength[which, block, m]
            for v in range(lanes):
                shift = lane + v * WIDTH
                here, near, next_one = 3 * i * width + shift, n + shift, o + shift
                a, b, c, d = words[v, 0], words[v, 1], words[v, 2], words[v, 3]
                u = fx + draw(j, sj, a, b, c, d) + na * at[near] + oa * at[next_one]
                w = fy + draw(k, sk, a, b, c, d) + nb * at[near + width] + ob * at[next_one + width]
                r = fz + draw(m, sm, a, b, c, d) + nc * at[near + 2 * width] + oc * at[next_one + 2 * width]
                for further in range(e + 2, end):
                    there = 3 * neighbour[further] * width + shift
                    u += coupling[which, further, 0] * at[there]
                    w += coupling[which, further, 1] * at[there + width]
                    r += coupling[which, further, 2] * at[there + 2 * width]
                x, y, z = s[here], s[here + width], s[here + 2 * width]
                p, q, g = x, y, z
                if stage == 1:
                    p, q, g = at[here], at[here + width], at[here + 2 * width]
                a1, b1, c1 = u + xx * p - turn * q, w + yy * q + turn * p, r + zz * g
                if stage != 1:
                    along, w2 = a1 * x + b1 * y + c1 * z, a1 * a1 + b1 * b1 + c1 * c1
                    scale = one / (one + w2) if stage == 0 else one - w2 * (one - w2)
                    p, q = (x + b1 * z - c1 * y + a1 * along) * scale, (y + c1 * x - a1 * z + b1 * along) * scale
                    g = (z + a1 * y - b1 * x + c1 * along) * scale
                if stage == 2:
                    a1, b1, c1 = u + xx * p - turn * q, w + yy * q + turn * p, r + zz * g
                if stage != 0:
                    along, scale = a1 * x + b1 * y + c1 * z, two / (one + a1 * a1 + b1 * b1 + c1 * c1)
                    p = (x + b1 * z - c1 * y + a1 * along) * scale - x
                    q = (y + c1 * x - a1 * z + b1 * along) * scale - y
                    g = (z + a1 * y - b1 * x + c1 * along) * scale - z
                to[here], to[here + width], to[here + 2 * width] = p, q, g

    return turn_block


def _in_shared_memory(real, lanes: int, turn_block):
    """The kernel that makes all steps up to a sample."""
    number, wide = numba.from_dtype(np.dtype(real)), WIDTH * lanes

    @cuda.jit
    def together(s, tables, first_half, integrator, begin, steps, first, key):
        """All steps of WIDTH * lanes trajectories in shared memory."""
        tile = cuda.shared.array(0, number)
        lane, warp, warps = cuda.threadIdx.x, cuda.threadIdx.y, cuda.blockDim.y
        t, size, blocks = cuda.blockIdx.x * wide + lane, s.shape[0], len(tables[0]) - 1
        for v in range(lanes):
            for row in range(warp, size, warps):
                tile[row * wide + lane + v * WIDTH] = s[row, t + v * WIDTH]
        cuda.syncthreads()
        trajectory = first + t
        if integrator == EO:
            for k in range(2 * steps + 1):
                other = k % 2
                counter, which = _counter_of(k, 2 * steps, begin, trajectory, key)
                for block in range(warp + other * first_half, blocks if other else first_half, warps):
                    turn_block(tile, tile, tile, wide, lane, block, which, 2, tables, counter)
                cuda.syncthreads()
        else:
            middle = tile[size * wide :]
            for n in range(steps):
                counter = (begin + n, trajectory, WHOLE, key[0], key[1])
                for block in range(warp, blocks, warps):
                    turn_block(middle, tile, tile, wide, lane, block, 1, 0, tables, counter)
                cuda.syncthreads()
                for block in range(warp, blocks, warps):
                    turn_block(tile, middle, tile, wide, lane, block, 1, 1, tables, counter)
                cuda.syncthreads()
        for v in range(lanes):
            for row in range(warp, size, warps):
                s[row, t + v * WIDTH] = tile[row * wide + lane + v * WIDTH]

    return together


def _in_device_memory(lanes: int, turn_block):
    """The kernel that makes a part of one step."""
    wide = WIDTH * lanes

    @cuda.jit
    def stage(s, scratch, tables, blocks, sweep, begin, first, key):
        """One half of the sites (eo: sweep k of 0..last) or one stage of one step (sib), in the device's memory.

        blocks : (first, last) of the half
        sweep  : (k, last) of eo; of sib (0 or 1, -1)
        """
        t = cuda.blockIdx.x * wide + cuda.threadIdx.x
        block = blocks[0] + cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        if block >= blocks[1]:
            return
        flat, middle, width = s.reshape(s.size), scratch.reshape(scratch.size), s.shape[1]
        k, last = sweep
        trajectory = first + t
        counter = (begin, trajectory, WHOLE, key[0], key[1])
        if last >= 0:
            counter, which = _counter_of(k, last, begin, trajectory, key)
            turn_block(flat, flat, flat, width, t, block, which, 2, tables, counter)
        elif k == 0:
            turn_block(middle, flat, flat, width, t, block, 1, 0, tables, counter)
        else:
            turn_block(flat, middle, flat, width, t, block, 1, 1, tables, counter)

    return stage


@functools.lru_cache(maxsize=4)
def _kernels(real, lanes: int):
    """The kernels for spins of the type `real`, float64 or float32, and so many trajectories to a thread."""
    turn_block = _turning(real, lanes)
    together, stage = _in_shared_memory(real, lanes, turn_block), _in_device_memory(lanes, turn_block)
    return types.SimpleNamespace(together=together, stage=stage)


class Spins:
    """The classical spins of many trajectories on the current device.

    spins : (sites, 3, trajectories) where they start
    whole, half : tables of a step and of half a step, see `Tables.over`
    real : np.float64, or np.float32 for spins and noise of single precision; sums are double in any case
    """

    def __init__(self, spins, whole: Tables, half: Tables, integrator: int, first: int, key, real=np.float64):
        self._integrator, (self._sites, _, self.trajectories) = integrator, spins.shape
        self._of_one = 3 * self._sites * (1 if integrator == EO else 2) * np.dtype(real).itemsize
        fitting = _shared_memory() // (self._of_one * WIDTH)
        self.shared, self._allowed = fitting > 0, SHARED
        self._lanes = next(
            n for n in LANES[real] if n <= max(fitting, 1) and n * WIDTH <= max(WIDTH, self.trajectories)
        )
        self.kernels = _kernels(real, self._lanes)
        # whole warps: the last spins are copies that nothing reads
        padded = np.pad(spins.reshape(-1, self.trajectories), ((0, 0), (0, -self.trajectories % self._width)), "edge")
        self.array = cuda.to_device(np.ascontiguousarray(padded, real))
        self._tables = _tables(whole, half, real)
        self._first_half, self._blocks = whole.first_half, len(whole.begin) - 1
        self._first, self._key = int(first), cuda.to_device(np.array(key, np.uint64))
        self._scratch = self.array if self.shared or integrator == EO else cuda.device_array_like(self.array)

    @property
    def _width(self) -> int:
        return WIDTH * self._lanes

    def advance(self, begin: int, steps: int):
        """As `advance.Spins` does without spinors, for the integrators eo and sib."""
        if not steps:
            return
        if self.shared:
            self._advance_shared(begin, steps)
        elif self._integrator == EO:
            for k in range(2 * steps + 1):
                half = (self._first_half, self._blocks) if k % 2 else (0, self._first_half)
                self._stage(half, (k, 2 * steps), begin)
        else:
            for n in range(steps):
                for stage in range(2):
                    self._stage((0, self._blocks), (stage, -1), begin + n)

    def _advance_shared(self, begin: int, steps: int):
        grid, size = self.array.shape[1] // self._width, self._of_one * self._width
        busy = self._blocks if self._integrator == SIB else -(-self._blocks // 2)
        shape = WIDTH, min(WARPS, max(1, busy))
        arguments = (self.array, self._tables, self._first_half, self._integrator, begin, steps, self._first, self._key)
        if size > self._allowed:
            _allow(self.kernels.together, arguments, size)
            self._allowed = size
        self.kernels.together[grid, shape, 0, size](*arguments)

    def _stage(self, blocks, sweep, begin: int):
        count = blocks[1] - blocks[0]
        shape = self.array.shape[1] // self._width, -(-count // WARPS)
        if count:
            self.kernels.stage[shape, (WIDTH, WARPS)](
                self.array, self._scratch, self._tables, blocks, sweep, begin, self._first, self._key
            )

    def spins(self) -> np.ndarray:
        """(sites, 3, trajectories) on the CPU."""
        whole = self.array.copy_to_host().astype(np.float64).reshape(self._sites, 3, -1)
        return whole[:, :, : self.trajectories]


def _tables(whole: Tables, half: Tables, real) -> tuple:
    """What `turn_block` reads, on the device: indices, then the numbers for half a step and for a whole one."""
    both = [half, whole]
    strength = np.zeros((2, len(whole.strength), DRAWS_PER_BLOCK + 1))
    for table, known in zip(strength, both):
        table[:, :DRAWS_PER_BLOCK] = known.strength * THREE_POINT_AMPLITUDE
    indices = (whole.begin, whole.order, whole.start, whole.neighbour, whole.draw)
    numbers = [np.array([getattr(t, name) for t in both]) for name in ("coupling", "field", "square", "damping")]
    return (
        *(cuda.to_device(np.ascontiguousarray(x, np.int32)) for x in indices),
        *(cuda.to_device(x.astype(real)) for x in (*numbers, strength)),
    )


SHARED = 48 * 1024  # bytes that every device gives a thread block without being asked


def _shared_memory() -> int:
    """Bytes of shared memory that one thread block may ask for."""
    if numba.config.ENABLE_CUDASIM:
        return SHARED
    return cuda.get_current_device().MAX_SHARED_MEMORY_PER_BLOCK_OPTIN


def _allow(kernel, arguments, size: int):
    """Let a kernel have `size` bytes of shared memory, which beyond SHARED must be asked for (numba has no call)."""
    from cuda.bindings import driver

    compiled = kernel.compile(tuple(kernel.typeof_pyval(x) for x in arguments))
    function = compiled._codelibrary.get_cufunc()
    attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    (status,) = driver.cuKernelSetAttribute(attribute, size, function.handle, function.device.id)
    if status:
        raise RuntimeError(f"{size} bytes of shared memory were refused: {status}")
