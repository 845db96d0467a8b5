//! What the two sides are compared with: the same kernel as it is written without Crossover, on as
//! many threads as the CPU side has.
//!
//! Plain Rust for the default target runs in this process. What depends on the target runs in a
//! server ([`server`]) that is compiled for this machine ([`build`]); where it cannot be had, there
//! is a reason in place of the times.

mod build;
mod server;

use std::time::Instant;

use crossover::kernels::library::{Entry, Input};
use crossover_native::Body;
use serde::{Deserialize, Serialize};

use self::server::Server;
use crate::case::{self, Case};

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
}

impl Baseline {
    /// All, in the order of reports.
    pub(crate) const ALL: [Baseline; 3] =
        [Baseline::Native, Baseline::NativeDefault, Baseline::Native128];

    /// As columns and curves call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Baseline::Native => "native",
            Baseline::NativeDefault => "default",
            Baseline::Native128 => "128-bit",
        }
    }

    /// What it is, in a line.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Baseline::Native => "plain Rust over rayon for this machine",
            Baseline::NativeDefault => "plain Rust over rayon for the default target",
            Baseline::Native128 => "128-bit vectors by hand",
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
    server: Result<Server, String>,
    /// Arguments of what runs in this process.
    args: Vec<Input>,
}

impl Baselines {
    /// Builds and starts what runs elsewhere, and sets how many threads all of them use.
    pub(crate) fn start(threads: usize, progress: &dyn Fn(&str)) -> Baselines {
        // An error means that rayon's threads have been made, by an earlier call.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        let server = build::build(progress).and_then(|binary| Server::spawn(&binary, threads));
        Baselines { server, args: Vec::new() }
    }

    /// Only what runs in this process.
    #[cfg(test)]
    pub(crate) fn without_server(why: &str) -> Baselines {
        Baselines { server: Err(why.to_owned()), args: Vec::new() }
    }

    /// Why some baselines are missing.
    pub(crate) fn why(&self) -> Option<&str> {
        self.server.as_ref().err().map(String::as_str)
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
        if let Some(body) = remote(baseline) {
            return self.server()?.check(body);
        }
        self.args.clone_from(&case.inputs);
        let seconds = self.local(case.entry)?;
        case.judge_inputs(&self.args).map_or(Ok(seconds), |wrong| Err(Fault::Wrong(wrong)))
    }

    /// Runs a baseline once more.
    pub(crate) fn time(&mut self, baseline: Baseline, entry: &Entry) -> Result<f64, Fault> {
        match remote(baseline) {
            Some(body) => self.server()?.time(body),
            None => self.local(entry),
        }
    }

    fn local(&mut self, entry: &Entry) -> Result<f64, Fault> {
        let start = Instant::now();
        let done = Body::Plain.run(entry.name, &mut self.args);
        let seconds = start.elapsed().as_secs_f64();
        done.map(|()| seconds).ok_or_else(|| Fault::Missing(no_body(Body::Plain)))
    }

    fn server(&mut self) -> Result<&mut Server, Fault> {
        self.server.as_mut().map_err(|why| Fault::Missing(why.clone()))
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

/// What the server is asked for; `None` for what runs here.
fn remote(baseline: Baseline) -> Option<Body> {
    match baseline {
        Baseline::Native => Some(Body::Plain),
        Baseline::NativeDefault => None,
        Baseline::Native128 => Some(Body::Vector),
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
        assert!(baselines.time(Baseline::NativeDefault, entry).is_ok());
        assert!(baselines.check(Baseline::NativeDefault, &case).is_ok());
        for baseline in [Baseline::Native, Baseline::Native128] {
            let fault = baselines.check(baseline, &case);
            assert!(matches!(fault, Err(Fault::Missing(why)) if why == "no cargo"));
        }
        assert_eq!((baselines.peak(1), baselines.why()), (None, Some("no cargo")));
    }
}
