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
    let predicted = job.decision.estimates.iter().find(|e| e.device == device).map(|e| e.run_s);
    let mut learned = job.prepared.learned();
    if let Some(predicted_s) = predicted.filter(|s| *s > 0.0) {
        learned.surprise[device as usize] = measured.run_s / predicted_s;
    }
    learned.observe(prior, device, measured.run_s, measured.total_s);
    drop(learned);
    if let Some(learner) = &job.inner.learner {
        let mut seconds = [None; 2];
        seconds[device as usize] = Some(measured.run_s.max(1e-9));
        let name = job.prepared.name.clone();
        learner.record(Row::new(name, "calls", items, *prior.features, seconds));
    }
}
