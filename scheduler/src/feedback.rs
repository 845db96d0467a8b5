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
    let mut learned = job.prepared.learned();
    learned.observe(prior, device, crew, predicted_s, measured.run_s, measured.total_s);
    let shown = learned.show(measured.run_s);
    drop(learned);
    if let Some(learner) = &job.inner.learner
        && shown
    {
        let mut seconds = [None; 2];
        seconds[device as usize] = Some(measured.run_s.max(1e-9));
        let name = job.prepared.name.to_string();
        learner.record(Row::new(name, "calls", items, *prior.features, seconds));
    }
}
