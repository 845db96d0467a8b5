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
            "@group(0) @binding(1) var t: texture_2d<f32>;",
            "y[0] = textureLoad(t, vec2(0, 0), 0).x;",
            "test.wgsl:2",
            "textures",
        ),
        (
            "",
            "for (var i = 0u; i < 2u; i++) {\ny[0] = f32(subgroupAdd(i));\n}",
            "test.wgsl:6",
            "subgroup",
        ),
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

/// Words of floats, from the words that `code` writes to `y` when it reads them from `x`.
fn computed(declared: &str, code: &str, x: &[u32], out: usize) -> Vec<u32> {
    let kernel = kernel(&format!(
        "@group(0) @binding(0) var<storage> x: array<u32>;
         @group(0) @binding(1) var<storage, read_write> y: array<u32>;
         {declared}
         fn f(at: u32) -> f32 {{ return bitcast<f32>(x[at]); }}
         fn put(at: u32, v: f32) {{ y[at] = bitcast<u32>(v); }}
         @compute @workgroup_size(1)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {{ let i = id.x; {code} }}"
    ));
    let args = [Data::Narrow(x.to_vec()), Data::Narrow(vec![0xdead_beef; out])];
    let Data::Narrow(found) = run(&kernel, &args, [out as u32, 1, 1]).swap_remove(1) else {
        panic!("a buffer of words stays one");
    };
    found
}

fn computed_floats(code: &str, x: &[f32], out: usize) -> Vec<f32> {
    let words: Vec<u32> = x.iter().map(|v| v.to_bits()).collect();
    computed("", code, &words, out).into_iter().map(f32::from_bits).collect()
}

#[test]
fn matrices_are_their_columns() {
    // A matrix of two columns and three rows, and one of three columns and two rows.
    let a = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]];
    let b = [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]];
    let x: Vec<f32> = a.concat().into_iter().chain(b.concat()).collect();
    let load = "let a = mat2x3<f32>(f(0), f(1), f(2), f(3), f(4), f(5));
                let b = mat3x2<f32>(f(6), f(7), f(8), f(9), f(10), f(11));";
    let of = |code: &str, out| {
        computed_floats(&format!("{load} if (i > 0u) {{ return; }} {code}"), &x, out)
    };
    let product = |row: usize, column: usize| a[0][row] * b[column][0] + a[1][row] * b[column][1];
    let columns: Vec<f32> = (0..9).map(|at| product(at % 3, at / 3)).collect();
    let store = "for (var c = 0u; c < 3u; c++) { for (var r = 0u; r < 3u; r++) { put(3u * c + r, m[c][r]); } }";
    assert_eq!(of(&format!("var m = a * b; {store}"), 9), columns);
    assert_eq!(of(&format!("let m = a * b; {store}"), 9), columns, "an index into a value");
    assert_eq!(
        of(&format!("var m = a * b; m[1] = vec3(0.0); m[1].y = m[2][0]; {store}"), 9)[3..6],
        [0.0, columns[6], 0.0]
    );
    assert_eq!(
        of("let v = a * vec2(1.0, 10.0); put(0u, v.x); put(1u, v.y); put(2u, v.z);", 3),
        [41.0, 52.0, 63.0]
    );
    assert_eq!(
        of("let v = vec3(1.0, 10.0, 100.0) * a; put(0u, v.x); put(1u, v.y);", 2),
        [321.0, 654.0]
    );
    assert_eq!(
        of("let m = transpose(b) - a; put(0u, m[1].z); put(1u, (2.0 * m * 0.5)[0].y);", 2),
        [6.0, 7.0]
    );
    let square =
        "let m = mat3x3(vec3(2.0, f(0), 0.0), vec3(f(1), 3.0, 1.0), vec3(0.0, 1.0, f(3)));";
    let determinant = 2.0 * (3.0 * 4.0 - 1.0) - (2.0 * 4.0 - 0.0);
    assert_eq!(of(&format!("{square} put(0u, determinant(m));"), 1), [determinant]);
}

