//! Fifteen real devices that have run the same kernels: placement and learning where neither is ours.
//!
//! The folder holds `features.csv`, a row for each configuration (application, kernel, size), and
//! `runs.csv.gz`, some forty runs of each configuration on each device. Every pair of a CPU and a GPU is
//! a machine. Times are medians, but what a policy sees are the runs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, bail};
use crossover::ml::linear::Regression;
use crossover::ml::rng::Rng;
use crossover::ml::{self, Relatives, Side};
use crossover::route::{Asked, CallKey, Offline};

use super::decision::quantile;
use super::ledgers::Judged;
use super::world::policy;
use super::{Details, Devices, Prediction};

/// Configurations that are measured on a device that nobody has seen.
const PROBES: usize = 3;

/// Runs of a probe, of which the median counts.
const PROBE_RUNS: usize = 5;

/// Calls of each configuration on each machine.
const CALLS: usize = 20;

/// Seeds of what is drawn: the probes of the comparison, the order of runs.
const SEEDS: u64 = 5;

/// The price of weights of the model that reads the features.
const PENALTY: f64 = 10.0;

/// Devices that are neither a processor that others have nor a graphics card.
const LEFT_OUT: [&str; 1] = ["knl"];

/// The processors.
const CPUS: [&str; 3] = ["xeon_es-2697v2", "i7-6700k", "i5-3350"];

/// What was not seen, and how well calls are placed all the same: shares of the better device's speed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Split {
    pub(crate) unseen: &'static str,
    /// By the model alone: the first call.
    pub(crate) first: f64,
    /// By the learned policy, at the fourth call, and all calls together.
    pub(crate) fourth: f64,
    pub(crate) all: f64,
    /// The better of always CPU and always GPU, on each machine.
    pub(crate) constant: f64,
}

/// The tables.
struct Data {
    /// Numbers of the configurations and their features, as logarithms.
    features: Vec<Vec<f64>>,
    application: Vec<String>,
    kernel: Vec<String>,
    /// Whether it is the largest of its kernel.
    is_largest: Vec<bool>,
    log2_size: Vec<f64>,
    /// Seconds of the runs, by device and configuration.
    runs: BTreeMap<String, Vec<Vec<f64>>>,
    /// log2 of the median seconds, by device and configuration.
    log2_s: BTreeMap<String, Vec<f64>>,
}

/// The name of those that a configuration is left out with.
type Group<'d> = Box<dyn Fn(usize) -> String + 'd>;

pub(crate) fn evaluate(
    folder: &Path,
    details: &mut Details,
) -> anyhow::Result<(Devices, Vec<Split>)> {
    let data = Data::load(folder)?;
    let mut splits = Vec::new();
    let one = unseen_devices(&data, Unseen::One)?;
    let both = unseen_devices(&data, Unseen::Both)?;
    let oracle = one.first;
    splits.extend([one, both]);
    let groups: [(&'static str, Group<'_>); 3] = [
        (
            "size",
            Box::new(|k| if data.is_largest[k] { "largest".to_owned() } else { String::new() }),
        ),
        ("kernel", Box::new(|k| format!("{} {}", data.application[k], data.kernel[k]))),
        ("family", Box::new(|k| data.application[k].clone())),
    ];
    for (unseen, group) in groups {
        splits.push(unseen_configurations(&data, unseen, &*group)?);
    }
    details.real = Some(predictions(&data));
    details.splits = splits.clone();
    Ok((Devices { probes: PROBES, oracle }, splits))
}

