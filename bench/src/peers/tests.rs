//! Peers that behave and peers that do not, played by shell scripts: no Python is needed.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crossover::kernels::library::{self, Entry};
use crossover::{GpuUse, Runtime};
use crossover_native::Body;

use super::measure::{Contest, Contestant, Launch};
use super::server::{Desk, Fault, Server, write_inputs};
use super::{ALL, Folder};
use crate::baseline::Baselines;
use crate::case::Case;

/// A peer that answers what it should; the result is in a folder beside its own.
const RIGHT: &str = r#"
while read -r word rest; do case $word in
  about) echo "about fake 1.0" ;;
  run) cp "$RESULTS"/* "$OUTPUTS"; echo "took 0.5" ;;
  time) echo "took 2e-3" ;;
esac; done"#;

fn runtime() -> Runtime {
    let rt = Runtime::builder().with(|s| (s.gpu, s.learn) = (GpuUse::Off, false)).build();
    rt.expect("the CPU side needs nothing")
}

fn entry() -> &'static Entry {
    library::find("histogram").expect("a library kernel")
}

fn desk(folder: &Folder) -> Desk {
    let within = |part: &str| folder.path().join(part);
    Desk {
        inputs: folder.path().to_owned(),
        outputs: within("outputs"),
        code: within("code"),
        log: within("log"),
        deadline: Duration::from_secs(20),
    }
}

/// How a script is started as a peer, with the right results of a case at hand.
fn launch(folder: &Folder, script: &str, case: &Case<'_>) -> Launch {
    let results = folder.path().join("right");
    let mut args = case.inputs.clone();
    Body::Plain.run(case.entry.name, &mut args).expect("it is written in Rust");
    std::fs::create_dir_all(&results).expect("a folder of our own");
    write_inputs(&results, &args).expect("a folder of our own");
    let outputs = folder.path().join("outputs");
    Launch {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("RESULTS", results.into()), ("OUTPUTS", outputs.into())],
    }
}

fn ask(script: &str, deadline: Duration) -> Result<f64, Fault> {
    let (rt, folder) = (runtime(), Folder::new());
    let case = Case::new(&rt, entry(), 37).expect("arguments");
    let launch = launch(&folder, script, &case);
    let mut command = Command::new(&launch.program);
    command.args(&launch.args).envs(launch.env);
    let mut server = Server::spawn(&mut command, Desk { deadline, ..desk(&folder) })?;
    server.run(&case)?;
    server.time(2)
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_peer_is_asked_and_its_result_looked_at() {
    assert_eq!(ask(RIGHT, LONG), Ok(2e-3));
    // No result at all, and one that is too short.
    let lazy = RIGHT.replace("cp \"$RESULTS\"/* \"$OUTPUTS\";", "");
    let short =
        RIGHT.replace("cp \"$RESULTS\"/* \"$OUTPUTS\";", "head -c 8 /dev/zero > \"$OUTPUTS\"/1;");
    for script in [lazy, short] {
        assert!(matches!(ask(&script, LONG), Err(Fault::Wrong(_))), "{script}");
    }
}

#[test]
fn a_peer_that_cannot_says_why_and_is_asked_again() {
    let none = ask("read -r line; echo none no loops", LONG);
    assert_eq!(none, Err(Fault::NotWritten("no loops".to_owned())));
    let failed = ask("read -r line; echo failed MemoryError", LONG);
    assert_eq!(failed, Err(Fault::Failed("MemoryError".to_owned())));
    assert!(!failed.is_err_and(|fault| fault.is_fatal()));
}

#[test]
fn a_peer_that_crashes_is_a_reason_with_its_last_words() {
    let Err(Fault::Ended { request, last }) = ask("read -r l; echo oh no >&2; exit 3", LONG) else {
        panic!("it ends at the first request");
    };
    assert!(request.starts_with("run histogram u32[37]"), "{request}");
    assert!(last.contains("oh no") && last.contains('3'), "{last}");
    // At once, and by a signal.
    assert!(matches!(ask("exit 0", LONG), Err(Fault::Ended { .. })));
    assert!(matches!(ask("read -r l; kill -9 $$", LONG), Err(Fault::Ended { .. })));
}

#[test]
fn a_peer_that_hangs_is_not_waited_for() {
    let start = Instant::now();
    let silent = ask("exec sleep 600", Duration::from_millis(200));
    assert!(matches!(silent, Err(Fault::Silent { .. })), "{silent:?}");
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_peer_that_answers_something_else_is_refused() {
    for answer in ["echo hello", "echo took -1", "echo about me", "printf '\\377\\376\\n'", "echo"]
    {
        let found = ask(&format!("read -r l; {answer}; read -r l"), LONG);
        assert!(matches!(found, Err(Fault::Garbage { .. })), "{answer}: {found:?}");
    }
    // A line without an end is not read to its end.
    let endless = ask("read -r l; exec tr '\\0' a < /dev/zero", LONG);
    assert!(matches!(endless, Err(Fault::Garbage { .. })), "{endless:?}");
}

#[test]
fn a_program_that_is_not_there_is_a_reason() {
    let folder = Folder::new();
    let none = Server::spawn(&mut Command::new("/no/such/python"), desk(&folder));
    assert!(matches!(none, Err(Fault::Start(_))));
}

fn contest<'r>(rt: &'r Runtime, peers: Vec<Contestant>) -> Contest<'r> {
    Contest {
        rt,
        baselines: Baselines::without_server("no cargo"),
        peers,
        work: Folder::new(),
        stop: Arc::new(AtomicBool::new(false)),
    }
}

/// Contestants with these scripts; without one, there is no environment.
fn contestants(folders: &[Folder], scripts: &[Option<&str>], case: &Case<'_>) -> Vec<Contestant> {
    let contestant = |(folder, script): (&Folder, &Option<&str>)| {
        let mut contestant = Contestant::new("fake", "a script", desk(folder));
        contestant.launch = match script {
            Some(script) => Ok(launch(folder, script, case)),
            None => Err("there is no Python".to_owned()),
        };
        contestant
    };
    folders.iter().zip(scripts).map(contestant).collect()
}

#[test]
fn the_run_goes_on_whatever_a_peer_does() {
    let (rt, folders) = (runtime(), [(); 4].map(|()| Folder::new()));
    let case = Case::new(&rt, entry(), 37).expect("arguments");
    // One ends at its third request: within the repetitions of a row.
    let late = r#"
        for answer in "about fake 2.0" "took 1" "took 1e-3"; do
          read -r word rest
          if [ "$word" = run ]; then cp "$RESULTS"/* "$OUTPUTS"; fi
          echo "$answer"
        done; read -r word"#;
    let scripts = [Some(RIGHT), Some("read -r l; exit 1"), None, Some(late)];
    let mut contest = contest(&rt, contestants(&folders, &scripts, &case));
    for row in 0..4 {
        let row = contest.row(entry(), "small", 37).unwrap_or_else(|e| panic!("row {row}: {e}"));
        let [ours, native, default, right, crash, absent, late] = &row.cells[..] else {
            panic!("seven sides: {row:?}");
        };
        assert!(ours.seconds.is_some() && default.seconds.is_some(), "{row:?}");
        assert_eq!(native.why.as_deref(), Some("no cargo"));
        assert_eq!((right.seconds, right.first_s, right.repetitions), (Some(2e-3), Some(0.5), 51));
        assert!(crash.seconds.is_none() && absent.seconds.is_none() && late.seconds.is_none());
        assert_eq!(absent.why.as_deref(), Some("does not start: there is no Python"));
        assert!(
            late.why.as_ref().is_some_and(|why| why.contains("ended") || why.contains("given up"))
        );
    }
    let given_up = contest.peers[1].launch.as_ref().expect_err("it has crashed at every start");
    assert!(given_up.contains("given up after 3 failures"), "{given_up}");
}

#[test]
fn starts_and_smallest_calls_are_measured_of_those_that_run() {
    let (rt, folders) = (runtime(), [(); 2].map(|()| Folder::new()));
    let saxpy = library::find("saxpy").expect("a library kernel");
    // The results are those of 4,096 elements: the row of 64 is wrong, and has no floor.
    let case = Case::new(&rt, saxpy, 4096).expect("arguments");
    let mut contest = contest(&rt, contestants(&folders, &[Some(RIGHT), None], &case));
    let ours = |_: &Path| Some(0.25);
    let sides = contest.sides(saxpy, ours, &|_| ()).expect("our side runs");
    let [crossover, _, default, fake, absent] = &sides[..] else { panic!("five: {sides:?}") };
    assert_eq!(
        (crossover.cold_empty.seconds, crossover.cold_kept.seconds),
        (Some(0.25), Some(0.25))
    );
    assert!(crossover.floor.seconds.is_some() && default.floor.seconds.is_some());
    assert!(
        fake.cold_empty.seconds.is_some_and(|s| s > 0.0) && fake.floor.seconds.is_none(),
        "{fake:?}"
    );
    assert_eq!((fake.version.as_deref(), fake.why.as_deref()), (Some("fake 1.0"), None));
    assert_eq!(absent.why.as_deref(), Some("there is no Python"));
}

#[test]
fn an_interrupted_run_asks_nothing_more() {
    let rt = runtime();
    let mut contest = contest(&rt, Vec::new());
    contest.stop = Arc::new(AtomicBool::new(true));
    let row = contest.row(entry(), "small", 37).expect("arguments");
    assert!(row.cells.iter().all(|cell| cell.why.as_deref() == Some("interrupted")), "{row:?}");
}

#[test]
fn every_peer_has_every_kernel_of_core_or_says_why_not() {
    let core = crate::suite::Suite::load("core").expect("a bundled suite");
    for peer in &ALL {
        let module = peer.module;
        for (entry, _) in &core.kernels {
            let written = module.contains(&format!("\ndef {}(", entry.name));
            let excused = module.contains(&format!("\nNOT_WRITTEN[\"{}\"] = \"", entry.name));
            assert!(written != excused, "{} in {}", entry.name, peer.name);
        }
        let pinned = peer.requirements.lines().filter(|line| !line.starts_with('#'));
        assert!(pinned.clone().count() > 0 && pinned.clone().all(|line| line.contains("==")));
    }
}
