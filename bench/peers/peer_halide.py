"""Halide: functions over coordinates with a schedule by hand, compiled for this machine; buffers are
NumPy's arrays in place. Coordinates of arrays come in Halide's order, innermost first."""

import halide as hl
import numpy as np

NOT_WRITTEN = {}

F = hl.Float(32)
U = hl.UInt(32)

# Elements that a thread takes at once.
CHUNK = 1 << 14


def start(threads, cache):
    del threads, cache  # the environment says how many threads; compiled code is not kept


def version():
    from importlib.metadata import version

    return version("halide")


def target():
    return hl.get_jit_target_from_environment()


def vector(kind):
    return target().natural_vector_size(kind)


# What a pipeline works on has to live as long as it does, which Halide does not see to.
HELD = []


def buffer(array):
    """A buffer over the same bytes: `array[i, j]` is at (j, i)."""
    HELD.append((hl.Buffer(array), array))
    return HELD[-1][0]


def calling(func, outputs):
    """A pipeline into these arrays, by position."""
    pipeline = hl.Pipeline(func)
    buffers = [buffer(array) for array in outputs.values()]
    into = buffers[0] if len(buffers) == 1 else buffers
    return lambda: pipeline.realize(into), lambda: outputs


def chunked(func, i, size):
    """Vectors within chunks of a row, chunks to threads, where there are several."""
    if size > 2 * CHUNK:
        o, n = hl.Var("o"), hl.Var("n")
        func.split(i, o, n, CHUNK, hl.TailStrategy.GuardWithIf).parallel(o).vectorize(n, vector(F))
    elif size >= vector(F):
        func.vectorize(i, vector(F))


def saxpy(a, x, y):
    # In place: the pipeline reads the buffer that it writes, each element where it is.
    i, step, old, new = hl.Var("i"), hl.Func("saxpy"), buffer(x), hl.ImageParam(F, 1)
    state = buffer(y)
    new.set(state)
    step[i] = hl.f32(a) * old[i] + new[i]
    chunked(step, i, len(x))
    pipeline = hl.Pipeline(step)
    return lambda: pipeline.realize(state), lambda: {2: y}


def reduction(term, size, out, at):
    """The sum of a term over its index: by chunks, each with a vector of sums."""
    i, c, v, u = hl.Var("i"), hl.Var("c"), hl.Var("v"), hl.Var("u")
    lanes = 4 * vector(F)
    total = hl.Func("total")
    r = hl.RDom([(0, size)])
    total[()] = hl.f32(0)
    total[()] += hl.select(r.x < size, term(hl.min(r.x, size - 1)), hl.f32(0))
    if size % lanes:
        return calling(total, {at: out.reshape(())})
    ro, ri = hl.RVar("ro"), hl.RVar("ri")
    if size > 2 * CHUNK and size % CHUNK == 0:
        total.update().split(r.x, ro, ri, CHUNK)
        part = total.update().rfactor(ro, c)
        part.compute_root()
        part.update().parallel(c)
        rio, rii = hl.RVar("rio"), hl.RVar("rii")
        part.update().split(ri, rio, rii, lanes)
        lane = part.update().rfactor(rii, v)
        lane.compute_at(part, c).vectorize(v)
        lane.update().vectorize(v)
    else:
        total.update().split(r.x, ro, ri, lanes)
        lane = total.update().rfactor(ri, v)
        lane.compute_root().vectorize(v)
        lane.update().vectorize(v)
    return calling(total, {at: out.reshape(())})


def dot(x, y, out):
    x, y = buffer(x), buffer(y)
    return reduction(lambda i: x[i] * y[i], x.width(), out, 2)


def sum(x, out):
    x = buffer(x)
    return reduction(lambda i: x[i], x.width(), out, 1)


def prefix_sum(x, out):
    """Scans of chunks beside each other, then what comes before each."""
    width = CHUNK if len(x) % CHUNK == 0 else len(x)
    chunks = len(x) // max(1, width)
    source, result = buffer(x.reshape(chunks, width)), out.reshape(chunks, width)
    n, c, ends = hl.Var("n"), hl.Var("c"), hl.Func("ends")
    inner, before, scan = hl.Func("inner"), hl.Func("before"), hl.Func("scan")
    inner[n, c] = source[n, c]
    r = hl.RDom([(1, max(0, width - 1))])
    inner[r.x, c] += inner[r.x - 1, c]
    if chunks == 1:
        return calling(inner, {1: result})
    # The sum of each chunk first, so that its scan is made where it is used.
    q, s, lanes, v = hl.RDom([(0, width)]), hl.RDom([(1, chunks - 1)]), hl.RVar("lanes"), hl.Var("v")
    ends[c] += source[q.x, c]
    before[c] = hl.u32(0)
    before[s.x] = before[s.x - 1] + ends[s.x - 1]
    scan[n, c] = inner[n, c] + before[c]
    ends.compute_root().update().parallel(c).split(q.x, q.x, lanes, 4 * vector(U))
    part = ends.update().rfactor(lanes, v)
    part.compute_at(ends, c).vectorize(v).update().vectorize(v)
    before.compute_root()
    inner.compute_at(scan, c).vectorize(n, vector(U)).update().unscheduled()
    scan.parallel(c).vectorize(n, vector(U))
    return calling(scan, {1: result})


