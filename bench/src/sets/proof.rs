//! The choice of optimisations against all 128 sets, on the library kernels of a suite that no model was trained
//! on.
//!
//! Which set is the fastest is found in every second turn, and how fast it is in the turns between: else the best
//! of many would be the one that was lucky. What a compilation takes is its quickest of some, for all sets alike.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use crossover::kernels::front;
use crossover::kernels::ir::Kernel;
use crossover::kernels::library::Entry;
use crossover::ml::optimise::{MARGIN, Set};
use crossover::{Chooser, Device, Runtime};
use crossover_wasm::WasmExecutor;
use serde::Serialize;

use super::whole::{self, Whole};
use super::{COMPILATIONS, Variant, Variants};
use crate::case::Case;
use crate::columns::{Side, Table, Targets, percent};
use crate::direct;
use crate::suite::Suite;
use crate::turns::{self, cpu_s};

/// Turns of a kernel at a size, and time for them.
const TURNS: [usize; 2] = [12, 60];
const BUDGET: Duration = Duration::from_secs(3);

/// Calls over which compiling is counted, too.
const CALLS: [f64; 5] = [1.0, 10.0, 100.0, 1e3, 1e4];

/// Calls of which compiling is no part that anybody sees.
const FOREVER: f64 = 1e9;

/// The whole answer. Shares are of speed, or of time in all, that the best of the 128 sets reaches: 1 is as good.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Optimisations {
    /// Kernels, each at some sizes.
    pub(crate) kernels: usize,
    pub(crate) cases: usize,
    /// Distinct code of a kernel, on average.
    pub(crate) distinct_mean: f64,
    /// Of the chosen set, geometric and least, where only running counts.
    pub(crate) share_geo: f64,
    pub(crate) share_worst: f64,
    /// The same against the smallest time of all sets in the very turns that judge: what luck would have to be
    /// chosen.
    pub(crate) share_strict_geo: f64,
    /// The same of all optimisations, whatever the kernel.
    pub(crate) all_geo: f64,
    pub(crate) all_worst: f64,
    /// Of the one set that is best for these kernels together.
    pub(crate) constant_geo: f64,
    pub(crate) constant: String,
    /// Time of choosing and of compiling what is chosen, over that of compiling all distinct code.
    pub(crate) compile_share: f64,
    pub(crate) compile_share_worst: f64,
    /// Time of choosing alone, over that of compiling with all optimisations.
    pub(crate) choosing_share: f64,
    /// What the choice itself says of its being within 3 % of the best, on average, and how often it was.
    pub(crate) confidence_mean: f64,
    pub(crate) right: f64,
    /// Compiling and so many calls together.
    pub(crate) by_calls: Vec<ByCalls>,
    /// The first calls in runtimes of their own.
    pub(crate) whole: Vec<Whole>,
    pub(crate) rows: Vec<Row>,
}

/// Compiling once and calling so often: share of what the best set reaches, geometric.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct ByCalls {
    pub(crate) calls: f64,
    pub(crate) chosen_geo: f64,
    pub(crate) chosen_worst: f64,
    pub(crate) all_geo: f64,
    pub(crate) none_geo: f64,
}

/// A kernel at a size.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) kernel: String,
    pub(crate) size: String,
    pub(crate) n: u64,
    pub(crate) distinct: usize,
    pub(crate) chosen: String,
    pub(crate) best: String,
    pub(crate) confidence: f64,
    pub(crate) chosen_s: f64,
    pub(crate) best_s: f64,
    pub(crate) all_s: f64,
    pub(crate) none_s: f64,
    /// Predicted before anything ran, with all optimisations.
    pub(crate) predicted_s: f64,
    pub(crate) choosing_s: f64,
    pub(crate) compile_chosen_s: f64,
    pub(crate) compile_all_s: f64,
    pub(crate) compile_distinct_s: f64,
    /// With each number of calls: the chosen set, and its share.
    pub(crate) by_calls: Vec<(String, f64)>,
}

