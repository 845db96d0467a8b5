//! Trials of a policy in made-up worlds: what exploring costs, whether it gets locked into the wrong
//! device, and how fast it follows a change.

use super::world::{Caller, World};
use super::{Contender, Effort};
use crossover::ml::rng::Rng;
use crossover::{Device, Error};

/// How many times longer the slower device takes, in the trials of exploring.
pub(crate) const RATIOS: [f64; 5] = [1.0, 2.0, 10.0, 100.0, 1000.0];

/// Calls of a program in the trials of exploring.
const EXPLORED_CALLS: usize = 1000;

/// What exploring costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exploration {
    pub(crate) ratio: f64,
    /// Time beyond that of always knowing, over all calls and trials.
    pub(crate) cost: f64,
    /// Share of the calls that took more than twice the better device's time and a millisecond.
    pub(crate) beyond_share: f64,
}

/// Programs of a thousand calls each, with a prior as wrong as networks are.
pub(crate) fn exploration(
    who: &Contender,
    ratio: f64,
    Effort { explored, draw, .. }: Effort,
) -> Result<Exploration, Error> {
    let (mut cost, mut beyond) = (0.0, 0u64);
    for trial in 0..explored {
        let mut world = World::draw(ratio, 0.0, seed(draw, "explore", ratio, trial));
        let prior = world.prior();
        let mut caller = Caller::new(who, prior)?;
        let mut taken_s = 0.0;
        for _ in 0..EXPLORED_CALLS {
            let turn = caller.call(&mut world);
            taken_s += turn.call_s;
            beyond += u64::from(turn.call_s > 2.0 * world.best_s() + 1e-3);
        }
        cost += taken_s / (EXPLORED_CALLS as f64 * world.best_s()) - 1.0;
    }
    let calls = explored as f64 * EXPLORED_CALLS as f64;
    let beyond_share = beyond as f64 / calls;
    Ok(Exploration { ratio, cost: cost / explored as f64, beyond_share })
}

/// The gap of the devices in the trials of being locked in, and the shares of spikes.
const GAP: f64 = 2.0;
const SPIKES: [f64; 5] = [0.0, 0.1, 0.2, 0.3, 0.4];

/// Calls of such a trial, and those in which the policy may still be learning.
const LOCK_IN_CALLS: usize = 400;
const LOCK_IN_LEARNING: usize = 20;

/// Choices in a row for the slower device that count as being locked in, unless the trial, which goes on
/// to so many calls, shows that it is not for ever.
const LOCK_IN_LAST: usize = 40;
const LOCKED_CALLS: usize = 5000;

/// Whether a policy has been locked in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LockIns {
    pub(crate) trials: u64,
    /// Trials that were still on the slower device at their end, and those that have never left it.
    pub(crate) late: u64,
    pub(crate) locked: u64,
    /// Calls after the twentieth, and those sent to the slower device although not to try it.
    pub(crate) calls: u64,
    pub(crate) wrong: u64,
}

pub(crate) fn lock_ins(who: &Contender, effort: Effort) -> Result<LockIns, Error> {
    let mut sum = LockIns { trials: effort.lock_ins, ..LockIns::default() };
    for trial in 0..effort.lock_ins {
        let spikes = SPIKES[trial as usize % SPIKES.len()];
        let mut world = World::draw(GAP, spikes, seed(effort.draw, "lock-in", spikes, trial));
        let prior = world.prior();
        let mut caller = Caller::new(who, prior)?;
        let mut last_right = 0;
        for at in 0..LOCKED_CALLS {
            // Whoever is right by then is not locked in.
            if at >= LOCK_IN_CALLS && last_right + LOCK_IN_LAST >= LOCK_IN_CALLS {
                break;
            }
            let turn = caller.call(&mut world);
            let is_right = turn.device == world.fastest();
            if is_right {
                last_right = at;
            }
            if (LOCK_IN_LEARNING..LOCK_IN_CALLS).contains(&at) {
                sum.calls += 1;
                sum.wrong += u64::from(!is_right && !turn.is_trial);
            }
            if at + 1 == LOCK_IN_CALLS {
                sum.late += u64::from(last_right + LOCK_IN_LAST < LOCK_IN_CALLS);
            }
        }
        sum.locked += u64::from(last_right + LOCK_IN_LAST < LOCK_IN_CALLS);
    }
    Ok(sum)
}

/// How many calls a change goes unnoticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drift {
    /// The device in use becomes four times slower: calls on it until the other is chosen; the most
    /// over all lengths of history and seeds, and the mean.
    pub(crate) reroute_most: u64,
    pub(crate) reroute_mean: f64,
    /// The idle device becomes twice as fast, and so the faster: calls until it is chosen.
    pub(crate) discover_most: u64,
    pub(crate) discover_mean: f64,
}