def matmul(n, a, b, c):
    """After Halide's own example: blocks of the result in registers, tiles of it to threads."""
    a, b, c = (m.reshape(n, n) for m in (a, b, c))
    left, right = buffer(a), buffer(b)
    x, y, product, out = hl.Var("x"), hl.Var("y"), hl.Func("product"), hl.Func("matmul")
    k = hl.RDom([(0, n)])
    product[x, y] += left[k.x, y] * right[x, k.x]
    out[x, y] = product[x, y]
    wide, rows = 2 * vector(F), 6
    if n < max(2 * wide, 32):
        return calling(out, {3: c})
    xi, yi, yii, xy = (hl.Var(name) for name in ("xi", "yi", "yii", "xy"))
    out.tile(x, y, xi, yi, wide, 8 * rows if n >= 96 else rows).fuse(x, y, xy)
    if n > 64:
        out.parallel(xy, 4)
    out.split(yi, yi, yii, rows).vectorize(xi, vector(F)).unroll(xi).unroll(yii)
    product.compute_at(out, yi).vectorize(x, vector(F)).unroll(x).unroll(y)
    inner = product.update().reorder(x, y, k.x).vectorize(x, vector(F)).unroll(x).unroll(y)
    inner.unroll(k.x, 2)
    return calling(out, {3: c})


