//! What the two sides are compared with: the same kernel as it is written without Crossover, on as
//! many threads as the CPU side has.
//!
//! Plain Rust for the default target runs in this process. What depends on the target runs in a
//! server ([`server`]) that is compiled for this machine ([`build`]); where it cannot be had, there
//! is a reason in place of the times.

mod build;
mod raw_wgpu;
mod server;

use std::time::Instant;

use crossover::Device;
use crossover::kernels::library::{Entry, Input};
use crossover_native::Body;
use serde::{Deserialize, Serialize};

pub(crate) use self::raw_wgpu::RawWgpu;
use self::server::Server;
use crate::case::{self, Case};

/// What to compare the two sides with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Opponent {
    /// Plain Rust over rayon, for the default target and for this machine, and 128-bit vectors by
    /// hand. The first run compiles them.
    Native,
    /// WGSL by hand through wgpu alone, on the same adapter.
    RawWgpu,
}

/// A baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Baseline {
    /// Plain Rust over rayon, compiled for this machine.
    #[serde(rename = "native")]
    Native,
    /// The same, compiled for the default target.
    #[serde(rename = "native_default")]
    NativeDefault,
    /// 128-bit vectors with fused multiply-add, by hand.
    #[serde(rename = "native_128")]
    Native128,
    /// WGSL by hand through wgpu alone, on the adapter of the GPU side, with buffers that stay there.
    #[serde(rename = "raw_wgpu")]
    RawWgpu,
}

impl Baseline {
    /// All, in the order of reports.
    pub(crate) const ALL: [Baseline; 4] =
        [Baseline::Native, Baseline::NativeDefault, Baseline::Native128, Baseline::RawWgpu];

    /// Which of the two sides it is held against.
    pub(crate) fn device(self) -> Device {
        match self {
            Baseline::Native | Baseline::NativeDefault | Baseline::Native128 => Device::Cpu,
            Baseline::RawWgpu => Device::Gpu,
        }
    }

    /// The opponent that it belongs to.
    fn opponent(self) -> Opponent {
        match self.device() {
            Device::Cpu => Opponent::Native,
            Device::Gpu => Opponent::RawWgpu,
        }
    }

    /// As columns and curves call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Baseline::Native => "native",
            Baseline::NativeDefault => "default",
            Baseline::Native128 => "128-bit",
            Baseline::RawWgpu => "raw wgpu",
        }
    }

    /// What it is, in a line.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Baseline::Native => "plain Rust over rayon for this machine",
            Baseline::NativeDefault => "plain Rust over rayon for the default target",
            Baseline::Native128 => "128-bit vectors by hand",
            Baseline::RawWgpu => "WGSL by hand through wgpu, data on the device",
        }
    }
}

/// Multiply-adds in 128-bit registers: what products are held against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Peak {
    /// Operations a second of one thread.
    pub(crate) one_thread: f64,
    /// Operations a second of all threads that are used.
    pub(crate) all_threads: f64,
}

/// What is wrong with a baseline at a size.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It does not run, and why.
    Missing(String),
    /// Its result is wrong, and how.
    Wrong(String),
}

/// The baselines, ready for a kernel.
pub(crate) struct Baselines {
    opponents: Vec<Opponent>,
    server: Result<Server, String>,
    raw_wgpu: Result<RawWgpu, String>,
    /// Arguments of what runs in this process.
    args: Vec<Input>,
}

impl Baselines {
    /// Builds and starts what runs elsewhere, sets how many threads all of it uses, and opens the adapter
    /// of that name, or none for this reason.
    pub(crate) fn start(
        opponents: &[Opponent],
        threads: usize,
        adapter: Result<&str, String>,
        progress: &dyn Fn(&str),
    ) -> Baselines {
        let mut baselines = Baselines {
            opponents: opponents.to_vec(),
            server: Err("not asked for".to_owned()),
            raw_wgpu: Err("not asked for".to_owned()),
            args: Vec::new(),
        };
        if opponents.contains(&Opponent::Native) {
            // An error means that rayon's threads have been made, by an earlier call.
            let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
            baselines.server =
                build::build(progress).and_then(|binary| Server::spawn(&binary, threads));
        }
        if opponents.contains(&Opponent::RawWgpu) {
            baselines.raw_wgpu = adapter.and_then(RawWgpu::open);
        }
        baselines
    }

    /// Only what runs in this process.
    #[cfg(test)]
    pub(crate) fn without_server(why: &str) -> Baselines {
        Baselines {
            opponents: vec![Opponent::Native],
            server: Err(why.to_owned()),
            raw_wgpu: Err(why.to_owned()),
            args: Vec::new(),
        }
    }

    /// Why some baselines that were asked for are missing.
    pub(crate) fn why(&self) -> Option<&str> {
        let asked = |opponent| self.opponents.contains(&opponent);
        let server = self.server.as_ref().err().filter(|_| asked(Opponent::Native));
        let raw_wgpu = self.raw_wgpu.as_ref().err().filter(|_| asked(Opponent::RawWgpu));
        server.or(raw_wgpu).map(String::as_str)
    }

