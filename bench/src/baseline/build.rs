//! Compiles the baseline server for this machine, with the cargo that runs this command.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The package that is built.
const PACKAGE: &str = "crossover-native";

/// The server's binary; an error says why there is none. `progress` is told what is being compiled.
pub(super) fn build(progress: &dyn Fn(&str)) -> Result<PathBuf, String> {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let (Some(cargo), Some(package)) = (var("CARGO"), var("CARGO_MANIFEST_DIR")) else {
        return Err("built only by cargo: run `cargo crossover bench`".to_owned());
    };
    let manifest = package.join("native/Cargo.toml");
    if !manifest.is_file() {
        return Err(format!("there are no sources at {}", manifest.display()));
    }
    let exe = std::env::current_exe().map_err(|e| e.to_string())?;
    // target/release/crossover
    let target = exe.ancestors().nth(2).unwrap_or(Path::new("target")).join("native");
    progress(&format!("compiling {PACKAGE} for this machine"));
    run(command(&cargo, &manifest, &target), progress)
}

fn command(cargo: &Path, manifest: &Path, target: &Path) -> Command {
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--locked", "--message-format=json", "--package", PACKAGE])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .env("RUSTFLAGS", "-C target-cpu=native")
        // It would come before the flags above.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs cargo and finds the binary among its messages.
fn run(mut command: Command, progress: &dyn Fn(&str)) -> Result<PathBuf, String> {
    let mut child = command.spawn().map_err(|e| format!("cargo does not start: {e}"))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Read beside the messages: cargo would wait for a full pipe.
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.map(|mut pipe| pipe.read_to_string(&mut text));
        text
    });
    let mut binary = None;
    for line in stdout.into_iter().flat_map(|pipe| BufReader::new(pipe).lines()) {
        match message(&line.map_err(|e| e.to_string())?) {
            Some(Message::Compiled(name)) => progress(&format!("compiled {name}")),
            Some(Message::Binary(path)) => binary = Some(path),
            None => {}
        }
    }
    let done = child.wait().map_err(|e| e.to_string())?;
    let errors = errors.join().unwrap_or_default();
    match binary {
        Some(binary) if done.success() => Ok(binary),
        _ => Err(format!("`cargo build -p {PACKAGE}` failed: {}", reason(&errors))),
    }
}

/// What matters of cargo's messages.
#[derive(Debug, PartialEq)]
enum Message {
    Compiled(String),
    Binary(PathBuf),
}

fn message(line: &str) -> Option<Message> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value["reason"] != "compiler-artifact" {
        return None;
    }
    Some(match value["executable"].as_str() {
        Some(path) => Message::Binary(path.into()),
        None => Message::Compiled(value["target"]["name"].as_str()?.to_owned()),
    })
}

/// The first error in what cargo printed, or the last line.
fn reason(errors: &str) -> &str {
    let first = errors.lines().find(|line| line.starts_with("error"));
    first.or_else(|| errors.lines().last()).unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_cargo_are_read() {
        let artifact = |executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"wide"}},"executable":{executable}}}"#
            )
        };
        assert_eq!(message(&artifact("null")), Some(Message::Compiled("wide".to_owned())));
        assert_eq!(message(&artifact(r#""/a/b""#)), Some(Message::Binary("/a/b".into())));
        assert_eq!(message(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(message("no json"), None);
    }

    #[test]
    fn the_reason_is_the_first_error() {
        assert_eq!(reason("Compiling a\nerror: b\nerror: c\n"), "error: b");
        assert_eq!((reason("a\nb\n"), reason("")), ("b", "it said nothing"));
    }

    #[test]
    fn a_cargo_that_is_not_there_is_a_reason() {
        let command = command(Path::new("/no/such/cargo"), Path::new("x"), Path::new("y"));
        assert!(run(command, &|_| ()).is_err_and(|why| why.contains("does not start")));
    }
}
