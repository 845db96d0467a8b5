//! What the model of layouts is told of a call and a layout.

use super::{Layout, Outline};
use crate::features::{Feature, Features};

/// The features that bear on how fast a layout is: of the kernel and the call, none of the machine or the moment.
const FEATURES: [Feature; 27] = [
    Feature::OpsFloatAddMul,
    Feature::OpsDivSqrt,
    Feature::OpsTranscendental,
    Feature::OpsIntAddLogic,
    Feature::OpsIntMulDiv,
    Feature::OpsCompareSelect,
    Feature::OpsCastShuffle,
    Feature::Loads,
    Feature::Stores,
    Feature::UnitStrideFraction,
    Feature::StridedFraction,
    Feature::GatherFraction,
    Feature::UniformFraction,
    Feature::FlopsPerByte,
    Feature::BranchesPer100Ops,
    Feature::DivergentFraction,
    Feature::LoopDepth,
    Feature::LoopsCount,
    Feature::DataDependentTripsFraction,
    Feature::ReductionOrScan,
    Feature::Atomics,
    Feature::LiveValues,
    Feature::OpsOverCriticalPath,
    Feature::SimdFraction,
    Feature::Wide64Fraction,
    Feature::ExtentX,
    Feature::TripProduct,
];

/// Numbers of the outline, and of the layout beside the default.
pub(super) const OTHERS: usize = 24;

/// How many numbers an example has.
pub(super) const COUNT: usize = FEATURES.len() + OTHERS;

/// Groups that a layout computes side by side; a quarter where it is one invocation.
fn groups(layout: Layout) -> f64 {
    let wide = if layout.vectors == 0 { 0.25 } else { f64::from(layout.vectors) };
    wide * f64::from(layout.rows.max(1))
}

/// An example. What is not known is 0.
pub(super) fn of(
    features: &Features,
    outline: &Outline,
    default: Layout,
    layout: Layout,
) -> Vec<f32> {
    let known = features.transformed();
    let known = FEATURES.map(|feature| known[feature as usize]);
    let known = known.into_iter().map(|x| if x.is_nan() { 0.0 } else { x });
    let log2 = |x: f64| (1.0 + x).log2();
    let flag = |is: bool| if is { 1.0 } else { 0.0 };
    let passages = |layout: Layout| f64::from(layout.unroll.max(1));
    let [wide, usual] = [layout, default].map(groups);
    let [near, far] = outline.loads;
    let others: [f64; OTHERS] = [
        f64::from(layout.vectors),
        f64::from(layout.rows),
        f64::from(layout.unroll),
        flag(layout.depth > 0),
        f64::from(default.vectors),
        f64::from(default.rows),
        f64::from(default.unroll),
        (wide / usual).log2(),
        (passages(layout) / passages(default)).log2(),
        log2(outline.instructions),
        log2(outline.in_loops),
        outline.held,
        log2(near),
        log2(far),
        flag(outline.diverges),
        flag(outline.counts_apart),
        flag(outline.is_scattered),
        flag(outline.has_loops),
        flag(outline.has_tiles),
        outline.held * wide,
        outline.held * usual,
        log2(outline.instructions * wide),
        log2(outline.in_loops * wide * passages(layout)),
        far / (near + far).max(1.0),
    ];
    known.chain(others.map(|x| x as f32)).collect()
}

/// What the time of making a layout's code follows from: the instructions of its tile.
pub(super) fn sizes(outline: &Outline, layout: Layout) -> Vec<f64> {
    let (wide, passages) = (groups(layout), f64::from(layout.unroll.max(1)));
    let copies = (passages - 1.0) * outline.in_loops;
    vec![
        (1.0 + outline.instructions).log2(),
        (1.0 + (outline.instructions + copies) * wide).log2(),
        f64::from(u8::from(layout.vectors == 0)),
        f64::from(u8::from(outline.has_loops)),
        f64::from(u8::from(outline.diverges)),
    ]
}

/// How many these are.
pub(super) const SIZES: usize = 5;