    /// The machine's peak.
    pub(crate) fn peak(&mut self, threads: usize) -> Option<Peak> {
        let server = self.server.as_mut().ok()?;
        let mut peak = |threads| server.peak(threads).ok();
        Some(Peak { one_thread: peak(1)?, all_threads: peak(threads)? })
    }

    /// Makes the arguments of a case.
    pub(crate) fn prepare(&mut self, case: &Case<'_>) {
        self.args.clone_from(&case.inputs);
        self.ask(|server| server.prepare(case.entry.name, case.size, case::seed(case.size)));
    }

    /// Runs a baseline on fresh arguments, and holds its result against the reference.
    pub(crate) fn check(&mut self, baseline: Baseline, case: &Case<'_>) -> Result<f64, Fault> {
        if !self.opponents.contains(&baseline.opponent()) {
            return Err(Fault::Missing("not asked for with --against".to_owned()));
        }
        match place(baseline) {
            Place::Server(body) => self.server()?.check(body),
            Place::Gpu => self.raw_wgpu()?.prepare(case),
            Place::Here => {
                self.args.clone_from(&case.inputs);
                let seconds = self.local(case.entry, 1)?;
                case.judge_inputs(&self.args).map_or(Ok(seconds), |wrong| Err(Fault::Wrong(wrong)))
            }
        }
    }

    /// Runs a baseline so many times more, on a GPU once; gives the seconds of one run.
    pub(crate) fn time(
        &mut self,
        baseline: Baseline,
        entry: &Entry,
        count: u32,
    ) -> Result<f64, Fault> {
        match place(baseline) {
            Place::Server(body) => self.server()?.time(body, count),
            Place::Gpu => self.raw_wgpu()?.time().map_err(Fault::Missing),
            Place::Here => self.local(entry, count),
        }
    }

    /// The seconds from the start of a new server to its first result, if there is a server.
    pub(crate) fn first_result(&self, case: &Case<'_>) -> Option<f64> {
        let start = Instant::now();
        let mut server = self.server.as_ref().ok()?.again().ok()?;
        server.prepare(case.entry.name, case.size, case::seed(case.size)).ok()?;
        server.check(Body::Plain).ok()?;
        Some(start.elapsed().as_secs_f64())
    }

    fn local(&mut self, entry: &Entry, count: u32) -> Result<f64, Fault> {
        let start = Instant::now();
        for _ in 0..count {
            let done = Body::Plain.run(entry.name, &mut self.args);
            done.ok_or_else(|| Fault::Missing(no_body(Body::Plain)))?;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(count))
    }

    fn server(&mut self) -> Result<&mut Server, Fault> {
        self.server.as_mut().map_err(|why| Fault::Missing(why.clone()))
    }

    fn raw_wgpu(&mut self) -> Result<&mut RawWgpu, Fault> {
        self.raw_wgpu.as_mut().map_err(|why| Fault::Missing(why.clone()))
    }

    /// Asks the server; one that fails is not asked again.
    fn ask(&mut self, question: impl FnOnce(&mut Server) -> Result<(), String>) {
        if let Ok(server) = &mut self.server
            && let Err(why) = question(server)
        {
            self.server = Err(why);
        }
    }
}

/// Where a baseline runs.
enum Place {
    /// In the server, and what it is asked for.
    Server(Body),
    /// In this process, on the CPU.
    Here,
    /// In this process, on the GPU.
    Gpu,
}

fn place(baseline: Baseline) -> Place {
    match baseline {
        Baseline::Native => Place::Server(Body::Plain),
        Baseline::NativeDefault => Place::Here,
        Baseline::Native128 => Place::Server(Body::Vector),
        Baseline::RawWgpu => Place::Gpu,
    }
}

fn no_body(body: Body) -> String {
    format!("no {} body of this kernel", body.name())
}

#[cfg(test)]
mod tests {
    use crossover::Runtime;
    use crossover::kernels::library;

    use super::*;

    #[test]
    fn what_cannot_run_says_why_and_the_rest_runs() {
        let rt = Runtime::builder().with(|s| s.gpu = crossover::GpuUse::Off).build();
        let rt = rt.expect("the CPU side needs nothing");
        let entry = library::find("histogram").expect("a library kernel");
        let case = Case::new(&rt, entry, 37).expect("arguments");
        let mut baselines = Baselines::without_server("no cargo");
        baselines.prepare(&case);
        assert!(baselines.check(Baseline::NativeDefault, &case).is_ok());
        // It adds to its bins: the second check begins anew.
        assert!(baselines.time(Baseline::NativeDefault, entry, 2).is_ok());
        assert!(baselines.check(Baseline::NativeDefault, &case).is_ok());
        for baseline in [Baseline::Native, Baseline::Native128] {
            let fault = baselines.check(baseline, &case);
            assert!(matches!(fault, Err(Fault::Missing(why)) if why == "no cargo"));
        }
        assert_eq!((baselines.peak(1), baselines.why()), (None, Some("no cargo")));
    }
}
