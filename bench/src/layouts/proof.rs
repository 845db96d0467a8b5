//! The learned choice of layouts against all others with the same results, on the library kernels of all suites, none
//! of which a model was trained on.
//!
//! Which layout is the fastest is found in every second turn, and how fast it is in the turns between: else the best
//! of many would be the one that was lucky. Racing is that choice among the default and the three that the model
//! likes best.

use std::sync::Arc;
use std::time::Duration;

use crossover::kernels::front;
use crossover::kernels::library::Entry;
use crossover::kernels::passes::optimize;
use crossover::kernels::random::Random;
use crossover::ml::layout::Layout;
use crossover::{LayoutChooser, Runtime, layout_of};
use crossover_wasm::{Schedule, WasmExecutor};
use serde::Serialize;

use super::whole::{self, Whole};
use super::{Laid, Layings};
use crate::case::Case;
use crate::columns::{Side, Table, Targets, percent};
use crate::direct;
use crate::sets::geo;
use crate::suite::Suite;
use crate::turns::{self, cpu_s};

/// Turns of a kernel at a size, and time for them.
const TURNS: [usize; 2] = [24, 80];
const BUDGET: Duration = Duration::from_millis(2000);

/// Layouts of a kernel that are looked at, at most; of those that have more, some are drawn.
const LAYOUTS_MAX: usize = 24;

/// Layouts that race the default.
const RACED: usize = 3;

/// A layout has to be faster by this share to win.
const MARGIN: f64 = 0.01;

/// Compilations of each, of which the quickest counts.
const COMPILATIONS: usize = 2;

/// The whole answer. Shares are of speed that the best of all layouts reaches: 1 is as good.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Layouts {
    /// Kernels that have more than one layout with the same results, each at some sizes; and those that have one alone.
    pub(crate) kernels: usize,
    pub(crate) cases: usize,
    pub(crate) alone: usize,
    /// Distinct code of a kernel, on average.
    pub(crate) distinct_mean: f64,
    /// Of the layout that the model likes best, geometric and least.
    pub(crate) first_geo: f64,
    pub(crate) first_worst: f64,
    /// After racing.
    pub(crate) raced_geo: f64,
    pub(crate) raced_worst: f64,
    /// Of the default.
    pub(crate) default_geo: f64,
    pub(crate) default_worst: f64,
    /// Speed over the default's: of the first choice, and after racing.
    pub(crate) first_gain_geo: f64,
    pub(crate) raced_gain_geo: f64,
    pub(crate) raced_gain_worst: f64,
    /// Time of compiling the default and the three that race it, over that of compiling all distinct code, and over that
    /// of compiling the default.
    pub(crate) compile_share: f64,
    pub(crate) compile_over_default: f64,
    /// Time of predicting all layouts, in seconds, on average.
    pub(crate) forecast_s: f64,
    /// In runtimes of their own.
    pub(crate) whole: Vec<Whole>,
    pub(crate) rows: Vec<Row>,
}

/// A kernel at a size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) kernel: String,
    pub(crate) size: String,
    pub(crate) n: u64,
    pub(crate) distinct: usize,
    pub(crate) default: String,
    pub(crate) first: String,
    pub(crate) raced: String,
    pub(crate) best: String,
    /// Speed of the first over the default's, as predicted.
    pub(crate) predicted: f64,
    pub(crate) default_s: f64,
    pub(crate) first_s: f64,
    pub(crate) raced_s: f64,
    pub(crate) best_s: f64,
    pub(crate) forecast_s: f64,
    pub(crate) compile_default_s: f64,
    pub(crate) compile_raced_s: f64,
    pub(crate) compile_distinct_s: f64,
}

