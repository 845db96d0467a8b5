//! The ledger: a row for every call — what was predicted for each candidate, what was chosen and
//! why, what was measured, what was copied. Reports, `explain` and regret read nothing else.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::gpus::ADAPTERS_MAX;
use crate::place::Decision;

/// Rows kept; the oldest go first.
const ROWS_MAX: usize = 1 << 16;

/// Rows among which calls like one are looked for, and how many of them tell what such calls take.
const LOOKED_BACK: usize = 1 << 12;
const PAST_MAX: usize = 32;

/// Why bytes were copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A call on the GPU needed a buffer whose newest content was on the host.
    Upload,
    /// The host, or a call on the CPU, looked at a buffer whose newest content was on the GPU.
    HostRead,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 2] = [Reason::Upload, Reason::HostRead];

    /// As reports and traces call it.
    ///
    /// ```
    /// use crossover::Reason;
    /// assert_eq!(Reason::ALL.map(Reason::name), ["upload", "host read"]);
    /// ```
    pub fn name(self) -> &'static str {
        match self {
            Reason::Upload => "upload",
            Reason::HostRead => "host read",
        }
    }
}

/// A candidate's predicted cost. Times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Which device.
    pub device: Device,
    /// Which of the runtime's adapters, on the GPU; 0 on the CPU.
    #[serde(default)]
    pub adapter: usize,
    /// Threads, on the CPU; 1 on the GPU.
    pub threads: usize,
    /// Median of the predicted run time on the device.
    pub run_s: f64,
    /// 5 % quantile of the run time.
    pub run_low_s: f64,
    /// 95 % quantile of the run time.
    pub run_high_s: f64,
    /// Copies of what is not resident, and of the results.
    pub transfer_s: f64,
    /// Until the device is free.
    pub wait_s: f64,
}

impl Estimate {
    /// The predicted time that the caller waits.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// let explained = saxpy::on(&rt).args(2.0, &x, &mut y).explain()?;
    /// for e in &explained.estimates {
    ///     assert_eq!(e.total_s(), e.run_s + e.transfer_s + e.wait_s);
    /// }
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn total_s(&self) -> f64 {
        self.run_s + self.transfer_s + self.wait_s
    }
}

/// Candidates of a call, at most.
const CANDIDATES_MAX: usize = 2 + ADAPTERS_MAX;

/// The candidates of a decision: the CPU, the GPUs that can run the call, the best first, and the CPU with
/// the number of threads that was not chosen. Reads like a slice.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Estimate>", into = "Vec<Estimate>")]
pub struct Estimates {
    /// The unused rest repeats the first.
    list: [Estimate; CANDIDATES_MAX],
    count: usize,
}

impl Estimates {
    pub(crate) fn new(cpu: Estimate) -> Estimates {
        Estimates { list: [cpu; CANDIDATES_MAX], count: 1 }
    }

    /// These, and one more.
    pub(crate) fn and(mut self, estimate: Option<Estimate>) -> Estimates {
        if let Some(estimate) = estimate {
            self.list[self.count] = estimate;
            self.count += 1;
        }
        self
    }

    /// The estimate of a device, with the threads that were chosen, if it was a candidate.
    ///
    /// ```
    /// # use crossover::{Device, kernels::library::saxpy::saxpy};
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// saxpy::on(&rt).args(2.0, &x, &mut y).run()?;
    /// let row = rt.ledger().last().expect("a call was made");
    /// let predicted = row.estimates.of(Device::Cpu).expect("the CPU runs every kernel");
    /// assert!(predicted.run_low_s <= predicted.run_s && predicted.run_s <= predicted.run_high_s);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn of(&self, device: Device) -> Option<&Estimate> {
        self.iter().find(|estimate| estimate.device == device)
    }
}

impl Deref for Estimates {
    type Target = [Estimate];

    fn deref(&self) -> &[Estimate] {
        &self.list[..self.count]
    }
}

impl<'a> IntoIterator for &'a Estimates {
    type Item = &'a Estimate;
    type IntoIter = std::slice::Iter<'a, Estimate>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Estimates> for Vec<Estimate> {
    fn from(estimates: Estimates) -> Vec<Estimate> {
        estimates.to_vec()
    }
}

