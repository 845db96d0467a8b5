//! Torch and plain Rust compute the same network, loss and gradient, and read each other's files.

use crossover_ml::loss::Target;
use crossover_ml::network::HEADS;
use crossover_ml::rng::Rng;
use crossover_ml::{
    CostModel, Dataset, Encoder, Error, Feature, Features, InputForm, Network, Row, Scratch,
    TrainOptions, eval, weights,
};
use crossover_torch::{Mode, TorchNetwork, loss, train, train_ensemble, values};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use tch::{Kind, Tensor};

const ROWS: usize = 24;

/// Torch has one random generator for all threads, and making a network draws from it: tests take turns.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Hidden layers: one, as many as usual, and more.
const SHAPES: [&[usize]; 3] = [&[48], &[128, 64, 32], &[64, 48, 48, 32, 16]];

/// A network with nothing left at 0 or 1.
fn network(hidden: &[usize]) -> Network {
    let encoder = Encoder::fit(&[Features::missing()], InputForm::Plain).unwrap();
    let mut network = Network::new(encoder, hidden, [-12.0; 2], 3).unwrap();
    let mut rng = Rng::new(4);
    let tensors = network.tensors();
    let moved = |name: &str, _: &[usize]| {
        let tensor = tensors.iter().find(|tensor| tensor.name == *name).unwrap();
        let random = |x: &f32| x + 0.1 * rng.normal().clamp(-3.0, 3.0) as f32;
        Ok::<_, Error>(tensor.values.iter().map(random).collect())
    };
    network.set_tensors(moved).unwrap();
    network
}

fn inputs() -> Vec<f32> {
    let mut rng = Rng::new(5);
    let count = ROWS * network(SHAPES[0]).encoder().inputs_count();
    (0..count).map(|_| if rng.below(4) == 0 { 0.0 } else { rng.normal() as f32 }).collect()
}

fn targets() -> Vec<Target> {
    let mut rng = Rng::new(6);
    let target = |at: usize| {
        let mut wanted = || (2.0 * rng.normal()) as f32;
        let mut target = Target {
            residual: [wanted(), wanted()],
            log2_ratio: wanted(),
            speedups: std::array::from_fn(|_| wanted()),
        };
        match at % 4 {
            1 => (target.residual[0], target.log2_ratio) = (f32::NAN, f32::NAN),
            2 => (target.residual[1], target.log2_ratio) = (f32::NAN, f32::NAN),
            3 => target.speedups[at % 7] = f32::NAN,
            _ => {}
        }
        target
    };
    (0..ROWS).map(target).collect()
}

fn tensor(inputs: &[f32], kind: Kind) -> Tensor {
    Tensor::from_slice(inputs).view([ROWS as i64, -1]).to_kind(kind)
}

/// Within `tolerance` of the largest value.
fn assert_close(name: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let scale = theirs.iter().fold(1e-3f32, |most, x| most.max(x.abs()));
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= tolerance * scale, "{name}: {a} here, {b} in torch (of {scale})");
    }
}

#[test]
fn forward_passes_agree_in_evaluation() {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    SHAPES.into_iter().for_each(forward_agrees);
}

fn forward_agrees(hidden: &[usize]) {
    let (plain, inputs) = (network(hidden), inputs());
    let torch = TorchNetwork::new(&plain, Kind::Float).unwrap();
    let theirs = values(&torch.forward(&tensor(&inputs, Kind::Float), Mode::Evaluation)).unwrap();
    let mut scratch = Scratch::default();
    let rows = inputs.chunks_exact(plain.encoder().inputs_count());
    let ours: Vec<f32> = rows.flat_map(|row| plain.forward(row, &mut scratch)).collect();
    assert_close("heads", &ours, &theirs, 1e-5);
}

#[test]
fn losses_and_gradients_agree_in_training() {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    SHAPES.into_iter().for_each(gradients_agree);
}