/// Lengths of history before the change.
const HISTORIES: [usize; 6] = [8, 20, 100, 1000, 5000, 20_000];

/// After so many calls a change counts as never noticed.
pub(crate) const NOTICED_MAX: u64 = 2000;

/// How many times slower the idle device is before it becomes twice as fast.
const IDLE: [f64; 3] = [1.2, 1.5, 1.8];

pub(crate) fn drift(who: &Contender, Effort { seeds, draw, .. }: Effort) -> Result<Drift, Error> {
    let mut drift = Drift::default();
    let (mut reroutes, mut discoveries) = (0u64, 0u64);
    for at in 0..seeds {
        for history in HISTORIES {
            let calls = after_slow_down(who, history, [draw, at])?;
            drift.reroute_most = drift.reroute_most.max(calls);
            drift.reroute_mean += calls as f64;
            reroutes += 1;
            for idle in IDLE {
                let calls = until_discovered(who, history, idle, [draw, at])?;
                drift.discover_most = drift.discover_most.max(calls);
                drift.discover_mean += calls as f64;
                discoveries += 1;
            }
        }
    }
    drift.reroute_mean /= reroutes as f64;
    drift.discover_mean /= discoveries as f64;
    Ok(drift)
}

/// Calls on the device that has become four times slower, until another one is chosen.
fn after_slow_down(who: &Contender, history: usize, [draw, at]: [u64; 2]) -> Result<u64, Error> {
    let (mut caller, mut world) =
        settled(who, 2.0, history, seed(draw, "slower", history as f64, at))?;
    // Every other one has been stored and loaded since.
    if at % 2 == 1 {
        caller.reload(who)?;
    }
    world.true_s[world.fastest() as usize] *= 4.0;
    noticed(&mut caller, &mut world, false)
}

fn until_discovered(
    who: &Contender,
    history: usize,
    idle: f64,
    [draw, at]: [u64; 2],
) -> Result<u64, Error> {
    let (mut caller, mut world) =
        settled(who, idle, history, seed(draw, "idle", history as f64, at))?;
    world.true_s[world.fastest().other() as usize] /= 2.0;
    noticed(&mut caller, &mut world, true)
}

/// A program that has made so many calls.
fn settled(
    who: &Contender,
    ratio: f64,
    history: usize,
    seed: u64,
) -> Result<(Caller, World), Error> {
    let mut world = World::draw(ratio, 0.0, seed);
    let prior = world.prior();
    let mut caller = Caller::new(who, prior)?;
    for device in Device::ALL {
        caller.forced(&mut world, device);
    }
    for _ in 0..history {
        caller.call(&mut world);
    }
    Ok((caller, world))
}

/// Calls until the faster device is chosen, and again in the call after the next: all of them, or
/// those on the slower device.
fn noticed(caller: &mut Caller, world: &mut World, all: bool) -> Result<u64, Error> {
    let fastest: Device = world.fastest();
    let mut counted = 0;
    for _ in 0..NOTICED_MAX {
        let turn = caller.call(world);
        if turn.device == fastest && !turn.is_trial {
            return Ok(counted);
        }
        counted += u64::from(all || turn.device != fastest);
    }
    Ok(NOTICED_MAX)
}

/// A seed of its own for each trial of a draw, the same on every machine.
fn seed(draw: u64, what: &str, parameter: f64, trial: u64) -> u64 {
    let name = what.bytes().fold(0u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
    let trial = trial.wrapping_mul(0x9e37_79b9) ^ draw.wrapping_mul(0x2545_f491_4f6c_dd1d);
    Rng::new(name ^ parameter.to_bits() ^ trial).next_u64()
}

/// Calls of the curve.
pub(crate) const CURVE_CALLS: usize = 64;

/// The ratio of the curve's worlds.
const CURVE_RATIO: f64 = 4.0;

/// Share of the better device's speed at each call, geometric mean over all programs: a tenth of the runs
/// are spikes, the slower device takes four times as long.
pub(crate) fn curve(
    who: &Contender,
    Effort { explored, draw, .. }: Effort,
) -> Result<Vec<f64>, Error> {
    let mut log2 = vec![0.0; CURVE_CALLS];
    for trial in 0..explored {
        let mut world = World::draw(CURVE_RATIO, 0.1, seed(draw, "curve", CURVE_RATIO, trial));
        let prior = world.prior();
        let mut caller = Caller::new(who, prior)?;
        for sum in &mut log2 {
            let turn = caller.call(&mut world);
            *sum += (world.best_s() / turn.call_s).log2();
        }
    }
    Ok(log2.iter().map(|sum| (sum / explored as f64).exp2()).collect())
}
