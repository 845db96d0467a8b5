//! The families: each function writes one kernel, which differs with the random numbers.

use crossover::kernels::random::Random;

use super::code::{Code, Mix, factor};
use super::{Draft, Len, Slot, Specimen};

/// Added to what a loop hands on to its next passage: else values fade to numbers so small that processors
/// are slow with them, as no program's do that somebody uses.
const KEPT: f32 = 0.25;

/// So many operations: few more often than many.
fn some(rng: &mut Random, most: usize) -> usize {
    let log = (most as f64).ln() * rng.below(1000) as f64 / 1000.0;
    log.exp().round() as usize
}

/// Loads of some inputs at an index, with their parameters.
fn inputs(rng: &mut Random, draft: &mut Draft, most: usize, at: &str) -> Vec<String> {
    (0..1 + rng.below(most)).map(|_| format!("{}[{at}]", draft.floats(Len::Points))).collect()
}

fn leaves(values: &[String]) -> Vec<&str> {
    values.iter().map(String::as_str).collect()
}

/// One element of the result from the same element of the arguments.
pub(super) fn maps(rng: &mut Random) -> Specimen {
    let mix = Mix::plain(rng);
    map(rng, mix, 40)
}

/// The same, with many transcendental functions.
pub(super) fn transcendental(rng: &mut Random) -> Specimen {
    let mix = Mix { transcendental: *rng.pick(&[20, 50, 80]), division: rng.below(20) };
    map(rng, mix, 16)
}

fn map(rng: &mut Random, mix: Mix, operations: usize) -> Specimen {
    let mut draft = Draft::default();
    let mut values = inputs(rng, &mut draft, 4, "id.x");
    if rng.chance(40) {
        values.push(draft.scalar(rng));
    }
    let count = some(rng, operations);
    let [lines, value] = Code::new("v", &leaves(&values)).floats(rng, count, mix);
    let y = draft.result(Len::Points);
    let assign = *rng.pick(&["=", "=", "+="]);
    let second = match rng.chance(15) {
        true => format!("    {}[id.x] = {value} - 0.5;\n", draft.result(Len::Points)),
        false => String::new(),
    };
    draft.line(&format!("{lines}    {y}[id.x] {assign} {value};\n{second}"));
    draft.finish(&format!("grid = {y}.len(), contract"))
}

/// Elements around that of the result, along one axis or two.
pub(super) fn stencils(rng: &mut Random) -> Specimen {
    match rng.chance(40) {
        true => stencil_line(rng),
        false => stencil_plane(rng),
    }
}

fn stencil_line(rng: &mut Random) -> Specimen {
    let mut draft = Draft::default();
    let (x, y) = (draft.floats(Len::Points), draft.result(Len::Points));
    let radius = 1 + rng.below(5);
    let loads: Vec<String> = (0..=2 * radius).map(|k| format!("{x}[i + {k} - {radius}]")).collect();
    let (mix, more) = (Mix::plain(rng), rng.below(12));
    let [lines, value] = Code::new("v", &leaves(&loads)).floats(rng, more, mix);
    draft.line(&format!(
        "    let i = id.x;\n    if i < {radius} || i + {radius} >= {x}.len() {{\n        {y}[i] = {x}[i];\n    }} else {{\n{lines}    {y}[i] = {value};\n    }}\n"
    ));
    draft.finish(&format!("grid = {y}.len(), contract"))
}

fn stencil_plane(rng: &mut Random) -> Specimen {
    let mut draft = Draft::default();
    let [w, h] = draft.plane();
    let (x, y) = (draft.floats(Len::Points), draft.result(Len::Points));
    let radius = 1 + rng.below(3);
    let inside = format!(
        "id.x >= {radius} && id.y >= {radius} && id.x + {radius} < {w} && id.y + {radius} < {h}"
    );
    let body = if rng.chance(40) {
        let c = factor(rng);
        let side = 2 * radius + 1;
        format!(
            "    let mut sum = 0.0;\n    for dy in 0..{side} {{\n    for dx in 0..{side} {{\n        sum += {x}[(id.y + dy - {radius}) * {w} + id.x + dx - {radius}] * {c};\n    }}\n    }}\n    {y}[at] = sum;\n"
        )
    } else {
        let full = radius == 1 && rng.chance(50);
        let (r, mut loads) = (radius as i64, Vec::new());
        for dy in -r..=r {
            for dx in -r..=r {
                if full || dx == 0 || dy == 0 {
                    let row = format!("(id.y + {} - {radius}) * {w}", dy + r);
                    loads.push(format!("{x}[{row} + id.x + {} - {radius}]", dx + r));
                }
            }
        }
        let (mix, more) = (Mix::plain(rng), rng.below(8));
        let [lines, value] = Code::new("v", &leaves(&loads)).floats(rng, more, mix);
        format!("{lines}    {y}[at] = {value};\n")
    };
    draft.line(&format!(
        "    let at = id.y * {w} + id.x;\n    if {inside} {{\n{body}    }} else {{\n        {y}[at] = {x}[at];\n    }}\n"
    ));
    draft.finish(&format!("grid = ({w}, {h}), contract"))
}

