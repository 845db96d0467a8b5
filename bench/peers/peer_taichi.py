"""Taichi on the CPU: kernels whose outermost loop runs on its threads, over its own
arrays, which lie in the host's memory there. A kernel returns when it is done."""

import numpy as np
import taichi as ti

NOT_WRITTEN = {}

# Elements that a thread scans at once.
CHUNK = 1 << 14

# A block of a product that stays in registers.
ROWS, COLUMNS = 4, 16

Floats = ti.types.ndarray(dtype=ti.f32, ndim=1)
Image = ti.types.ndarray(dtype=ti.f32, ndim=2)
Words = ti.types.ndarray(dtype=ti.u32, ndim=1)
WordImage = ti.types.ndarray(dtype=ti.u32, ndim=2)

THREADS = 1


def start(threads, cache):
    global THREADS
    THREADS = threads
    ti.init(
        arch=ti.cpu,
        cpu_max_num_threads=threads,
        offline_cache=True,
        offline_cache_file_path=cache,
        log_level=ti.WARN,
        # Blocks of a product are unrolled on purpose.
        unrolling_limit=0,
    )


def version():
    return ".".join(str(part) for part in ti.__version__)


def own(array):
    copy = ti.ndarray(ti.f32 if array.dtype == np.float32 else ti.u32, array.shape)
    copy.from_numpy(array)
    return copy


