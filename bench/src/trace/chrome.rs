//! Traces as Chrome and Perfetto read them: the trace event format of Google, as JSON.

use std::path::Path;

use serde::Serialize;

use super::{Interval, Kind};

/// The one process.
const PROCESS: u32 = 1;

#[derive(Serialize)]
struct Trace<'i> {
    #[serde(rename = "displayTimeUnit")]
    unit: &'static str,
    #[serde(rename = "traceEvents")]
    events: Vec<Event<'i>>,
}

/// A complete event, or the name of a track. Times are in microseconds.
#[derive(Serialize)]
struct Event<'i> {
    ph: &'static str,
    name: &'i str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cat: Option<&'static str>,
    pid: u32,
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    args: Args<'i>,
}

#[derive(Default, Serialize)]
struct Args<'i> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'i str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

impl Kind {
    fn category(self) -> &'static str {
        match self {
            Kind::Call => "call",
            Kind::Work => "cpu",
            Kind::Gpu | Kind::Kernel => "gpu",
            Kind::Copy => "copy",
            Kind::Compile => "compile",
        }
    }
}

/// Writes a trace file.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(path: &Path, intervals: &[Interval]) -> anyhow::Result<()> {
    crate::cmd::write(path, serde_json::to_string(&trace(intervals))?)
}

fn trace(intervals: &[Interval]) -> Trace<'_> {
    let mut tracks: Vec<&str> = intervals.iter().map(|i| i.track.as_str()).collect();
    tracks.sort_unstable();
    tracks.dedup();
    let names = tracks.iter().enumerate().map(|(tid, track)| Event {
        ph: "M",
        name: "thread_name",
        cat: None,
        pid: PROCESS,
        tid,
        ts: None,
        dur: None,
        args: Args { name: Some(track), ..Args::default() },
    });
    let complete = intervals.iter().map(|interval| Event {
        ph: "X",
        name: &interval.name,
        cat: Some(interval.kind.category()),
        pid: PROCESS,
        tid: tracks.binary_search(&interval.track.as_str()).unwrap_or_default(),
        ts: Some(interval.start_s * 1e6),
        dur: Some((interval.end_s - interval.start_s) * 1e6),
        args: Args { name: None, call: interval.call, bytes: interval.bytes },
    });
    Trace { unit: "ns", events: names.chain(complete).collect() }
}

#[cfg(test)]
mod tests {
    use super::{Interval, Kind, trace};

    #[test]
    fn every_interval_is_an_event_of_its_named_track() {
        let interval = |track: &str, start_s: f64| Interval {
            track: track.to_owned(),
            name: "dot".to_owned(),
            kind: Kind::Work,
            start_s,
            end_s: start_s + 2e-6,
            call: Some(4),
            bytes: None,
        };
        let intervals = [interval("main", 1e-3), interval("worker", 2e-3), interval("main", 3e-3)];
        let value = serde_json::to_value(trace(&intervals)).expect("json");
        let events = value["traceEvents"].as_array().expect("events");
        assert_eq!(events.len(), 5);
        let named = |event: &serde_json::Value| {
            let is_name = |e: &&serde_json::Value| e["ph"] == "M" && e["tid"] == event["tid"];
            events.iter().find(is_name).expect("its track has a name")["args"]["name"].clone()
        };
        let whole: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
        assert_eq!([0, 1, 2].map(|at| named(whole[at])), ["main", "worker", "main"]);
        assert!((whole[1]["ts"].as_f64().expect("a time") - 2000.0).abs() < 1e-9);
        assert!((whole[1]["dur"].as_f64().expect("a time") - 2.0).abs() < 1e-9);
        assert_eq!(whole[0]["args"]["call"], 4);
    }
}
