//! Random straight-line code as a programmer could have written it: every value is used, none grows
//! beyond bounds, and none is a special number.

use std::fmt::Write;

use crossover::kernels::random::Random;

/// How many of a hundred operations are of a dearer kind; the rest are products, sums and comparisons.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mix {
    pub(super) transcendental: usize,
    /// Divisions and square roots.
    pub(super) division: usize,
}

impl Mix {
    pub(super) fn plain(rng: &mut Random) -> Mix {
        Mix { transcendental: 0, division: *rng.pick(&[0, 0, 5, 20]) }
    }
}

/// Lines of code, and the values that nothing has used yet.
#[derive(Debug)]
pub(super) struct Code {
    lines: String,
    unused: Vec<String>,
    used: Vec<String>,
    prefix: &'static str,
    count: usize,
}

impl Code {
    /// Code that begins with these values; the names it gives begin with `prefix`.
    pub(super) fn new(prefix: &'static str, leaves: &[&str]) -> Code {
        let unused = leaves.iter().map(|&leaf| leaf.to_owned()).collect();
        Code { lines: String::new(), unused, used: Vec::new(), prefix, count: 0 }
    }

    /// The lines, and one value that depends on all others.
    pub(super) fn floats(mut self, rng: &mut Random, operations: usize, mix: Mix) -> [String; 2] {
        for _ in 0..operations {
            let (a, b) = (self.operand(rng), self.operand(rng));
            let text = float(rng, &a, &b, mix);
            self.define(text);
        }
        self.join(|a, b| format!("{a} * 0.5 + {b} * 0.5"))
    }

    /// The same over `u32`.
    pub(super) fn words(mut self, rng: &mut Random, operations: usize) -> [String; 2] {
        for _ in 0..operations {
            let (a, b) = (self.operand(rng), self.operand(rng));
            let text = word(rng, &a, &b);
            self.define(text);
        }
        self.join(|a, b| format!("{a} ^ {b}"))
    }

    fn join(mut self, join: impl Fn(&str, &str) -> String) -> [String; 2] {
        while self.unused.len() > 1 {
            let (a, b) = (self.unused.remove(0), self.unused.remove(0));
            self.define(join(&a, &b));
        }
        let last = self.unused.pop().or(self.used.pop()).unwrap_or_default();
        [self.lines, last]
    }

    /// A value that nothing has used, else any.
    fn operand(&mut self, rng: &mut Random) -> String {
        if self.unused.is_empty() || (!self.used.is_empty() && rng.chance(30)) {
            return rng.pick(&self.used).clone();
        }
        let value = self.unused.remove(rng.below(self.unused.len()));
        self.used.push(value.clone());
        value
    }

    fn define(&mut self, text: String) {
        let name = format!("{}{}", self.prefix, self.count);
        self.count += 1;
        writeln!(self.lines, "    let {name} = {text};").expect("a string takes all text");
        self.unused.push(name);
    }
}

/// A factor below a half: with two of them values stay in bounds.
pub(super) fn factor(rng: &mut Random) -> String {
    format!("{:.3}", 0.1 + 0.4 * rng.below(1000) as f64 / 1000.0)
}

fn float(rng: &mut Random, a: &str, b: &str, mix: Mix) -> String {
    let (c, d) = (factor(rng), factor(rng));
    let kind = rng.below(100);
    if kind < mix.transcendental {
        return match rng.below(8) {
            0 => format!("({a}).sin() * {c} + {b} * {d}"),
            1 => format!("({a}).cos() * {c} - {b} * {d}"),
            2 => format!("(-({a}).abs()).exp() * {c} + {b} * {d}"),
            3 => format!("(1.0 + ({a}).abs()).ln() * {c} - {b} * {d}"),
            4 => format!("({a}).tanh() * {c} + {b} * {d}"),
            5 => format!("(0.1 + ({a}).abs()).powf({d}) * {c} + {b} * {d}"),
            6 => format!("({a}).atan() * {c} + {b} * {d}"),
            _ => format!("({a} * {c}).exp2() * {c} - {b} * {d}"),
        };
    }
    if kind < mix.transcendental + mix.division {
        return match rng.below(3) {
            0 => format!("{a} / (1.5 + ({b}).abs())"),
            1 => format!("({a}).abs().sqrt() * {c} - {b} * {d}"),
            _ => format!("{a} * {c} / (1.0 + {b} * {b})"),
        };
    }
    match rng.below(9) {
        0 | 1 => format!("{a} * {c} + {b} * {d}"),
        2 => format!("({a} + {b}) * {c}"),
        3 => format!("({a} - {b}) * {c}"),
        4 => format!("({a}).max({b} * {c})"),
        5 => format!("({a} * {c}).min({b})"),
        6 => format!("if {a} > {b} {{ {a} * {c} }} else {{ {b} }}"),
        7 => format!("{a} * {c} - ({b}).abs() * {d}"),
        _ => format!("({a} * {c}).mul_add({d}, {b} * {d})"),
    }
}

fn word(rng: &mut Random, a: &str, b: &str) -> String {
    let (shift, odd) = (1 + rng.below(30), rng.next_u32() | 1);
    match rng.below(10) {
        0 => format!("{a} * {odd} + {b}"),
        1 => format!("{a} ^ ({b} >> {shift})"),
        2 => format!("{a} + {b}"),
        3 => format!("({a}).rotate_left({shift}) ^ {b}"),
        4 => format!("({a} & {odd}) | ({b} >> {shift})"),
        5 => format!("({a} << {shift}) - {b}"),
        6 => format!("({a}).count_ones() + {b}"),
        7 => format!("({a}).max({b})"),
        8 => format!("if {a} < {b} {{ {b} - {a} }} else {{ {a} ^ {odd} }}"),
        _ if rng.chance(40) => format!("{a} % {} + {b}", 3 + rng.below(1000)),
        _ => format!("({a} >> {shift}) * {b}"),
    }
}
