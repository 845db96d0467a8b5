// Three ways: an element for each invocation, the same through tiles of workgroup memory, and 4 × 4
// elements for each invocation through such tiles. The fastest on the adapter is the baseline.

@group(0) @binding(0) var<uniform> u: vec4<u32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> c: array<f32>;

@compute @workgroup_size(64, 4)
fn plain(@builtin(global_invocation_id) id: vec3<u32>) {
    let n = u.x;
    if id.x >= n || id.y >= n {
        return;
    }
    var sum = 0.0;
    for (var k = 0u; k < n; k++) {
        sum += a[id.y * n + k] * b[k * n + id.x];
    }
    c[id.y * n + id.x] = sum;
}

var<workgroup> tile_a: array<array<f32, 16>, 16>;
var<workgroup> tile_b: array<array<f32, 16>, 16>;

@compute @workgroup_size(16, 16)
fn tiled(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_id) at: vec3<u32>,
) {
    let n = u.x;
    var sum = 0.0;
    for (var k = 0u; k < n; k += 16u) {
        var value = 0.0;
        if id.y < n && k + at.x < n {
            value = a[id.y * n + k + at.x];
        }
        tile_a[at.y][at.x] = value;
        value = 0.0;
        if id.x < n && k + at.y < n {
            value = b[(k + at.y) * n + id.x];
        }
        tile_b[at.y][at.x] = value;
        workgroupBarrier();
        for (var j = 0u; j < 16u; j++) {
            sum += tile_a[at.y][j] * tile_b[j][at.x];
        }
        workgroupBarrier();
    }
    if id.x < n && id.y < n {
        c[id.y * n + id.x] = sum;
    }
}

var<workgroup> panel_a: array<array<f32, 64>, 16>;
var<workgroup> panel_b: array<array<vec4<f32>, 16>, 16>;

@compute @workgroup_size(16, 16)
fn blocked(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) at: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let n = u.x;
    let row = group.y * 64u;
    let column = group.x * 64u;
    var sums = array<vec4<f32>, 4>();
    for (var k = 0u; k < n; k += 16u) {
        for (var part = 0u; part < 4u; part++) {
            let i = index + part * 256u;
            let r = i / 16u;
            let q = i % 16u;
            var value = 0.0;
            if row + r < n && k + q < n {
                value = a[(row + r) * n + k + q];
            }
            panel_a[q][r] = value;
        }
        var four = vec4<f32>();
        for (var e = 0u; e < 4u; e++) {
            let x = column + at.x * 4u + e;
            if k + at.y < n && x < n {
                four[e] = b[(k + at.y) * n + x];
            }
        }
        panel_b[at.y][at.x] = four;
        workgroupBarrier();
        for (var j = 0u; j < 16u; j++) {
            let right = panel_b[j][at.x];
            for (var r = 0u; r < 4u; r++) {
                sums[r] += panel_a[j][at.y * 4u + r] * right;
            }
        }
        workgroupBarrier();
    }
    for (var r = 0u; r < 4u; r++) {
        for (var e = 0u; e < 4u; e++) {
            let y = row + at.y * 4u + r;
            let x = column + at.x * 4u + e;
            if y < n && x < n {
                c[y * n + x] = sums[r][e];
            }
        }
    }
}
