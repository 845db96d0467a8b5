//! `crossover replay`: what a policy would have done in a recorded run, and what that would have cost.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossover::record::Recording;
use crossover::route::{self, Policy, verdict};
use crossover::{Settings, Why, show_seconds};
use serde::Serialize;

use crate::columns::Side::{Left, Right};
use crate::columns::Table;

/// Arguments of `replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A recorded run: by `bench --record`, with both sides' times, or by a runtime whose settings name
    /// a file (CROSSOVER_RECORD).
    ledger: PathBuf,
    /// The policy; `all` for every one.
    #[arg(long, default_value = "all")]
    policy: String,
    /// Calls of each case that do not count, since a policy may still be learning.
    #[arg(long, default_value_t = 0)]
    skip: usize,
    /// Also list what the policy tries: each call that it does not send where it expects the least.
    #[arg(long)]
    trials: bool,
    /// Print JSON instead of the table.
    #[arg(long)]
    json: bool,
}

/// How long decisions are timed.
const TIMED: Duration = Duration::from_millis(300);

/// A policy's verdict, and how fast it came to it.
#[derive(Debug, Serialize)]
struct Replayed {
    #[serde(flatten)]
    verdict: verdict::Verdict,
    /// Decisions a second, each with its lesson, on one thread.
    decisions_per_s: f64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let recording = Recording::load(&args.ledger)?;
    let names: Vec<&str> = match args.policy.as_str() {
        "all" => route::ALL.iter().map(|(name, _)| *name).collect(),
        one => vec![one],
    };
    let mut rows = Vec::new();
    let bar = super::spinner("");
    for name in names {
        bar.set_message(format!("what `{name}` would have done"));
        let settings = settings_of(args, name);
        let verdict = verdict::judge(&recording, route::by_settings(&settings)?, args.skip);
        let decisions_per_s = rate(&recording, &|| route::by_settings(&settings))?;
        rows.push(Replayed { verdict, decisions_per_s });
    }
    bar.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string(&rows)?);
        return Ok(ExitCode::SUCCESS);
    }
    let about = &recording.about;
    let adapter = about.adapter.as_deref().unwrap_or("no GPU");
    println!("{} cases, {} calls", recording.cases.len(), recording.calls.len());
    println!("recorded by `{}` under `{}` on {adapter}\n", about.by, about.policy);
    let numbers = ["decisions", "regret", "total", "worst", "explored", "as there", "per second"];
    let heads = [("policy", Left)].into_iter().chain(numbers.map(|name| (name, Right)));
    let mut table = Table::new(1, heads.chain([("worst of", Left)]));
    for Replayed { verdict: v, decisions_per_s } in &rows {
        table.push(vec![
            v.policy.clone(),
            v.decisions.to_string(),
            format!("{:.3}", v.regret_geo),
            format!("{:.3}", v.regret_total),
            format!("{:.2}", v.regret_worst),
            v.explored.to_string(),
            v.agreed.to_string(),
            format!("{decisions_per_s:.2e}"),
            v.worst.clone(),
        ]);
    }
    table.print();
    if args.trials {
        for Replayed { verdict, .. } in &rows {
            let settings = settings_of(args, &verdict.policy);
            trials(&recording, route::by_settings(&settings)?, &verdict.policy);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn settings_of(args: &Args, policy: &str) -> Settings {
    let ledger = Some(args.ledger.clone());
    Settings { policy: policy.to_owned(), ledger, ..Settings::default() }
}

/// Lists what a policy tries.
fn trials(recording: &Recording, policy: Arc<dyn Policy>, name: &str) {
    println!("\n{name} tries");
    verdict::follow(recording, policy, |choice| {
        if choice.why != Why::Explore {
            return;
        }
        let case = &recording.cases[choice.case];
        let took = choice.run_s.map_or_else(|| "–".to_owned(), show_seconds);
        println!(
            "{:<18} {:>9} items, call {:>3}: {} instead of {} on the {}; took {took}",
            case.kernel,
            case.items,
            choice.nth + 1,
            show_seconds(choice.predicted_s),
            show_seconds(choice.other_s),
            choice.device,
        );
    });
}

/// Decisions a second, each with what it is told afterwards.
fn rate(
    recording: &Recording,
    policy: &dyn Fn() -> Result<Arc<dyn Policy>, crossover::Error>,
) -> anyhow::Result<f64> {
    let (mut decisions, mut taken) = (0u64, Duration::ZERO);
    while taken < TIMED && !recording.calls.is_empty() {
        let policy = policy()?;
        let start = Instant::now();
        verdict::follow(recording, policy, |_| decisions += 1);
        taken += start.elapsed();
    }
    Ok(decisions as f64 / taken.as_secs_f64().max(1e-9))
}
