"""numba: loops over arrays, compiled by LLVM for this machine, shared out by `prange`."""

import math

import numba
import numpy as np
from numba import njit, prange

NOT_WRITTEN = {}

# Elements of a sum or scan that a thread takes at once.
CHUNK = 1 << 14

# Sums may be reordered: the kernels' own promise is no stricter.
loop = njit(parallel=True, fastmath=True, cache=True)
inline = njit(fastmath=True, cache=True)


def start(threads, cache):
    del cache  # the environment says where the cache is
    numba.set_num_threads(threads)


def version():
    return numba.__version__


@loop
def saxpy_loop(a, x, y):
    for i in prange(len(x)):
        y[i] += a * x[i]


def saxpy(a, x, y):
    a = np.float32(a)
    return lambda: saxpy_loop(a, x, y), lambda: {2: y}


@loop
def dot_loop(x, y):
    total = np.float32(0)
    for i in prange(len(x)):
        total += x[i] * y[i]
    return total


def dot(x, y, out):
    def run():
        out[0] = dot_loop(x, y)

    return run, lambda: {2: out}


@loop
def sum_loop(x):
    total = np.float32(0)
    for i in prange(len(x)):
        total += x[i]
    return total


def sum(x, out):
    def run():
        out[0] = sum_loop(x)

    return run, lambda: {1: out}


