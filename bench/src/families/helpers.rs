//! Kernels that optimisations are judged on beside those of the families: with functions of their own, since
//! what inlining and tail calls are worth shows in no others, and with lanes that gather for differently long,
//! since most others are the faster for vectors.

use crossover::kernels::random::Random;

use super::code::{Code, Mix, factor};
use super::{Draft, Len, Specimen};

/// One or two functions of two numbers, called in straight code or in a loop; some leave early, some call
/// themselves as the last thing they do.
pub(super) fn helpers(rng: &mut Random) -> Specimen {
    let count = 1 + rng.below(2);
    let texts: Vec<String> = (0..count).map(|at| helper(rng, at)).collect();
    let mut draft = Draft::default();
    let (x, y) = (draft.floats(Len::Points), draft.result(Len::Points));
    let (mix, operations) = (Mix::plain(rng), 1 + rng.below(8));
    let [lines, value] = Code::new("v", &["a", "b"]).floats(rng, operations, mix);
    let calls: String = (0..1 + rng.below(3))
        .map(|_| {
            format!(
                "    a = helper{}(a, b * {}) * 0.5 + b * 0.25;\n",
                rng.below(count),
                factor(rng)
            )
        })
        .collect();
    let calls = match rng.chance(40) {
        true => {
            let m = draft.count(2 << rng.below(5));
            format!("    for _ in 0..{m} {{\n{calls}    }}\n")
        }
        false => calls,
    };
    draft.line(&format!(
        "    let mut a = {x}[id.x];\n    let b = 0.5 - a;\n{calls}{lines}    {y}[id.x] = {value};\n"
    ));
    let mut specimen = draft.finish(&format!("grid = {y}.len(), contract"));
    texts.iter().for_each(|text| specimen.source.push_str(text));
    specimen
}

/// Each invocation follows places from one to the next for as long as a word says.
pub(super) fn walks(rng: &mut Random) -> Specimen {
    let mut draft = Draft::default();
    let table = *rng.pick(&[Len::Points, Len::Fixed(1 << 10), Len::Fixed(1 << 16)]);
    let lengths = draft.words(Len::Points);
    let x = draft.floats(table);
    let y = draft.result(Len::Points);
    let (most, stride) = (4 << rng.below(5), 1 + rng.below(60));
    let second = match rng.chance(50) {
        true => draft.floats(table),
        false => x.clone(),
    };
    let (mix, operations) = (Mix::plain(rng), rng.below(4));
    let loads =
        [format!("{x}[at]"), format!("{second}[(at + {stride}) % {x}.len()]"), "a".to_owned()];
    let leaves: Vec<&str> = loads.iter().map(String::as_str).collect();
    let [lines, value] = Code::new("v", &leaves).floats(rng, operations, mix);
    let step = *rng.pick(&["at * 5 + 1", "at * 13 + 7", "at + 1"]);
    draft.line(&format!(
        "    let mut a = 0.5;\n    let mut at = id.x % {x}.len();\n    for _ in 0..({lengths}[id.x] % {most}) {{\n{lines}        a = a * 0.5 + {value} * 0.25;\n        at = ({step}) % {x}.len();\n    }}\n    {y}[id.x] = a;\n"
    ));
    draft.finish(&format!("grid = {y}.len(), contract"))
}

/// Each invocation adds up what it finds at places that a list says, of which it has a piece of its own length: rows
/// of a sparse matrix.
pub(super) fn sparse(rng: &mut Random) -> Specimen {
    let mut draft = Draft::default();
    let (most, near) = (2 << rng.below(6), rng.chance(50));
    let table = *rng.pick(&[Len::Points, Len::Fixed(1 << 10), Len::Fixed(1 << 16)]);
    let lengths = draft.words(Len::Points);
    let x = draft.floats(table);
    let begins = draft.places(Len::Points, near);
    let at = draft.places(table, near);
    let y = draft.result(Len::Points);
    let term = match rng.below(3) {
        0 => format!("{x}[{at}[k]]"),
        1 => format!("{} * {x}[{at}[k]]", factor(rng)),
        _ => {
            let values = draft.floats(Len::Points);
            format!("{values}[k] * {x}[{at}[k]]")
        }
    };
    let sum = *rng.pick(&["a + TERM", "a.max(TERM)", "a + TERM * TERM"]);
    let sum = sum.replace("TERM", &format!("({term})"));
    draft.line(&format!(
        "    let first = {begins}[id.x] as usize;\n    let last = (first + ({lengths}[id.x] % {most}) as usize).min({at}.len());\n    let mut a = 0.0f32;\n    for k in first..last {{\n        a = {sum};\n    }}\n    {y}[id.x] = a;\n"
    ));
    draft.finish(&format!("grid = {y}.len(), contract"))
}

/// The function of this number, `helperN(p, q)`, and whatever it calls.
fn helper(rng: &mut Random, at: usize) -> String {
    let (mix, operations) = (Mix::plain(rng), 1 + rng.below(16));
    let [lines, value] = Code::new("t", &["p", "q"]).floats(rng, operations, mix);
    let c = factor(rng);
    match rng.below(4) {
        0 => {
            let times = 2 + rng.below(14);
            format!(
                "#[kernel]\nfn again{at}(n: u32, p: f32, q: f32) -> f32 {{\n    if n == 0 {{\n        return p;\n    }}\n{lines}    again{at}(n - 1, {value} * 0.5 + 0.25, p * {c})\n}}\n#[kernel]\nfn helper{at}(p: f32, q: f32) -> f32 {{\n    again{at}({times}, p, q)\n}}\n"
            )
        }
        1 => format!(
            "#[kernel]\nfn helper{at}(p: f32, q: f32) -> f32 {{\n    if p > {c} {{\n        return q * {c};\n    }}\n{lines}    {value}\n}}\n"
        ),
        _ => {
            format!("#[kernel]\nfn helper{at}(p: f32, q: f32) -> f32 {{\n{lines}    {value}\n}}\n")
        }
    }
}