#[test]
fn matrices_lie_in_memory_with_their_padding() {
    let kernel = kernel(
        "struct Camera { turn: mat3x3<f32>, scale: f32, more: mat2x2<f32> }
         @group(0) @binding(0) var<storage, read_write> cameras: array<Camera>;
         @compute @workgroup_size(1)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {
             let c = cameras[id.x].turn * vec3(1.0, 0.0, 2.0);
             cameras[id.x].turn[1] = c;
             cameras[id.x].more = cameras[id.x].more * cameras[id.x].more;
             cameras[id.x].scale = cameras[id.x].turn[id.x + 2u].y;
         }",
    );
    // Columns of three take four words; the structure ends at a multiple of sixteen bytes.
    let words: Vec<f32> = (0..20).map(|i| i as f32).collect();
    let mut expected = words.clone();
    expected[4..7].copy_from_slice(&[16.0, 19.0, 22.0]);
    let [a, b, c, d] = [14.0, 15.0, 16.0, 17.0];
    expected[14..18].copy_from_slice(&[a * a + c * b, b * a + d * b, a * c + c * d, b * c + d * d]);
    expected[12] = 9.0;
    assert_eq!(run(&kernel, &[floats(&words)], [1, 1, 1])[0], floats(&expected));
    let end =
        interp::run(&kernel, &mut [floats(&[words.clone(), words].concat())], [2, 1, 1], None);
    assert!(end.expect_err("column 3").to_string().contains("index 3"));
}

#[test]
fn glsl_matrices_are_inverted() {
    let glsl = "#version 450
        layout(local_size_x = 1) in;
        layout(set = 0, binding = 0) buffer Numbers { float y[]; };
        void main() {
            mat4 m = mat4(y[0], 1.0, 0.0, 2.0,  0.0, 3.0, 1.0, 0.0,  1.0, 0.0, 2.0, 1.0,  0.0, 1.0, 0.0, 5.0);
            mat4 unit = inverse(m) * m;
            mat2 small = inverse(mat2(2.0, 1.0, 1.0, 3.0));
            for (int c = 0; c < 4; c++) for (int r = 0; r < 4; r++) y[4 * c + r] = unit[c][r];
            y[16] = small[0][0]; y[17] = small[0][1];
        }";
    let module = Module::from_glsl("test.comp", glsl).unwrap_or_else(|e| panic!("{e}"));
    let kernel = module.kernel("main").unwrap_or_else(|e| panic!("{e}"));
    let found = run(&kernel, &[floats(&[4.0; 18])], [1, 1, 1]).swap_remove(0);
    let Data::Narrow(words) = found else { panic!("a buffer of words stays one") };
    for (at, &word) in words[..16].iter().enumerate() {
        let unit = if at % 5 == 0 { 1.0 } else { 0.0 };
        assert!((f32::from_bits(word) - unit).abs() < 1e-5, "{at}: {}", f32::from_bits(word));
    }
    assert_eq!(words[16..], [0.6f32, -0.2].map(f32::to_bits));
}

#[test]
fn a_pipeline_sets_constants() {
    let source = "override WIDTH: u32 = 4u;
         @id(7) override factor: f32;
         override doubled = 2.0 * factor;
         var<workgroup> tile: array<f32, WIDTH>;
         @group(0) @binding(0) var<storage, read_write> y: array<f32>;
         @compute @workgroup_size(WIDTH)
         fn main(@builtin(local_invocation_index) l: u32, @builtin(global_invocation_id) id: vec3<u32>) {
             tile[l] = y[id.x];
             workgroupBarrier();
             y[id.x] = doubled * tile[WIDTH - 1u - l];
         }";
    let module = || Module::from_wgsl("test.wgsl", source).unwrap_or_else(|e| panic!("{e}"));
    let kernel = module().with_constants([("WIDTH", 2.0), ("7", 3.0)]).kernel("main");
    let kernel = kernel.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(kernel.workgroup, Some([2, 1, 1]));
    let found = run(&kernel, &[floats(&[1.0, 2.0, 3.0, 4.0])], [4, 1, 1]);
    assert_eq!(found[0], floats(&[12.0, 6.0, 24.0, 18.0]));
    let default = module().with_constants([("7", 0.5)]).kernel("main");
    assert_eq!(default.unwrap_or_else(|e| panic!("{e}")).workgroup, Some([4, 1, 1]));
    let fails = |constants: &[(&str, f64)]| {
        let kernel = module().with_constants(constants.iter().copied()).kernel("main");
        kernel.expect_err("refused").to_string()
    };
    assert!(fails(&[]).contains("`7` has no value"), "{}", fails(&[]));
    assert!(fails(&[("7", 1.0), ("HEIGHT", 1.0)]).contains("no constant `HEIGHT`"));
    assert!(fails(&[("7", 1.0), ("WIDTH", -1.0)]).contains("test.wgsl"));
}