/// Measures the library kernels of a suite. `said` is told what is under way, and how much of all is over.
pub(crate) fn measure(
    suite: &Suite,
    said: &mut dyn FnMut(&str, f64),
) -> anyhow::Result<Optimisations> {
    let executor = WasmExecutor::new()?;
    let chooser = Chooser::new(f64::INFINITY)?;
    let rt = turns::runtime()?;
    let plan = turns::plan(suite);
    let (mut cases, mut held): (Vec<Judged>, Option<(&str, Kernel, Variants)>) = (Vec::new(), None);
    for (at, (entry, size_name, size)) in plan.iter().enumerate() {
        said(&format!("{} {size_name} with every set", entry.name), at as f64 / plan.len() as f64);
        if held.as_ref().is_none_or(|(name, ..)| *name != entry.name) {
            let source = front::kernel(entry.kernels()[0], &[], &[])?;
            let variants = Variants::new(&executor, &source, Set::every())?;
            held = Some((entry.name, source, variants));
        }
        let Some((_, source, variants)) = &mut held else { continue };
        let all = variants.distinct.iter().map(|v| (v.set.to_string(), &v.coded));
        turns::check_entry(entry, *size, all)?;
        let subject = Subject { entry, size_name, size: *size, source };
        cases.push(judge(&rt, &chooser, &subject, variants)?);
    }
    let small = plan.iter().filter(|(_, size_name, _)| *size_name == "small");
    let small: Vec<_> = small.map(|(entry, _, size)| (*entry, *size)).collect();
    let whole = whole::measure(&small, &mut |name| said(&format!("{name} in a runtime"), 1.0))?;
    Ok(Optimisations { whole, ..summary(cases) })
}

/// A kernel at a size that is to be judged.
struct Subject<'a> {
    entry: &'static Entry,
    size_name: &'a str,
    size: usize,
    source: &'a Kernel,
}

/// What was found: a row, the judged seconds of every set, and what follows from compiling.
struct Judged {
    row: Row,
    /// Seconds of a call by set, judged, and the smallest of all.
    seconds: BTreeMap<Set, f64>,
    /// Shares by [`CALLS`]: chosen, all, none.
    by_calls: Vec<[f64; 3]>,
}

