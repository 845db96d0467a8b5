@group(0) @binding(0) var<uniform> u: vec4<f32>;
@group(0) @binding(1) var<storage, read> s: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> t: array<f32>;
@group(0) @binding(4) var<storage, read_write> call: array<f32>;
@group(0) @binding(5) var<storage, read_write> put: array<f32>;

fn normal(x: f32) -> f32 {
    let size = abs(x);
    let k = 1.0 / (1.0 + 0.2316419 * size);
    let series = k * (0.31938153
        + k * (-0.35656378 + k * (1.7814779 + k * (-1.8212559 + k * 1.3302744))));
    let tail = 0.3989423 * exp(-0.5 * size * size) * series;
    return select(1.0 - tail, tail, x < 0.0);
}

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 256u;
    if i >= arrayLength(&call) {
        return;
    }
    let rate = u.x;
    let volatility = u.y;
    let spread = volatility * sqrt(t[i]);
    let d1 = (log(s[i] / k[i]) + (rate + 0.5 * volatility * volatility) * t[i]) / spread;
    let d2 = d1 - spread;
    let strike = k[i] * exp(-rate * t[i]);
    call[i] = s[i] * normal(d1) - strike * normal(d2);
    put[i] = strike * normal(-d2) - s[i] * normal(-d1);
}