#[test]
fn invocations_know_how_many_groups_there_are() {
    let kernel = kernel(
        "@group(0) @binding(0) var<storage, read_write> y: array<u32>;
         @compute @workgroup_size(2, 3)
         fn main(@builtin(global_invocation_id) id: vec3<u32>,
                 @builtin(num_workgroups) groups: vec3<u32>) {
             // A loop over all of the array, whatever the grid.
             let width = groups.x * 2u;
             for (var at = id.y * width + id.x; at < arrayLength(&y); at += width * groups.y * 3u) {
                 y[at] = 100u * groups.x + 10u * groups.y + groups.z;
             }
         }",
    );
    assert_eq!(kernel.grid.len(), 3);
    let found = run(&kernel, &[Data::Narrow(vec![0; 50])], [4, 5, 1]);
    assert_eq!(found[0], Data::Narrow(vec![221; 50]));
}

#[test]
fn atomics_are_compared_and_exchanged() {
    let kernel = kernel(
        "@group(0) @binding(0) var<storage, read_write> sums: array<atomic<u32>>;
         @group(0) @binding(1) var<storage> x: array<f32>;
         @compute @workgroup_size(4)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {
             if (id.x >= arrayLength(&x)) { return; }
             var held = atomicLoad(&sums[id.x % 2u]);
             loop {
                 let sum = bitcast<u32>(bitcast<f32>(held) + x[id.x]);
                 let done = atomicCompareExchangeWeak(&sums[id.x % 2u], held, sum);
                 if (done.exchanged) { break; }
                 held = done.old_value;
             }
         }",
    );
    let x: Vec<f32> = (0..10).map(|i| i as f32).collect();
    let found = run(&kernel, &[Data::Narrow(vec![0; 2]), floats(&x)], [12, 1, 1]);
    assert_eq!(found[0], floats(&[20.0, 25.0]));
}

#[test]
fn uniforms_that_are_indexed_are_buffers() {
    let kernel = kernel(
        "struct Filter { size: u32, weights: array<vec4<f32>, 2> }
         @group(0) @binding(0) var<storage, read_write> y: array<f32>;
         @group(0) @binding(1) var<uniform> filter_: Filter;
         @group(0) @binding(2) var<uniform> scale: f32;
         @compute @workgroup_size(1)
         fn main(@builtin(global_invocation_id) id: vec3<u32>) {
             var sum = 0.0;
             for (var k = 0u; k < filter_.size; k++) { sum += filter_.weights[k / 4u][k % 4u]; }
             y[id.x] = scale * sum;
         }",
    );
    let names: Vec<&str> = kernel.entry.params.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names[0], "y");
    assert_eq!(names[2], "scale");
    let weights = [1.0f32, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0].map(f32::to_bits);
    let filter = [[6, 0, 0, 0].as_slice(), &weights].concat();
    let args = [floats(&[0.0; 2]), Data::Narrow(filter), Data::Scalar(0.5f32.into())];
    assert_eq!(run(&kernel, &args, [2, 1, 1])[0], floats(&[31.5, 31.5]));
}

