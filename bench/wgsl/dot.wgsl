@group(0) @binding(0) var<uniform> u: vec4<u32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;

var<workgroup> tile: array<f32, 256>;

fn reduce(at: u32) {
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if at < half {
            tile[at] += tile[at + half];
        }
        workgroupBarrier();
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(local_invocation_index) at: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    var sum = 0.0;
    for (var i = group.x * 256u + at; i < u.x; i += groups.x * 256u) {
        sum += x[i] * y[i];
    }
    tile[at] = sum;
    reduce(at);
    if at == 0u {
        sums[group.x] = tile[0];
    }
}

@compute @workgroup_size(256)
fn finish(@builtin(local_invocation_index) at: u32) {
    var sum = 0.0;
    for (var i = at; i < u.y; i += 256u) {
        sum += sums[i];
    }
    tile[at] = sum;
    reduce(at);
    if at == 0u {
        out[0] = tile[0];
    }
}
