//! Shaders in the interpreter, against what they say.

use super::Module;
use crate::error::KernelError;
use crate::interp::{self, Data};
use crate::ir::{Kernel, Stmt};
use crate::passes;

/// The one kernel of a shader in WGSL, the same before and after all passes.
fn kernel(source: &str) -> Kernel {
    let module = Module::from_wgsl("test.wgsl", source).unwrap_or_else(|e| panic!("{e}"));
    let name = module.entries().next().expect("an entry point").to_owned();
    module.kernel(&name).unwrap_or_else(|e| panic!("{e}"))
}

fn floats(values: &[f32]) -> Data {
    Data::Narrow(values.iter().map(|v| v.to_bits()).collect())
}

fn run(kernel: &Kernel, args: &[Data], grid: [u32; 3]) -> Vec<Data> {
    let mut plain = args.to_vec();
    interp::run(kernel, &mut plain, grid, None).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    let optimized = passes::optimize(kernel);
    let mut fast = args.to_vec();
    interp::run(&optimized, &mut fast, grid, None).expect("no check fails");
    assert_eq!(plain, fast, "{kernel}\n{optimized}");
    let cut = passes::fission::fission(&optimized);
    let mut pieces = args.to_vec();
    interp::run(&cut, &mut pieces, grid, None).expect("no check fails");
    assert_eq!(plain, pieces, "{kernel}\n{cut}");
    plain
}