#[test]
fn fields_of_bits_are_found_moved_and_reversed() {
    let numbers = [0u32, 1, 0x8000_0000, 0xffff_ffff, 0x1234_5678, 0x00f0_0000, 0x7fff_ffff];
    let each = |code: &str| {
        computed(
            "",
            &format!("let v = x[i]; let s = bitcast<i32>(v); y[i] = {code};"),
            &numbers,
            numbers.len(),
        )
    };
    let expect = |f: &dyn Fn(u32) -> u32| numbers.map(f).to_vec();
    assert_eq!(each("reverseBits(v)"), expect(&u32::reverse_bits));
    assert_eq!(each("bitcast<u32>(reverseBits(s))"), expect(&u32::reverse_bits));
    let first_trailing = |v: u32| if v == 0 { u32::MAX } else { v.trailing_zeros() };
    assert_eq!(each("firstTrailingBit(v)"), expect(&first_trailing));
    let first_leading = |v: u32| if v == 0 { u32::MAX } else { 31 - v.leading_zeros() };
    assert_eq!(each("firstLeadingBit(v)"), expect(&first_leading));
    let of_signed = |v: u32| first_leading(if v >> 31 == 1 { !v } else { v });
    assert_eq!(each("bitcast<u32>(firstLeadingBit(s))"), expect(&of_signed));
    for (offset, count) in
        [(0, 0), (0, 32), (4, 8), (31, 1), (20, 30), (32, 3), (50, 50), (0, 31), (31, 0)]
    {
        let (start, length) = (offset.min(32u32), count.min(32 - offset.min(32u32)));
        let mask = ((1u64 << length) - 1) as u32;
        let shifted = |v: u32| u32::try_from(u64::from(v) >> start).expect("32 bits");
        let unsigned = |v: u32| shifted(v) & mask;
        let signed = |v: u32| {
            let field = unsigned(v);
            let negative = length > 0 && field >> (length - 1) & 1 == 1;
            if negative { field | !mask } else { field }
        };
        let inserted = |v: u32| {
            let place = (u64::from(mask) << start) as u32;
            (v & !place) | ((0xabcd_ef01u64 << start) as u32 & place)
        };
        assert_eq!(
            each(&format!("extractBits(v, {offset}u, {count}u)")),
            expect(&unsigned),
            "{offset} {count}"
        );
        assert_eq!(
            each(&format!("bitcast<u32>(extractBits(s, {offset}u, {count}u))")),
            expect(&signed),
            "{offset} {count}"
        );
        assert_eq!(
            each(&format!("insertBits(v, 0xabcdef01u, {offset}u, {count}u)")),
            expect(&inserted),
            "{offset} {count}"
        );
    }
}

#[test]
fn vectors_are_packed_into_words() {
    let v = [-1.5f32, -0.5, 0.25, 2.0];
    let words = v.map(f32::to_bits);
    let packed = |code: &str| {
        computed(
            "",
            &format!("let v = vec4(f(0u), f(1u), f(2u), f(3u)); if (i == 0u) {{ y[0] = {code}; }}"),
            &words,
            1,
        )[0]
    };
    let bytes = |f: &dyn Fn(f32) -> u8| u32::from_le_bytes(v.map(f));
    let snorm = |v: f32| (0.5 + 127.0 * v.clamp(-1.0, 1.0)).floor() as i8 as u8;
    assert_eq!(packed("pack4x8snorm(v)"), bytes(&snorm));
    assert_eq!(
        packed("pack4x8unorm(v)"),
        bytes(&|v| (0.5 + 255.0 * v.clamp(0.0, 1.0)).floor() as u8)
    );
    let snorm16 = |v: f32| (0.5 + 32767.0 * v.clamp(-1.0, 1.0)).floor() as i16 as u16;
    assert_eq!(
        packed("pack2x16snorm(v.yz)"),
        u32::from(snorm16(-0.5)) | u32::from(snorm16(0.25)) << 16
    );
    assert_eq!(packed("pack2x16unorm(v.zw)"), 16384 | 65535 << 16);
    assert_eq!(packed("pack4xI8(vec4(-1, 200, 3, -129))"), u32::from_le_bytes([255, 200, 3, 127]));
    assert_eq!(
        packed("pack4xI8Clamp(vec4(-1, 200, 3, -129) + vec4(i32(i)))"),
        u32::from_le_bytes([255, 127, 3, 128])
    );
    assert_eq!(
        packed("pack4xU8Clamp(vec4(1u, 300u, 3u, 255u) + vec4(i))"),
        u32::from_le_bytes([1, 255, 3, 255])
    );
    assert_eq!(
        packed("bitcast<u32>(dot4I8Packed(0xff02fe80u + i, 0x017f0380u))"),
        (-1 + 2 * 127 - 2 * 3 + 128 * 128) as u32
    );
    assert_eq!(
        packed("dot4U8Packed(0xff02fe80u + i, 0x017f0380u)"),
        255 + 2 * 127 + 254 * 3 + 128 * 128
    );
    let unpacked = |code: &str, word: u32| {
        let found = computed(
            "",
            &format!(
                "if (i > 0u) {{ return; }} let v = {code}; put(0u, f32(v.x)); put(1u, f32(v.y));"
            ),
            &[word],
            2,
        );
        [found[0], found[1]].map(f32::from_bits)
    };
    assert_eq!(unpacked("unpack4x8snorm(x[0])", 0x7f80), [-1.0, 1.0]);
    assert_eq!(unpacked("unpack4x8unorm(x[0])", 0xff33), [0.2, 1.0]);
    assert_eq!(unpacked("unpack2x16snorm(x[0])", 0x8000_7fff), [1.0, -1.0]);
    assert_eq!(unpacked("unpack2x16unorm(x[0])", 0xffff_0000), [0.0, 1.0]);
    assert_eq!(unpacked("unpack4xI8(x[0]).wx", 0x8000_0005), [-128.0, 5.0]);
    assert_eq!(unpacked("unpack4xU8(x[0]).wx", 0x8000_0005), [128.0, 5.0]);
}