@loop
def prefix_sum_loop(threads, x, out):
    """In two passes: the sum of each chunk, then each chunk from where the ones before it end."""
    n = len(x)
    chunk = max(CHUNK, -(-n // (4 * threads)))
    chunks = -(-n // chunk)
    starts = np.zeros(chunks + 1, np.uint32)
    if chunks > 1:
        for c in prange(chunks):
            total = np.uint32(0)
            for i in range(c * chunk, min((c + 1) * chunk, n)):
                total += x[i]
            starts[c + 1] = total
        for c in range(chunks):
            starts[c + 1] += starts[c]
    for c in prange(chunks):
        total = starts[c]
        for i in range(c * chunk, min((c + 1) * chunk, n)):
            total += x[i]
            out[i] = total


def prefix_sum(x, out):
    threads = numba.get_num_threads()
    return lambda: prefix_sum_loop(threads, x, out), lambda: {1: out}


@njit(cache=True)
def matmul_call(a, b, c):
    np.dot(a, b, c)


def matmul(n, a, b, c):
    # numba's own advice: `np.dot`, which is the BLAS of SciPy.
    a, b, c = (m.reshape(n, n) for m in (a, b, c))
    return lambda: matmul_call(a, b, c), lambda: {3: c}


@loop
def jacobi_loop(x, y):
    h, w = x.shape
    for i in prange(h):
        if i == 0 or i == h - 1:
            for j in range(w):
                y[i, j] = x[i, j]
        else:
            y[i, 0] = x[i, 0]
            for j in range(1, w - 1):
                around = x[i, j - 1] + x[i, j + 1] + x[i - 1, j] + x[i + 1, j]
                y[i, j] = np.float32(0.25) * around
            y[i, w - 1] = x[i, w - 1]


def jacobi(w, h, x, y):
    x, y = x.reshape(h, w), y.reshape(h, w)
    return lambda: jacobi_loop(x, y), lambda: {3: y}


@inline
def conv3x3_at(k, x, i, j):
    h, w = x.shape
    total = np.float32(0)
    for a in range(3):
        row = min(max(i + a - 1, 0), h - 1)
        for b in range(3):
            column = min(max(j + b - 1, 0), w - 1)
            total += k[3 * a + b] * x[row, column]
    return total


@loop
def conv3x3_loop(k, x, y):
    h, w = x.shape
    for i in prange(h):
        up, here, down = x[max(i - 1, 0)], x[i], x[min(i + 1, h - 1)]
        y[i, 0] = conv3x3_at(k, x, i, 0)
        for j in range(1, w - 1):
            y[i, j] = (
                k[0] * up[j - 1] + k[1] * up[j] + k[2] * up[j + 1]
                + k[3] * here[j - 1] + k[4] * here[j] + k[5] * here[j + 1]
                + k[6] * down[j - 1] + k[7] * down[j] + k[8] * down[j + 1]
            )
        y[i, w - 1] = conv3x3_at(k, x, i, w - 1)


def conv3x3(w, h, weights, x, y):
    x, y = x.reshape(h, w), y.reshape(h, w)
    return lambda: conv3x3_loop(weights, x, y), lambda: {4: y}


F = np.float32


@inline
def normal(x):
    size = abs(x)
    k = F(1) / (F(1) + F(0.2316419) * size)
    series = k * (
        F(0.31938153)
        + k * (F(-0.35656378) + k * (F(1.7814779) + k * (F(-1.8212559) + k * F(1.3302744))))
    )
    tail = F(0.3989423) * math.exp(F(-0.5) * size * size) * series
    return tail if x < F(0) else F(1) - tail


@loop
def black_scholes_loop(rate, volatility, s, k, t, call, put):
    for i in prange(len(s)):
        spread = volatility * math.sqrt(t[i])
        d1 = (math.log(s[i] / k[i]) + (rate + F(0.5) * volatility * volatility) * t[i]) / spread
        d2 = d1 - spread
        strike = k[i] * math.exp(-rate * t[i])
        call[i] = s[i] * normal(d1) - strike * normal(d2)
        put[i] = strike * normal(-d2) - s[i] * normal(-d1)


def black_scholes(rate, volatility, s, k, t, call, put):
    rate, volatility = F(rate), F(volatility)
    run = lambda: black_scholes_loop(rate, volatility, s, k, t, call, put)
    return run, lambda: {5: call, 6: put}


@loop
def mandelbrot_loop(w, h, limit, out):
    # Rows near the middle take longest: small shares even that out.
    for i in prange(h):
        cy = F(-1.25) + F(2.5) * (F(i) + F(0.5)) / F(h)
        for j in range(w):
            cx = F(-2) + F(2.5) * (F(j) + F(0.5)) / F(w)
            x, y, count = F(0), F(0), np.uint32(0)
            while count < limit and x * x + y * y <= F(4):
                x, y = x * x - y * y + cx, F(2) * x * y + cy
                count += np.uint32(1)
            out[i, j] = count


def mandelbrot(w, h, limit, out):
    image, limit = out.reshape(h, w), np.uint32(limit)

    def run():
        with numba.parallel_chunksize(max(1, h // 64)):
            mandelbrot_loop(w, h, limit, image)

    return run, lambda: {3: out}


@loop
def nbody_loop(softening, x, y, z, m, ax, ay, az):
    for i in prange(len(x)):
        fx, fy, fz = F(0), F(0), F(0)
        for j in range(len(x)):
            dx, dy, dz = x[j] - x[i], y[j] - y[i], z[j] - z[i]
            inverse = F(1) / math.sqrt(dx * dx + dy * dy + dz * dz + softening)
            pull = m[j] * inverse * inverse * inverse
            fx += dx * pull
            fy += dy * pull
            fz += dz * pull
        ax[i], ay[i], az[i] = fx, fy, fz


def nbody(softening, x, y, z, m, ax, ay, az):
    softening = F(softening)
    run = lambda: nbody_loop(softening, x, y, z, m, ax, ay, az)
    return run, lambda: {5: ax, 6: ay, 7: az}


@loop
def histogram_loop(threads, x, bins):
    share = -(-len(x) // threads)
    counts = np.zeros((threads, 256), np.uint32)
    for t in prange(threads):
        mine = counts[t]
        for i in range(t * share, min((t + 1) * share, len(x))):
            mine[x[i] & np.uint32(255)] += np.uint32(1)
    for t in range(threads):
        for b in range(256):
            bins[b] += counts[t, b]


def histogram(x, bins):
    threads = numba.get_num_threads()
    return lambda: histogram_loop(threads, x, bins), lambda: {1: bins}


@loop
def spmv_loop(starts, columns, values, x, y):
    for i in prange(len(y)):
        total = F(0)
        for at in range(starts[i], starts[i + 1]):
            total += values[at] * x[columns[at]]
        y[i] = total


def spmv(starts, columns, values, x, y):
    return lambda: spmv_loop(starts, columns, values, x, y), lambda: {4: y}


KERNELS = {
    f.__name__: f
    for f in (saxpy, dot, sum, prefix_sum, matmul, jacobi, conv3x3, black_scholes, mandelbrot, nbody, histogram, spmv)
}