/// Measures the library kernels of all suites. `said` is told what is under way, and how much of all is over.
pub(crate) fn measure(suite: &Suite, said: &mut dyn FnMut(&str, f64)) -> anyhow::Result<Layouts> {
    let rt = turns::runtime()?;
    let judge = Judge { executor: WasmExecutor::new()?, chooser: LayoutChooser::new(), rt: &rt };
    let plan = turns::plan(suite);
    let (mut rows, mut alone, mut held): (_, _, Option<(&str, Subject)>) = (Vec::new(), 0, None);
    for (at, (entry, size_name, size)) in plan.iter().enumerate() {
        said(&format!("{} {size_name} in every layout", entry.name), at as f64 / plan.len() as f64);
        let layings = match held.take() {
            Some((name, subject)) if name == entry.name => subject,
            _ => {
                let subject = judge.subject(entry, *size)?;
                alone += usize::from(subject.layings.distinct.len() < 2);
                subject
            }
        };
        let (_, subject) = held.insert((entry.name, layings));
        if subject.layings.distinct.len() > 1 {
            rows.push(judge.judge(entry, size_name, *size, subject)?);
        }
    }
    let medium = plan.iter().filter(|(entry, size_name, _)| {
        *size_name == "medium" && rows.iter().any(|row: &Row| row.kernel == entry.name)
    });
    let medium: Vec<_> = medium.map(|(entry, _, size)| (*entry, *size)).collect();
    let whole = whole::measure(&medium, &mut |name| said(&format!("{name} in a runtime"), 1.0))?;
    Ok(Layouts { whole, alone, ..summary(rows) })
}

/// What all kernels are judged with.
struct Judge<'r> {
    executor: WasmExecutor,
    chooser: LayoutChooser,
    rt: &'r Runtime,
}

/// A kernel in all its layouts.
struct Subject {
    kernel: Arc<crossover::kernels::ir::Kernel>,
    layings: Layings,
}

impl Judge<'_> {
    /// Compiles the default, those that the model likes best at this size, and the others, or some of them.
    fn subject(&self, entry: &'static Entry, size: usize) -> anyhow::Result<Subject> {
        let kernel = Arc::new(optimize(&front::kernel(entry.kernels()[0], &[], &[])?));
        let mut all = Schedule::interchangeable(&kernel);
        let mut case = Case::new(self.rt, entry, size)?;
        let features = case.explain()?.remove(0).features;
        let liked = self.chooser.forecast(&kernel, &features)?;
        let is_liked = |schedule: &Schedule| {
            liked.iter().take(2 * RACED).any(|liked| liked.layout == layout_of(*schedule))
        };
        let mut rng = Random::new(1);
        while all.len() > LAYOUTS_MAX {
            let at = 1 + rng.below(all.len() - 1);
            if !is_liked(&all[at]) {
                all.remove(at);
            }
        }
        let layings = Layings::new(&self.executor, &kernel, all, COMPILATIONS)?;
        Ok(Subject { kernel, layings })
    }

    fn judge(
        &self,
        entry: &'static Entry,
        size_name: &str,
        size: usize,
        Subject { kernel, layings }: &mut Subject,
    ) -> anyhow::Result<Row> {
        let named = |laid: &Laid| layout_of(laid.schedule).to_string();
        let all = layings.distinct.iter().map(|laid| (named(laid), &laid.coded));
        turns::check_entry(entry, size, all)?;
        let mut case = Case::new(self.rt, entry, size)?;
        let features = case.explain()?.remove(0).features;
        let start = cpu_s();
        let liked = self.chooser.forecast(kernel, &features)?;
        let forecast_s = cpu_s() - start;
        let args = direct::slots(&case.inputs)?;
        turns::time(layings.coded(), &args, None, TURNS, BUDGET)?;
        let default = &layings.distinct[0];
        let made = |layout: &Layout| {
            let mut all = layings.of.keys();
            all.find(|schedule| layout_of(**schedule) == *layout).and_then(|s| layings.of(*s))
        };
        let liked: Vec<_> =
            liked.iter().filter_map(|liked| Some((liked, made(&liked.layout)?))).collect();
        let first = liked.first().filter(|(liked, _)| liked.log2 > 0.0);
        let found_s = |laid: &Laid| laid.coded.least_of_half_s(0);
        let faster = |best, laid| if found_s(laid) < found_s(best) { laid } else { best };
        let mut raced: Vec<&Laid> = Vec::new();
        for (_, laid) in &liked {
            let is_new =
                raced.iter().chain([&default]).all(|other| other.schedule != laid.schedule);
            if is_new && raced.len() < RACED {
                raced.push(laid);
            }
        }
        let raced = raced.into_iter();
        let won = raced.clone().fold(default, faster);
        let won = if found_s(won) < (1.0 - MARGIN) * found_s(default) { won } else { default };
        let best = layings.distinct.iter().fold(default, faster);
        let judged_s = |laid: &Laid| laid.coded.least_of_half_s(1);
        let compile_s = |laid: &Laid| laid.coded.code_s;
        Ok(Row {
            kernel: entry.name.to_owned(),
            size: size_name.to_owned(),
            n: size as u64,
            distinct: layings.distinct.len(),
            default: named(default),
            first: named(first.map_or(default, |(_, laid)| laid)),
            raced: named(won),
            best: named(best),
            predicted: first.map_or(1.0, |(liked, _)| liked.log2.exp2()),
            default_s: judged_s(default),
            first_s: judged_s(first.map_or(default, |(_, laid)| laid)),
            raced_s: judged_s(won),
            best_s: judged_s(best),
            forecast_s,
            compile_default_s: compile_s(default),
            compile_raced_s: compile_s(default) + raced.map(compile_s).sum::<f64>(),
            compile_distinct_s: layings.distinct.iter().map(compile_s).sum(),
        })
    }
}