impl TryFrom<Vec<Estimate>> for Estimates {
    type Error = String;

    fn try_from(list: Vec<Estimate>) -> Result<Estimates, String> {
        let (Some(first), true) = (list.first(), list.len() <= CANDIDATES_MAX) else {
            return Err(format!("{} candidates are none or too many", list.len()));
        };
        let rest = list[1..].iter().copied().map(Some);
        Ok(rest.fold(Estimates::new(*first), Estimates::and))
    }
}

/// Why a device was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Its predicted time is the smallest.
    Faster,
    /// The prediction is not sure, and trying is worth its price.
    Explore,
    /// The policy always chooses it.
    Policy(#[serde(with = "text")] Arc<str>),
    /// So said the parts of the call that ran first.
    Parts,
    /// The caller said so.
    Forced,
    /// The other device cannot run the kernel, and why.
    Only(#[serde(with = "text")] Arc<str>),
    /// The other device's code is still being compiled.
    Compiling,
    /// The other device failed while running the call, and how.
    FellBack(#[serde(with = "text")] Arc<str>),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Faster => write!(f, "predicted faster"),
            Why::Explore => write!(f, "tried, because the prediction is not sure"),
            Why::Parts => write!(f, "faster, as parts of the call that ran first have shown"),
            Why::Policy(name) => write!(f, "policy `{name}`"),
            Why::Forced => write!(f, "forced by the caller"),
            Why::Only(why) => write!(f, "the only device: {why}"),
            Why::Compiling => write!(f, "the other device's code is still being compiled"),
            Why::FellBack(why) => write!(f, "the other device failed: {why}"),
        }
    }
}

/// What a call took. Times in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// On the device, from the start of the work to its end, as the host felt it.
    pub run_s: f64,
    /// The same by the device's own clock, where that was looked at.
    pub device_s: Option<f64>,
    /// Copies before the run.
    pub transfer_s: f64,
    /// All that the caller waited.
    pub total_s: f64,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Number of the call in this runtime, from 0.
    pub call: u64,
    /// The kernel and its element types, as `axpy` or `scale<f64>`.
    #[serde(with = "text")]
    pub kernel: Arc<str>,
    /// The content hash of the optimised kernel, cut.
    #[serde(with = "text")]
    pub version: Arc<str>,
    /// The grid.
    pub grid: [u32; 3],
    /// The candidates.
    pub estimates: Estimates,
    /// Where it ran.
    pub chosen: Device,
    /// Which of the runtime's adapters, where that is the GPU; else 0.
    #[serde(default)]
    pub adapter: usize,
    /// Threads used.
    pub threads: usize,
    /// How the CPU's code was laid out, where that was not the default: vectors, rows, passages of a loop, depth of
    /// panels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// Why there.
    pub why: Why,
    /// Its parts in order, where it was cut: then most of it ran where it says above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartRow>,
    /// Parts of it that were run on copies of its buffers before, to see how fast each device is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<PartRow>,
    /// What it took; `None` while it runs and when it failed.
    pub measured: Option<Measured>,
    /// The error, where it failed.
    pub error: Option<String>,
    /// Bytes copied to the GPU for it.
    pub upload_bytes: u64,
    /// Bytes of its results copied back, so far.
    pub readback_bytes: u64,
    /// Time of copying its results back, so far, in seconds.
    pub readback_s: f64,
    /// Generation of the model that predicted.
    pub generation: u64,
}

/// A part of a call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartRow {
    /// Where it ran.
    pub device: Device,
    /// Which share of the call's points it had.
    pub share: f64,
    /// On the device, in seconds.
    pub run_s: f64,
}

