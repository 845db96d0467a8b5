//! The trainer and the learner on synthetic kernels, whose law is known.

use crossover_ml::learner::Event;
use crossover_ml::rng::Rng;
use crossover_ml::train::Progress;
use crossover_ml::{
    CostModel, Dataset, Ensemble, Error, Feature, Features, Learner, LearnerOptions, Roofline, Row,
    Side, TrainOptions, eval, train, train_ensemble, train_from, weights,
};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Kernels whose distance from the roofline depends on their features: gathers hurt the CPU,
/// divergence hurts the GPU, and each kernel has an offset of its own.
fn synthetic(kernels: usize, sizes: usize, seed: u64) -> Dataset {
    let mut rng = Rng::new(seed);
    let mut rows = Vec::new();
    for kernel in 0..kernels {
        let (gather, divergent) = (rng.uniform(), rng.uniform());
        let own = 0.3 * rng.normal();
        for size in 0..sizes {
            let n = 1u64 << (10 + 2 * size);
            let mut features = Features::missing();
            let (cpu, gpu) = (2e-6 + n as f64 * 1e-9, 40e-6 + n as f64 * 2e-10);
            features.set(Feature::GatherFraction, gather);
            features.set(Feature::DivergentFraction, divergent);
            features.set(Feature::Items, n as f64);
            features.set(Feature::CpuTimeS, cpu);
            features.set(Feature::GpuTimeS, gpu);
            let noise = [0.1 * rng.normal(), 0.1 * rng.normal()];
            let seconds = [
                Some(cpu * (1.0 + own + 3.0 * gather + noise[0]).exp2()),
                Some(gpu * (1.0 + own + 3.0 * divergent + noise[1]).exp2()),
            ];
            rows.push(Row::new(
                format!("kernel{seed}_{kernel}"),
                "synthetic",
                n,
                features,
                seconds,
            ));
        }
    }
    Dataset::from_rows(rows).unwrap()
}

fn options() -> TrainOptions {
    TrainOptions {
        epochs: 25,
        hidden: vec![32, 16, 16],
        learning_rate: 5e-3,
        ..TrainOptions::default()
    }
}

fn go_on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn an_ensemble_beats_the_roofline_on_unseen_kernels() {
    let (known, unseen) = synthetic(80, 5, 1).split_kernels(0.25, 3);
    let (ensemble, _) = train_ensemble(&known, &options(), 2, &mut go_on).unwrap();
    let learned = eval::evaluate(&ensemble, unseen.rows());
    let roofline = eval::evaluate(&Roofline::fit(known.rows()), unseen.rows());
    assert!(learned.mae < 0.7 * roofline.mae, "{learned:?} {roofline:?}");
    assert!(learned.nll < roofline.nll, "{learned:?} {roofline:?}");
    assert!((0.75..=1.0).contains(&learned.coverage[1]), "{learned:?}");
    assert!(learned.regret_log2 < roofline.regret_log2, "{learned:?} {roofline:?}");
}

#[test]
fn a_seed_gives_the_same_bytes_and_another_seed_others() {
    let data = synthetic(12, 4, 2);
    let bytes = |seed| {
        let options = TrainOptions { epochs: 3, seed, ..options() };
        let (network, _) = train(&data, &options, &mut go_on).unwrap();
        weights::to_bytes(&[network]).unwrap()
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1), bytes(2));
}

#[test]
fn a_warm_start_begins_where_the_network_was() {
    let data = synthetic(30, 4, 3);
    let (network, cold) = train(&data, &options(), &mut go_on).unwrap();
    let few = TrainOptions { epochs: 2, learning_rate: 1e-3, ..options() };
    let (_, warm) = train_from(&network, &data, &few, &mut go_on).unwrap();
    assert!(warm.losses[0] < cold.losses[0] && warm.held_out_nll[0] < cold.held_out_nll[0] - 0.1);
    assert_eq!((cold.rows + cold.rows_held_out, cold.losses.len()), (120, 25));
}

#[test]
fn one_sided_rows_train_too() {
    let mut rows = synthetic(20, 4, 4).rows().to_vec();
    for (at, row) in rows.iter_mut().enumerate() {
        row.seconds[at % 2] = None;
    }
    let data = Dataset::from_rows(rows).unwrap();
    let (network, report) = train(&data, &options(), &mut go_on).unwrap();
    assert!(report.losses.last() < report.losses.first());
    let metrics = eval::evaluate(&network, data.rows());
    assert!(metrics.mae < 1.0 && metrics.accuracy.is_nan(), "{metrics:?}");
}