/// Elements at places that were loaded, at strides, or across.
pub(super) fn gathers(rng: &mut Random) -> Specimen {
    let mut draft = Draft::default();
    let (mix, more) = (Mix::plain(rng), rng.below(12));
    if rng.chance(25) {
        let [w, h] = draft.plane();
        let (x, y) = (draft.floats(Len::Points), draft.result(Len::Points));
        let across = format!("{x}[id.x * {h} + id.y]");
        let [lines, value] = Code::new("v", &[&across]).floats(rng, more, mix);
        draft.line(&format!("{lines}    {y}[id.y * {w} + id.x] = {value};\n"));
        return draft.finish(&format!("grid = ({w}, {h}), contract"));
    }
    let table = *rng.pick(&[
        Len::Points,
        Len::Points,
        Len::Fixed(1 << 8),
        Len::Fixed(1 << 14),
        Len::Fixed(1 << 20),
    ]);
    let mut loads = Vec::new();
    if rng.chance(25) {
        let stride = 2 + rng.below(15) as u32;
        let x = draft.floats(Len::Times(stride));
        loads.push(format!("{x}[id.x * {stride}]"));
        loads.push(format!("{x}[id.x * {stride} + 1]"));
    } else {
        let (at, x) = (draft.places(table, rng.chance(30)), draft.floats(table));
        loads.push(format!("{x}[{at}[id.x] as usize]"));
        if rng.chance(40) {
            let other = draft.floats(table);
            loads.push(format!("{other}[{at}[id.x] as usize]"));
        }
    }
    if rng.chance(50) {
        loads.push(format!("{}[id.x]", draft.floats(Len::Points)));
    }
    let [lines, value] = Code::new("v", &leaves(&loads)).floats(rng, more, mix);
    let y = draft.result(Len::Points);
    draft.line(&format!("{lines}    {y}[id.x] = {value};\n"));
    draft.finish(&format!("grid = {y}.len(), contract"))
}

/// All elements into one, or into the sums before each.
pub(super) fn reductions(rng: &mut Random) -> Specimen {
    let mut draft = Draft::default();
    let (kind, len) = match rng.chance(30) {
        true => ("scan", Len::Points),
        false => ("reduce", Len::Fixed(1)),
    };
    let (ty, op, [lines, value]) = if rng.chance(75) {
        let values = inputs(rng, &mut draft, 3, "id.x");
        let (mix, count) = (Mix::plain(rng), some(rng, 20));
        let code = Code::new("v", &leaves(&values)).floats(rng, count, mix);
        ("f32", *rng.pick(&["add", "add", "max", "min"]), code)
    } else {
        let x = draft.words(Len::Points);
        let count = some(rng, 20);
        let code = Code::new("v", &[&format!("{x}[id.x]")]).words(rng, count);
        ("u32", *rng.pick(&["add", "max", "xor", "or"]), code)
    };
    draft.line(&format!("{lines}    {value}\n"));
    draft.gives(ty, len);
    draft.finish(&format!("{kind} = {op}, grid = x0.len(), contract"))
}

