//! The client of the baseline server: spawns it and asks.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crossover_native::Body;
use crossover_native::protocol::{Reply, Request};

use super::{Fault, no_body};

/// A server that waits for requests. It ends when this is dropped.
pub(super) struct Server {
    binary: PathBuf,
    threads: usize,
    child: Child,
    /// Taken when the server is to end.
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Server {
    pub(super) fn spawn(binary: &Path, threads: usize) -> Result<Server, String> {
        let mut command = Command::new(binary);
        command.arg(threads.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Ctrl-C is for this process alone: the repetition at hand is to end first.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(|e| format!("the server does not start: {e}"))?;
        let requests = child.stdin.take();
        let replies = child.stdout.take().expect("the server's output is piped");
        let (binary, replies) = (binary.to_owned(), BufReader::new(replies));
        Ok(Server { binary, threads, child, requests, replies })
    }

    /// One more like it.
    pub(super) fn again(&self) -> Result<Server, String> {
        Server::spawn(&self.binary, self.threads)
    }

    /// Has the server make the arguments of a kernel.
    pub(super) fn prepare(&mut self, kernel: &str, size: usize, seed: u64) -> Result<(), String> {
        let kernel = kernel.to_owned();
        match self.ask(&Request::Prepare { kernel, size, seed })? {
            Reply::Ready => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn check(&mut self, body: Body) -> Result<f64, Fault> {
        self.seconds(&Request::Check(body), body)
    }

    /// The seconds of one run of so many.
    pub(super) fn time(&mut self, body: Body, count: u32) -> Result<f64, Fault> {
        self.seconds(&Request::Time(body, count), body)
    }

    /// Multiply-adds of so many threads, in operations a second.
    pub(super) fn peak(&mut self, threads: usize) -> Result<f64, String> {
        match self.ask(&Request::Peak(threads))? {
            Reply::Flops(flops) => Ok(flops),
            other => Err(unexpected(&other)),
        }
    }

    fn seconds(&mut self, request: &Request, body: Body) -> Result<f64, Fault> {
        match self.ask(request).map_err(Fault::Missing)? {
            Reply::Took(seconds) => Ok(seconds),
            Reply::None => Err(Fault::Missing(no_body(body))),
            Reply::Wrong(what) => Err(Fault::Wrong(what)),
            other => Err(Fault::Missing(unexpected(&other))),
        }
    }

    fn ask(&mut self, request: &Request) -> Result<Reply, String> {
        let gone = |e: std::io::Error| format!("the server is gone: {e}");
        let requests = self.requests.as_mut().ok_or("the server was ended")?;
        writeln!(requests, "{request}").and_then(|()| requests.flush()).map_err(gone)?;
        let mut line = String::new();
        if self.replies.read_line(&mut line).map_err(gone)? == 0 {
            return Err(format!("the server ended at `{request}`"));
        }
        line.trim_end().parse().map_err(|e| format!("{e}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input ends it.
        self.requests = None;
        let _ = self.child.wait();
    }
}

fn unexpected(reply: &Reply) -> String {
    format!("the server said: {reply}")
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_not_there_or_gone_is_a_reason() {
        let none = Server::spawn(Path::new("/no/such/server"), 1);
        assert!(none.is_err_and(|why| why.contains("does not start")));
        // It ends at once.
        let mut server = Server::spawn(Path::new("true"), 1).expect("every Unix has it");
        assert!(server.prepare("sum", 1, 1).is_err_and(|why| why.contains("server")));
        assert!(matches!(server.time(Body::Plain, 1), Err(Fault::Missing(_))));
    }
}
