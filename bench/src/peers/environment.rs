//! The Python environments of the peers: one for each, with pinned versions, in the user's cache folder.
//!
//! An environment is made by the `venv` and `pip` of the Python that is there. The file `ready` in it says
//! what was installed, and is written last: a set-up that was interrupted begins anew, one that is ready
//! and of the same versions costs nothing. No other folder is touched.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::Peer;

/// The oldest Python in which the servers are written.
const PYTHON_MIN: (u32, u32) = (3, 10);

/// A Python that can make environments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Python {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// A peer's environment.
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// Its interpreter.
    pub(crate) python: PathBuf,
    /// The seconds that its set-up took, if that was now.
    pub(crate) setup_s: Option<f64>,
}

/// The Python to use: the one asked for, or one on the path. An error says why there is none.
pub(crate) fn find_python(asked: Option<&Path>) -> Result<Python, String> {
    let candidates: Vec<&Path> = match asked {
        Some(path) => vec![path],
        None => ["python3", "python"].map(Path::new).to_vec(),
    };
    let mut why = String::new();
    for path in candidates {
        match python_at(path) {
            Ok(python) => return Ok(python),
            Err(reason) if why.is_empty() => why = reason,
            Err(_) => {}
        }
    }
    Err(why)
}

fn python_at(path: &Path) -> Result<Python, String> {
    let shown = path.display();
    let ask = "import sys, venv, ensurepip; print(*sys.version_info[:3], sep='.')";
    let output = Command::new(path).args(["-c", ask]).stdin(Stdio::null()).output();
    let output =
        output.map_err(|e| format!("there is no Python: `{shown}` does not start: {e}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let last = errors.lines().last().unwrap_or("it said nothing");
        return Err(format!("`{shown}` cannot make environments: {last}"));
    }
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut parts = version.split('.').map(str::parse);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return Err(format!("`{shown}` is no Python: it says `{version}`"));
    };
    if (major, minor) < PYTHON_MIN {
        return Err(format!("`{shown}` is Python {version}: 3.10 or newer is needed"));
    }
    Ok(Python { path: path.to_owned(), version })
}

/// Makes a peer's environment in the folder, unless it is ready there. `progress` is told what is being
/// done; an error says why there is none.
pub(crate) fn prepare(
    peer: &Peer,
    python: &Python,
    folder: &Path,
    progress: &dyn Fn(&str),
) -> Result<Environment, String> {
    let home = folder.join(peer.name);
    let inside = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
    let (inside, ready) = (home.join(inside), home.join("ready"));
    let wanted = format!("Python {}\n{}", python.version, peer.requirements);
    if std::fs::read_to_string(&ready).is_ok_and(|has| has == wanted) && inside.exists() {
        return Ok(Environment { python: inside, setup_s: None });
    }
    let start = Instant::now();
    let fail = |e: std::io::Error| format!("{}: {e}", home.display());
    if home.exists() {
        std::fs::remove_dir_all(&home).map_err(fail)?;
    }
    std::fs::create_dir_all(&home).map_err(fail)?;
    progress(&format!("an environment in {}", home.display()));
    run(Command::new(&python.path).args(["-m", "venv"]).arg(&home), progress)?;
    let list = home.join("requirements.txt");
    std::fs::write(&list, peer.requirements).map_err(fail)?;
    let pip =
        ["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--retries", "2"];
    // Nothing is compiled: a package without a wheel for this Python is a reason, not an hour.
    let pip_more = ["--no-cache-dir", "--only-binary", ":all:", "-r"];
    run(Command::new(&inside).args(pip).args(pip_more).arg(&list), progress)?;
    std::fs::write(&ready, wanted).map_err(fail)?;
    Ok(Environment { python: inside, setup_s: Some(start.elapsed().as_secs_f64()) })
}