fn judge(
    rt: &Runtime,
    chooser: &Chooser,
    subject: &Subject<'_>,
    variants: &mut Variants,
) -> anyhow::Result<Judged> {
    let Subject { entry, size_name, size, source } = *subject;
    let mut case = Case::new(rt, entry, size)?;
    let explained = case.explain()?.remove(0);
    let cpu = explained.estimates.iter().find(|e| e.device == Device::Cpu);
    let predicted_s = cpu.map_or(f64::NAN, |estimate| estimate.run_s);
    let args = direct::slots(&case.inputs)?;
    variants.time(&args, None, TURNS, BUDGET)?;
    let [found, judged] = [0, 1].map(|half| {
        let of = |set| Some((set, variants.of(set)?.coded.least_of_half_s(half)));
        Set::every().filter_map(of).collect::<BTreeMap<Set, f64>>()
    });
    let smallest = |of: &dyn Fn(Set) -> f64| {
        Set::every().min_by(|a, b| of(*a).total_cmp(&of(*b))).unwrap_or(Set::ALL)
    };
    let choose = |calls: f64| -> anyhow::Result<_> {
        let (mut choice, mut least_s) = (None, f64::INFINITY);
        // As with compilations, the quickest counts.
        for _ in 0..COMPILATIONS {
            let start = cpu_s();
            choice = chooser.choose(source, &explained.features, predicted_s, calls);
            least_s = least_s.min(cpu_s() - start);
        }
        let choice = choice.with_context(|| format!("{} has no code", entry.name))?;
        Ok((choice, least_s))
    };
    let compile_s = |set: Set| variants.of(set).map_or(f64::NAN, Variant::compile_s);
    let (mut by_calls, mut chosen_by_calls) = (Vec::new(), Vec::new());
    for calls in CALLS {
        let (choice, choosing_s) = choose(calls)?;
        let total = |seconds: &BTreeMap<Set, f64>, set| compile_s(set) + calls * seconds[&set];
        let best = total(&judged, smallest(&|set| total(&found, set)));
        let share = |set: Set, more_s: f64| best / (total(&judged, set) + more_s);
        let shares = [share(choice.set, choosing_s), share(Set::ALL, 0.0), share(Set::NONE, 0.0)];
        chosen_by_calls.push((choice.set.to_string(), shares[0]));
        by_calls.push(shares);
    }
    let (choice, choosing_s) = choose(FOREVER)?;
    let best = smallest(&|set| found[&set]);
    let row = Row {
        kernel: entry.name.to_owned(),
        size: size_name.to_owned(),
        n: size as u64,
        distinct: variants.distinct.len(),
        chosen: choice.set.to_string(),
        best: best.to_string(),
        confidence: choice.confidence,
        chosen_s: judged[&choice.set],
        best_s: judged[&best],
        all_s: judged[&Set::ALL],
        none_s: judged[&Set::NONE],
        predicted_s,
        choosing_s,
        compile_chosen_s: compile_s(choice.set),
        compile_all_s: compile_s(Set::ALL),
        compile_distinct_s: variants.distinct.iter().map(Variant::compile_s).sum(),
        by_calls: chosen_by_calls,
    };
    Ok(Judged { row, seconds: judged, by_calls })
}

pub(crate) fn geo(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, n), value| (sum + value.ln(), n + 1.0));
    (sum / f64::max(count, 1.0)).exp()
}

fn summary(cases: Vec<Judged>) -> Optimisations {
    let count = cases.len().max(1) as f64;
    let rows = || cases.iter().map(|case| &case.row);
    let mean = |of: &dyn Fn(&Row) -> f64| rows().map(of).sum::<f64>() / count;
    let least = |of: &dyn Fn(&Row) -> f64| rows().map(of).fold(f64::INFINITY, f64::min);
    let share = |row: &Row| row.best_s / row.chosen_s;
    let share_of_all = |row: &Row| row.best_s / row.all_s;
    let compile = |row: &Row| (row.choosing_s + row.compile_chosen_s) / row.compile_distinct_s;
    let strict = |case: &Judged| {
        let smallest = case.seconds.values().copied().fold(f64::INFINITY, f64::min);
        smallest / case.row.chosen_s
    };
    let constant = |set: &Set| geo(cases.iter().map(|case| case.row.best_s / case.seconds[set]));
    let best_constant = Set::every().max_by(|a, b| constant(a).total_cmp(&constant(b)));
    let best_constant = best_constant.unwrap_or(Set::ALL);
    let by_calls = CALLS.iter().enumerate().map(|(at, &calls)| {
        let of = |which: usize| cases.iter().map(move |case| case.by_calls[at][which]);
        ByCalls {
            calls,
            chosen_geo: geo(of(0)),
            chosen_worst: of(0).fold(f64::INFINITY, f64::min),
            all_geo: geo(of(1)),
            none_geo: geo(of(2)),
        }
    });
    let mut kernels: Vec<&str> = rows().map(|row| row.kernel.as_str()).collect();
    kernels.dedup();
    Optimisations {
        kernels: kernels.len(),
        cases: cases.len(),
        distinct_mean: mean(&|row| row.distinct as f64),
        share_geo: geo(rows().map(share)),
        share_worst: least(&share),
        share_strict_geo: geo(cases.iter().map(strict)),
        all_geo: geo(rows().map(share_of_all)),
        all_worst: least(&share_of_all),
        constant_geo: constant(&best_constant),
        constant: best_constant.to_string(),
        compile_share: rows().map(|row| row.choosing_s + row.compile_chosen_s).sum::<f64>()
            / rows().map(|row| row.compile_distinct_s).sum::<f64>(),
        compile_share_worst: rows().map(compile).fold(0.0, f64::max),
        choosing_share: mean(&|row| row.choosing_s / row.compile_all_s),
        confidence_mean: mean(&|row| row.confidence),
        right: mean(&|row| f64::from(u8::from(share(row) >= 1.0 - MARGIN))),
        by_calls: by_calls.collect(),
        whole: Vec::new(),
        rows: rows().cloned().collect(),
    }
}

