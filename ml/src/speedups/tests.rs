use super::*;
use crate::dataset::Dataset;

/// Kernels whose loops decide what unrolling is worth, and in which vectors are worth a factor of four;
/// folding changes every second one, all else none.
fn rows(kernels: usize) -> Vec<Row> {
    let mut rng = Rng::new(3);
    let row = |at: usize| {
        let loops = (at / 3 % 4) as f64;
        let values = 20.0 + (at / 3 % 50) as f64 * 10.0;
        let mut features = Features::missing();
        features.set(Feature::LoopsCount, loops);
        features.set(Feature::Items, ((at % 3) as f64 * 5.0 + 8.0).exp2());
        let noise = 1.0 + 0.01 * rng.normal();
        let mut row = Row::new(format!("k{}", at / 3), "f", 1, features, [Some(1e-4), None]);
        let folds = (at / 3).is_multiple_of(2);
        let fold = if folds { Some(1.1 * noise) } else { Some(1.0) };
        let unroll = Some((0.2 * loops - 0.1).exp2() * noise);
        row.speedups =
            [Some(1.0), unroll, Some(4.0 * noise), fold, Some(1.0), Some(1.0), Some(1.0)];
        let code_s = 1e-3 + 2e-5 * values;
        row.compiled = Some(Compiled {
            values: [values, values],
            bytes: 40.0 * values,
            passes_s: [1e-7, 2e-7, 0.0, 3e-7, 1e-7, 1e-7, 1e-7].map(|s| s * values),
            code_s,
            code_without_s: [
                None,
                Some(0.9 * code_s),
                Some(0.5 * code_s),
                folds.then_some(1.2 * code_s),
                None,
                None,
                None,
            ],
        });
        row
    };
    (0..3 * kernels).map(row).collect()
}

fn trained() -> Speedups {
    let data = Dataset::from_rows(rows(100)).expect("rows");
    train(&data, &Options { epochs: 60, ..Options::default() }).expect("enough rows")
}

fn asked(loops: f64) -> (Features, Coded) {
    let mut features = Features::missing();
    features.set(Feature::LoopsCount, loops);
    features.set(Feature::Items, 8192.0);
    let changes = [false, true, true, false, false, true, false];
    (features, Coded { values: [200.0, 200.0], bytes: 8000.0, changes })
}

#[test]
fn what_was_measured_is_expected_and_what_changes_nothing_is_not() {
    let speedups = trained();
    let forecast = |loops| {
        let (features, coded) = asked(loops);
        speedups.forecast(&features, &coded, 1e-3)
    };
    let (none, three) = (forecast(0.0), forecast(3.0));
    for forecast in [&none, &three] {
        assert!((forecast.run[2].log2 - 2.0).abs() < 0.15, "{:?}", forecast.run);
        assert_eq!(forecast.run[0], Effect::NONE);
        assert_eq!(forecast.run[3], Effect::NONE);
        // It changes this kernel, but none that was trained on.
        assert_eq!(forecast.run[5], UNKNOWN);
        assert!((forecast.code[2] + 1.0).abs() < 0.05, "{:?}", forecast.code);
        assert!((forecast.code_s / 5e-3 - 1.0).abs() < 0.3, "{}", forecast.code_s);
        assert!((forecast.passes_s[1] / 4e-5 - 1.0).abs() < 1e-6);
        assert_eq!(forecast.passes_s[3], 0.0);
    }
    assert!(three.run[1].log2 - none.run[1].log2 > 0.3, "{:?} {:?}", none.run, three.run);
    assert!(speedups.ranked() > 0.9, "{}", speedups.ranked());
    let unroll = &speedups.heads()[1];
    assert!(unroll.sd < 0.6 * unroll.sd_of_mean, "{unroll:?}");
    assert_eq!(
        (unroll.kernels, speedups.heads()[3].kernels, speedups.heads()[0].kernels),
        (100, 50, 0)
    );
}

#[test]
fn the_file_holds_it_and_others_are_refused() {
    let speedups = trained();
    let bytes = speedups.to_bytes().expect("a file");
    let back = Speedups::from_bytes(&bytes).expect("it was just written");
    let (features, coded) = asked(2.0);
    let said = |speedups: &Speedups| speedups.forecast(&features, &coded, 1.0);
    assert_eq!(said(&speedups), said(&back));
    // Neither is a file of the other kind.
    assert!(matches!(weights::from_bytes(&bytes), Err(Error::WeightsMetadata { .. })));
    let networks = weights::to_bytes(&speedups.members).expect("a file");
    assert!(matches!(Speedups::from_bytes(&networks), Err(Error::WeightsMetadata { .. })));
    for length in [0, 9, bytes.len() / 2, bytes.len() - 1] {
        assert!(Speedups::from_bytes(&bytes[..length]).is_err(), "cut at {length}");
    }
    let mut changed = speedups.clone();
    changed.more.version += 1;
    let other = changed.to_bytes().expect("a file");
    assert!(matches!(Speedups::from_bytes(&other), Err(Error::WeightsMetadata { .. })));
    let mut changed = speedups;
    changed.more.optimisations[0] = "magic".to_owned();
    let other = changed.to_bytes().expect("a file");
    assert!(matches!(Speedups::from_bytes(&other), Err(Error::WeightsMetadata { .. })));
}

#[test]
fn rows_that_say_nothing_of_optimisations_are_too_few() {
    let mut all = rows(40);
    all.iter_mut().for_each(|row| row.compiled = None);
    let data = Dataset::from_rows(all).expect("rows");
    assert!(matches!(train(&data, &Options::default()), Err(Error::TooFewRows { found: 0, .. })));
}

#[test]
fn the_gradient_is_that_of_the_loss() {
    let mut rng = Rng::new(7);
    let mut heads: Vec<f32> = (0..2 * HEADS).map(|_| rng.normal() as f32).collect();
    let wanted: [[f32; SPEEDUPS]; 2] = std::array::from_fn(|row| {
        std::array::from_fn(|at| if (row + at) % 3 == 0 { f32::NAN } else { rng.normal() as f32 })
    });
    let (_, gradient) = loss(&heads, wanted.iter());
    for at in 0..heads.len() {
        let (step, kept) = (1e-2, heads[at]);
        let mut sides = [0.0; 2];
        for (side, sign) in sides.iter_mut().zip([-1.0, 1.0]) {
            heads[at] = kept + sign * step;
            *side = loss(&heads, wanted.iter()).0;
        }
        heads[at] = kept;
        let slope = (sides[1] - sides[0]) / f64::from(2.0 * step);
        assert!((slope - f64::from(gradient[at])).abs() < 2e-3, "{at}: {slope} {}", gradient[at]);
    }
}