impl Data {
    fn load(folder: &Path) -> anyhow::Result<Data> {
        let path = folder.join("features.csv");
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        let mut data = Data {
            features: Vec::new(),
            application: Vec::new(),
            kernel: Vec::new(),
            is_largest: Vec::new(),
            log2_size: Vec::new(),
            runs: BTreeMap::new(),
            log2_s: BTreeMap::new(),
        };
        for (at, line) in BufReader::new(file).lines().enumerate().skip(1) {
            let line = line.with_context(|| path.display().to_string())?;
            let fields: Vec<&str> = line.split(',').collect();
            let place = || format!("{} line {}", path.display(), at + 1);
            let [config, application, kernel, _, _, numbers @ ..] = fields.as_slice() else {
                bail!("{} has too few columns", place());
            };
            if config.parse() != Ok(data.features.len()) {
                bail!("{} is not configuration {}", place(), data.features.len());
            }
            let numbers: Result<Vec<f64>, _> = numbers.iter().map(|n| n.parse::<f64>()).collect();
            let numbers = numbers.with_context(place)?;
            let log2: Vec<f64> = numbers.iter().map(|x| (1.0 + x.max(0.0)).log2()).collect();
            // The fifth number is that of all instructions.
            data.log2_size.push(log2.get(4).copied().unwrap_or_default());
            data.features.push(log2);
            data.application.push((*application).to_owned());
            data.kernel.push((*kernel).to_owned());
        }
        data.mark_largest();
        data.load_runs(folder)?;
        Ok(data)
    }

    fn mark_largest(&mut self) {
        let size = &self.log2_size;
        self.is_largest = (0..size.len())
            .map(|k| {
                let is_kin = |other: usize| {
                    (&self.application[other], &self.kernel[other])
                        == (&self.application[k], &self.kernel[k])
                };
                let kin = || (0..size.len()).filter(|&other| is_kin(other));
                // Where there is but one size, there is none to learn from.
                kin().any(|other| size[other] < size[k] - 1.0)
                    && kin().all(|other| size[other] <= size[k] + 1e-9)
            })
            .collect();
    }

    fn load_runs(&mut self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join("runs.csv.gz");
        let file = File::open(&path).with_context(|| path.display().to_string())?;
        let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
        let count = self.features.len();
        for (at, line) in lines.enumerate().skip(1) {
            let line = line.with_context(|| path.display().to_string())?;
            let mut fields = line.split(',');
            let row = (|| {
                let config: usize = fields.next()?.parse().ok()?;
                let device = fields.next()?;
                let kernel_us: f64 = fields.nth(1)?.parse().ok()?;
                (config < count && kernel_us > 0.0).then_some((config, device, kernel_us * 1e-6))
            })();
            let Some((config, device, seconds)) = row else {
                bail!("{} line {} is no run of a configuration", path.display(), at + 1);
            };
            if !LEFT_OUT.contains(&device) {
                let runs = self.runs.entry(device.to_owned());
                runs.or_insert_with(|| vec![Vec::new(); count])[config].push(seconds);
            }
        }
        for (device, runs) in &self.runs {
            if let Some(at) = runs.iter().position(Vec::is_empty) {
                bail!("{device} has not run configuration {at}");
            }
            let medians = runs.iter().map(|runs| median(runs).log2()).collect();
            self.log2_s.insert(device.clone(), medians);
        }
        if CPUS.iter().any(|cpu| !self.runs.contains_key(*cpu)) || self.gpus().count() < 2 {
            bail!("{} lacks the devices that are compared", path.display());
        }
        Ok(())
    }

    fn gpus(&self) -> impl Iterator<Item = &String> {
        self.runs.keys().filter(|device| !CPUS.contains(&device.as_str()))
    }

    /// Every pair of a CPU and a GPU.
    fn machines(&self) -> impl Iterator<Item = [&str; 2]> {
        CPUS.into_iter().flat_map(|cpu| self.gpus().map(move |gpu| [cpu, gpu.as_str()]))
    }

    fn count(&self) -> usize {
        self.features.len()
    }
}

fn median(runs: &[f64]) -> f64 {
    quantile(&mut runs.to_vec(), 0.5)
}

/// Sums up shares of the oracle's speed.
#[derive(Default)]
struct Shares {
    log2: f64,
    count: f64,
}

impl Shares {
    fn add(&mut self, log2_s: [f64; 2], chosen: usize) {
        self.log2 += log2_s[0].min(log2_s[1]) - log2_s[chosen];
        self.count += 1.0;
    }

    fn share(&self) -> f64 {
        (self.log2 / self.count).exp2()
    }
}