/// Parts in words: `1.6 % on the cpu, then 98 % on the gpu in 8 parts`.
///
/// ```
/// use crossover::{Device, PartRow, show_parts};
/// let part = |device, share| PartRow { device, share, run_s: 0.01 };
/// let parts = [part(Device::Cpu, 0.015), part(Device::Gpu, 0.5), part(Device::Gpu, 0.485)];
/// assert_eq!(show_parts(&parts), "1.5 % on the cpu, then 98 % on the gpu in 2 parts");
/// ```
pub fn show_parts(parts: &[PartRow]) -> String {
    let mut said: Vec<(Device, f64, usize)> = Vec::new();
    for part in parts {
        match said.last_mut() {
            Some((device, share, count)) if *device == part.device => {
                *share += part.share;
                *count += 1;
            }
            _ => said.push((part.device, part.share, 1)),
        }
    }
    let say = |(device, share, count): &(Device, f64, usize)| {
        let percent = match 100.0 * share {
            percent if percent < 10.0 => format!("{percent:.1} %"),
            percent => format!("{percent:.0} %"),
        };
        let pieces = if *count > 1 { format!(" in {count} parts") } else { String::new() };
        format!("{percent} on the {device}{pieces}")
    };
    said.iter().map(say).collect::<Vec<_>>().join(", then ")
}

/// Shared text, read and written as text.
mod text {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

/// All calls of a runtime, the oldest forgotten beyond a limit. What calls have in common stands in the
/// decision that they share: rows are put together when somebody looks.
#[derive(Default)]
pub struct Ledger {
    entries: Mutex<Entries<Decision>>,
}

struct Entries<D> {
    /// The newest calls, in order.
    kept: VecDeque<Entry>,
    /// What was decided, and the number of the first call of which it was. Those behind it are of the same decision, up
    /// to the next: a call like the one before holds on to nothing of its own.
    decisions: VecDeque<(u64, Arc<D>)>,
    /// The number of the next call.
    next: u64,
}

/// What is written down of a call: as much memory as a call of the smallest kernel touches else.
struct Entry {
    measured: Option<Measured>,
    aside: Option<Box<Aside>>,
}

/// What most calls have nothing of.
#[derive(Default)]
struct Aside {
    error: Option<String>,
    /// Why the CPU has run it in the end.
    fell_back: Option<Why>,
    /// The layout that it has tried.
    layout: Option<Arc<str>>,
    /// Its parts, and the device that has run most of it.
    parts: Option<(Device, Vec<PartRow>)>,
    /// What looks before it have led to, and those.
    looked: Option<(Device, Why, Vec<PartRow>)>,
    upload_bytes: u64,
    readback_bytes: u64,
    readback_s: f64,
}

impl Entry {
    fn aside(&mut self) -> &mut Aside {
        self.aside.get_or_insert_default()
    }

    fn row(&self, call: u64, decision: &Decision) -> Row {
        let none = Aside::default();
        let aside = self.aside.as_deref().unwrap_or(&none);
        let (decided, why, looks) = match &aside.looked {
            Some((device, why, looks)) => (*device, why, looks.clone()),
            None => (decision.device, &decision.why, Vec::new()),
        };
        let (most, parts) = aside.parts.clone().unwrap_or((decided, Vec::new()));
        let (chosen, why) = match &aside.fell_back {
            Some(why) => (Device::Cpu, why),
            None if most != decided => (most, &Why::Parts),
            None => (decided, why),
        };
        let layout = aside.layout.as_ref().or(decision.layout.as_ref());
        let layout = layout.filter(|_| chosen == Device::Cpu);
        Row {
            call,
            kernel: decision.kernel.clone(),
            version: decision.version.clone(),
            grid: decision.grid,
            estimates: decision.estimates,
            chosen,
            adapter: if chosen == Device::Gpu { decision.adapter } else { 0 },
            threads: decision.threads,
            layout: layout.map(|layout| layout.to_string()),
            why: why.clone(),
            parts,
            looks,
            measured: self.measured,
            error: aside.error.clone(),
            upload_bytes: aside.upload_bytes,
            readback_bytes: aside.readback_bytes,
            readback_s: aside.readback_s,
            generation: decision.prior.generation,
        }
    }
}

impl<D> Default for Entries<D> {
    fn default() -> Entries<D> {
        Entries { kept: VecDeque::new(), decisions: VecDeque::new(), next: 0 }
    }
}

impl<D> Entries<D> {
    /// The number of the oldest call that is kept.
    fn first(&self) -> u64 {
        self.next - self.kept.len() as u64
    }

