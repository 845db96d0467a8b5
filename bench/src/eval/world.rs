//! Made-up devices for the policies: durations are drawn, nothing runs. Everything that decides and
//! learns is the library's own ([`crossover::route::Offline`]).

use std::sync::Arc;

use super::{Contender, Looks};
use crossover::Why;
use crossover::ml::Prediction;
use crossover::ml::rng::Rng;
use crossover::route::{Asked, CallKey, Offline, Policy};
use crossover::{Device, Error};

/// Standard deviation of log2 of a run, spikes aside.
const NOISE_SD: f64 = 0.1;

/// How many times longer a run takes that something else got in the way of.
const SPIKE: f64 = 5.0;

/// What the network says of an unseen kernel, as the data of real kernels have it: log2 of the time is
/// off by three (a factor of eight), and both sides' errors go together.
const PRIOR_SD: f64 = 3.0;
const PRIOR_CORRELATION: f64 = 0.8;

/// What starting a run costs on each device, in seconds; at most half of the run.
const START_S: [f64; 2] = [2e-6, 30e-6];

/// One shape of call on two devices.
#[derive(Clone, Debug)]
pub(crate) struct World {
    /// Median time on each device, in seconds.
    pub(crate) true_s: [f64; 2],
    /// Share of the runs that are spikes.
    pub(crate) spikes: f64,
    pub(crate) rng: Rng,
}

impl World {
    /// A world in which the slower device takes `ratio` times as long. Which one that is, and how long
    /// calls take in all, is drawn: from 10 µs to 100 ms on the faster one.
    pub(crate) fn draw(ratio: f64, spikes: f64, seed: u64) -> World {
        let mut rng = Rng::new(seed);
        let fast_s = 10f64.powf(-5.0 + 4.0 * rng.uniform());
        let mut true_s = [fast_s, fast_s * ratio];
        if rng.uniform() < 0.5 {
            true_s.swap(0, 1);
        }
        World { true_s, spikes, rng }
    }

    /// A network's prediction of an unseen kernel: as wrong as it says it may be.
    pub(crate) fn prior(&mut self) -> Prediction {
        let (shared, own) = (PRIOR_CORRELATION.sqrt(), (1.0 - PRIOR_CORRELATION).sqrt());
        let common = self.rng.normal();
        let mean =
            self.true_s.map(|s| s.log2() + PRIOR_SD * (shared * common + own * self.rng.normal()));
        Prediction::new(mean, [PRIOR_SD; 2], PRIOR_CORRELATION)
    }

    /// What a run takes.
    pub(crate) fn run_s(&mut self, device: Device) -> f64 {
        let noise = NOISE_SD * self.rng.normal();
        let spike = if self.rng.uniform() < self.spikes { SPIKE } else { 1.0 };
        self.true_s[device as usize] * noise.exp2() * spike
    }

    /// What a part of a run takes: its share, and what starting costs.
    pub(crate) fn slice_s(&mut self, device: Device, share: f64) -> f64 {
        let run_s = self.run_s(device);
        let start_s = START_S[device as usize].min(0.5 * run_s);
        start_s + share * (run_s - start_s)
    }

    pub(crate) fn fastest(&self) -> Device {
        if self.true_s[1] < self.true_s[0] { Device::Gpu } else { Device::Cpu }
    }

    pub(crate) fn best_s(&self) -> f64 {
        self.true_s[0].min(self.true_s[1])
    }
}

/// A program that makes one call again and again.
pub(crate) struct Caller {
    pub(crate) offline: Offline,
    pub(crate) prior: Prediction,
    /// How it looks at devices before a call.
    looks: Looks,
}

/// What became of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) device: Device,
    pub(crate) is_trial: bool,
    /// What the call took in all, in seconds: its slices, the part of a trial that was given up, and the rest of it at
    /// the median.
    pub(crate) call_s: f64,
}

/// Slices before a call, at most.
const SLICES_MAX: usize = 8;

/// The one kernel, at its one size.
pub(crate) const CALL: CallKey = CallKey { kernel: 1, shape: 1 };

impl Caller {
    pub(crate) fn new(who: &Contender, prior: Prediction) -> Result<Caller, Error> {
        let offline = Offline::new(policy(who.policy)?).starting(START_S);
        Ok(Caller { offline, prior, looks: who.looks })
    }

    /// Goes on in a process that has loaded what this one has stored.
    pub(crate) fn reload(&mut self, who: &Contender) -> Result<(), Error> {
        let mut offline = Offline::new(policy(who.policy)?).starting(START_S);
        let experience = self.offline.experience(CALL.kernel);
        let stored = experience.and_then(|known| serde_json::to_string(known).ok());
        if let Some(loaded) = stored.and_then(|stored| serde_json::from_str(&stored).ok()) {
            offline.begin_with(CALL.kernel, loaded);
        }
        self.offline = offline;
        Ok(())
    }

    /// Makes the call once on a device that the caller chooses.
    pub(crate) fn forced(&mut self, world: &mut World, device: Device) {
        let prior = self.prior;
        let asked = asked(&prior, false);
        let placed = self.offline.placed(&asked, device, Why::Forced);
        let run_s = world.run_s(device);
        self.offline.observe(&asked, &placed, run_s, run_s, false);
    }

    /// Makes the call once.
    pub(crate) fn call(&mut self, world: &mut World) -> Turn {
        let prior = self.prior;
        let asked = asked(&prior, self.looks != Looks::None);
        // What parts of the call have taken, and the share of it that is left.
        let (mut parts_s, mut left) = (0.0, 1.0);
        let mut run = |share: f64, part_s: f64| {
            parts_s += part_s;
            left -= if self.looks == Looks::Parts { share } else { 0.0 };
        };
        for _ in 0..SLICES_MAX {
            let Some(slice) = self.offline.slice(&asked) else { break };
            let run_s = world.slice_s(slice.device, slice.share);
            self.offline.observe_slice(&asked, slice, run_s);
            run(slice.share, run_s);
        }
        let placed = self.offline.place(&asked);
        let device = placed.device;
        let first = Offline::first_parts(&placed).filter(|_| asked.can_be_cut);
        let mut parts = Vec::new();
        let gives_up = first.into_iter().flatten().any(|share| {
            let part_s = world.slice_s(device, share);
            parts.push((share, part_s));
            run(share, part_s);
            self.offline.gives_up(&asked, &placed, &parts)
        });
        if gives_up {
            let call_s = parts_s + left * world.true_s[device.other() as usize];
            return Turn { device: device.other(), is_trial: true, call_s };
        }
        let run_s = world.run_s(device);
        self.offline.observe(&asked, &placed, run_s, run_s, false);
        let call_s = parts_s + left * world.true_s[device as usize];
        Turn { device, is_trial: placed.why == Why::Explore, call_s }
    }
}

pub(crate) fn asked(prior: &Prediction, can_be_cut: bool) -> Asked<'_> {
    Asked {
        call: CALL,
        items: 1 << 18,
        log2_work: 20.0,
        prior,
        generation: 0,
        transfer_s: [0.0; 2],
        wait_s: [0.0; 2],
        can_be_cut,
    }
}

/// A fresh policy of that name.
pub(crate) fn policy(name: &str) -> Result<Arc<dyn Policy>, Error> {
    crossover::route::by_name(name)
}