/// The same for people.
pub(crate) fn tables(o: &Optimisations) -> Vec<Table> {
    vec![rows(o), targets(o), by_calls(o), first_calls(o)]
}

fn rows(o: &Optimisations) -> Table {
    use Side::{Left, Right};
    let words = [("chosen", Left), ("best of 128", Left)];
    let heads = [("kernel", Left), ("size", Left), ("distinct", Right)].into_iter().chain(words);
    let numbers = ["share", "all", "none", "confidence"].map(|name| (name, Right));
    let mut table = Table::new(2, heads.chain(numbers));
    for row in &o.rows {
        let shares = [row.chosen_s, row.all_s, row.none_s].map(|time| row.best_s / time);
        let [share, all, none] = shares.map(|share| format!("{share:.3}"));
        table.push(vec![
            row.kernel.clone(),
            row.size.clone(),
            row.distinct.to_string(),
            row.chosen.to_string(),
            row.best.to_string(),
            share,
            all,
            none,
            format!("{:.2}", row.confidence),
        ]);
    }
    table
}

fn targets(o: &Optimisations) -> Table {
    let mut targets = Targets::new();
    let mut line = |what: &str, found: String, target: &str, met: bool| {
        targets.push(what, found, target, met);
    };
    let met = o.share_geo >= 0.97;
    let found = format!("{} / {}", percent(o.share_geo), percent(o.share_worst));
    line("chosen set, of the best of 128: geometric, worst", found, "≥ 97 %", met);
    line("  of the luckiest of 128 in the turns that judge", percent(o.share_strict_geo), "", true);
    let found = format!("{} / {}", percent(o.all_geo), percent(o.all_worst));
    line("  all optimisations, whatever the kernel", found, "", true);
    line(&format!("  best constant set: {}", o.constant), percent(o.constant_geo), "", true);
    let found = format!("{} / {}", percent(o.compile_share), percent(o.compile_share_worst));
    line(
        "choosing and compiling, of compiling all distinct: all, worst",
        found,
        "≤ 25 %",
        o.compile_share <= 0.25,
    );
    line("  choosing, of compiling with all", percent(o.choosing_share), "", true);
    let found = format!("{} / {}", percent(o.confidence_mean), percent(o.right));
    line("within 3 % of the best: said, found", found, "", true);
    targets.table()
}

fn by_calls(o: &Optimisations) -> Table {
    let heads = ["compiling and calling, of best", "chosen", "worst", "all", "none"];
    let mut table = Table::of_numbers(heads).titled();
    for by in &o.by_calls {
        let shares = [by.chosen_geo, by.chosen_worst, by.all_geo, by.none_geo].map(percent);
        table.push([format!("{} calls", by.calls)].into_iter().chain(shares).collect());
    }
    table
}

fn first_calls(o: &Optimisations) -> Table {
    let heads = ["first calls in a runtime", "kernels", "all/chosen", "worst"];
    let mut table = Table::of_numbers(heads).titled();
    for Whole { calls, kernels, gain_geo, gain_worst } in &o.whole {
        table.push(vec![
            format!("{calls} calls"),
            kernels.to_string(),
            format!("{gain_geo:.2}"),
            format!("{gain_worst:.2}"),
        ]);
    }
    table
}