/// Every half, to a float and back; and floats between them, which are rounded to the next.
#[test]
fn halves_are_converted_as_ieee_says() {
    let exact = |half: u32| {
        let (sign, exponent, fraction) =
            (half >> 15 & 1, half as i32 >> 10 & 31, f64::from(half & 0x3ff));
        let size = match exponent {
            0 => fraction * 2f64.powi(-24),
            31 if fraction > 0.0 => f64::NAN,
            31 => f64::INFINITY,
            _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
        };
        if sign == 1 { -size } else { size }
    };
    let halves: Vec<u32> = (0..0x1_0000).collect();
    let found = computed("", "put(i, unpack2x16float(x[i] << 16u).y);", &halves, halves.len());
    for (&half, &bits) in halves.iter().zip(&found) {
        let (value, expected) = (f64::from(f32::from_bits(bits)), exact(half));
        assert!(value == expected || value.is_nan() && expected.is_nan(), "{half:#x}: {value}");
    }
    let back = computed("", "y[i] = pack2x16float(vec2(f(i), 1.0));", &found, found.len());
    let between = |a: f64, b: f64, share: f64| ((a + (b - a) * share) as f32).to_bits();
    for (&half, &word) in halves.iter().zip(&back) {
        assert_eq!(word >> 16, 0x3c00);
        let is_nan = exact(half).is_nan();
        assert!(
            word & 0xffff == half || is_nan && exact(word & 0xffff).is_nan(),
            "{half:#x} {word:#x}"
        );
    }
    let positive: Vec<u32> = (0..0x7bff).collect();
    for (share, up) in [(0.25, 0), (0.75, 1), (0.5, 2)] {
        let floats: Vec<u32> =
            positive.iter().map(|&h| between(exact(h), exact(h + 1), share)).collect();
        let found = computed("", "put(i, quantizeToF16(-f(i)));", &floats, floats.len());
        for (&half, &bits) in positive.iter().zip(&found) {
            let next = if up == 2 { half + (half & 1) } else { half + up };
            assert_eq!(f64::from(f32::from_bits(bits)), -exact(next), "{half:#x} {share}");
        }
    }
    let ends = [65519.9f32, 65520.0, 1e30, f32::INFINITY].map(f32::to_bits);
    let found = computed("", "y[i] = pack2x16float(vec2(f(i), 0.0));", &ends, ends.len());
    assert_eq!(found, [0x7bff, 0x7c00, 0x7c00, 0x7c00]);
}