    /// Adds a call; gives its number.
    fn push(&mut self, decision: &Arc<D>, measured: Option<Measured>) -> u64 {
        if self.kept.len() == ROWS_MAX {
            self.kept.pop_front();
            let first = self.first();
            if self.decisions.get(1).is_some_and(|(from, _)| *from <= first) {
                self.decisions.pop_front();
            }
        }
        let call = self.next;
        if !self.decisions.back().is_some_and(|(_, last)| Arc::ptr_eq(last, decision)) {
            self.decisions.push_back((call, decision.clone()));
        }
        self.kept.push_back(Entry { measured, aside: None });
        self.next += 1;
        call
    }

    /// The calls with their numbers and decisions, in order.
    fn calls(&self) -> impl DoubleEndedIterator<Item = (u64, &Entry, &D)> {
        let first = self.first();
        (0..self.decisions.len()).flat_map(move |at| {
            let (from, decision) = &self.decisions[at];
            let to = self.decisions.get(at + 1).map_or(self.next, |(next, _)| *next);
            let calls = (*from).max(first)..to;
            calls.map(move |call| (call, &self.kept[(call - first) as usize], &**decision))
        })
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("calls", &self.lock().next).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Begins the row of a call; gives its number.
    pub(crate) fn open(&self, decision: &Arc<Decision>) -> u64 {
        self.lock().push(decision, None)
    }

    /// The row of a call that has ended well; gives its number.
    pub(crate) fn add(&self, decision: &Arc<Decision>, measured: Measured) -> u64 {
        self.lock().push(decision, Some(measured))
    }

    /// The call has ended well.
    pub(crate) fn close(&self, call: u64, measured: Measured) {
        self.amend(call, |entry| entry.measured = Some(measured));
    }

    /// The call has run in these parts, most of it on this device.
    pub(crate) fn cut(&self, call: u64, most: Device, parts: Vec<PartRow>) {
        self.amend(call, |entry| entry.aside().parts = Some((most, parts)));
    }

    /// The call was looked at in these parts before, and goes there.
    pub(crate) fn looked(&self, call: u64, decision: &Decision, parts: Vec<PartRow>) {
        let looked = (decision.device, decision.why.clone(), parts);
        self.amend(call, |entry| entry.aside().looked = Some(looked));
    }

    /// The call tries a layout.
    pub(crate) fn laid_out(&self, call: u64, layout: Option<Arc<str>>) {
        self.amend(call, |entry| entry.aside().layout = layout);
    }

    /// The call has failed.
    pub(crate) fn fail(&self, call: u64, error: String) {
        self.amend(call, |entry| entry.aside().error = Some(error));
    }

    /// The GPU could not run the call, the CPU does.
    pub(crate) fn fall_back(&self, call: u64, why: Why) {
        self.amend(call, |entry| entry.aside().fell_back = Some(why));
    }

    pub(crate) fn copied(&self, call: u64, reason: Reason, bytes: u64, seconds: f64) {
        self.amend(call, |entry| match reason {
            Reason::Upload => entry.aside().upload_bytes += bytes,
            Reason::HostRead => {
                entry.aside().readback_bytes += bytes;
                entry.aside().readback_s += seconds;
            }
        });
    }

    /// Changes what is written of a call, if it is still kept.
    fn amend(&self, call: u64, change: impl FnOnce(&mut Entry)) {
        let mut entries = self.lock();
        let at = call.checked_sub(entries.first()).and_then(|at| usize::try_from(at).ok());
        if let Some(entry) = at.and_then(|at| entries.kept.get_mut(at)) {
            change(entry);
        }
    }

    /// The rows that are kept, oldest first.
    ///
    /// ```
    /// # use crossover::kernels::library::{dot::dot, saxpy::saxpy};
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// saxpy::on(&rt).args(2.0, &x, &mut y).run()?;
    /// dot::on(&rt).args(&x, &y, &mut rt.alloc(1)?).run()?;
    /// let names: Vec<_> = rt.ledger().rows().iter().map(|row| row.kernel.to_string()).collect();
    /// assert_eq!(names, ["saxpy", "dot"]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn rows(&self) -> Vec<Row> {
        self.lock().calls().map(|(call, entry, decision)| entry.row(call, decision)).collect()
    }

