@group(0) @binding(0) var<uniform> u: vec4<u32>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let w = u.x;
    let h = u.y;
    if id.x >= w || id.y >= h {
        return;
    }
    var sum = 0.0;
    for (var i = 0u; i < 3u; i++) {
        let row = clamp(id.y + i, 1u, h) - 1u;
        for (var j = 0u; j < 3u; j++) {
            let column = clamp(id.x + j, 1u, w) - 1u;
            sum += weights[i * 3u + j] * x[row * w + column];
        }
    }
    y[id.y * w + id.x] = sum;
}
