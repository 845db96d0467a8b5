//! What happened when: the library's spans and events, on one clock, as intervals of tracks. A track is a
//! thread, the GPU's queue, or its copies.
//!
//! What the GPU did is told when the host learns of its end: an interval ends there and has the length that
//! was measured, the kernel's by the GPU's own clock.

mod chrome;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

pub(crate) use chrome::write;

/// Intervals that are kept at most.
const INTERVALS_MAX: usize = 200_000;

/// Something that took time. Seconds are from the start of the recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// The thread, or what it is on the GPU's side.
    pub(crate) track: String,
    /// The kernel, or the reason of a copy.
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) start_s: f64,
    pub(crate) end_s: f64,
    /// The number of the call, where it is told.
    pub(crate) call: Option<u64>,
    /// Bytes that were copied.
    pub(crate) bytes: Option<u64>,
}

/// What took time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A call, on the thread that runs it or gives it to the GPU.
    Call,
    /// A thread's part of a call on the CPU.
    Work,
    /// A call on the GPU, from when the GPU was free for it to its end as the host saw it.
    Gpu,
    /// Its kernel, by the GPU's clock.
    Kernel,
    /// A copy between host and GPU.
    Copy,
    /// A compilation.
    Compile,
}

/// Takes intervals down from when it is installed.
#[derive(Debug)]
pub(crate) struct Recording {
    origin: Instant,
    intervals: Mutex<Vec<Interval>>,
}

impl Recording {
    /// Installs a recording for the rest of the process, once; later ones are the same.
    pub(crate) fn install() -> Arc<Recording> {
        static RECORDING: OnceLock<Arc<Recording>> = OnceLock::new();
        let install = || {
            let recording = Arc::new(Recording::new());
            let subscriber = tracing_subscriber::registry().with(Tap(recording.clone()));
            // Whoever has installed another keeps it, and nothing is recorded.
            let _ = tracing::subscriber::set_global_default(subscriber);
            recording
        };
        RECORDING.get_or_init(install).clone()
    }

    fn new() -> Recording {
        Recording { origin: Instant::now(), intervals: Mutex::default() }
    }

    /// What was recorded, by start.
    pub(crate) fn take(&self) -> Vec<Interval> {
        let mut held = self.intervals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = std::mem::take(&mut *held);
        drop(held);
        taken.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
        taken
    }

    fn now_s(&self) -> f64 {
        self.origin.elapsed().as_secs_f64()
    }

    fn push(&self, interval: Interval) {
        let mut held = self.intervals.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() < INTERVALS_MAX {
            held.push(interval);
        }
    }
}

/// What a span is, from its beginning on.
struct Begun {
    kind: Kind,
    fields: Fields,
    start_s: Option<f64>,
}

/// The fields of a span or an event.
#[derive(Default)]
struct Fields {
    numbers: HashMap<&'static str, f64>,
    texts: HashMap<&'static str, String>,
}

impl Fields {
    fn number(&self, name: &str) -> Option<f64> {
        self.numbers.get(name).copied()
    }

    fn text(&self, name: &str) -> String {
        self.texts.get(name).cloned().unwrap_or_default()
    }

    fn interval(
        &self,
        kind: Kind,
        track: String,
        name: &str,
        [start_s, end_s]: [f64; 2],
    ) -> Interval {
        let whole = |name: &str| self.number(name).map(|value| value as u64);
        let name = self.text(name);
        Interval { track, name, kind, start_s, end_s, call: whole("call"), bytes: whole("bytes") }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.numbers.insert(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.numbers.insert(field.name(), value as f64);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.numbers.insert(field.name(), value as f64);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.texts.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.texts.insert(field.name(), format!("{value:?}"));
    }
}

/// The part of a subscriber that feeds a recording.
struct Tap(Arc<Recording>);

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for Tap {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let kind = match attributes.metadata().name() {
            "call" => Kind::Call,
            "work" => Kind::Work,
            "compile" => Kind::Compile,
            _ => return,
        };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Begun { kind, fields, start_s: None });
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(begun) = span.extensions_mut().get_mut::<Begun>()
        {
            begun.start_s = Some(self.0.now_s());
        }
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if let Some(Begun { kind, fields, start_s: Some(start_s) }) = extensions.get_mut::<Begun>()
        {
            let times = [*start_s, self.0.now_s()];
            self.0.push(fields.interval(*kind, thread(), "kernel", times));
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Some(took_s) = fields.number("took_s") else { return };
        let end_s = self.0.now_s();
        let adapter = fields.number("adapter").unwrap_or(0.0) as u64;
        match fields.text("message").as_str() {
            "copied" => {
                let times = [end_s - took_s, end_s];
                self.0.push(fields.interval(Kind::Copy, "copies".to_owned(), "reason", times));
            }
            "gpu" => {
                let track = format!("GPU {adapter} queue");
                let times = [end_s - took_s, end_s];
                self.0.push(fields.interval(Kind::Gpu, track, "kernel", times));
                if let Some(device_s) = fields.number("device_s") {
                    let track = format!("GPU {adapter} kernels");
                    let times = [end_s - device_s.min(took_s), end_s];
                    self.0.push(fields.interval(Kind::Kernel, track, "kernel", times));
                }
            }
            _ => {}
        }
    }
}

/// What this thread is called.
fn thread() -> String {
    let thread = std::thread::current();
    match thread.name() {
        Some(name) => name.to_owned(),
        None => format!("{:?}", thread.id()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Recording, Tap};
    use std::sync::Arc;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn spans_and_events_become_intervals_of_tracks() {
        let recording = Arc::new(Recording::new());
        let subscriber = tracing_subscriber::registry().with(Tap(recording.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let (kernel, call) = ("saxpy", 3u64);
            let _call = tracing::debug_span!("call", kernel, call).entered();
            tracing::trace_span!("work", kernel, seat = 0).in_scope(|| ());
            tracing::trace!(reason = "upload", bytes = 64, took_s = 0.0, call, "copied");
            let (took_s, device_s) = (1e-9, Some(1e-9));
            tracing::trace!(kernel, adapter = 1, call, took_s, device_s, "gpu");
            tracing::info!("something else");
        });
        let found = recording.take();
        let of = |kind: Kind| found.iter().filter(|i| i.kind == kind).collect::<Vec<_>>();
        assert_eq!(found.len(), 5, "{found:?}");
        let (call, work) = (of(Kind::Call)[0], of(Kind::Work)[0]);
        assert!(call.start_s <= work.start_s && work.end_s <= call.end_s);
        assert_eq!((call.name.as_str(), call.call), ("saxpy", Some(3)));
        assert_eq!(of(Kind::Copy)[0].bytes, Some(64));
        assert_eq!(of(Kind::Kernel)[0].track, "GPU 1 kernels");
        assert!(of(Kind::Gpu)[0].start_s < of(Kind::Gpu)[0].end_s);
        assert!(recording.take().is_empty());
    }
}