fn complaint(source: &str) -> String {
    let made = Module::from_wgsl("test.wgsl", source).and_then(|module| {
        let name = module.entries().next().unwrap_or("?").to_owned();
        module.kernel(&name)
    });
    match made {
        Err(KernelError::Source { diagnostics, .. }) => diagnostics[0].to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn buffers_and_uniforms_are_parameters() {
    let kernel = kernel(
        "struct Params { n: u32, a: f32 }
         @group(0) @binding(1) var<storage, read_write> y: array<f32>;
         @group(0) @binding(0) var<storage> x: array<f32>;
         @group(0) @binding(2) var<uniform> params: Params;
         @compute @workgroup_size(64)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {
             if (id.x >= params.n) { return; }
             y[id.x] += params.a * x[id.x];
         }",
    );
    let names: Vec<&str> = kernel.entry.params.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["x", "y", "params_n", "params_a"]);
    let args = [
        floats(&[1.0, 2.0, 3.0]),
        floats(&[10.0; 3]),
        Data::Scalar(3u32.into()),
        Data::Scalar(2f32.into()),
    ];
    let found = run(&kernel, &args, [3, 1, 1]);
    assert_eq!(found[1], floats(&[12.0, 14.0, 16.0]));
}

#[test]
fn vectors_structures_and_functions_are_scalars() {
    let kernel = kernel(
        "struct Body { at: vec3<f32>, mass: f32, kind: u32 }
         @group(0) @binding(0) var<storage> bodies: array<Body>;
         @group(0) @binding(1) var<storage, read_write> out: array<vec2<f32>>;
         fn weight(body: Body, by: f32) -> f32 {
             if (body.kind == 1u) { return -1.0; }
             for (var i = 0; i < 3; i++) {
                 if (f32(i) > by) { return f32(i); }
             }
             return body.mass * by;
         }
         @compute @workgroup_size(4)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {
             let i = id.x;
             if (i >= arrayLength(&bodies)) { return; }
             let body = bodies[i];
             var v = body.at.zx * 2.0 + vec2(1.0);
             v.y = weight(body, dot(v, vec2(1.0, 0.0)));
             out[i] = v;
         }",
    );
    // A body is 32 bytes: three coordinates, mass, kind, and padding.
    let body = |z: f32, x: f32, mass: f32, kind: u32| {
        [x.to_bits(), 0, z.to_bits(), mass.to_bits(), kind, 0, 0, 0]
    };
    let words = [body(1.0, 2.0, 5.0, 0), body(1.0, 2.0, 5.0, 1), body(0.0, 4.0, 5.0, 0)].concat();
    let out = Data::Narrow(vec![0; 6]);
    let found = run(&kernel, &[Data::Narrow(words), out], [3, 1, 1]);
    assert_eq!(found[1], floats(&[3.0, 15.0, 3.0, -1.0, 1.0, 2.0]));
}

#[test]
fn workgroups_share_and_wait() {
    let kernel = kernel(
        "@group(0) @binding(0) var<storage> x: array<u32>;
         @group(0) @binding(1) var<storage, read_write> sums: array<u32>;
         var<workgroup> tile: array<u32, 8>;
         var<workgroup> hits: atomic<u32>;
         @compute @workgroup_size(8)
         fn main(@builtin(local_invocation_index) at: u32, @builtin(workgroup_id) group: vec3<u32>,
                 @builtin(global_invocation_id) id: vec3<u32>) {
             tile[at] = x[id.x];
             if (x[id.x] % 2u == 1u) { atomicAdd(&hits, 1u); }
             workgroupBarrier();
             for (var half = 4u; half > 0u; half = half / 2u) {
                 if (at < half) { tile[at] += tile[at + half]; }
                 workgroupBarrier();
             }
             if (at == 0u) { sums[group.x] = tile[0] * 100u + atomicLoad(&hits); }
         }",
    );
    let x = Data::Narrow((0..16).collect());
    let found = run(&kernel, &[x, Data::Narrow(vec![0; 2])], [16, 1, 1]);
    assert_eq!(found[1], Data::Narrow(vec![2804, 9204]));
}

#[test]
fn loops_that_count_are_counted_and_others_are_not() {
    let head = "@group(0) @binding(0) var<storage, read_write> y: array<u32>;
         @group(0) @binding(1) var<uniform> n: u32;
         fn value_of(p: ptr<function, u32>) -> u32 { return *p; }
         @compute @workgroup_size(1)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {
             var sum = 0u; ";
    let tail = " y[id.x] = sum; }";
    let counts = |body: &str, expected: u32| {
        let kernel = kernel(&format!("{head}{body}{tail}"));
        let args = [Data::Narrow(vec![0]), Data::Scalar(5u32.into())];
        assert_eq!(run(&kernel, &args, [1, 1, 1])[0], Data::Narrow(vec![expected]), "{body}");
        let mut unbounded = false;
        kernel.entry.walk(&mut |stmt| unbounded |= matches!(stmt, Stmt::Loop(_)));
        !unbounded
    };
    assert!(counts("for (var i = 0u; i < n; i++) { sum += i; }", 10));
    assert!(counts(
        "for (var i = 1u; i < n + 2u; i += 2u) { if (i == 3u) { continue; } sum += i; }",
        6
    ));
    assert!(counts(
        "for (var i = 0; i < 4; i++) { for (var j = 0; j < i; j++) { sum += 1u; } }",
        6
    ));
    assert!(!counts("for (var i = 0u; i < n; i++) { sum += i; i += 1u; }", 6));
    assert!(!counts(
        "var i = n; while (i > 0u) { i -= 1u; if (i == 2u) { continue; } sum += i; }",
        8
    ));
    assert!(!counts("loop { sum += 1u; continuing { sum += 1u; break if sum > 6u; } }", 8));
    assert!(!counts("var i = 0u; for (; i < n; i++) { sum += 1u; } sum += i;", 10));
    let again = "var i = 0u; for (var k = 0u; k < 2u; k++) { for (; i < n; i++) { sum += 1u; } }";
    assert!(!counts(again, 5));
    assert!(!counts("var i = 0u; for (; i < n; i++) { sum += 1u; } sum += value_of(&i);", 10));
    let copied = "var i = 0u; loop { let j = i; if (j < n) {} else { break; } sum += j; \
                  continuing { i++; } }";
    counts(copied, 10);
    assert!(!counts(
        "var i = 0u; loop { if (i < n) {} else { break; } sum += 1u; \
                     continuing { i += 1u; { i += 2u; } } }",
        2
    ));
    assert!(!counts("for (var i = 0u; i < sum + 3u; i++) { if (i < 2u) { sum += 1u; } }", 2));
}

#[test]
fn switches_arrays_and_casts() {
    let kernel = kernel(
        "@group(0) @binding(0) var<storage, read_write> y: array<i32>;
         const TABLE = array<i32, 3>(7, 8, 9);
         @compute @workgroup_size(2, 1)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {
             var local: array<i32, 4>;
             for (var i = 0; i < 4; i++) { local[i] = i * i; }
             let v = i32(id.x);
             var r = local[v % 4];
             switch v {
                 case 0, 1: { r += 100; }
                 case 2: { r += TABLE[v]; }
                 default: { r = select(r, -r, v > 4); }
             }
             y[id.x] = r + i32(floor(-0.5)) + bitcast<i32>(0xffffffffu);
         }",
    );
    let found = run(&kernel, &[Data::Narrow(vec![0; 6])], [6, 1, 1]);
    let expected = [98, 99, 11, 7, -2, -3].map(|v: i32| v as u32);
    assert_eq!(found[0], Data::Narrow(expected.to_vec()));
}

#[test]
fn what_is_not_taken_is_named_with_its_line() {
    let body = |declared: &str, body: &str| {
        format!(
            "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n{declared}\n\
             @compute @workgroup_size(4)\n\
             fn main(@builtin(local_invocation_id) l: vec3<u32>) {{\n{body}\n}}"
        )
    };
    for (declared, code, place, what) in [
        ("", "y[0] = 1.0 +;", "test.wgsl:5", ""),
        ("", "y[0] = q;", "test.wgsl:5", ""),
        ("", "if (l.x < 2u) { workgroupBarrier(); } y[0] = 1.0;", "test.wgsl:5", "barrier"),
        (
            "",
            "let m = mat2x2<f32>(1.0, 0.0, 0.0, 1.0); y[0] = (m * vec2(1.0, 2.0)).x;",
            "test.wgsl:5",
            "matrices",
        ),
        (
            "@group(0) @binding(1) var t: texture_2d<f32>;",
            "y[0] = textureLoad(t, vec2(0, 0), 0).x;",
            "test.wgsl:2",
            "textures",
        ),
        ("", "y[0] = asinh(1.0 + y[1]);", "test.wgsl:5", "Asinh"),
        ("", "for (var i = 0u; i < 2u; i++) {\ny[0] = asinh(y[1]);\n}", "test.wgsl:6", "Asinh"),
        ("var<workgroup> f: array<bool, 4>;", "f[l.x] = y[0] > 1.0;", "test.wgsl:2", "bool"),
    ] {
        let text = complaint(&body(declared, code));
        assert!(text.contains(place) && text.contains(what), "{code}: {text}");
    }
    let module = Module::from_wgsl("test.wgsl", &body("", "y[0] = 1.0;")).expect("valid");
    let missing = module.kernel("other").expect_err("no such entry");
    assert!(missing.to_string().contains("there are: main"), "{missing}");
}

#[test]
fn an_index_out_of_range_is_an_error_with_its_line() {
    let kernel = kernel(
        "@group(0) @binding(0) var<storage, read_write> y: array<f32>;
         @compute @workgroup_size(4)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {
             y[id.x + 1u] = 1.0;
         }",
    );
    let end = interp::run(&kernel, &mut [floats(&[0.0; 4])], [4, 1, 1], None);
    let text = end.expect_err("out of range").to_string();
    assert!(text.contains("test.wgsl:4") && text.contains("index 4"), "{text}");
}

#[test]
fn glsl_and_spirv_come_through_the_same_door() {
    let glsl = "#version 450
        layout(local_size_x = 4) in;
        layout(set = 0, binding = 0) buffer Numbers { float y[]; };
        void main() { y[gl_GlobalInvocationID.x] *= 2.0; }";
    let kernel = Module::from_glsl("test.comp", glsl)
        .and_then(|module| module.kernel("main"))
        .unwrap_or_else(|e| panic!("{e}"));
    let found = run(&kernel, &[floats(&[1.0, 2.0, 3.0, 4.0])], [4, 1, 1]);
    assert_eq!(found[0], floats(&[2.0, 4.0, 6.0, 8.0]));
    assert!(Module::from_glsl("test.comp", "void main() { x = 1; }").is_err());
    assert!(Module::from_spirv("test.spv", &[1, 2, 3]).is_err());
}

#[test]
fn arrays_behind_a_head_are_held_inside() {
    let kernel = kernel(
        "struct Head { n: u32, data: array<u32> }
         @group(0) @binding(0) var<storage, read_write> s: Head;
         @compute @workgroup_size(1)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {
             s.data[id.x - 1u] = arrayLength(&s.data);
         }",
    );
    let words = |n: usize| vec![Data::Narrow(vec![5; n])];
    let end = interp::run(&kernel, &mut words(4), [1, 1, 1], None);
    assert!(end.is_err(), "the word before the array is not its element");
    let mut args = words(4);
    let mut inside = kernel.clone();
    inside.workgroup = Some([1; 3]);
    // Invocation 0 is out of range, whatever the length.
    assert!(interp::run(&inside, &mut args, [2, 1, 1], None).is_err());
    assert_eq!(args, words(4));
}

#[test]
fn grids_have_the_axes_that_are_asked_for() {
    let axes = |inputs: &str, code: &str| {
        kernel(&format!(
            "struct In {{ @builtin(global_invocation_id) id: vec3<u32>,
                          @builtin(local_invocation_index) l: u32 }}
             @group(0) @binding(0) var<storage, read_write> y: array<u32>;
             fn rows(v: vec3<u32>) -> u32 {{ return v.y; }}
             @compute @workgroup_size(64) fn main({inputs}) {{ {code} }}"
        ))
        .grid
        .len()
    };
    let id = "@builtin(global_invocation_id) id: vec3<u32>";
    assert_eq!(axes(id, "y[id.x] = 1u;"), 1);
    assert_eq!(axes(id, "y[id.x] = id.y;"), 2);
    assert_eq!(axes(id, "let p = id.xy; y[p.x] = p.y;"), 2);
    assert_eq!(axes(id, "y[id.x] = rows(id);"), 3);
    assert_eq!(axes("in: In", "y[in.id.x] = in.l;"), 1);
    assert_eq!(axes("in: In", "y[in.id.x] = in.id.y;"), 2);
}