#[test]
fn bad_input_is_an_error_and_stopping_stops() {
    let too_few = train(&synthetic(2, 2, 5), &options(), &mut go_on);
    assert!(matches!(too_few, Err(Error::TooFewRows { found: 4, .. })));
    let data = synthetic(10, 4, 5);
    for wrong in [
        TrainOptions { epochs: 0, ..options() },
        TrainOptions { batch: 1, ..options() },
        TrainOptions { learning_rate: f64::NAN, ..options() },
        TrainOptions { held_out: 1.0, ..options() },
        TrainOptions { hidden: vec![0, 1, 1], ..options() },
        TrainOptions { hidden: vec![], ..options() },
        TrainOptions { hidden: vec![8; 9], ..options() },
        TrainOptions { dropout: [0.95, 0.0], ..options() },
    ] {
        assert!(matches!(train(&data, &wrong, &mut go_on), Err(Error::InvalidOption { .. })));
    }
    let stopped = train(&data, &options(), &mut |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Stopped)));
    let wild = TrainOptions { learning_rate: 1e30, ..options() };
    assert!(matches!(train(&data, &wild, &mut go_on), Err(Error::Diverged { .. })));
}

#[test]
fn the_comparison_names_every_baseline() {
    let small = TrainOptions { epochs: 2, hidden: vec![8, 8, 8], ..options() };
    let mut go = |_| ControlFlow::Continue(());
    let comparison = eval::held_out(&synthetic(15, 3, 6), &small, 1, 5, &mut go).unwrap();
    let text = comparison.to_string();
    for name in ["constant", "roofline", "always CPU", "always GPU", "best static", "ensemble"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(comparison.lines.iter().all(|line| line.seeds.len() == 5));
}

fn learner_options() -> LearnerOptions {
    let train = TrainOptions { epochs: 15, ..options() };
    LearnerOptions { train, members: 2, rows_min: 1_000_000, ..LearnerOptions::default() }
}

#[test]
fn a_learner_promotes_what_is_better_and_can_go_back() {
    let learner = Learner::start(Ensemble::default(), learner_options());
    let before = learner.model();
    for row in synthetic(60, 4, 7).rows() {
        learner.record(row.clone());
    }
    assert!(learner.retrain_now(), "{:?}", learner.events());
    assert_eq!((learner.generation(), learner.dropped()), (1, 0));
    let Some(Event::Promoted(trial)) = learner.events().pop() else { panic!("promoted") };
    assert!(trial.after.nll < trial.before.nll && trial.reports.len() == 2);
    let call = synthetic(1, 1, 8).rows()[0].features;
    assert_ne!(learner.model().predict(&call), before.predict(&call));
    assert!(learner.rollback() && !learner.rollback());
    assert_eq!(learner.model().predict(&call), before.predict(&call));
    assert_eq!(learner.generation(), 2);
}

#[test]
fn a_learner_rejects_what_is_worse() {
    let good = train_ensemble(&synthetic(60, 4, 9), &options(), 2, &mut go_on).unwrap().0;
    let mut options = learner_options();
    // Steps this large spoil a trained network, and without held-out kernels training keeps the last epoch.
    options.train = TrainOptions { learning_rate: 1.0, epochs: 1, held_out: 0.0, ..options.train };
    let learner = Learner::start(good, options);
    for row in synthetic(30, 4, 10).rows() {
        learner.record(row.clone());
    }
    let before = learner.model();
    assert!(!learner.retrain_now());
    assert!(std::sync::Arc::ptr_eq(&before, &learner.model()));
    assert_eq!(learner.generation(), 0);
    let Some(Event::Rejected(trial)) = learner.events().pop() else {
        panic!("{:?}", learner.events())
    };
    assert!(trial.after.nll > trial.before.nll);
}

#[test]
fn too_little_data_is_noted_and_hurts_nobody() {
    let learner = Learner::start(Ensemble::default(), learner_options());
    assert!(!learner.retrain_now());
    assert!(matches!(learner.events()[..], [Event::Failed { .. }]));
    assert!(learner.model().predict(&Features::missing()).seconds(Side::Cpu) > 0.0);
}

#[test]
fn a_learner_that_cannot_learn_still_answers() {
    let learner =
        Learner::start(Ensemble::default(), LearnerOptions { duty: 0.0, ..learner_options() });
    learner.record(synthetic(1, 1, 1).rows()[0].clone());
    assert!(!learner.is_learning() && !learner.retrain_now());
    assert!(matches!(learner.events()[..], [Event::Failed { .. }]));
    assert!(learner.model().predict(&Features::missing()).seconds(Side::Gpu) > 0.0);
}

#[test]
fn growth_retrains_in_the_background_and_dropping_is_prompt() {
    let options = LearnerOptions { rows_min: 100, duty: 1.0, ..learner_options() };
    let learner = Learner::start(Ensemble::default(), options);
    for row in synthetic(60, 4, 11).rows() {
        learner.record(row.clone());
    }
    let start = Instant::now();
    while learner.generation() == 0 && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(learner.generation() > 0, "{:?}", learner.events());
    for row in synthetic(60, 4, 12).rows() {
        learner.record(row.clone());
    }
    std::thread::sleep(Duration::from_millis(50));
    let start = Instant::now();
    drop(learner);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
