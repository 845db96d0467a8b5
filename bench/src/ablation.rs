//! What each optimisation is worth: a kernel that all passes have optimised, and the same without one
//! of them, in turns.
//!
//! A pass without which the kernel comes out the same is not timed. Every version is checked against
//! the reference before. Times are those of the kernel alone: passes have no part in copies.

use crossover::kernels::ir::Kernel;
use crossover::kernels::library::Entry;
use crossover::kernels::{front, passes};
use crossover::ml::dataset::{self, SPEEDUPS};
use crossover::{Device, Handle, Runtime};

use crate::case::Case;
use crate::report::model::Ablation;
use crate::runner::{self, Options};

/// The optimisations whose speed-ups a row of a data set has room for, in their order there. Others
/// are only reported.
const SLOTS: [&str; SPEEDUPS] = ["fold", "forward", "cse", "checks", "strength", "dce", "hoist"];

/// What was measured of a kernel at a size.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// For each device and optimisation.
    pub(crate) effects: Vec<Ablation>,
    /// The same for a data set; its speed-ups are the CPU's.
    pub(crate) row: Option<dataset::Row>,
}

/// Measures a kernel at a size on every device there is.
pub(crate) fn run(
    rt: &Runtime,
    entry: &'static Entry,
    size_name: &str,
    size: usize,
    options: &Options,
) -> anyhow::Result<Measured> {
    let mut case = Case::new(rt, entry, size)?;
    let explained = case.call().explain()?;
    let source = front::kernel(entry.def, &[], &[])?;
    let (mut measured, mut seconds) = (Measured::default(), [None; 2]);
    for device in Device::ALL {
        if device == Device::Gpu && rt.adapter().is_none() {
            continue;
        }
        let mut versions = versions(rt, entry.name, &source);
        check(&mut case, device, &mut versions)?;
        time(&mut case, device, &mut versions, options);
        seconds[device as usize] = runner::median(&versions[0].times);
        let effect = |version: &Version| effect(version, &versions[0]);
        let effects = versions[1..].iter().map(effect).map(|effect| Ablation {
            kernel: entry.name.to_owned(),
            size: size_name.to_owned(),
            n: size as u64,
            device,
            ..effect
        });
        measured.effects.extend(effects);
    }
    if seconds[0].is_some() {
        let items = explained.grid.iter().map(|&g| u64::from(g)).product();
        let mut row = dataset::Row::new(entry.name, "core", items, explained.features, seconds);
        row.speedups = SLOTS.map(|slot| speedup(&measured.effects, slot));
        measured.row = Some(row);
    }
    Ok(measured)
}

/// The optimisations that can be switched off, each once, in the order in which they first run.
fn optional() -> Vec<&'static str> {
    let mut names: Vec<&str> = Vec::new();
    for pass in passes::PIPELINE {
        if !passes::REQUIRED.contains(&pass.name) && !names.contains(&pass.name) {
            names.push(pass.name);
        }
    }
    names
}

/// A kernel as some passes leave it.
struct Version {
    /// The one that is left out.
    without: Option<&'static str>,
    /// `None` where the kernel is the same as with all.
    handle: Option<Handle>,
    /// Why it does not run.
    why: Option<String>,
    /// Seconds of the checked run.
    once_s: f64,
    times: Vec<f64>,
}

/// The kernel with all optimisations, then without each.
fn versions(rt: &Runtime, name: &str, source: &Kernel) -> Vec<Version> {
    let all = passes::optimize(source).hash();
    let without = |pass: Option<&'static str>| {
        let enabled = |name: &str| pass != Some(name);
        let is_same = pass.is_some() && passes::optimize_with(source, &enabled).hash() == all;
        let handle = (!is_same).then(|| rt.adopt_with(source.clone(), name, &enabled));
        Version { without: pass, handle, why: None, once_s: 0.0, times: Vec::new() }
    };
    std::iter::once(None).chain(optional().into_iter().map(Some)).map(without).collect()
}

