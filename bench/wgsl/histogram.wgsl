// Each workgroup counts in memory of its own, and adds that to the bins at the end.

@group(0) @binding(0) var<uniform> u: vec4<u32>;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> bins: array<atomic<u32>>;

var<workgroup> own: array<atomic<u32>, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(local_invocation_index) at: u32,
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    for (var i = group.x * 256u + at; i < u.x; i += groups.x * 256u) {
        atomicAdd(&own[x[i] & 255u], 1u);
    }
    workgroupBarrier();
    let count = atomicLoad(&own[at]);
    if count > 0u {
        atomicAdd(&bins[at], count);
    }
}

// The same without memory of its own: each element goes to the bins at once.
@compute @workgroup_size(256)
fn plain(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = id.x + id.y * groups.x * 256u;
    if i < u.x {
        atomicAdd(&bins[x[i] & 255u], 1u);
    }
}
