//! An explanation as text.

use std::fmt;

use crossover_ml::optimise::Choice;

use super::Explanation;
use crate::device::Device;
use crate::layouts::Other;
use crate::terms::Past;

/// Seconds, with the unit that suits them.
///
/// ```
/// use crossover::show_seconds;
/// assert_eq!([0.0, 2.5e-6, 0.08, 2.0].map(show_seconds), ["0", "2.5 µs", "80.00 ms", "2.00 s"]);
/// ```
pub fn show_seconds(seconds: f64) -> String {
    match seconds {
        s if s <= 0.0 => "0".to_owned(),
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// Columns that the tables need.
const COLUMNS: usize = 79;

impl Explanation {
    /// What a GPU is called: by its number, where there are several.
    fn gpu_name(&self, adapter: usize) -> String {
        if self.adapters.len() < 2 { "gpu".to_owned() } else { format!("gpu {adapter}") }
    }

    /// What a candidate is called.
    fn name(&self, device: Device, adapter: usize, threads: usize) -> String {
        match device {
            Device::Cpu => format!("cpu × {threads}"),
            Device::Gpu => self.gpu_name(adapter),
        }
    }

    fn show_estimates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<8} {:>10} {:>23} {:>10} {:>10} {:>10}",
            "", "run", "90 % interval", "transfer", "wait", "total"
        )?;
        for e in &self.estimates {
            let interval =
                format!("{} – {}", show_seconds(e.run_low_s), show_seconds(e.run_high_s));
            writeln!(
                f,
                "  {:<8} {:>10} {interval:>23} {:>10} {:>10} {:>10}",
                self.name(e.device, e.adapter, e.threads),
                show_seconds(e.run_s),
                show_seconds(e.transfer_s),
                show_seconds(e.wait_s),
                show_seconds(e.total_s()),
            )?;
        }
        Ok(())
    }

    fn show_terms(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "  {:<8} {:>10} {:>12} {:>10} {:>10} {:>21}",
            "alone", "compute", "memory", "start", "bound by", "measured"
        )?;
        for t in &self.terms {
            writeln!(
                f,
                "  {:<8} {:>10} {:>12} {:>10} {:>10} {:>21}",
                self.name(t.device, t.adapter, t.threads),
                show_seconds(t.compute_s),
                show_seconds(t.memory_s),
                show_seconds(t.start_s),
                t.bound,
                t.past.map_or_else(|| "–".to_owned(), show_past),
            )?;
        }
        Ok(())
    }

    /// The same as both tables, a paragraph for each candidate.
    fn show_folded(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (e, t) in self.estimates.iter().zip(&self.terms) {
            writeln!(f, "  {}", self.name(e.device, e.adapter, e.threads))?;
            let [low, high] = [e.run_low_s, e.run_high_s].map(show_seconds);
            writeln!(f, "    run {}, {low} – {high}", show_seconds(e.run_s))?;
            let [transfer, wait] = [e.transfer_s, e.wait_s].map(show_seconds);
            writeln!(f, "    transfer {transfer}, wait {wait}")?;
            writeln!(f, "    total {}", show_seconds(e.total_s()))?;
            let [compute, memory] = [t.compute_s, t.memory_s].map(show_seconds);
            writeln!(f, "    compute {compute}, memory {memory}")?;
            writeln!(f, "    start {}, bound by {}", show_seconds(t.start_s), t.bound)?;
            if let Some(past) = t.past {
                writeln!(f, "    measured {}", show_past(past))?;
            }
        }
        Ok(())
    }

    /// What is to be known beside the terms.
    fn show_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_guessed =
            |device: &Device| self.terms.iter().any(|t| t.device == *device && !t.is_measured);
        let guessed: Vec<&str> =
            Device::ALL.into_iter().filter(is_guessed).map(Device::name).collect();
        if !guessed.is_empty() {
            writeln!(
                f,
                "  the rates of the {} are guesses: nothing was measured",
                guessed.join(" and the ")
            )?;
        }
        let has_no_code = |device| self.terms.iter().any(|t| t.device == device && !t.is_compiled);
        if has_no_code(Device::Cpu) {
            writeln!(f, "  the cpu's code is not compiled yet: the first call there waits for it")?;
        }
        if has_no_code(Device::Gpu) {
            writeln!(f, "  the gpu's code is not compiled yet: until then calls run on the cpu")?;
        }
        Ok(())
    }

    /// Where the model by itself is not what is believed.
    fn show_trust(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [model, shifted, flat] = self.trust.map(|share| 100.0 * share);
        if model >= 50.0 {
            return Ok(());
        }
        writeln!(
            f,
            "  first runs of other kernels: the model is right {model:.0} %, with this machine's offsets \
             {shifted:.0} %, not at all {flat:.0} %"
        )
    }

    /// What was chosen of the CPU's code, and why.
    fn show_code(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(choice) = &self.optimisations {
            let Choice { set, confidence, calls, compile_s, run_s, with_all_s, is_limited } =
                choice;
            let [compile_all_s, run_all_s] = with_all_s.map(show_seconds);
            let within = if *is_limited { ", within the budget" } else { "" };
            writeln!(f, "  optimisations of the cpu's code: {set}{within}")?;
            writeln!(
                f,
                "    {calls:.0} calls of {} after {} of compiling are expected, with all {run_all_s} after \
                 {compile_all_s}; confidence {confidence:.2}",
                show_seconds(*run_s),
                show_seconds(*compile_s),
            )?;
        }
        let Some(laid) = self.layouts.as_ref().filter(|laid| !laid.others.is_empty()) else {
            return Ok(());
        };
        let usual =
            if laid.is_learned { format!(", usually {}", laid.default) } else { String::new() };
        writeln!(
            f,
            "  layout of the cpu's code (vectors, rows, passages, depth): {}{usual}",
            laid.in_use
        )?;
        for other in &laid.others {
            let Other { layout, predicted, measured, is_compiled } = other;
            let found = match (measured, is_compiled) {
                (Some(measured), _) => format!("measured {measured:.2}"),
                (None, true) => "compiled, not measured yet".to_owned(),
                (None, false) => "not compiled".to_owned(),
            };
            writeln!(f, "    {layout}: predicted {predicted:.2} times as fast, {found}")?;
        }
        Ok(())
    }

    fn show_flip(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(flip) = &self.flip else { return Ok(()) };
        let other = flip.device;
        match (flip.run_s, flip.factor) {
            (Some(run_s), Some(factor)) => writeln!(
                f,
                "  the {other} would be the faster one if it ran in {}, {factor:.2} times faster",
                show_seconds(run_s)
            )?,
            _ => writeln!(f, "  the {other} would not be chosen however fast it ran")?,
        }
        if flip.without_copies {
            writeln!(f, "  the {other} would be the faster one if it had nothing to copy")?;
        }
        if flip.without_queue {
            writeln!(f, "  the {other} would be the faster one if it was free")?;
        }
        if flip.is_too_small {
            writeln!(
                f,
                "  a call that does nothing takes longer there: a larger one may go there"
            )?;
        }
        Ok(())
    }
}