fn gradients_agree(hidden: &[usize]) {
    let (plain, inputs, targets) = (network(hidden), inputs(), targets());
    let ours = plain.loss_and_gradient(&inputs, &targets);
    let torch = TorchNetwork::new(&plain, Kind::Double).unwrap();
    let heads = torch.forward(&tensor(&inputs, Kind::Double), Mode::Training(&[]));
    assert_eq!(heads.size(), [ROWS as i64, HEADS as i64]);
    assert_close("heads", &ours.heads, &values(&heads).unwrap(), 2e-5);
    let theirs = loss(&heads, &targets);
    theirs.backward();
    let theirs = theirs.double_value(&[]);
    assert!((ours.loss - theirs).abs() < 1e-4 * theirs.abs(), "{} {theirs}", ours.loss);
    let variables = torch.store().variables();
    assert_eq!(ours.gradient.len(), 4 * hidden.len() + 2);
    for gradient in &ours.gradient {
        let theirs = values(&variables[&gradient.name].grad()).unwrap();
        // A bias before batch norm has no gradient but rounding.
        let tolerance = if gradient.name.ends_with("linear.bias") { 1e-2 } else { 1e-3 };
        assert_close(&gradient.name, &gradient.values, &theirs, tolerance);
    }
}

#[test]
fn running_moments_move_alike() {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let data = synthetic();
    // Nothing is left out, so that one step of both sees the same sums in every layer.
    let (dropout, learning_rate) = ([0.0; 2], 1e-9);
    let options = TrainOptions { epochs: 1, batch: 192, learning_rate, dropout, ..small() };
    let ours = crossover_ml::train(&data, &options, &mut |_| std::ops::ControlFlow::Continue(()));
    let (ours, theirs) =
        (ours.unwrap().0, train(&data, &options, &mut |_| ControlFlow::Continue(())).unwrap());
    for (layer, moment) in [1, 2, 3].into_iter().flat_map(|at| [(at, "mean"), (at, "var")]) {
        let name = &format!("layer{layer}.norm.running_{moment}");
        let of = |network: &Network| {
            network.tensors().into_iter().find(|tensor| tensor.name == *name).unwrap().values
        };
        assert_close(name, &of(&ours), &of(&theirs), 1e-4);
    }
}

fn small() -> TrainOptions {
    TrainOptions {
        epochs: 20,
        hidden: vec![32, 16, 16],
        learning_rate: 5e-3,
        ..TrainOptions::default()
    }
}

fn synthetic() -> Dataset {
    let mut rng = Rng::new(1);
    let mut rows = Vec::new();
    for kernel in 0..60 {
        let gather = rng.uniform();
        for size in 10..14 {
            let mut features = Features::missing();
            features.set(Feature::GatherFraction, gather);
            features.set(Feature::CpuTimeS, 1e-5);
            features.set(Feature::GpuTimeS, 1e-4);
            let noise = 0.1 * rng.normal();
            let seconds = [Some(1e-5 * (4.0 * gather + noise).exp2()), Some(2e-4)];
            rows.push(Row::new(format!("k{kernel}"), "synthetic", 1 << size, features, seconds));
        }
    }
    Dataset::from_rows(rows).unwrap()
}

#[test]
fn torch_learns_and_its_file_is_like_any_other() {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let data = synthetic();
    let ensemble = train_ensemble(&data, &small(), 2, &mut |_| ControlFlow::Continue(())).unwrap();
    let metrics = eval::evaluate(&ensemble, data.rows());
    assert!(metrics.mae < 0.5, "{metrics:?}");
    let bytes = weights::to_bytes(ensemble.members()).unwrap();
    let back = weights::from_bytes(&bytes).unwrap();
    let call = data.rows()[7].features;
    assert_eq!(back.predict(&call), ensemble.predict(&call));
    assert_eq!(back.members()[0].provenance.trained_by, "torch");
    // And back into torch: the same heads again.
    let plain = &back.members()[0];
    let torch = TorchNetwork::new(plain, Kind::Float).unwrap();
    let inputs = call.encode(plain.encoder());
    let heads = torch.forward(&Tensor::from_slice(&inputs).view([1, -1]), Mode::Evaluation);
    let ours = plain.forward(&inputs, &mut Scratch::default());
    assert_close("heads", &ours, &values(&heads).unwrap(), 1e-5);
}

#[test]
fn a_seed_gives_the_same_bytes() {
    let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    let options = TrainOptions { epochs: 2, ..small() };
    let bytes = || {
        weights::to_bytes(&[
            train(&synthetic(), &options, &mut |_| ControlFlow::Continue(())).unwrap()
        ])
        .unwrap()
    };
    assert!(bytes() == bytes());
}
