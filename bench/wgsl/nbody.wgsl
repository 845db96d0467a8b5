// Two ways: each body looks at all others where they are, or through tiles of workgroup memory. The
// faster on the adapter is the baseline.

@group(0) @binding(0) var<uniform> u: vec4<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> z: array<f32>;
@group(0) @binding(4) var<storage, read> m: array<f32>;
@group(0) @binding(5) var<storage, read_write> ax: array<f32>;
@group(0) @binding(6) var<storage, read_write> ay: array<f32>;
@group(0) @binding(7) var<storage, read_write> az: array<f32>;

fn pull(body: vec4<f32>, at: vec3<f32>) -> vec3<f32> {
    let d = body.xyz - at;
    let r2 = dot(d, d) + u.x;
    let inverse = inverseSqrt(r2);
    return d * (body.w * inverse * inverse * inverse);
}

@compute @workgroup_size(256)
fn plain(@builtin(global_invocation_id) id: vec3<u32>) {
    let i = id.x;
    if i >= arrayLength(&ax) {
        return;
    }
    let at = vec3<f32>(x[i], y[i], z[i]);
    var f = vec3<f32>();
    for (var j = 0u; j < arrayLength(&x); j++) {
        f += pull(vec4<f32>(x[j], y[j], z[j], m[j]), at);
    }
    ax[i] = f.x;
    ay[i] = f.y;
    az[i] = f.z;
}

var<workgroup> tile: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn tiled(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let n = arrayLength(&x);
    let i = min(id.x, n - 1u);
    let at = vec3<f32>(x[i], y[i], z[i]);
    var f = vec3<f32>();
    for (var first = 0u; first < n; first += 256u) {
        var body = vec4<f32>();
        let j = first + local;
        if j < n {
            body = vec4<f32>(x[j], y[j], z[j], m[j]);
        }
        tile[local] = body;
        workgroupBarrier();
        for (var k = 0u; k < 256u; k++) {
            f += pull(tile[k], at);
        }
        workgroupBarrier();
    }
    if id.x < n {
        ax[i] = f.x;
        ay[i] = f.y;
        az[i] = f.z;
    }
}
