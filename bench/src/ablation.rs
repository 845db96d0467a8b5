//! What each optimisation is worth: a kernel that all passes have optimised, and the same without one
//! of them, in turns.
//!
//! A pass without which the kernel comes out the same is not timed. Every version is checked against
//! the reference before. Times are those of the kernel alone: passes have no part in copies.

use crossover::kernels::front;
use crossover::kernels::ir::Kernel;
use crossover::kernels::library::Entry;
use crossover::kernels::passes::{PIPELINE, Pass, REQUIRED};
use crossover::ml::dataset::{self, OPTIMISATIONS};
use crossover::{Device, Handle, Runtime};

use crate::case::Case;
use crate::report::model::Ablation;
use crate::runner::{self, Options};

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
    let explained = case.explain()?;
    let typed = entry.kernels().iter().map(|def| front::kernel(def, &[], &[]));
    let sources = typed.collect::<Result<Vec<Kernel>, _>>()?;
    let (mut measured, mut seconds) = (Measured::default(), [None; 2]);
    for device in Device::ALL {
        if device == Device::Gpu && rt.adapter().is_none() {
            continue;
        }
        let mut versions = versions(rt, &sources, device);
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
    // A data set is of calls.
    if let (true, [explained]) = (seconds[0].is_some(), &explained[..]) {
        let items = explained.grid.iter().map(|&g| u64::from(g)).product();
        let mut row = dataset::Row::new(entry.name, "core", items, explained.features, seconds);
        row.speedups = OPTIMISATIONS.map(|name| speedup(&measured.effects, name));
        measured.row = Some(row);
    }
    Ok(measured)
}

/// The optimisations that can be switched off: those of a data set, then the other passes in the
/// order in which they first run. These are only reported.
fn optional() -> Vec<&'static str> {
    let mut names = OPTIMISATIONS.to_vec();
    for Pass { name, .. } in PIPELINE {
        let is_required = REQUIRED.iter().any(|required| required.name == *name);
        if !is_required && !names.contains(name) {
            names.push(name);
        }
    }
    names
}

/// The kernels as some optimisations leave them.
struct Version {
    /// The one that is left out.
    without: Option<&'static str>,
    /// For each kernel; `None` where all are the same as with all optimisations.
    handles: Option<Vec<Handle>>,
    /// Why it does not run.
    why: Option<String>,
    /// Seconds of the checked run on the device.
    once_s: f64,
    times: Vec<f64>,
}

/// The kernels with all optimisations, then without each.
fn versions(rt: &Runtime, sources: &[Kernel], device: Device) -> Vec<Version> {
    let version = |without: Option<&'static str>| {
        let adopt = |source: &Kernel| {
            let name = source.entry.name.to_string();
            rt.adopt_with(source.clone(), name, &|name| without != Some(name))
        };
        let handles = Some(sources.iter().map(adopt).collect());
        Version { without, handles, why: None, once_s: 0.0, times: Vec::new() }
    };
    let all = version(None);
    let mut versions: Vec<Version> = optional().into_iter().map(Some).map(version).collect();
    for version in &mut versions {
        version.handles.take_if(|handles| {
            let all = all.handles.iter().flatten();
            all.zip(handles).all(|(all, handle)| all.has_same_code(handle, device))
        });
    }
    versions.insert(0, all);
    versions
}

/// Runs each version once, and holds its result against the reference.
fn check(case: &mut Case<'_>, device: Device, versions: &mut [Version]) -> anyhow::Result<()> {
    for version in versions {
        let Some(handles) = &version.handles else { continue };
        case.use_versions(handles.clone());
        case.reset()?;
        match case.round_trip(|call| call.device(device)) {
            // Without the compilation, which is the host's.
            Ok((ran, _)) => version.once_s = ran.run_s,
            Err(error) => version.why = Some(error.to_string()),
        }
        if version.why.is_none() {
            version.why = case.judge()?;
        }
    }
    Ok(())
}

/// Times the versions in turns, those that are much slower than the rest not in every one; a quick call
/// is made once before, as in the suite.
fn time(case: &mut Case<'_>, device: Device, versions: &mut [Version], options: &Options) {
    let repetitions = |version: &Version| match version.why {
        None if version.handles.is_some() => runner::repetitions(version.once_s),
        _ => 0,
    };
    let turns = versions.iter().map(repetitions).max().unwrap_or(0);
    for turn in 0..turns {
        for version in &mut *versions {
            let due = turns.checked_div(repetitions(version)).is_some_and(|n| turn % n == 0);
            let Some(handles) = version.handles.clone().filter(|_| due) else { continue };
            if options.is_stopped() {
                return;
            }
            case.use_versions(handles);
            let warm = usize::from(version.once_s < runner::QUICK);
            for turn in 0..=warm {
                match case.round_trip(|call| call.device(device)) {
                    Ok((ran, _)) if turn == warm => version.times.push(ran.run_s),
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
        changes: version.handles.is_some(),
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
    fn every_optimisation_can_be_switched_off() {
        let passes = |name: &str| PIPELINE.iter().any(|pass| pass.name == name);
        for name in optional() {
            assert!(passes(name) || name == "simd", "{name} is none");
        }
    }

    #[test]
    fn every_optimisation_has_an_effect_or_changes_nothing() {
        let rt = Runtime::builder().with(|s| s.gpu = crossover::GpuUse::Off).build();
        let rt = rt.expect("the CPU side needs nothing");
        let options = Options { stop: Arc::new(AtomicBool::new(false)), recorder: None };
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