#[test]
fn numbers_are_taken_apart_and_put_together() {
    let numbers = [
        0.0f32,
        -0.0,
        1.0,
        -3.75,
        1e-40,
        f32::MIN_POSITIVE,
        f32::MAX,
        f32::INFINITY,
        f32::NAN,
        0.1,
    ];
    let words = numbers.map(f32::to_bits);
    let code = "let p = frexp(f(i)); put(2u * i, p.fract); y[2u * i + 1u] = bitcast<u32>(p.exp);";
    let found = computed(
        "",
        &format!("if (i >= arrayLength(&x)) {{ return; }} {code}"),
        &words,
        2 * words.len(),
    );
    for (&v, part) in numbers.iter().zip(found.chunks(2)) {
        let (fraction, exponent) = (f32::from_bits(part[0]), part[1] as i32);
        let (wanted, power) = libm::frexpf(v);
        if v.is_finite() && v != 0.0 {
            assert_eq!((fraction, exponent), (wanted, power), "{v}");
        } else {
            assert_eq!((fraction.to_bits(), exponent), (v.to_bits(), 0), "{v}");
        }
    }
    for (mantissa, exponent) in [
        (0.75f32, 3),
        (1.0, -126),
        (1.5, 127),
        (1.0, 200),
        (1.5, -140),
        (3.0, -149),
        (0.0, 300),
        (1.0, -300),
    ] {
        let code = format!("put(i, ldexp(f(i), {exponent} + i32(i)));");
        let found = computed_floats(&code, &[mantissa], 1);
        assert_eq!(found[0], libm::ldexpf(mantissa, exponent), "{mantissa} {exponent}");
    }
    let found = computed_floats(
        "let p = modf(vec2(f(0u), f(1u))); if (i == 0u) { put(0u, p.fract.x); put(1u, p.whole.x); put(2u, p.fract.y); put(3u, p.whole.y); }",
        &[-2.75, 5.5],
        4,
    );
    assert_eq!(found, [-0.75, -2.0, 0.5, 5.0]);
}

#[test]
fn functions_of_vectors_and_hyperbolic_ones() {
    let x = [0.3f32, 1.7, 0.9, -0.4];
    let near = |code: &str, expected: &[f32]| {
        let found =
            computed_floats(&format!("if (i > 0u) {{ return; }} {code}"), &x, expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() <= 2e-6 * e.abs().max(1.0), "{code}: {f} {e}");
        }
    };
    let code = "put(0u, sinh(f(1))); put(1u, cosh(f(1))); put(2u, asinh(f(1))); put(3u, acosh(f(1))); put(4u, atanh(f(0)));";
    let v = 1.7f32;
    near(code, &[v.sinh(), v.cosh(), v.asinh(), v.acosh(), 0.3f32.atanh()]);
    near(
        "let v = faceForward(vec2(f(0), f(1)), vec2(f(2), f(3)), vec2(1.0, 1.0)); put(0u, v.x); put(1u, v.y);",
        &[-0.3, -1.7],
    );
    // Straight down through a surface, and a ray that is reflected.
    near(
        "let v = refract(vec2(0.0, -1.0), vec2(0.0, 1.0), f(0)); put(0u, v.x); put(1u, v.y);",
        &[0.0, -1.0],
    );
    near(
        "let v = refract(vec2(0.8, -0.6), vec2(0.0, 1.0), f(1)); put(0u, v.x); put(1u, v.y);",
        &[0.0, 0.0],
    );
}

#[test]
fn spirv_comes_with_its_groups() {
    let source = "@group(0) @binding(0) var<storage, read_write> y: array<u32>;
         var<workgroup> tile: array<u32, 4>;
         @compute @workgroup_size(4)
         fn main(@builtin(local_invocation_index) l: u32, @builtin(global_invocation_id) id: vec3<u32>) {
             tile[l] = y[id.x];
             workgroupBarrier();
             for (var i = 0u; i < 3u; i++) { y[id.x] += tile[(l + i) % 4u]; }
         }";
    let module = naga::front::wgsl::parse_str(source).expect("valid");
    let mut validator = naga::valid::Validator::new(
        naga::valid::ValidationFlags::all(),
        naga::valid::Capabilities::all(),
    );
    let info = validator.validate(&module).expect("valid");
    let options = naga::back::spv::Options::default();
    let words = naga::back::spv::write_vec(&module, &info, &options, None).expect("written");
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let kernel = Module::from_spirv("test.spv", &bytes).and_then(|module| module.kernel("main"));
    let kernel = kernel.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(kernel.workgroup, Some([4, 1, 1]));
    let y = Data::Narrow((0..8).collect());
    let found = run(&kernel, &[y], [8, 1, 1]);
    assert_eq!(found[0], Data::Narrow(vec![3, 7, 7, 7, 19, 23, 23, 23]));
}