/// Which device of a machine nobody has seen.
#[derive(Clone, Copy, PartialEq)]
enum Unseen {
    /// One of the two; of the other, what calls take is known.
    One,
    Both,
}

/// A device that nobody has seen has run the probes. What all other configurations take there is told by
/// the devices of its kind.
fn unseen_devices(data: &Data, unseen: Unseen) -> anyhow::Result<Split> {
    let (mut first, mut fourth, mut all) =
        (Shares::default(), Shares::default(), Shares::default());
    let mut constants = Vec::new();
    for machine in data.machines() {
        let expected = machine.map(|device| relatives(data, device));
        let [cpu, gpu] = expected;
        let (cpu, gpu) = (cpu?, gpu?);
        let variants: &[[bool; 2]] = match unseen {
            Unseen::One => &[[true, false], [false, true]],
            Unseen::Both => &[[true, true]],
        };
        let times = machine.map(|device| &data.log2_s[device]);
        for is_unseen in variants {
            let new = [&cpu, &gpu];
            let prior = |k: usize| {
                let of = |side: usize| match is_unseen[side] {
                    true => (new[side].expected[k].mean, new[side].expected[k].sd),
                    false => (times[side][k], 0.05),
                };
                let [c, g] = [of(0), of(1)];
                ml::Prediction::new([c.0, g.0], [c.1, g.1], 0.0)
            };
            let probes: Vec<usize> = (0..2)
                .filter(|&side| is_unseen[side])
                .flat_map(|side| new[side].probes.clone())
                .collect();
            let others: Vec<usize> = (0..data.count()).filter(|k| !probes.contains(k)).collect();
            constants.push(constant(data, machine, &others));
            for &k in &others {
                place(data, machine, k, &prior(k), 0, [&mut first, &mut fourth, &mut all])?;
            }
        }
    }
    let unseen = match unseen {
        Unseen::One => "device (one of two)",
        Unseen::Both => "device (both)",
    };
    let constant = mean_share(&constants);
    Ok(Split { unseen, first: first.share(), fourth: fourth.share(), all: all.share(), constant })
}

/// The better of always CPU and always GPU on a machine, as log2 of the share of the oracle's speed.
fn constant(data: &Data, machine: [&str; 2], configs: &[usize]) -> f64 {
    let times = machine.map(|device| &data.log2_s[device]);
    let of = |side: usize| {
        let lost = configs.iter().map(|&k| times[side][k] - times[0][k].min(times[1][k]));
        lost.sum::<f64>() / configs.len().max(1) as f64
    };
    -of(0).min(of(1))
}

fn mean_share(log2: &[f64]) -> f64 {
    (log2.iter().sum::<f64>() / log2.len() as f64).exp2()
}

struct Probed {
    probes: Vec<usize>,
    expected: Vec<ml::relatives::Expected>,
}

/// What is expected on a device that has run nothing but the probes.
fn relatives(data: &Data, device: &str) -> anyhow::Result<Probed> {
    let is_cpu = CPUS.contains(&device);
    let known: Vec<Vec<f64>> = data
        .log2_s
        .iter()
        .filter(|(other, _)| *other != device && CPUS.contains(&other.as_str()) == is_cpu)
        .map(|(_, times)| times.clone())
        .collect();
    let relatives = Relatives::new(&known, &data.log2_size).context("a device has no relatives")?;
    let probes = relatives.probes(PROBES);
    let runs = &data.runs[device];
    let probe = |&k: &usize| (k, median(&runs[k][..PROBE_RUNS.min(runs[k].len())]).log2());
    let measured: Vec<(usize, f64)> = probes.iter().map(probe).collect();
    Ok(Probed { expected: relatives.expect(&measured), probes })
}

