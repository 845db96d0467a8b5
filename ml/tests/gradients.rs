//! The backward pass against finite differences of the forward pass.

use crossover_ml::loss::{Target, loss};
use crossover_ml::network::HEADS;
use crossover_ml::rng::Rng;
use crossover_ml::{Encoder, Error, Features, InputForm, Network};

const ROWS: usize = 16;

/// Hidden layers: one, as many as usual, and more.
const SHAPES: [&[usize]; 3] = [&[9], &[9, 7, 5], &[8, 7, 6, 5, 5]];

fn network(hidden: &[usize]) -> Network {
    let encoder = Encoder::fit(&[Features::missing()], InputForm::Plain).unwrap();
    let mut network = Network::new(encoder, hidden, [-12.0; 2], 3).unwrap();
    let mut rng = Rng::new(4);
    let tensors = network.tensors();
    let moved = |name: &str, _: &[usize]| {
        let tensor = tensors.iter().find(|tensor| tensor.name == name).unwrap();
        let spread = if name.contains("running") { 0.0 } else { 0.2 };
        Ok::<_, Error>(tensor.values.iter().map(|x| x + spread * rng.normal() as f32).collect())
    };
    network.set_tensors(moved).unwrap();
    network
}

fn batch() -> (Vec<f32>, Vec<Target>) {
    let mut rng = Rng::new(5);
    let width = network(SHAPES[0]).encoder().inputs_count();
    // A fifth of the inputs is zero: the skipped path must have a gradient as well.
    let input = |rng: &mut Rng| if rng.below(5) == 0 { 0.0 } else { rng.normal() as f32 };
    let inputs = (0..ROWS * width).map(|_| input(&mut rng)).collect();
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
            3 => target.speedups = [f32::NAN; 7],
            _ => {}
        }
        target
    };
    (inputs, (0..ROWS).map(target).collect())
}

/// The loss with β-NLL's factor held at what the unchanged heads make it, as its definition wants:
/// checked head by head, with finite differences of the plain likelihood times that factor.
#[test]
fn the_loss_gradient_matches_finite_differences() {
    let mut rng = Rng::new(6);
    let (_, targets) = batch();
    for target in &targets {
        let heads: [f32; HEADS] = std::array::from_fn(|_| (0.7 * rng.normal()) as f32);
        let (_, gradient) = loss(&heads, &[*target]);
        for at in (0..HEADS).filter(|at| !(2..4).contains(at)) {
            let shifted = |by: f32| {
                let mut heads = heads;
                heads[at] += by;
                loss(&heads, &[*target]).0
            };
            let difference = (shifted(5e-3) - shifted(-5e-3)) / 1e-2;
            let error = (difference - f64::from(gradient[at])).abs();
            assert!(
                error < 3e-3 * (1.0 + difference.abs()),
                "head {at}: {difference} {}",
                gradient[at]
            );
        }
        // d/dv of f(v)·g(v) with f held: the full difference less f′·g, where f = e^(βv·sides/2).
        for side in 0..2 {
            let measured: Vec<bool> = target.residual.iter().map(|r| !r.is_nan()).collect();
            let exponent = if measured[0] && measured[1] { 0.25 } else { 0.5 };
            let with = |by: f32| {
                let mut heads = heads;
                heads[2 + side] += by;
                only_likelihood(&heads, target)
            };
            let difference = (with(5e-3) - with(-5e-3)) / 1e-2;
            let held = if measured[side] { difference - exponent * with(0.0) } else { difference };
            let error = (held - f64::from(gradient[2 + side])).abs();
            assert!(
                error < 3e-3 * (1.0 + held.abs()),
                "variance {side}: {held} {}",
                gradient[2 + side]
            );
        }
    }
}

fn only_likelihood(heads: &[f32; HEADS], target: &Target) -> f64 {
    let bare = Target { log2_ratio: f32::NAN, speedups: [f32::NAN; 7], ..*target };
    loss(heads, &[bare]).0
}

/// All parameters, through batch norm, ReLU and heads. The loss is linearised at the heads, so that
/// the factor of β-NLL is out of the way: L = Σ heads · c.
#[test]
fn the_backward_pass_matches_finite_differences() {
    SHAPES.into_iter().for_each(backward_matches);
}

fn backward_matches(hidden: &[usize]) {
    let network = network(hidden);
    let (inputs, targets) = batch();
    let result = network.loss_and_gradient(&inputs, &targets);
    let (_, by_heads) = loss(&result.heads, &targets);
    let linear = |network: &Network| -> f64 {
        let heads = network.loss_and_gradient(&inputs, &targets).heads;
        heads.iter().zip(&by_heads).map(|(h, c)| f64::from(*h) * f64::from(*c)).sum()
    };
    let (mut wrong, mut checked) = (0, 0);
    for tensor in &result.gradient {
        let step = (tensor.values.len() / 40).max(1);
        for at in (0..tensor.values.len()).step_by(step) {
            let moved = |by: f32| {
                let mut copy = network.clone();
                let tensors = network.tensors();
                copy.set_tensors(|name, _| {
                    let mut values =
                        tensors.iter().find(|t| t.name == name).unwrap().values.clone();
                    if name == tensor.name {
                        values[at] += by;
                    }
                    Ok(values)
                })
                .unwrap();
                linear(&copy)
            };
            let difference = (moved(2e-3) - moved(-2e-3)) / 4e-3;
            let error = (difference - f64::from(tensor.values[at])).abs();
            checked += 1;
            if error > 2e-3 + 0.02 * difference.abs() {
                wrong += 1;
            }
        }
    }
    // A step may carry a sum over ReLU's kink: a few differences then see half a slope.
    assert!(checked > 100 && wrong * 50 < checked, "{wrong} of {checked} of {hidden:?}");
}

#[test]
fn evaluation_skips_nothing_but_zeros() {
    let network = network(SHAPES[1]);
    let mut scratch = crossover_ml::Scratch::default();
    let zeros = vec![0.0; network.encoder().inputs_count()];
    let small = vec![1e-30; network.encoder().inputs_count()];
    let heads = network.forward(&zeros, &mut scratch);
    assert_eq!(heads, network.forward(&small, &mut scratch));
    assert!(heads.iter().all(|x| x.is_finite()));
}