def calling(kernel, args, outputs):
    """A kernel on these arguments; `outputs` are their places, and what the results are called."""
    args = [own(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
    results = {param: args[at] for at, param in outputs.items()}
    return lambda: kernel(*args), lambda: {at: array.to_numpy() for at, array in results.items()}


def returning(kernel, args, output):
    args, out = [own(arg) if isinstance(arg, np.ndarray) else arg for arg in args], np.zeros(1, np.float32)

    def run():
        out[0] = kernel(*args)

    return run, lambda: {output: out}


@ti.kernel
def saxpy_kernel(a: ti.f32, x: Floats, y: Floats):
    for i in range(x.shape[0]):
        y[i] = a * x[i] + y[i]


def saxpy(a, x, y):
    return calling(saxpy_kernel, (a, x, y), {2: 2})


@ti.kernel
def dot_kernel(x: Floats, y: Floats) -> ti.f32:
    total = 0.0
    # One sum of all is off by 0.7 % for 2^24 elements.
    for c in range((x.shape[0] + CHUNK - 1) // CHUNK):
        part = 0.0
        for i in range(c * CHUNK, ti.min((c + 1) * CHUNK, x.shape[0])):
            part += x[i] * y[i]
        total += part
    return total


def dot(x, y, out):
    return returning(dot_kernel, (x, y), 2)


@ti.kernel
def sum_kernel(x: Floats) -> ti.f32:
    total = 0.0
    for c in range((x.shape[0] + CHUNK - 1) // CHUNK):
        part = 0.0
        for i in range(c * CHUNK, ti.min((c + 1) * CHUNK, x.shape[0])):
            part += x[i]
        total += part
    return total


def sum(x, out):
    return returning(sum_kernel, (x,), 1)


@ti.kernel
def prefix_sum_kernel(chunk: ti.i32, chunks: ti.i32, x: Words, starts: Words, out: Words):
    n = x.shape[0]
    for c in range(chunks):
        total = ti.u32(0)
        for i in range(c * chunk, ti.min((c + 1) * chunk, n)):
            total += x[i]
        starts[c] = total
    for _ in range(1):
        total = ti.u32(0)
        for c in range(chunks):
            here = starts[c]
            starts[c] = total
            total += here
    for c in range(chunks):
        total = starts[c]
        for i in range(c * chunk, ti.min((c + 1) * chunk, n)):
            total += x[i]
            out[i] = total


@ti.kernel
def prefix_sum_serial(x: Words, out: Words):
    ti.loop_config(serialize=True)
    for _ in range(1):
        total = ti.u32(0)
        for i in range(x.shape[0]):
            total += x[i]
            out[i] = total


def prefix_sum(x, out):
    chunk = max(CHUNK, -(-len(x) // (4 * THREADS)))
    chunks = -(-len(x) // chunk)
    if chunks <= 1:
        return calling(prefix_sum_serial, (x, out), {1: 1})
    starts = np.zeros(chunks, np.uint32)
    return calling(prefix_sum_kernel, (chunk, chunks, x, starts, out), {4: 1})


@ti.kernel
def matmul_blocks(a: Image, b: Image, c: Image):
    n = a.shape[0]
    across = n // COLUMNS
    for block in range(n // ROWS * across):
        i, j = block // across * ROWS, block % across * COLUMNS
        sums = ti.Matrix.zero(ti.f32, ROWS, COLUMNS)
        for k in range(n):
            for p in ti.static(range(ROWS)):
                x = a[i + p, k]
                for q in ti.static(range(COLUMNS)):
                    sums[p, q] += x * b[k, j + q]
        for p, q in ti.static(ti.ndrange(ROWS, COLUMNS)):
            c[i + p, j + q] = sums[p, q]


@ti.kernel
def matmul_any(a: Image, b: Image, c: Image):
    for i, j in c:
        total = 0.0
        for k in range(a.shape[1]):
            total += a[i, k] * b[k, j]
        c[i, j] = total


def matmul(n, a, b, c):
    a, b, c = (m.reshape(n, n) for m in (a, b, c))
    kernel = matmul_any if n % ROWS or n % COLUMNS else matmul_blocks
    return calling(kernel, (a, b, c), {2: 3})


@ti.kernel
def jacobi_kernel(x: Image, y: Image):
    h, w = x.shape[0], x.shape[1]
    for i in range(h):
        if i == 0 or i == h - 1:
            for j in range(w):
                y[i, j] = x[i, j]
        else:
            y[i, 0] = x[i, 0]
            for j in range(1, w - 1):
                y[i, j] = 0.25 * (x[i, j - 1] + x[i, j + 1] + x[i - 1, j] + x[i + 1, j])
            y[i, w - 1] = x[i, w - 1]


def jacobi(w, h, x, y):
    x, y = x.reshape(h, w), y.reshape(h, w)
    return calling(jacobi_kernel, (x, y), {1: 3})


@ti.func
def conv3x3_at(k: ti.template(), x: ti.template(), i, j):
    total = 0.0
    for a, b in ti.static(ti.ndrange(3, 3)):
        row = ti.min(ti.max(i + a - 1, 0), x.shape[0] - 1)
        column = ti.min(ti.max(j + b - 1, 0), x.shape[1] - 1)
        total += k[3 * a + b] * x[row, column]
    return total


@ti.kernel
def conv3x3_kernel(k: Floats, x: Image, y: Image):
    h, w = x.shape[0], x.shape[1]
    for i in range(h):
        y[i, 0] = conv3x3_at(k, x, i, 0)
        up, down = ti.max(i - 1, 0), ti.min(i + 1, h - 1)
        for j in range(1, w - 1):
            total = 0.0
            for b in ti.static(range(3)):
                total += k[b] * x[up, j + b - 1]
                total += k[3 + b] * x[i, j + b - 1]
                total += k[6 + b] * x[down, j + b - 1]
            y[i, j] = total
        y[i, w - 1] = conv3x3_at(k, x, i, w - 1)


def conv3x3(w, h, weights, x, y):
    x, y = x.reshape(h, w), y.reshape(h, w)
    return calling(conv3x3_kernel, (weights, x, y), {2: 4})


@ti.func
def normal(x):
    size = ti.abs(x)
    k = 1.0 / (1.0 + 0.2316419 * size)
    series = k * (0.31938153 + k * (-0.35656378 + k * (1.7814779 + k * (-1.8212559 + k * 1.3302744))))
    tail = 0.3989423 * ti.exp(-0.5 * size * size) * series
    return ti.select(x < 0, tail, 1.0 - tail)


@ti.kernel
def black_scholes_kernel(
    rate: ti.f32, volatility: ti.f32, s: Floats, k: Floats, t: Floats, call: Floats, put: Floats
):
    for i in range(s.shape[0]):
        spread = volatility * ti.sqrt(t[i])
        d1 = (ti.log(s[i] / k[i]) + (rate + 0.5 * volatility * volatility) * t[i]) / spread
        d2 = d1 - spread
        strike = k[i] * ti.exp(-rate * t[i])
        call[i] = s[i] * normal(d1) - strike * normal(d2)
        put[i] = strike * normal(-d2) - s[i] * normal(-d1)


def black_scholes(rate, volatility, s, k, t, call, put):
    args = (rate, volatility, s, k, t, call, put)
    return calling(black_scholes_kernel, args, {5: 5, 6: 6})


@ti.kernel
def mandelbrot_kernel(limit: ti.u32, out: WordImage):
    h, w = out.shape[0], out.shape[1]
    for i, j in out:
        cx = -2.0 + 2.5 * (ti.f32(j) + 0.5) / ti.f32(w)
        cy = -1.25 + 2.5 * (ti.f32(i) + 0.5) / ti.f32(h)
        x, y, count = 0.0, 0.0, ti.u32(0)
        while count < limit and x * x + y * y <= 4.0:
            x, y = x * x - y * y + cx, 2.0 * x * y + cy
            count += ti.u32(1)
        out[i, j] = count


def mandelbrot(w, h, limit, out):
    return calling(mandelbrot_kernel, (limit, out.reshape(h, w)), {1: 3})


@ti.kernel
def nbody_kernel(
    softening: ti.f32, x: Floats, y: Floats, z: Floats, m: Floats, ax: Floats, ay: Floats, az: Floats
):
    for i in range(x.shape[0]):
        here = ti.Vector([x[i], y[i], z[i]])
        force = ti.Vector([0.0, 0.0, 0.0])
        for j in range(x.shape[0]):
            d = ti.Vector([x[j], y[j], z[j]]) - here
            inverse = ti.rsqrt(d.norm_sqr() + softening)
            force += d * (m[j] * inverse * inverse * inverse)
        ax[i], ay[i], az[i] = force[0], force[1], force[2]


def nbody(softening, x, y, z, m, ax, ay, az):
    return calling(nbody_kernel, (softening, x, y, z, m, ax, ay, az), {5: 5, 6: 6, 7: 7})


@ti.kernel
def histogram_kernel(share: ti.i32, x: Words, counts: WordImage, bins: Words):
    for t in range(counts.shape[0]):
        for b in range(256):
            counts[t, b] = 0
        for i in range(t * share, ti.min((t + 1) * share, x.shape[0])):
            bin = ti.i32(x[i] & 255)
            # An assignment: `+=` would be atomic.
            counts[t, bin] = counts[t, bin] + ti.u32(1)
    for b in range(256):
        for t in range(counts.shape[0]):
            bins[b] += counts[t, b]


def histogram(x, bins):
    counts = np.zeros((THREADS, 256), np.uint32)
    return calling(histogram_kernel, (-(-len(x) // THREADS), x, counts, bins), {3: 1})


@ti.kernel
def spmv_kernel(starts: Words, columns: Words, values: Floats, x: Floats, y: Floats):
    for i in range(y.shape[0]):
        total = 0.0
        for at in range(ti.i32(starts[i]), ti.i32(starts[i + 1])):
            total += values[at] * x[ti.i32(columns[at])]
        y[i] = total


def spmv(starts, columns, values, x, y):
    return calling(spmv_kernel, (starts, columns, values, x, y), {4: 4})


KERNELS = {
    f.__name__: f
    for f in (saxpy, dot, sum, prefix_sum, matmul, jacobi, conv3x3, black_scholes, mandelbrot, nbody, histogram, spmv)
}
