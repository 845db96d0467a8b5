//! What the model itself costs on this machine: `cargo run --release -p crossover-ml --example cost`.

use crossover_ml::features::Encoding;
use crossover_ml::rng::Rng;
use crossover_ml::{
    Correction, CostModel, Dataset, Ensemble, Error, Feature, Features, Hyper, Row, Side,
    TrainOptions, train, train_ensemble,
};
use std::hint::black_box;
use std::ops::ControlFlow;
use std::time::Instant;

fn main() -> Result<(), Error> {
    let data = rows(1000)?;
    let options = TrainOptions { epochs: 3, ..TrainOptions::default() };
    let (network, report) = train(&data, &options, &mut |_| ControlFlow::Continue(()))?;
    let per_row = report.seconds / (report.rows * options.epochs) as f64;
    eprintln!("training: {:.1} ms an epoch of 1,000 rows", per_row * 1e6);
    let call = data.rows()[17].features;
    let (ensemble, _) = train_ensemble(&data, &options, 4, &mut |_| ControlFlow::Continue(()))?;
    tell("transform features", || call.transformed());
    tell("predict, one network", || network.predict(&call));
    tell("predict, ensemble of 4", || ensemble.predict(&call));
    tell("predict, roofline", || Ensemble::default().predict(&call));
    let prior = ensemble.predict(&call);
    let mut correction = Correction::new(&Hyper::default());
    for size in 10..20 {
        correction.observe(&prior, f64::from(size), Side::Cpu, -10.0);
    }
    tell("posterior, 10 sizes", || correction.posterior(&prior, 15.0));
    tell("observe, 10 sizes", || correction.observe(&prior, 15.0, Side::Cpu, -10.0));
    Ok(())
}

/// The median of 21 rounds of 2,000.
fn tell<T>(what: &str, mut f: impl FnMut() -> T) {
    let mut round = || {
        let start = Instant::now();
        (0..2000).for_each(|_| drop(black_box(f())));
        start.elapsed().as_nanos() as f64 / 2000.0
    };
    let mut rounds: Vec<f64> = (0..21).map(|_| round()).collect();
    rounds.sort_by(f64::total_cmp);
    eprintln!("{what}: {:.0} ns (from {:.0} to {:.0})", rounds[10], rounds[0], rounds[20]);
}

/// Calls with every feature but the last tenth set, to random but plausible values.
fn rows(count: usize) -> Result<Dataset, Error> {
    let mut rng = Rng::new(1);
    let mut row = |at: usize| {
        let mut features = Features::missing();
        for feature in Feature::ALL.into_iter().filter(|&feature| feature as usize % 10 != 9) {
            let value = match feature.info().encoding {
                Encoding::Log2p1 => (20.0 * rng.uniform()).exp2(),
                Encoding::Log2Ns => (20.0 * rng.uniform()).exp2() * 1e-9,
                Encoding::Linear => rng.uniform(),
            };
            features.set(feature, value);
        }
        let seconds = [0, 1].map(|_| Some((-14.0 + rng.normal()).exp2()));
        Row::new(format!("k{}", at % 100), "random", 1 << (at % 20), features, seconds)
    };
    Dataset::from_rows((0..count).map(&mut row).collect())
}
