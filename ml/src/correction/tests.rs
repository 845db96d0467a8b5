use super::*;
use crate::rng::Rng;

fn prior() -> Prediction {
    Prediction::new([-10.0, -10.0], [2.0, 2.0], 0.8)
}

fn settled(calls: usize) -> Correction {
    let mut correction = Correction::new(&Hyper::default());
    let mut rng = Rng::new(1);
    for _ in 0..calls {
        correction.observe(&prior(), 20.0, Side::Cpu, -8.0 + 0.1 * rng.normal());
        correction.observe(&prior(), 20.0, Side::Gpu, -9.0 + 0.1 * rng.normal());
    }
    correction
}

#[test]
fn without_measurements_the_posterior_is_the_prior() {
    let correction = Correction::new(&Hyper::default());
    assert_eq!(correction.posterior(&prior(), 20.0), prior());
}

#[test]
fn one_measured_call_moves_both_sides() {
    let mut correction = Correction::new(&Hyper::default());
    correction.observe(&prior(), 20.0, Side::Cpu, -7.0);
    let here = correction.posterior(&prior(), 20.0);
    assert!((here.mean[0] + 7.0).abs() < 0.05, "{here:?}");
    assert!(here.mean[1] > -8.5 && here.mean[1] < -7.0, "the errors go together: {here:?}");
    assert!(here.sd(Side::Cpu) < 0.2 && here.sd(Side::Gpu) < 1.7, "{here:?}");
    let elsewhere = correction.posterior(&prior(), 26.0);
    assert!(elsewhere.mean[0] > -8.0, "other sizes learn most of it");
    assert!(elsewhere.sd(Side::Cpu) > here.sd(Side::Cpu));
    assert_eq!((correction.visits(Side::Cpu), correction.visits(Side::Gpu)), (1, 0));
}

#[test]
fn a_prior_that_errs_far_more_than_it_believes_is_not_believed_of_the_other_side() {
    let sd_after = |log2_s: f64| {
        let mut correction = Correction::new(&Hyper::default());
        correction.observe(&prior(), 20.0, Side::Cpu, log2_s);
        let here = correction.posterior(&prior(), 20.0);
        assert!((here.mean[0] - log2_s).abs() < 1.0, "{here:?}");
        here.sd(Side::Gpu)
    };
    let as_expected = sd_after(prior().mean[0]);
    assert!(as_expected < prior().sd(Side::Gpu));
    assert!(sd_after(prior().mean[0] + 14.0) > 2.0 * as_expected);
    assert!(sd_after(prior().mean[0] + 60.0) <= 5.01 * as_expected, "within limits");
}

#[test]
fn intervals_hold_nine_runs_in_ten_whatever_the_noise() {
    // Of noise that is Gaussian and small; large; and with tails, three times as wide in every fifth run.
    for (sd, tails) in [(0.05, 0.0), (0.5, 0.0), (0.2, 0.2)] {
        let mut correction = Correction::new(&Hyper::default());
        let (mut rng, mut inside) = (Rng::new(7), 0);
        for run in 0..2000 {
            let wide = if rng.uniform() < tails { 3.0 } else { 1.0 };
            let log2_s = -8.0 + sd * wide * rng.normal();
            let posterior = correction.posterior(&prior(), 20.0);
            let (low, high) = correction.interval90(&posterior, Side::Cpu);
            inside += usize::from(run >= 200 && (low..=high).contains(&log2_s.exp2()));
            correction.observe(&prior(), 20.0, Side::Cpu, log2_s);
        }
        let share = inside as f64 / 1800.0;
        assert!((0.85..=0.95).contains(&share), "{sd} {tails}: {share}");
    }
}

#[test]
fn noise_at_one_size_does_not_widen_the_intervals_of_others() {
    let octaves = |spikes: f64| {
        let mut correction = settled(6);
        let mut rng = Rng::new(3);
        for _ in 0..40 {
            // As where something else gets in the way: for milliseconds, of a microsecond's call.
            let spike = if rng.uniform() < spikes { 10.0 } else { 0.0 };
            correction.observe(&prior(), 20.0, Side::Cpu, -8.0 + 0.1 * rng.normal() + spike);
        }
        let posterior = correction.posterior(&prior(), 34.0);
        let (low, high) = correction.interval90(&posterior, Side::Cpu);
        (high / low).log2()
    };
    let (quiet, spiked) = (octaves(0.0), octaves(0.2));
    assert!(quiet < 12.0 && spiked < 1.2 * quiet, "{quiet} {spiked}");
}

#[test]
fn a_single_spike_moves_little() {
    let mut correction = settled(6);
    let before = correction.posterior(&prior(), 20.0).mean[0];
    correction.observe(&prior(), 20.0, Side::Cpu, -8.0 + 5f64.log2());
    let after = correction.posterior(&prior(), 20.0).mean[0];
    assert!((after - before).abs() < 0.2, "{before} {after}");
}

#[test]
fn sustained_drift_is_followed_within_ten_calls_and_back() {
    let mut correction = settled(50);
    let mut rng = Rng::new(2);
    for wanted in [-8.0 + 10f64.log2(), -8.0] {
        let mut calls = 0;
        while (correction.posterior(&prior(), 20.0).mean[0] - wanted).abs() > 0.5 {
            let measured = wanted + 0.1 * rng.normal();
            correction.observe(&prior(), 20.0, Side::Cpu, measured);
            calls += 1;
            assert!(calls <= 8, "{:?}", correction.posterior(&prior(), 20.0));
        }
        let least = if wanted > -8.0 { 2 } else { 1 };
        assert!(calls >= least, "a single slow run is not believed");
        let other = correction.posterior(&prior(), 20.0).mean[1];
        assert!((other + 9.0).abs() < 0.3, "the other side has not drifted: {other}");
    }
}