/// Runs each version once, and holds its result against the reference.
fn check(case: &mut Case<'_>, device: Device, versions: &mut [Version]) -> anyhow::Result<()> {
    for version in versions {
        let Some(handle) = &version.handle else { continue };
        case.use_version(handle.clone());
        case.reset()?;
        match case.round_trip(|call| call.device(device)) {
            Ok((_, seconds)) => version.once_s = seconds,
            Err(error) => version.why = Some(error.to_string()),
        }
        if version.why.is_none() {
            version.why = case.judge()?;
        }
    }
    Ok(())
}

/// Times the versions in turns; a quick call is made once before, as in the suite.
fn time(case: &mut Case<'_>, device: Device, versions: &mut [Version], options: &Options) {
    versions.iter_mut().filter(|v| v.why.is_some()).for_each(|v| v.once_s = 0.0);
    let slowest = versions.iter().map(|version| version.once_s).fold(0.0, f64::max);
    for _ in 0..runner::repetitions(slowest) {
        for version in &mut *versions {
            let Some(handle) = version.handle.as_ref().filter(|_| version.why.is_none()) else {
                continue;
            };
            if options.is_stopped() {
                return;
            }
            case.use_version(handle.clone());
            let warm = usize::from(version.once_s < runner::QUICK);
            for turn in 0..=warm {
                match case.round_trip(|call| call.device(device)) {
                    Ok((outcome, _)) if turn == warm => version.times.push(outcome.measured.run_s),
                    Ok(_) => {}
                    Err(error) => version.why = Some(error.to_string()),
                }
            }
        }
    }
}

/// What a version says against the one with all optimisations.
fn effect(version: &Version, all: &Version) -> Ablation {
    let times = |version: &Version| runner::median(&version.times).filter(|t| *t > 0.0);
    let (with_s, without_s) = (times(all), times(version));
    Ablation {
        kernel: String::new(),
        size: String::new(),
        n: 0,
        device: Device::Cpu,
        optimisation: version.without.unwrap_or_default().to_owned(),
        changes: version.handle.is_some(),
        with_s,
        without_s,
        effect: with_s.zip(without_s).map(|(with, without)| without / with),
        why: version.why.clone().or_else(|| all.why.clone()),
        repetitions: version.times.len(),
    }
}

/// The effect of an optimisation on the CPU; 1 where the kernel is the same without it.
fn speedup(effects: &[Ablation], optimisation: &str) -> Option<f64> {
    let of = |e: &&Ablation| e.device == Device::Cpu && e.optimisation == optimisation;
    let effect = effects.iter().find(of)?;
    if effect.changes { effect.effect } else { Some(1.0) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use crossover::kernels::library;

    use super::*;

    #[test]
    fn every_slot_is_an_optimisation() {
        let optional = optional();
        for slot in SLOTS {
            assert!(optional.contains(&slot), "{slot} is none of {optional:?}");
        }
        assert!(passes::REQUIRED.iter().all(|name| !optional.contains(name)));
    }

    #[test]
    fn every_optimisation_has_an_effect_or_changes_nothing() {
        let rt = Runtime::builder().with(|s| s.gpu = crossover::GpuUse::Off).build();
        let rt = rt.expect("the CPU side needs nothing");
        let options = Options { stop: Arc::new(AtomicBool::new(false)) };
        let entry = library::find("jacobi").expect("a library kernel");
        let measured = run(&rt, entry, "small", 37, &options).expect("measured");
        assert_eq!(measured.effects.len(), optional().len());
        for effect in &measured.effects {
            assert_eq!(effect.effect.is_some(), effect.changes, "{effect:?}");
            assert_eq!(effect.why, None);
        }
        assert!(measured.effects.iter().any(|effect| effect.changes));
        let row = measured.row.expect("a row");
        assert!(row.validate().is_ok() && row.speedups.iter().all(Option::is_some));
    }
}
