@group(0) @binding(0) var<uniform> u: vec4<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let w = u.x;
    let h = u.y;
    if id.x >= w || id.y >= h {
        return;
    }
    let cx = -2.0 + 2.5 * (f32(id.x) + 0.5) / f32(w);
    let cy = -1.25 + 2.5 * (f32(id.y) + 0.5) / f32(h);
    var x = 0.0;
    var y = 0.0;
    var count = 0u;
    for (; count < u.z; count++) {
        let xx = x * x;
        let yy = y * y;
        if xx + yy > 4.0 {
            break;
        }
        y = 2.0 * x * y + cy;
        x = xx - yy + cx;
    }
    out[id.y * w + id.x] = count;
}