fn show_past(past: Past) -> String {
    let calls = if past.calls == 1 { "call" } else { "calls" };
    format!("{} ({} {calls})", show_seconds(past.run_s), past.calls)
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [x, y, z] = self.grid;
        let chosen = match self.chosen {
            Device::Cpu => "cpu".to_owned(),
            Device::Gpu => self.gpu_name(self.adapter),
        };
        writeln!(f, "{} over {x} × {y} × {z}: {chosen} ({})", self.kernel, self.why)?;
        if f.width().is_some_and(|columns| columns < COLUMNS) {
            self.show_folded(f)?;
        } else {
            self.show_estimates(f)?;
            self.show_terms(f)?;
        }
        self.show_notes(f)?;
        self.show_trust(f)?;
        self.show_flip(f)?;
        if let Some(cut) = &self.cut {
            writeln!(f, "  {cut}")?;
        }
        if !self.across.is_empty() {
            let names = self.across.join(", ");
            writeln!(f, "  on the gpu it would reach {names} across the bus, without a copy")?;
        }
        self.show_code(f)?;
        if self.adapters.len() > 1 {
            for (at, name) in self.adapters.iter().enumerate() {
                writeln!(f, "  gpu {at} is {name}")?;
            }
        }
        let [cpu, gpu] = self.visits;
        write!(
            f,
            "  {} (generation {}), after {cpu} calls on the CPU and {gpu} on the GPU",
            self.model, self.generation
        )
    }
}