/// Runs a command to its end and tells what it prints; an error is the first that it complains of.
fn run(command: &mut Command, progress: &dyn Fn(&str)) -> Result<(), String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("the set-up does not start: {e}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Read beside the output: the process would wait for a full pipe.
    let errors = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stderr.map(|mut pipe| pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    });
    for line in stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
        progress(line.map_err(|e| e.to_string())?.trim());
    }
    let done = child.wait().map_err(|e| e.to_string())?;
    let errors = errors.join().unwrap_or_default();
    if done.success() { Ok(()) } else { Err(format!("the set-up failed: {}", reason(&errors))) }
}

/// The last error in what pip printed, which names the package; else the last line.
fn reason(errors: &str) -> &str {
    let error = errors.lines().rev().find_map(|line| line.strip_prefix("ERROR: "));
    error.or_else(|| errors.lines().last()).unwrap_or("it said nothing")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::peers::Folder;

    /// Written by another process: this one's children could still hold a file open that it wrote itself,
    /// and such a file cannot be run.
    fn script(folder: &Folder, text: &str) -> PathBuf {
        let path = folder.path().join("python");
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2.new\"; chmod +x \"$2.new\"; mv \"$2.new\" \"$2\"";
        let mut command = Command::new("sh");
        command.args(["-c", write, "sh", text]).arg(&path);
        assert!(command.status().expect("every Unix has it").success());
        path
    }

    #[test]
    fn a_python_that_is_not_there_or_not_whole_is_a_reason() {
        let none = find_python(Some(Path::new("/no/such/python")));
        assert!(none.is_err_and(|why| why.contains("no Python")));
        let folder = Folder::new();
        let cases = [
            ("echo No module named ensurepip >&2; exit 1", "No module named ensurepip"),
            ("echo 3.9.2", "3.10 or newer"),
            ("echo hello", "it says `hello`"),
        ];
        for (text, part) in cases {
            let why = find_python(Some(&script(&folder, text))).expect_err(part);
            assert!(why.contains(part), "{why}");
        }
        let found = find_python(Some(&script(&folder, "echo 3.12.1"))).expect("it says so");
        assert_eq!(found.version, "3.12.1");
    }

    /// A Python that makes an environment whose interpreter is a script, too.
    fn maker(folder: &Folder, pip: &str) -> Python {
        let text = format!(
            "mkdir -p \"$3/bin\"; printf '#!/bin/sh\\n{pip}\\n' > \"$3/bin/python\"; \
             chmod +x \"$3/bin/python\"; echo made >> \"$3/../made\""
        );
        Python { path: script(folder, &text), version: "3.12.1".to_owned() }
    }

    #[test]
    fn an_environment_is_made_once_and_again_where_it_was_not_finished() {
        let folder = Folder::new();
        let made = || std::fs::read_to_string(folder.path().join("made")).unwrap_or_default();
        let peer = &super::super::ALL[0];
        let broken = maker(&folder, "echo ERROR: No matching distribution for x==1 >&2; exit 1");
        let why = prepare(peer, &broken, folder.path(), &|_| ()).expect_err("pip fails");
        assert_eq!(why, "the set-up failed: No matching distribution for x==1");
        let works = maker(&folder, "echo Collecting x");
        let said = std::cell::RefCell::new(Vec::new());
        let say = |what: &str| said.borrow_mut().push(what.to_owned());
        let environment = prepare(peer, &works, folder.path(), &say).expect("pip succeeds");
        assert!(environment.setup_s.is_some() && environment.python.exists());
        assert_eq!(said.borrow().last().map(String::as_str), Some("Collecting x"));
        let again = prepare(peer, &works, folder.path(), &|_| ()).expect("it is there");
        assert_eq!((again.setup_s, made().lines().count()), (None, 2));
        // Another Python: another environment.
        let newer = Python { version: "3.13.0".to_owned(), ..works };
        prepare(peer, &newer, folder.path(), &|_| ()).expect("pip succeeds");
        assert_eq!(made().lines().count(), 3);
    }
}
