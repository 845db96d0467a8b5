// Blocks of 1,024 elements are scanned, then the sums of the blocks, and these are added.

@group(0) @binding(0) var<uniform> u: vec4<u32>;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
@group(0) @binding(3) var<storage, read_write> sums: array<u32>;

var<workgroup> tile: array<u32, 256>;

// The sum of what the invocations before this one have.
fn scan(at: u32, value: u32) -> u32 {
    tile[at] = value;
    workgroupBarrier();
    for (var step = 1u; step < 256u; step *= 2u) {
        var before = 0u;
        if at >= step {
            before = tile[at - step];
        }
        workgroupBarrier();
        tile[at] += before;
        workgroupBarrier();
    }
    return tile[at] - value;
}

@compute @workgroup_size(256)
fn main(
    @builtin(local_invocation_index) at: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let first = group.x * 1024u + at * 4u;
    var own = array<u32, 4>();
    var sum = 0u;
    for (var k = 0u; k < 4u; k++) {
        if first + k < u.x {
            sum += x[first + k];
        }
        own[k] = sum;
    }
    let before = scan(at, sum);
    for (var k = 0u; k < 4u; k++) {
        if first + k < u.x {
            out[first + k] = before + own[k];
        }
    }
    if at == 255u {
        sums[group.x] = before + sum;
    }
}

@compute @workgroup_size(256)
fn scan_sums(@builtin(local_invocation_index) at: u32) {
    var carry = 0u;
    for (var first = 0u; first < u.y; first += 256u) {
        let i = first + at;
        var value = 0u;
        if i < u.y {
            value = sums[i];
        }
        let before = scan(at, value);
        if i < u.y {
            sums[i] = carry + before;
        }
        workgroupBarrier();
        carry += tile[255];
        workgroupBarrier();
    }
}

@compute @workgroup_size(256)
fn add_sums(
    @builtin(local_invocation_index) at: u32,
    @builtin(workgroup_id) group: vec3<u32>,
) {
    let before = sums[group.x];
    for (var k = 0u; k < 4u; k++) {
        let i = group.x * 1024u + k * 256u + at;
        if i < u.x {
            out[i] += before;
        }
    }
}