fn summary(rows: Vec<Row>) -> Layouts {
    let least = |of: &dyn Fn(&Row) -> f64| rows.iter().map(of).fold(f64::INFINITY, f64::min);
    let mean =
        |of: &dyn Fn(&Row) -> f64| rows.iter().map(of).sum::<f64>() / rows.len().max(1) as f64;
    let (first, raced) =
        (|row: &Row| row.best_s / row.first_s, |row: &Row| row.best_s / row.raced_s);
    let default = |row: &Row| row.best_s / row.default_s;
    let gain = |row: &Row| row.default_s / row.raced_s;
    let sum = |of: &dyn Fn(&Row) -> f64| rows.iter().map(of).sum::<f64>();
    let mut kernels: Vec<&str> = rows.iter().map(|row| row.kernel.as_str()).collect();
    kernels.dedup();
    Layouts {
        kernels: kernels.len(),
        cases: rows.len(),
        alone: 0,
        distinct_mean: mean(&|row| row.distinct as f64),
        first_geo: geo(rows.iter().map(first)),
        first_worst: least(&first),
        raced_geo: geo(rows.iter().map(raced)),
        raced_worst: least(&raced),
        default_geo: geo(rows.iter().map(default)),
        default_worst: least(&default),
        first_gain_geo: geo(rows.iter().map(|row| row.default_s / row.first_s)),
        raced_gain_geo: geo(rows.iter().map(gain)),
        raced_gain_worst: least(&gain),
        compile_share: sum(&|row| row.compile_raced_s) / sum(&|row| row.compile_distinct_s),
        compile_over_default: sum(&|row| row.compile_raced_s) / sum(&|row| row.compile_default_s),
        forecast_s: mean(&|row| row.forecast_s),
        whole: Vec::new(),
        rows,
    }
}

/// The same for people.
pub(crate) fn tables(l: &Layouts) -> Vec<Table> {
    vec![rows(l), targets(l), wholes(l)]
}

fn rows(l: &Layouts) -> Table {
    use Side::{Left, Right};
    let heads = [("kernel", Left), ("size", Left), ("distinct", Right)];
    let layouts = ["default", "first", "raced", "best layout"].map(|name| (name, Left));
    let numbers = ["default share", "first", "raced", "predicted"].map(|name| (name, Right));
    let mut table = Table::new(2, heads.into_iter().chain(layouts).chain(numbers));
    for row in &l.rows {
        let shares =
            [row.default_s, row.first_s, row.raced_s].map(|s| format!("{:.3}", row.best_s / s));
        let [default, first, raced] = shares;
        table.push(vec![
            row.kernel.clone(),
            row.size.clone(),
            row.distinct.to_string(),
            row.default.clone(),
            row.first.clone(),
            row.raced.clone(),
            row.best.clone(),
            default,
            first,
            raced,
            format!("{:.2}", row.predicted),
        ]);
    }
    table
}

