//! The server as a process: a line in, a line out, and the end of its input ends it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

const SERVER: &str = env!("CARGO_BIN_EXE_crossover-native");

#[test]
fn requests_are_answered_until_the_input_ends() {
    let mut command = Command::new(SERVER);
    command.arg("2").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the binary was built for this test");
    let mut requests = child.stdin.take().expect("piped");
    let mut replies = BufReader::new(child.stdout.take().expect("piped")).lines();
    let exchange = [
        ("prepare matmul 37 1", "ready"),
        ("check plain", "took"),
        ("check vector", "took"),
        ("time vector 2", "took"),
        ("time fast 2", "failed"),
        ("prepare sum 3 1", "ready"),
        ("time vector 2", "none"),
    ];
    for (request, reply) in exchange {
        writeln!(requests, "{request}").expect("the server reads");
        let line = replies.next().expect("a reply").expect("text");
        assert!(line.starts_with(reply), "{request}: {line}");
    }
    drop(requests);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn a_number_of_threads_is_needed() {
    for arguments in [&[][..], &["many"]] {
        let output = Command::new(SERVER).args(arguments).output().expect("it starts");
        assert!(!output.status.success() && !output.stderr.is_empty());
    }
}