/// The learned policy places calls of a configuration on a machine; runs take what they took there, from
/// a run on that is drawn.
fn place(
    data: &Data,
    machine: [&str; 2],
    config: usize,
    prior: &ml::Prediction,
    seed: u64,
    [first, fourth, all]: [&mut Shares; 3],
) -> anyhow::Result<()> {
    let mut offline = Offline::new(policy("learned")?);
    let asked = Asked {
        call: CallKey { kernel: 1, shape: 1 },
        items: 1,
        log2_work: data.log2_size[config],
        prior,
        generation: 0,
        transfer_s: [0.0; 2],
        wait_s: [0.0; 2],
        can_be_cut: false,
    };
    let true_s = machine.map(|device| data.log2_s[device][config]);
    let runs = machine.map(|device| &data.runs[device][config]);
    let mut rng = Rng::new(seed ^ (config as u64) << 8);
    let start = runs.map(|runs| rng.below(runs.len()));
    let mut seen = [0; 2];
    for at in 0..CALLS {
        let placed = offline.place(&asked);
        let side = placed.device as usize;
        let run_s = runs[side][(start[side] + seen[side]) % runs[side].len()];
        seen[side] += 1;
        offline.observe(&asked, &placed, run_s, run_s, false);
        all.add(true_s, side);
        match at {
            // Whether to try the other is the policy's affair; what is judged is what is believed.
            0 => first.add(true_s, usize::from(prior.faster() == Side::Gpu)),
            3 => fourth.add(true_s, side),
            _ => {}
        }
    }
    Ok(())
}

/// Configurations that nobody has seen, on devices that have run others: a linear model reads their
/// features. `group` says which configurations are left out together; those of no name are never.
fn unseen_configurations(
    data: &Data,
    unseen: &'static str,
    group: &dyn Fn(usize) -> String,
) -> anyhow::Result<Split> {
    let groups: Vec<String> = (0..data.count()).map(group).collect();
    let mut predicted: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
    for (device, times) in &data.log2_s {
        let mut of = vec![None; data.count()];
        for name in groups.iter().filter(|name| !name.is_empty()) {
            let (known, new): (Vec<usize>, Vec<usize>) =
                (0..data.count()).partition(|&k| groups[k] != *name);
            if new.iter().all(|&k| of[k].is_some()) {
                continue;
            }
            let examples: Vec<Vec<f64>> = known.iter().map(|&k| data.features[k].clone()).collect();
            let targets: Vec<f64> = known.iter().map(|&k| times[k]).collect();
            let model =
                Regression::fit(&examples, &targets, PENALTY).context("nothing to learn from")?;
            new.iter().for_each(|&k| of[k] = Some(model.predict(&data.features[k])));
        }
        predicted.insert(device, of);
    }
    let (mut first, mut fourth, mut all) =
        (Shares::default(), Shares::default(), Shares::default());
    let mut constants = Vec::new();
    let configs: Vec<usize> = (0..data.count()).filter(|&k| !groups[k].is_empty()).collect();
    for machine in data.machines() {
        let times = machine.map(|device| &data.log2_s[device]);
        let guess = |side: usize, k: usize| predicted[machine[side]][k].unwrap_or_default();
        // As wrong as it is on other configurations: what a model that knows itself would say.
        let errors = |side: usize| configs.iter().map(move |&k| times[side][k] - guess(side, k));
        let count = configs.len() as f64;
        let sd = [0, 1].map(|side| (errors(side).map(|e| e * e).sum::<f64>() / count).sqrt());
        let both = errors(0).zip(errors(1)).map(|(c, g)| c * g).sum::<f64>() / count;
        let correlation = both / (sd[0] * sd[1]).max(1e-12);
        constants.push(constant(data, machine, &configs));
        for &k in &configs {
            let prior = ml::Prediction::new([guess(0, k), guess(1, k)], sd, correlation.min(0.95));
            for seed in 0..SEEDS {
                place(data, machine, k, &prior, seed, [&mut first, &mut fourth, &mut all])?;
            }
        }
    }
    let constant = mean_share(&constants);
    Ok(Split { unseen, first: first.share(), fourth: fourth.share(), all: all.share(), constant })
}

/// How well the runs of real devices are predicted from those before.
fn predictions(data: &Data) -> Prediction {
    let mut judged = Judged::default();
    for runs in data.runs.values() {
        for (k, runs) in runs.iter().enumerate() {
            judged.side(&ml::Prediction::vague(), data.log2_size[k], Side::Cpu, runs);
        }
    }
    judged.finish()
}