    /// The kept rows of the calls from this number on, oldest first.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// let first = saxpy::on(&rt).args(2.0, &x, &mut y).run()?;
    /// assert!(rt.ledger().since(first.call + 1).is_empty());
    /// saxpy::on(&rt).args(2.0, &x, &mut y).run()?;
    /// assert_eq!(rt.ledger().since(first.call + 1).len(), 1);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn since(&self, call: u64) -> Vec<Row> {
        let entries = self.lock();
        let newest = entries.calls().rev().take_while(|(number, ..)| *number >= call);
        let mut rows: Vec<_> = newest.map(|(call, entry, made)| entry.row(call, made)).collect();
        rows.reverse();
        rows
    }

    /// The newest row.
    ///
    /// ```
    /// # use crossover::{Device, kernels::library::saxpy::saxpy};
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// assert!(rt.ledger().last().is_none());
    /// saxpy::on(&rt).args(2.0, &x, &mut y).device(Device::Cpu).run()?;
    /// let row = rt.ledger().last().expect("a call was made");
    /// assert_eq!((row.grid, row.upload_bytes), ([2, 1, 1], 0));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn last(&self) -> Option<Row> {
        let entries = self.lock();
        let (call, entry, decision) = entries.calls().next_back()?;
        Some(entry.row(call, decision))
    }

    /// Run times of the newest calls of a decision's shape where an estimate says. Of a call that ran in parts none
    /// tells of the whole.
    pub(crate) fn runs_s(&self, like: &Decision, at: &Estimate) -> Vec<f64> {
        let entries = self.lock();
        let newest = entries.calls().rev().take(LOOKED_BACK);
        let is_alike = |(_, entry, decision): &(u64, &Entry, &Decision)| {
            let is_there = match at.device {
                Device::Cpu => decision.threads == at.threads,
                Device::Gpu => decision.adapter == at.adapter,
            };
            decision.device == at.device
                && is_there
                && decision.prior.shape == like.prior.shape
                && decision.version == like.version
                && entry
                    .aside
                    .as_ref()
                    .is_none_or(|aside| aside.fell_back.is_none() && aside.parts.is_none())
        };
        let runs = newest.filter(is_alike).filter_map(|(_, entry, _)| Some(entry.measured?.run_s));
        runs.take(PAST_MAX).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries<Decision>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Entries, Measured, ROWS_MAX};
    use std::sync::Arc;

    #[test]
    fn calls_find_their_decisions_however_these_take_turns_and_old_ones_go() {
        let kinds: [Arc<usize>; 3] = std::array::from_fn(Arc::new);
        // Runs of one to five calls of a kind, more than are kept.
        let (mut entries, mut expected, mut state) = (Entries::default(), Vec::new(), 1u64);
        while expected.len() < ROWS_MAX + 1000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (kind, count) = ((state >> 40) as usize % 3, (state >> 50) % 5 + 1);
            for _ in 0..count {
                let measured = Measured { run_s: expected.len() as f64, ..Measured::default() };
                let call = entries.push(&kinds[kind], Some(measured));
                assert_eq!(call, expected.len() as u64);
                expected.push(kind);
            }
        }
        let first = expected.len() - ROWS_MAX;
        let kept: Vec<_> = entries.calls().collect();
        assert_eq!(kept.len(), ROWS_MAX);
        for (at, (call, entry, decision)) in kept.iter().enumerate() {
            assert_eq!(*call, (first + at) as u64);
            assert_eq!(entry.measured.map(|measured| measured.run_s), Some(*call as f64));
            assert_eq!(**decision, expected[first + at]);
        }
        let backwards = entries.calls().rev().map(|(call, ..)| call);
        assert!(backwards.eq((first as u64..expected.len() as u64).rev()));
        drop(kept);
        // Those of forgotten calls are given up.
        for _ in 0..ROWS_MAX {
            entries.push(&kinds[0], None);
        }
        assert_eq!((Arc::strong_count(&kinds[1]), entries.decisions.len()), (1, 1));
    }
}
