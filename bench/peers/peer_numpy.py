"""NumPy: whole arrays at a time, into arrays that are there already where it can; sparse products
by SciPy. Only products of matrices and vectors use several threads."""

import numpy as np

NOT_WRITTEN = {}

# Elements that temporaries have at most, so that they stay in the cache.
BLOCK = 1 << 15


def start(threads, cache):
    del threads, cache  # the environment says how many threads BLAS has


def version():
    import scipy

    return f"{np.__version__} with SciPy {scipy.__version__}"


def saxpy(a, x, y):
    a, scaled = np.float32(a), np.empty_like(x[:BLOCK])

    def run():
        for at in range(0, len(x), BLOCK):
            part = y[at : at + BLOCK]
            np.multiply(x[at : at + BLOCK], a, out=scaled[: len(part)])
            part += scaled[: len(part)]

    return run, lambda: {2: y}


def dot(x, y, out):
    def run():
        out[0] = np.dot(x, y)

    return run, lambda: {2: out}


def sum(x, out):
    return lambda: np.sum(x, out=out[0:1].reshape(())), lambda: {1: out}


def prefix_sum(x, out):
    return lambda: np.cumsum(x, dtype=np.uint32, out=out), lambda: {1: out}


def matmul(n, a, b, c):
    a, b, c = (m.reshape(n, n) for m in (a, b, c))
    return lambda: np.matmul(a, b, out=c), lambda: {3: c}


def jacobi(w, h, x, y):
    x, y = x.reshape(h, w), y.reshape(h, w)
    rows = max(1, BLOCK // w)

    def run():
        y[0], y[-1], y[:, 0], y[:, -1] = x[0], x[-1], x[:, 0], x[:, -1]
        for top in range(1, h - 1, rows):
            end = min(top + rows, h - 1)
            inner = y[top:end, 1:-1]
            np.add(x[top:end, :-2], x[top:end, 2:], out=inner)
            inner += x[top - 1 : end - 1, 1:-1]
            inner += x[top + 1 : end + 1, 1:-1]
            inner *= np.float32(0.25)

    return run, lambda: {3: y}


def conv3x3(w, h, weights, x, y):
    x, y = x.reshape(h, w), y.reshape(h, w)
    rows = max(1, BLOCK // w)
    scaled = np.empty((rows, w), np.float32)

    def run():
        padded = np.pad(x, 1, mode="edge")
        for top in range(0, h, rows):
            part = y[top : top + rows]
            some, part[:] = scaled[: len(part)], 0
            for i in range(3):
                for j in range(3):
                    source = padded[top + i : top + i + len(part), j : j + w]
                    np.multiply(source, weights[3 * i + j], out=some)
                    part += some

    return run, lambda: {4: y}


def black_scholes(rate, volatility, s, k, t, call, put):
    rate, volatility = np.float32(rate), np.float32(volatility)
    one, half = np.float32(1), np.float32(0.5)
    series = [np.float32(c) for c in (1.3302744, -1.8212559, 1.7814779, -0.35656378, 0.31938153)]

    def normal(x):
        size = np.abs(x)
        k = one / (one + np.float32(0.2316419) * size)
        terms = series[0] * k
        for coefficient in series[1:]:
            terms += coefficient
            terms *= k
        tail = np.float32(0.3989423) * np.exp(-half * size * size) * terms
        return np.where(x < 0, tail, one - tail)

    def block(s, k, t, call, put):
        spread = volatility * np.sqrt(t)
        d1 = (np.log(s / k) + (rate + half * volatility * volatility) * t) / spread
        d2, strike = d1 - spread, k * np.exp(-rate * t)
        np.subtract(s * normal(d1), strike * normal(d2), out=call)
        np.subtract(strike * normal(-d2), s * normal(-d1), out=put)

    def run():
        for at in range(0, len(s), BLOCK // 4):
            block(*(array[at : at + BLOCK // 4] for array in (s, k, t, call, put)))

    return run, lambda: {5: call, 6: put}


def mandelbrot(w, h, limit, out):
    """In blocks of rows; points that have left are taken out now and then."""
    two = np.float32(2)
    rows = max(1, BLOCK // 4 // w)

    def block(top, out):
        i = np.arange(top, top + len(out), dtype=np.float32)
        j = np.arange(w, dtype=np.float32)
        cx = np.float32(-2) + np.float32(2.5) * (j + np.float32(0.5)) / np.float32(w)
        cy = np.float32(-1.25) + np.float32(2.5) * (i + np.float32(0.5)) / np.float32(h)
        cx, cy = (c.ravel() for c in np.meshgrid(cx, cy))
        count = np.zeros(len(cx), np.uint32)
        at, x, y = np.arange(len(cx)), np.zeros_like(cx), np.zeros_like(cy)
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(limit):
                xx, yy = x * x, y * y
                inside = xx + yy <= 4
                count[at] += inside
                y = two * x * y + cy
                x = xx - yy + cx
                if step % 8 == 7:
                    at, x, y, cx, cy = (v[inside] for v in (at, x, y, cx, cy))
        out[:] = count.reshape(len(out), w)

    def run():
        image = out.reshape(h, w)
        for top in range(0, h, rows):
            block(top, image[top : top + rows])

    return run, lambda: {3: out}


def nbody(softening, x, y, z, m, ax, ay, az):
    softening = np.float32(softening)
    rows = max(1, BLOCK // 2 // len(x))

    def run():
        for at in range(0, len(x), rows):
            part = slice(at, at + rows)
            dx, dy, dz = (v[None, :] - v[part, None] for v in (x, y, z))
            r2 = dx * dx
            r2 += dy * dy
            r2 += dz * dz
            r2 += softening
            inverse = np.float32(1) / np.sqrt(r2)
            pull = m * inverse * inverse * inverse
            for out, d in ((ax, dx), (ay, dy), (az, dz)):
                np.einsum("ij,ij->i", d, pull, out=out[part])

    return run, lambda: {5: ax, 6: ay, 7: az}


def histogram(x, bins):
    def run():
        for at in range(0, len(x), BLOCK):
            np.add(bins, np.bincount(x[at : at + BLOCK] & 255, minlength=256), out=bins, casting="unsafe")

    return run, lambda: {1: bins}


def spmv(starts, columns, values, x, y):
    from scipy.sparse import csr_array

    # 32-bit indices are kept as they are.
    shape = (len(y), len(x))
    matrix = csr_array((values, columns.view(np.int32), starts.view(np.int32)), shape=shape)

    def run():
        y[:] = matrix @ x

    return run, lambda: {4: y}


KERNELS = {
    f.__name__: f
    for f in (saxpy, dot, sum, prefix_sum, matmul, jacobi, conv3x3, black_scholes, mandelbrot, nbody, histogram, spmv)
}
