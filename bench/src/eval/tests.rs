//! The evaluation in little: the same code with a few trials of each kind.

use crossover::record::Recording;

use super::{Contender, Effort, Looks, evaluate, svg, tables, trials};

const LITTLE: Effort = Effort { explored: 8, lock_ins: 50, seeds: 1, draw: 0 };

fn keys(value: &serde_json::Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn the_answer_has_its_layout_and_the_learned_policy_its_place() {
    let mut said = Vec::new();
    let mut note = |what: &str, share: f64| said.push((what.to_owned(), share));
    let nothing: [Recording; 0] = [];
    let (evaluation, details) =
        evaluate(&nothing, None, [LITTLE; 2], &mut note).expect("nothing is read");
    let json = serde_json::to_value(&evaluation).expect("numbers");
    let mut parts = keys(&json);
    parts.sort_unstable();
    let expected = "baselines decision_ns devices15 drift exploration held_out_family layouts \
                    lock_ins optimisations prediction steady";
    assert_eq!(parts.join(" "), expected);
    for (part, names) in [
        ("steady", "regret_geo regret_total regret_worst"),
        ("held_out_family", "call4_oracle first_call_oracle"),
        ("lock_ins", "locked trials"),
        ("drift", "calls_to_discover calls_to_reroute"),
        ("prediction", "coverage90 median_error"),
        ("decision_ns", "long_p50 long_with_record_p50 p50 p999 runtime_p50 with_record_p50"),
    ] {
        let mut found = keys(&json[part]);
        found.sort_unstable();
        assert_eq!(found.join(" "), names, "{part}");
    }
    let ratios: Vec<f64> = evaluation.exploration.iter().map(|e| e.ratio).collect();
    assert_eq!(ratios, trials::RATIOS);
    assert!(evaluation.exploration.iter().all(|e| e.cost < 0.06), "{:?}", evaluation.exploration);
    assert_eq!((evaluation.lock_ins.trials, evaluation.lock_ins.locked), (50, 0));
    assert!(evaluation.drift.calls_to_reroute <= 5, "{:?}", evaluation.drift);
    assert!(evaluation.drift.calls_to_discover <= 64, "{:?}", evaluation.drift);
    // Whoever always chooses one device is on the slower one in half of the trials, for ever.
    let row = |name: &str| {
        evaluation.baselines.iter().find(|row| row.name == name).expect("a row of the table")
    };
    let locked = ["always-cpu", "always-gpu"].map(|name| row(name).locked.expect("trials"));
    assert!((locked[0] + locked[1] - 1.0).abs() < 1e-9, "{locked:?}");
    assert!(row("learned").exploration < row("ewma").exploration);
    assert_eq!(row("best constant").exploration, None);
    let shown = tables(&evaluation, &details).iter().map(|table| table.shown(usize::MAX)).collect();
    let (text, plot): (String, String) = (shown, svg(&details));
    assert!(evaluation.baselines.iter().all(|row| text.contains(&row.name)), "{text}");
    assert!(plot.starts_with("<svg") && plot.matches("<polyline").count() == details.curves.len());
    assert!(said.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{said:?}");
}

#[test]
fn a_trial_is_the_same_whenever_it_is_made() {
    let who = Contender { name: "learned", policy: "learned", looks: Looks::Parts };
    let cost = |draw: u64| {
        let effort = Effort { draw, ..LITTLE };
        trials::exploration(&who, 10.0, effort).expect("a policy").cost
    };
    assert_eq!(cost(0), cost(0));
    assert_ne!(cost(0), cost(1));
    let unknown = Contender { policy: "prophet", ..who };
    assert!(trials::lock_ins(&unknown, LITTLE).is_err());
}