def rows_shared(func, x, y, w, h):
    if w >= vector(F):
        func.vectorize(x, vector(F))
    if w * h > 2 * CHUNK:
        func.parallel(y, max(1, CHUNK // w))


def jacobi(w, h, x, y):
    source, result = buffer(x.reshape(h, w)), y.reshape(h, w)
    i, j, step = hl.Var("i"), hl.Var("j"), hl.Func("jacobi")
    step[i, j] = hl.undef(F)
    for row in {0, h - 1}:
        step[i, row] = source[i, row]
    for column in {0, w - 1}:
        step[column, j] = source[column, j]
    for update in range(step.num_update_definitions()):
        step.update(update).unscheduled()
    if w > 2 and h > 2:
        # The interior by itself: a `select` of the border takes eight times as long.
        r = hl.RDom([(1, w - 2), (1, h - 2)])
        at, up = r.x, r.y
        around = source[at - 1, up] + source[at + 1, up] + source[at, up - 1] + source[at, up + 1]
        step[at, up] = hl.f32(0.25) * around
        inner = step.update(step.num_update_definitions() - 1)
        if w > 2 * vector(F):
            inner.vectorize(at, vector(F))
        if w * h > 2 * CHUNK:
            inner.parallel(up, max(1, CHUNK // w))
    return calling(step, {3: result})


def conv3x3(w, h, weights, x, y):
    source, k, result = buffer(x.reshape(h, w)), buffer(weights), y.reshape(h, w)
    i, j, out = hl.Var("i"), hl.Var("j"), hl.Func("conv3x3")
    inside = hl.BoundaryConditions.repeat_edge(source)
    total = hl.f32(0)
    for b in range(3):
        for a in range(3):
            total += k[3 * b + a] * inside[i + a - 1, j + b - 1]
    out[i, j] = total
    rows_shared(out, i, j, w, h)
    return calling(out, {4: result})


def normal(x):
    size = hl.abs(x)
    k = hl.f32(1) / (hl.f32(1) + hl.f32(0.2316419) * size)
    series = hl.f32(1.3302744)
    for coefficient in (-1.8212559, 1.7814779, -0.35656378, 0.31938153):
        series = hl.f32(coefficient) + k * series
    tail = hl.f32(0.3989423) * hl.exp(hl.f32(-0.5) * size * size) * (k * series)
    return hl.select(x < 0, tail, hl.f32(1) - tail)


def black_scholes(rate, volatility, s, k, t, call, put):
    i, prices = hl.Var("i"), hl.Func("prices")
    spot, strike, time = (buffer(array)[i] for array in (s, k, t))
    rate, volatility = hl.f32(rate), hl.f32(volatility)
    spread = volatility * hl.sqrt(time)
    d1 = (hl.log(spot / strike) + (rate + hl.f32(0.5) * volatility * volatility) * time) / spread
    d2, paid = d1 - spread, strike * hl.exp(-rate * time)
    calls = spot * normal(d1) - paid * normal(d2)
    puts = paid * normal(-d2) - spot * normal(-d1)
    prices[i] = hl.Tuple([calls, puts])
    chunked(prices, i, len(s))
    return calling(prices, {5: call, 6: put})


def mandelbrot(w, h, limit, out):
    """All passages of all points: a loop of Halide does not end early."""
    i, j, state = hl.Var("i"), hl.Var("j"), hl.Func("state")
    cx = hl.f32(-2) + hl.f32(2.5) * (hl.f32(i) + hl.f32(0.5)) / hl.f32(w)
    cy = hl.f32(-1.25) + hl.f32(2.5) * (hl.f32(j) + hl.f32(0.5)) / hl.f32(h)
    state[i, j] = hl.Tuple([hl.f32(0), hl.f32(0), hl.u32(0)])
    r = hl.RDom([(0, limit)])
    x, y, count = (state[i, j][at] for at in range(3))
    # Of the domain, so that it is a loop over it.
    inside = (x * x + y * y <= hl.f32(4)) & (r.x >= 0)
    state[i, j] = hl.Tuple([
        hl.select(inside, x * x - y * y + cx, x),
        hl.select(inside, hl.f32(2) * x * y + cy, y),
        count + hl.select(inside, hl.u32(1), hl.u32(0)),
    ])
    counts = hl.Func("mandelbrot")
    counts[i, j] = state[i, j][2]
    if w >= 4 * vector(F):
        o = hl.Var("o")
        # Four vectors at once: the passages of one wait for each other.
        counts.split(i, o, i, 4 * vector(F), hl.TailStrategy.GuardWithIf).vectorize(i, vector(F)).unroll(i)
        state.compute_at(counts, o).vectorize(i, vector(F)).unroll(i)
        state.update().reorder(i, r.x).vectorize(i, vector(F)).unroll(i)
    counts.parallel(j)
    return calling(counts, {3: out.reshape(h, w)})


def nbody(softening, x, y, z, m, ax, ay, az):
    size = len(x)
    at = [buffer(array) for array in (x, y, z)]
    mass, i, pulls, forces = buffer(m), hl.Var("i"), hl.Func("pulls"), hl.Func("nbody")
    r = hl.RDom([(0, size)])
    d = [axis[r.x] - axis[i] for axis in at]
    r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + hl.f32(softening)
    inverse = hl.f32(1) / hl.sqrt(r2)
    pull = mass[r.x] * inverse * inverse * inverse
    pulls[i] = hl.Tuple([hl.f32(0)] * 3)
    pulls[i] = hl.Tuple([pulls[i][axis] + d[axis] * pull for axis in range(3)])
    forces[i] = hl.Tuple([pulls[i][axis] for axis in range(3)])
    if size >= 2 * vector(F):
        o = hl.Var("o")
        forces.split(i, o, i, 2 * vector(F), hl.TailStrategy.GuardWithIf).vectorize(i, vector(F)).unroll(i)
        forces.parallel(o)
        pulls.compute_at(forces, o).vectorize(i, vector(F)).unroll(i)
        pulls.update().reorder(i, r.x).vectorize(i, vector(F)).unroll(i)
    return calling(forces, {5: ax, 6: ay, 7: az})


def histogram(x, bins):
    """Bins of each chunk's own, then their sums."""
    size, source = len(x), buffer(x)
    b, c = hl.Var("b"), hl.Var("c")
    width = max(CHUNK, -(-size // 64))
    chunks = max(1, -(-size // width))
    part, total, old = hl.Func("part"), hl.Func("total"), buffer(bins)
    r = hl.RDom([(0, width)])
    at = c * width + r.x
    part[b, c] = hl.u32(0)
    r.where(at < size)
    part[hl.clamp(hl.i32(source[hl.clamp(at, 0, size - 1)] & hl.u32(255)), 0, 255), c] += hl.u32(1)
    q = hl.RDom([(0, chunks)])
    start = hl.ImageParam(U, 1)
    start.set(old)
    total[b] = start[b]
    total[b] += part[b, q.x]
    part.compute_root().vectorize(b, vector(U))
    if chunks > 1:
        part.parallel(c)
        part.update().parallel(c)
    else:
        part.update().unscheduled()
    total.vectorize(b, vector(U))
    total.update().reorder(b, q.x).vectorize(b, vector(U))
    pipeline = hl.Pipeline(total)
    return lambda: pipeline.realize(old), lambda: {1: bins}


def spmv(starts, columns, values, x, y):
    """A loop over the longest row, which Halide cuts to each row's own end."""
    ends, columns, values, x = (buffer(array) for array in (starts, columns, values, x))
    longest = int(np.diff(starts).max(initial=0))
    i, product = hl.Var("i"), hl.Func("spmv")
    first, end = hl.i32(ends[i]), hl.i32(ends[i + 1])
    r = hl.RDom([(0, max(1, longest))])
    r.where(first + r.x < end)
    at = hl.unsafe_promise_clamped(first + r.x, 0, max(0, values.width() - 1))
    column = hl.unsafe_promise_clamped(hl.i32(columns[at]), 0, x.width() - 1)
    product[i] = hl.f32(0)
    product[i] += values[at] * x[column]
    if len(y) > 64:
        product.parallel(i, max(64, len(y) // 64))
        product.update().parallel(i, max(64, len(y) // 64))
    else:
        product.update().unscheduled()
    return calling(product, {4: y})


def held(function):
    def prepare(*args):
        HELD[:] = []
        return function(*args)

    return prepare


KERNELS = {
    f.__name__: held(f)
    for f in (saxpy, dot, sum, prefix_sum, matmul, jacobi, conv3x3, black_scholes, mandelbrot, nbody, histogram, spmv)
}
