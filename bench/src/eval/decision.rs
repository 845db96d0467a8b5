//! What a decision takes, warm, on one thread: from a call that is known by its kernel and shape to the
//! device; and with what it took written down.

use std::hint::black_box;
use std::time::Instant;

use super::world::{Caller, World, asked};
use super::{CONTENDERS, Decision};

/// Decisions that are timed.
const DECISIONS: usize = 200_000;

pub(crate) fn measure() -> anyhow::Result<Decision> {
    let mut world = World::draw(2.0, 0.0, 1);
    let prior = world.prior();
    let mut caller = Caller::new(&CONTENDERS[0], prior)?;
    for _ in 0..1000 {
        caller.call(&mut world);
    }
    let asked = asked(&prior, false);
    let (mut bare, mut decided, mut recorded) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..DECISIONS {
        let start = Instant::now();
        bare.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let placed = black_box(caller.offline.place(black_box(&asked)));
        decided.push(start.elapsed().as_secs_f64());
        let run_s = world.run_s(placed.device);
        let start = Instant::now();
        caller.offline.observe(&asked, &placed, run_s, run_s, false);
        recorded.push(start.elapsed().as_secs_f64());
    }
    // What looking at the clock takes is in all of them.
    let clock_s = quantile(&mut bare, 0.5);
    let ns = |s: f64| ((s - clock_s) * 1e9).max(0.0);
    let p50 = ns(quantile(&mut decided, 0.5));
    let p999 = ns(quantile(&mut decided, 0.999));
    Ok(Decision { p50, p999, with_record_p50: p50 + ns(quantile(&mut recorded, 0.5)) })
}

/// The value that such a share of all is not above; NaN of none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (share * values.len() as f64) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