#[test]
fn a_wrong_first_measurement_is_forgotten() {
    let mut correction = Correction::new(&Hyper::default());
    correction.observe(&prior(), 20.0, Side::Gpu, -10.0 + 5f64.log2());
    (0..6).for_each(|_| correction.observe(&prior(), 20.0, Side::Gpu, -10.0));
    let mean = correction.posterior(&prior(), 20.0).mean[1];
    assert!((mean + 10.0).abs() < 0.4, "{mean}");
}

#[test]
fn noise_is_learned_and_does_not_look_like_drift() {
    let mut correction = Correction::new(&Hyper::default());
    let mut rng = Rng::new(3);
    for _ in 0..400 {
        correction.observe(&prior(), 12.0, Side::Cpu, -8.0 + 0.5 * rng.normal());
    }
    let noise = correction.noise_sd(Side::Cpu);
    assert!((0.35..0.65).contains(&noise), "{noise}");
    let here = correction.posterior(&prior(), 12.0);
    assert!((here.mean[0] + 8.0).abs() < 0.25, "{here:?}");
}

#[test]
fn sizes_near_each_other_are_alike_and_trends_do_not_go_on_for_ever() {
    let mut correction = Correction::new(&Hyper::default());
    for x in [10.0, 14.0, 18.0, 10.0, 14.0, 18.0] {
        correction.observe(&prior(), x, Side::Cpu, -10.0 + 0.25 * (x - 10.0));
    }
    let at = |x: f64| correction.posterior(&prior(), x);
    // Between sizes that have run a line is as good as any.
    for x in [12.0, 16.0] {
        assert!((at(x).mean[0] - (-10.0 + 0.25 * (x - 10.0))).abs() < 0.25, "{:?}", at(x));
    }
    // Beyond them it is not: as far away again the trend has hardly moved anything.
    assert!((-9.2..-7.8).contains(&at(26.0).mean[0]), "{:?}", at(26.0));
    let sds = [14.0, 16.0, 20.0, 26.0].map(|x| at(x).sd(Side::Cpu));
    assert!(sds.is_sorted(), "the farther away, the less is known: {sds:?}");
}

#[test]
fn a_first_run_that_was_a_spike_is_taken_back_from_other_sizes_and_from_the_other_side() {
    let far = |first: Option<f64>| {
        let mut correction = settled(6);
        let before = correction.visits(Side::Cpu);
        // The first call of a larger size meets pages that nobody has touched: sixteen times as long.
        for log2_s in first.into_iter().chain([-8.0; 6]) {
            correction.observe(&prior(), 26.0, Side::Cpu, log2_s);
        }
        assert!(correction.visits(Side::Cpu) > before);
        correction.posterior(&prior(), 32.0)
    };
    let (usual, spiked) = (far(None), far(Some(-4.0)));
    for i in 0..2 {
        let (said, found) = (usual.mean[i], spiked.mean[i]);
        assert!((said - found).abs() < 0.15, "side {i}: {usual:?} {spiked:?}");
        let sds = [&usual, &spiked].map(|said| said.cov[i][i].sqrt());
        assert!((sds[0] - sds[1]).abs() < 0.2 * sds[0], "side {i}: {sds:?}");
    }
}

#[test]
fn the_very_first_run_is_taken_back_with_all_that_it_has_widened() {
    let after = |first: Option<f64>| {
        let mut correction = Correction::new(&Hyper::default());
        for log2_s in first.into_iter().chain([-9.0; 4]) {
            correction.observe(&prior(), 20.0, Side::Cpu, log2_s);
        }
        correction.posterior(&prior(), 26.0)
    };
    let (usual, spiked) = (after(None), after(Some(-1.0)));
    assert!((usual.mean[0] - spiked.mean[0]).abs() < 0.1, "{usual:?} {spiked:?}");
    assert!((usual.cov[0][0] / spiked.cov[0][0] - 1.0).abs() < 0.1, "{usual:?} {spiked:?}");
}

#[test]
fn many_sizes_and_nonsense_stay_finite() {
    let mut correction = Correction::new(&Hyper::default());
    for x in -40..80 {
        correction.observe(&prior(), f64::from(x), Side::Gpu, -9.0);
        correction.observe(&prior(), f64::NAN, Side::Gpu, f64::INFINITY);
    }
    assert_eq!(correction.visits(Side::Gpu), 120);
    let here = correction.posterior(&prior(), 70.0);
    assert!(here.mean.iter().chain(here.cov.iter().flatten()).all(|x| x.is_finite()));
    assert!(here.cov[0][0] * here.cov[1][1] >= here.cov[0][1].powi(2) * 0.999);
}

#[test]
fn a_stored_correction_comes_back_and_a_damaged_one_does_not() {
    let before = settled(3);
    let mut value = serde_json::to_value(&before).unwrap();
    let back: Correction = serde_json::from_value(value.clone()).unwrap();
    let there = |c: &Correction| c.posterior(&prior(), 21.0);
    assert_eq!(there(&before), there(&back));
    value["state"]["cov"].as_array_mut().unwrap().pop();
    assert!(serde_json::from_value::<Correction>(value).is_err());
}

#[test]
fn an_exchanged_model_does_not_lose_what_was_learned() {
    let mut correction = settled(5);
    let before = correction.posterior(&prior(), 20.0);
    let better = Prediction::new([-8.2, -8.9], [1.0; 2], 0.5);
    correction.rebase(&prior(), &better);
    let after = correction.posterior(&better, 20.0);
    assert!((0..2).all(|i| (before.mean[i] - after.mean[i]).abs() < 1e-9));
}
