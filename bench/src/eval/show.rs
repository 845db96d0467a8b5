//! The evaluation as tables in a terminal.

use super::{Details, Evaluation, sights, trials};
use crate::columns::{Table, Targets, percent};

/// The targets stand beside what was measured; what falls short is marked.
pub(crate) fn tables(evaluation: &Evaluation, details: &Details) -> Vec<Table> {
    let mut tables = vec![targets(evaluation, details), baselines(evaluation)];
    tables.extend((!details.splits.is_empty()).then(|| splits(details)));
    tables
}

fn targets(e: &Evaluation, details: &Details) -> Table {
    let mut targets = Targets::new();
    let mut line = |what: &str, found: String, target: &str, met: bool| {
        targets.push(what, found, target, met);
    };
    let [cases, on_gpu] = details.cases;
    if cases > 0 {
        let steady = &e.steady;
        let met =
            steady.regret_geo <= 1.02 && steady.regret_total <= 1.05 && steady.regret_worst <= 1.25;
        let found = format!(
            "{:.3} / {:.3} / {:.2}",
            steady.regret_geo, steady.regret_total, steady.regret_worst
        );
        let what = format!("steady regret: geometric, total, worst ({cases} cases, {on_gpu} gpu)");
        line(&what, found, "≤ 1.02 / 1.05 / 1.25", met);
        if steady.regret_worst > 1.25 {
            line("  the worst", details.worst.clone(), "", true);
        }
        let held = &e.held_out_family;
        let met = held.first_call_oracle >= 0.92 && held.call4_oracle >= 0.97;
        let found = format!("{} / {}", percent(held.first_call_oracle), percent(held.call4_oracle));
        line("unseen kernels: first call, fourth call", found, "≥ 92 % / 97 %", met);
        let p = &e.prediction;
        let met = p.median_error <= 0.1 && (0.85..=0.95).contains(&p.coverage90);
        let found = format!("{} / {}", percent(p.median_error), percent(p.coverage90));
        line(
            "after 8 runs: median error, inside the 90 % interval",
            found,
            "≤ 10 % / 85–95 %",
            met,
        );
    }
    let sights = &details.sights;
    if sights.kernels > 0 {
        let score = |[model, gate]: [sights::Score; 2]| {
            format!("{:.2} → {:.2} / {:.2} → {:.2}", model.error, gate.error, model.nll, gate.nll)
        };
        let what = format!("{} kernels before they run: |log2| off / NLL, by gate", sights.kernels);
        line(&what, score(sights.own), "", true);
        let what = "  with a model that is 8 times off on the gpu";
        line(what, score(sights.foreign), "", true);
    }
    for found in &details.exploration {
        let what = format!("exploring at {}:1, over 1,000 calls", found.ratio);
        line(&what, format!("{:.2} %", 100.0 * found.cost), "≤ 3 %", found.cost <= 0.03);
    }
    let most = |found: &[trials::Exploration]| {
        100.0 * found.iter().map(|e| e.beyond_share).fold(0.0, f64::max)
    };
    let (whole, cut) = (most(&details.exploration), most(&details.exploration_cut));
    let what = "  calls beyond twice the better time and 1 ms";
    line(what, format!("{whole:.3} %"), "0", whole == 0.0);
    line("    the same, calls that can be cut", format!("{cut:.3} %"), "0", cut == 0.0);
    let unseen = format!("{:.3} %", most(&details.exploration_unseen));
    line("    the same, where nothing can be run first", unseen, "", true);
    let lock = &details.lock_ins;
    let what = format!("locked in, of {} trials with spikes (late)", lock.trials);
    line(&what, format!("{} ({})", lock.locked, lock.late), "0", lock.locked == 0);
    let wrong = lock.wrong as f64 / lock.calls.max(1) as f64;
    line("  wrong after 20 calls", format!("{:.2} %", 100.0 * wrong), "≤ 1 %", wrong <= 0.01);
    let drift = &details.drift;
    let found = format!("{} (mean {:.1})", drift.reroute_most, drift.reroute_mean);
    line("×4 slower at any history: calls to re-route", found, "≤ 5", drift.reroute_most <= 5);
    let found = format!("{} (mean {:.1})", drift.discover_most, drift.discover_mean);
    line("idle and ×2 faster: calls to discover", found, "≤ 64", drift.discover_most <= 64);
    if let Some(devices) = &e.devices15 {
        let what = format!("unseen device of 15, {} probes", devices.probes);
        line(&what, percent(devices.oracle), "≥ 95 %", devices.oracle >= 0.95);
    }
    if let Some(real) = &details.real {
        let met = real.median_error <= 0.1 && (0.85..=0.95).contains(&real.coverage90);
        let found = format!("{} / {}", percent(real.median_error), percent(real.coverage90));
        line("  their runs: median error, inside 90 %", found, "≤ 10 % / 85–95 %", met);
    }
    let ns = &e.decision_ns;
    let met = ns.p50 <= 60.0 && ns.p999 <= 250.0 && ns.with_record_p50 <= 100.0;
    let found = format!("{:.0} / {:.0} / {:.0} ns", ns.p50, ns.p999, ns.with_record_p50);
    line("decision: p50, p99.9, with clock and lesson p50", found, "≤ 60 / 250 / 100 ns", met);
    let found = format!("{:.0} / {:.0} ns", ns.long_p50, ns.long_with_record_p50);
    line(
        "  calls of 1 ms, which all teach: p50, with lesson p50",
        found,
        "≤ 60 / 100 ns",
        ns.long_p50 <= 60.0 && ns.long_with_record_p50 <= 100.0,
    );
    let (found, met) = (format!("{:.0} ns", ns.runtime_p50), ns.runtime_p50 <= 60.0);
    line("  in a runtime, a call that repeats one: p50", found, "≤ 60 ns", met);
    targets.table()
}

fn baselines(e: &Evaluation) -> Table {
    let heads = [
        "policy",
        "regret",
        "total",
        "worst",
        "from 1st",
        "exploring",
        "wrong",
        "locked",
        "re-route",
        "discover",
    ];
    let mut table = Table::of_numbers(heads);
    let share = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), percent);
    let ratio = |value: f64| match value.is_nan() {
        true => "–".to_owned(),
        false => format!("{value:.3}"),
    };
    let count = |value: Option<u64>| match value {
        None => "–".to_owned(),
        Some(never) if never >= super::trials::NOTICED_MAX => "never".to_owned(),
        Some(calls) => calls.to_string(),
    };
    for row in &e.baselines {
        table.push(vec![
            row.name.clone(),
            ratio(row.regret_geo),
            ratio(row.regret_total),
            ratio(row.regret_worst),
            ratio(row.regret_geo_all),
            share(row.exploration),
            share(row.wrong),
            share(row.locked),
            count(row.calls_to_reroute),
            count(row.calls_to_discover),
        ]);
    }
    table
}

fn splits(details: &Details) -> Table {
    let heads = ["unseen (15 devices)", "first call", "4th call", "all calls", "best constant"];
    let mut table = Table::of_numbers(heads).titled();
    for split in &details.splits {
        let shares = [split.first, split.fourth, split.all, split.constant].map(percent);
        table.push([split.unseen.to_string()].into_iter().chain(shares).collect());
    }
    table
}
