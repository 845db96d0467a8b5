//! The loss of `crossover_ml::loss`, written again in torch's operations: its formulas are there.

use crossover_ml::loss::{BETA, SIGN_COST_MAX, SIGN_WEIGHT, SPEEDUP_WEIGHT, Target};
use crossover_ml::network::{CORRELATION_MAX, LOG_VARIANCE};
use tch::{Kind, Reduction, Tensor};

/// The mean loss of a batch of heads (`rows × HEADS`), as a scalar that can be differentiated.
pub fn loss(heads: &Tensor, targets: &[Target]) -> Tensor {
    let kind = heads.kind();
    let rows = targets.len().max(1) as f64;
    let sum = likelihood(heads, targets, kind).sum(kind)
        + sign(&heads.select(1, 5), targets, kind)
        + speedups(&heads.narrow(1, 6, 7), targets, kind);
    sum / rows
}

/// β-NLL a row. Where a side was not measured its residual is set to the mean, so that no NaN
/// gets into the graph, and the joint term is masked.
fn likelihood(heads: &Tensor, targets: &[Target], kind: Kind) -> Tensor {
    let range = (f64::from(LOG_VARIANCE.start), f64::from(LOG_VARIANCE.end));
    let side = |i: i64| {
        let column = column(targets, kind, |target| target.residual[i as usize]);
        let measured = column.isnan().logical_not();
        let mean = heads.select(1, i);
        let wanted = column.nan_to_num(0.0, None::<f64>, None::<f64>);
        let log_variance = heads.select(1, 2 + i).clamp(range.0, range.1);
        let z = (wanted - mean) / (&log_variance * 0.5).exp();
        (measured, log_variance, z)
    };
    let (has0, v0, z0) = side(0);
    let (has1, v1, z1) = side(1);
    let alone = |v: &Tensor, z: &Tensor| (v * f64::from(BETA)).exp().detach() * (v + z * z) * 0.5;
    let rho = heads.select(1, 4).tanh() * f64::from(CORRELATION_MAX);
    let rest: Tensor = 1.0 - &rho * &rho;
    let squares = &z0 * &z0 - &rho * &z0 * &z1 * 2.0 + &z1 * &z1;
    let factor = ((&v0 + &v1) * (0.5 * f64::from(BETA))).exp().detach();
    let together = factor * ((&v0 + &v1 + rest.log()) * 0.5 + squares / (rest * 2.0));
    let mask = |measured: &Tensor| measured.to_kind(kind);
    together * mask(&has0.logical_and(&has1))
        + alone(&v0, &z0) * mask(&has0.logical_and(&has1.logical_not()))
        + alone(&v1, &z1) * mask(&has1.logical_and(&has0.logical_not()))
}

fn sign(logit: &Tensor, targets: &[Target], kind: Kind) -> Tensor {
    let ratio = column(targets, kind, |target| target.log2_ratio);
    let ratio = ratio.nan_to_num(0.0, None::<f64>, None::<f64>);
    let weight = ratio.abs().clamp_max(f64::from(SIGN_COST_MAX)) * f64::from(SIGN_WEIGHT);
    let cpu_faster = ratio.lt(0.0).to_kind(kind);
    let none = None::<Tensor>;
    let entropy = logit.binary_cross_entropy_with_logits(
        &cpu_faster,
        none.as_ref(),
        none.as_ref(),
        Reduction::None,
    );
    (entropy * weight).sum(kind)
}

fn speedups(heads: &Tensor, targets: &[Target], kind: Kind) -> Tensor {
    let flat: Vec<f32> = targets.iter().flat_map(|target| target.speedups).collect();
    let wanted = Tensor::from_slice(&flat).to_kind(kind).view_as(heads);
    let measured = wanted.isnan().logical_not().to_kind(kind);
    let wanted = wanted.nan_to_num(0.0, None::<f64>, None::<f64>);
    let huber = heads.huber_loss(&wanted, Reduction::None, 1.0);
    (huber * measured).sum(kind) * f64::from(SPEEDUP_WEIGHT)
}

fn column(targets: &[Target], kind: Kind, of: impl Fn(&Target) -> f32) -> Tensor {
    let values: Vec<f32> = targets.iter().map(of).collect();
    Tensor::from_slice(&values).to_kind(kind)
}