/// Loops in each invocation: products of matrices, all pairs, iterations.
pub(super) fn loops(rng: &mut Random) -> Specimen {
    let mut draft = Draft::default();
    match rng.below(6) {
        0 => {
            let m = draft.count(8 << rng.below(7));
            let (a, x) = (draft.floats(Len::PointsTimesCount), draft.floats(Len::Count));
            let y = draft.result(Len::Points);
            draft.line(&format!(
                "    let mut sum = 0.0;\n    for k in 0..{m} {{\n        sum += {a}[id.x * {m} + k] * {x}[k];\n    }}\n    {y}[id.x] = sum / {m} as f32;\n"
            ));
            draft.finish(&format!("grid = {y}.len(), contract"))
        }
        1 => {
            let m = draft.count(16 << rng.below(7));
            let (a, x) = (draft.floats(Len::Points), draft.floats(Len::Count));
            let y = draft.result(Len::Points);
            let (mix, count) = (Mix::plain(rng), 1 + rng.below(8));
            let own = ["own", &format!("{x}[k]")].map(str::to_owned);
            let [lines, value] = Code::new("v", &leaves(&own)).floats(rng, count, mix);
            draft.line(&format!(
                "    let own = {a}[id.x];\n    let mut sum = 0.0;\n    for k in 0..{m} {{\n{lines}        sum += {value};\n    }}\n    {y}[id.x] = sum / {m} as f32;\n"
            ));
            draft.finish(&format!("grid = {y}.len(), contract"))
        }
        2 => {
            let [w, h] = draft.plane();
            let m = draft.count(8 << rng.below(6));
            let (a, b) = (draft.floats(Len::PointsTimesCount), draft.floats(Len::PointsTimesCount));
            let y = draft.result(Len::Points);
            let c = factor(rng);
            draft.line(&format!(
                "    let mut sum = 0.0;\n    for k in 0..{m} {{\n        sum += {a}[id.y * {m} + k] * {b}[k * {w} + id.x] * {c};\n    }}\n    {y}[id.y * {w} + id.x] = sum;\n"
            ));
            draft.finish(&format!("grid = ({w}, {h}), contract"))
        }
        _ => {
            let m = draft.count(4 << rng.below(7));
            let x = draft.floats(Len::Points);
            let y = draft.result(Len::Points);
            let (mix, count) = (Mix::plain(rng), 2 + rng.below(12));
            let [lines, value] = Code::new("v", &["a", "b"]).floats(rng, count, mix);
            let inner = match rng.chance(30) {
                true => "    for _ in 0..3 {\n        b = b * 0.4 + a * 0.3;\n    }\n",
                false => "",
            };
            draft.line(&format!(
                "    let mut a = {x}[id.x];\n    let mut b = 0.5;\n    for _ in 0..{m} {{\n{lines}    b = a * 0.5;\n    a = {value} + {KEPT};\n{inner}    }}\n    {y}[id.x] = a + b;\n"
            ));
            draft.finish(&format!("grid = {y}.len(), contract"))
        }
    }
}

/// Invocations that do not all do the same.
pub(super) fn branches(rng: &mut Random) -> Specimen {
    let mut draft = Draft::default();
    let x = draft.floats(Len::Points);
    let mix = Mix { transcendental: *rng.pick(&[0, 0, 15]), ..Mix::plain(rng) };
    let limit = format!("{:.2}", -0.9 + 1.8 * rng.below(100) as f64 / 100.0);
    match rng.below(3) {
        0 => {
            let y = draft.result(Len::Points);
            let (many, few) = (4 + some(rng, 40), rng.below(4));
            let [long, a] = Code::new("v", &["s"]).floats(rng, many, mix);
            let [short, b] = Code::new("u", &["s"]).floats(rng, few, mix);
            draft.line(&format!(
                "    let s = {x}[id.x];\n    if s > {limit} {{\n{long}    {y}[id.x] = {a};\n    }} else {{\n{short}    {y}[id.x] = {b};\n    }}\n"
            ));
            draft.finish(&format!("grid = {y}.len(), contract"))
        }
        1 => {
            let m = draft.count(8 << rng.below(6));
            let y = draft.result(Len::Points);
            let count = 1 + rng.below(8);
            let [lines, value] = Code::new("v", &["a", "s"]).floats(rng, count, mix);
            // How soon it ends differs from point to point.
            draft.line(&format!(
                "    let s = {x}[id.x];\n    let mut a = s;\n    let mut left = (s + 1.0) * 0.5;\n    for _ in 0..{m} {{\n        if left < 0.0 {{\n            break;\n        }}\n{lines}        a = {value} + {KEPT};\n        left -= 0.02;\n    }}\n    {y}[id.x] = a;\n"
            ));
            draft.finish(&format!("grid = {y}.len(), contract"))
        }
        _ => {
            let words = draft.words(Len::Points);
            let y = draft.result(Len::Points);
            let most = 4 << rng.below(6);
            let count = 1 + rng.below(6);
            let [lines, value] = Code::new("v", &["a", "0.25"]).floats(rng, count, mix);
            draft.line(&format!(
                "    let mut a = {x}[id.x];\n    for _ in 0..({words}[id.x] % {most}) {{\n{lines}        a = {value} + {KEPT};\n    }}\n    {y}[id.x] = a;\n"
            ));
            draft.finish(&format!("grid = {y}.len(), contract"))
        }
    }
}