fn targets(l: &Layouts) -> Table {
    let mut targets = Targets::new();
    let mut line = |what: &str, found: String, target: &str, met: bool| {
        targets.push(what, found, target, met);
    };
    let both = |geo: f64, worst: f64| format!("{} / {}", percent(geo), percent(worst));
    let met = l.raced_geo >= 0.97;
    line(
        "layout after racing, of the best of all: geometric, worst",
        both(l.raced_geo, l.raced_worst),
        "≥ 97 %",
        met,
    );
    line("  first choice of the model alone", both(l.first_geo, l.first_worst), "", true);
    line("  default, by the kernel's shape", both(l.default_geo, l.default_worst), "", true);
    let gain = format!("{:.3} / {:.3}", l.raced_gain_geo, l.raced_gain_worst);
    line(
        "speed after racing over the default's: geometric, worst",
        gain,
        "≥ 0.97 worst",
        l.raced_gain_worst >= 0.97,
    );
    line("  of the first choice alone", format!("{:.3}", l.first_gain_geo), "", true);
    let met = l.compile_share <= 0.5;
    line(
        "compiling what races, of compiling all distinct",
        percent(l.compile_share),
        "≤ 50 %",
        met,
    );
    line("  over compiling the default", format!("{:.1}", l.compile_over_default), "", true);
    line("predicting all layouts", crossover::show_seconds(l.forecast_s), "", true);
    let gains = || l.whole.iter().map(|whole| whole.rule_s / whole.learned_s);
    let found = format!("{:.3} / {:.3}", geo(gains()), gains().fold(f64::INFINITY, f64::min));
    line("in a runtime, rule over learned in the end: geometric, worst", found, "", true);
    let calls = || l.whole.iter().map(|whole| whole.calls);
    let found = format!("{:.3} / {:.3}", geo(calls()), calls().fold(f64::INFINITY, f64::min));
    line("  calls made from the first on, learned over rule", found, "", true);
    let what =
        format!("{} kernels in {} cases, {} have one layout alone", l.kernels, l.cases, l.alone);
    line(&what, String::new(), "", true);
    targets.table()
}

fn wholes(l: &Layouts) -> Table {
    use Side::{Left, Right};
    let heads = [("in a runtime", Left), ("default", Left), ("learned", Left), ("compiled", Right)];
    let numbers = ["rule/learned", "calls"].map(|name| (name, Right));
    let mut table = Table::new(1, heads.into_iter().chain(numbers));
    for whole in &l.whole {
        table.push(vec![
            whole.kernel.clone(),
            whole.default.clone(),
            whole.learned.clone(),
            whole.compiled.to_string(),
            format!("{:.3}", whole.rule_s / whole.learned_s),
            format!("{:.3}", whole.calls),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kernel: &str, [default_s, first_s, raced_s, best_s]: [f64; 4]) -> Row {
        let text = || "1,1,1,0".to_owned();
        Row {
            kernel: kernel.to_owned(),
            size: "small".to_owned(),
            n: 1,
            distinct: 5,
            default: text(),
            first: text(),
            raced: text(),
            best: text(),
            predicted: 1.0,
            default_s,
            first_s,
            raced_s,
            best_s,
            forecast_s: 1e-3,
            compile_default_s: 1.0,
            compile_raced_s: 4.0,
            compile_distinct_s: 8.0,
        }
    }

    #[test]
    fn shares_are_of_the_best_and_gains_over_the_default() {
        let rows = vec![row("a", [2.0, 4.0, 1.0, 1.0]), row("b", [1.0, 1.0, 1.0, 1.0])];
        let found = summary(rows);
        assert_eq!((found.kernels, found.cases), (2, 2));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        close(found.first_geo, 0.5);
        close(found.first_worst, 0.25);
        close(found.raced_geo, 1.0);
        close(found.default_geo, 0.5f64.sqrt());
        close(found.raced_gain_geo, 2.0f64.sqrt());
        close(found.raced_gain_worst, 1.0);
        close(found.compile_share, 0.5);
        close(found.compile_over_default, 4.0);
        assert_eq!(tables(&found).len(), 3);
    }

    #[test]
    fn a_kernel_is_judged_in_all_its_layouts() {
        let rt = Runtime::builder().with(|s| s.gpu = crossover::GpuUse::Off).build();
        let rt = rt.expect("the CPU");
        let executor = WasmExecutor::new().expect("an engine");
        let judge = Judge { executor, chooser: LayoutChooser::new(), rt: &rt };
        let entry = crossover::kernels::library::find("saxpy").expect("it is in the library");
        let mut subject = judge.subject(entry, 1000).expect("compiled");
        let row = judge.judge(entry, "small", 1000, &mut subject).expect("judged");
        assert!(row.distinct > 2 && row.default != String::new());
        assert!([row.default_s, row.first_s, row.raced_s, row.best_s].iter().all(|s| *s > 0.0));
        assert!(row.compile_raced_s < row.compile_distinct_s);
    }
}
