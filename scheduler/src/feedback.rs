//! What a measured call teaches: the kernel's correction at once, the network in the background.

use crossover_ml::dataset::Row;

use crate::call::Job;
use crate::device::Device;
use crate::ledger::Measured;

/// Learns from a call that has completed.
pub(crate) fn learn(job: &Job, device: Device, measured: &Measured) {
    let items: u64 = job.grid.iter().map(|&n| u64::from(n)).product();
    if items == 0 {
        return;
    }
    let prior = &job.decision.prior;
    let (predicted_s, crew) = (job.decision.run_s(device), job.decision.crew(device));
    let adapter = job.decision.adapter;
    let mut learned = job.prepared.learned(adapter);
    learned.observe(prior, device, crew, predicted_s, measured.run_s, measured.total_s);
    let shown = learned.show(measured.run_s);
    if device == Device::Gpu {
        learned.elsewhere_s = 0.0;
    }
    drop(learned);
    for other in (0..job.inner.gpus.len()).filter(|&other| other != adapter) {
        learn_beside(job, other, device, measured);
    }
    if let Some(learner) = &job.inner.learner
        && shown
    {
        let mut seconds = [None; 2];
        seconds[device as usize] = Some(measured.run_s.max(1e-9));
        let name = job.prepared.name.to_string();
        learner.record(Row::new(name, "calls", items, *prior.features, seconds));
    }
}

/// What a call teaches of another GPU than that which it was decided with: how long the CPU takes, or that the
/// other was not needed.
fn learn_beside(job: &Job, other: usize, device: Device, measured: &Measured) {
    let mut learned = job.prepared.learned(other);
    match (device, learned.prior(job.decision.prior.shape)) {
        (Device::Gpu, _) => learned.elsewhere_s += measured.total_s,
        (Device::Cpu, Some(prior)) => {
            let (run_s, total_s) = (measured.run_s, measured.total_s);
            learned.observe(&prior, device, job.decision.crew(device), None, run_s, total_s);
        }
        (Device::Cpu, None) => {}
    }
}