/// Integers: hashes, bits, and counts that invocations share.
pub(super) fn integers(rng: &mut Random) -> Specimen {
    let mut draft = Draft::default();
    let x = draft.words(Len::Points);
    let (own, count) = (format!("{x}[id.x]"), some(rng, 40));
    if rng.chance(30) {
        let [lines, value] = Code::new("v", &[&own]).words(rng, count / 4);
        let counters = 1 << (2 + rng.below(15));
        let h = draft.counters(counters);
        let method = *rng.pick(&["fetch_add", "fetch_add", "fetch_max", "fetch_or"]);
        let by = if method == "fetch_add" { "1" } else { &value };
        draft.line(&format!(
            "{lines}    {h}[({value} & {}) as usize].{method}({by});\n",
            counters - 1
        ));
        return draft.finish(&format!("grid = {x}.len()"));
    }
    let y = draft.result_words(Len::Points);
    if rng.chance(40) {
        let m = draft.count(4 << rng.below(6));
        let [lines, value] = Code::new("v", &["a"]).words(rng, 1 + count / 6);
        draft.line(&format!(
            "    let mut a = {own};\n    for _ in 0..{m} {{\n{lines}        a = {value};\n    }}\n    {y}[id.x] = a;\n"
        ));
    } else {
        let [lines, value] = Code::new("v", &[&own]).words(rng, count);
        draft.line(&format!("{lines}    {y}[id.x] = {value};\n"));
    }
    draft.finish(&format!("grid = {y}.len()"))
}

/// Some of everything in one kernel.
pub(super) fn mixed(rng: &mut Random) -> Specimen {
    let mut draft = Draft::default();
    let m = draft.count(2 << rng.below(6));
    let table = *rng.pick(&[Len::Points, Len::Fixed(1 << 12), Len::Fixed(1 << 18)]);
    let (at, x) = (draft.places(table, rng.chance(50)), draft.floats(table));
    let a = draft.floats(Len::Points);
    let y = draft.result(Len::Points);
    let mix = Mix { transcendental: rng.below(40), division: rng.below(20) };
    let (first, second) = (1 + rng.below(10), 1 + rng.below(10));
    let leaf = format!("{x}[{at}[id.x] as usize]");
    let [before, start] = Code::new("v", &[&leaf, &format!("{a}[id.x]")]).floats(rng, first, mix);
    let [inside, next] = Code::new("u", &["s", "0.3"]).floats(rng, second, mix);
    let branch = match rng.chance(50) {
        true => format!("    if s < {} {{\n        s = s * 0.5 + 0.1;\n    }}\n", factor(rng)),
        false => String::new(),
    };
    draft.line(&format!(
        "{before}    let mut s = {start};\n    for _ in 0..{m} {{\n{inside}        s = {next} + {KEPT};\n    }}\n{branch}    {y}[id.x] = s;\n"
    ));
    draft.finish(&format!("grid = {y}.len(), contract"))
}

/// A parameter's text from what it holds.
pub(super) fn parameter(slot: &Slot, name: &str) -> String {
    match slot {
        Slot::Width | Slot::Height | Slot::Count(_) => format!("{name}: usize"),
        Slot::Scalar(_) => format!("{name}: f32"),
        Slot::Floats(_) => format!("{name}: &[f32]"),
        Slot::Words(_) | Slot::Places { .. } => format!("{name}: &[u32]"),
        Slot::Result(_) => format!("{name}: &mut [f32]"),
        Slot::ResultWords(_) => format!("{name}: &mut [u32]"),
        Slot::Counters(_) => format!("{name}: &[Atomic<u32>]"),
        Slot::Collective(..) => String::new(),
    }
}
