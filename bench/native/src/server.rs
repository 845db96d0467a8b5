//! Answers requests, one after the other.

use std::io::{BufRead, Write};
use std::time::Instant;

use crossover_kernels::library::{self, Entry, Expected, Input};
use crossover_kernels::random::Random;

use crate::protocol::{Reply, Request};
use crate::{Body, peak};

/// A server and what it has prepared.
#[derive(Debug, Default)]
pub struct Server {
    case: Option<Case>,
}

/// A kernel with its arguments.
#[derive(Debug)]
struct Case {
    entry: &'static Entry,
    /// As they were made.
    inputs: Vec<Input>,
    /// As runs have left them.
    args: Vec<Input>,
    expected: Vec<Expected>,
}

impl Server {
    /// Reads requests and writes replies until there are no more requests.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn serve(&mut self, input: impl BufRead, mut output: impl Write) -> std::io::Result<()> {
        for line in input.lines() {
            let reply = match line?.parse() {
                Ok(request) => self.answer(&request),
                Err(unreadable) => Reply::Failed(unreadable.to_string()),
            };
            writeln!(output, "{reply}")?;
            output.flush()?;
        }
        Ok(())
    }

    /// The reply to a request.
    pub fn answer(&mut self, request: &Request) -> Reply {
        match request {
            Request::Prepare { kernel, size, seed } => match library::find(kernel) {
                Some(entry) => {
                    // The old one first: both may not fit into memory.
                    self.case = None;
                    self.case = Some(Case::new(entry, *size, *seed));
                    Reply::Ready
                }
                None => Reply::Failed(format!("there is no kernel `{kernel}`")),
            },
            Request::Check(body) => self.with_case(|case| case.check(*body)),
            Request::Time(body, count) => self.with_case(|case| case.time(*body, *count)),
            Request::Peak(threads) => Reply::Flops(peak::flops(*threads)),
        }
    }

    fn with_case(&mut self, answer: impl FnOnce(&mut Case) -> Reply) -> Reply {
        let nothing = || Reply::Failed("nothing is prepared".to_owned());
        self.case.as_mut().map_or_else(nothing, answer)
    }
}

impl Case {
    fn new(entry: &'static Entry, size: usize, seed: u64) -> Case {
        let inputs = (entry.inputs)(size, &mut Random::new(seed));
        let expected = (entry.reference)(&inputs);
        Case { entry, args: inputs.clone(), inputs, expected }
    }

    fn time(&mut self, body: Body, count: u32) -> Reply {
        let start = Instant::now();
        for _ in 0..count {
            if body.run(self.entry.name, &mut self.args).is_none() {
                return Reply::None;
            }
        }
        Reply::Took(start.elapsed().as_secs_f64() / f64::from(count))
    }

    fn check(&mut self, body: Body) -> Reply {
        self.args.clone_from(&self.inputs);
        let reply = self.time(body, 1);
        match self.wrong() {
            Some(wrong) if reply != Reply::None => Reply::Wrong(wrong),
            _ => reply,
        }
    }

    fn wrong(&self) -> Option<String> {
        self.expected.iter().find_map(|output| {
            let found = (0..output.values.len()).map(|at| self.args[output.param].value(at));
            let (at, want, got) = self.entry.tolerance.judge(&output.values, found)?;
            Some(format!("argument {} at {at}: {got} instead of {want}", output.param))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(kernel: &str, size: usize) -> Request {
        Request::Prepare { kernel: kernel.to_owned(), size, seed: 7 }
    }

    fn took(reply: &Reply) -> bool {
        matches!(reply, Reply::Took(seconds) if *seconds > 0.0)
    }

    #[test]
    fn a_kernel_is_prepared_checked_and_timed() {
        let mut server = Server::default();
        assert_eq!(server.answer(&prepare("histogram", 37)), Reply::Ready);
        for _ in 0..2 {
            // A histogram adds to its bins: each check begins anew.
            assert!(took(&server.answer(&Request::Time(Body::Plain, 2))));
            assert!(took(&server.answer(&Request::Check(Body::Plain))));
        }
        assert_eq!(server.answer(&Request::Check(Body::Vector)), Reply::None);
        assert_eq!(server.answer(&Request::Time(Body::Vector, 1)), Reply::None);
        assert_eq!(server.answer(&prepare("matmul", 5)), Reply::Ready);
        assert!(took(&server.answer(&Request::Check(Body::Vector))));
    }

    #[test]
    fn a_wrong_result_is_told() {
        let mut server = Server::default();
        server.answer(&prepare("sum", 100));
        server.case.as_mut().expect("prepared").expected[0].values[0] += 1000.0;
        let reply = server.answer(&Request::Check(Body::Plain));
        assert!(matches!(&reply, Reply::Wrong(what) if what.contains("instead of")), "{reply:?}");
    }

    #[test]
    fn what_cannot_be_served_is_an_answer() {
        let mut server = Server::default();
        for request in [Request::Time(Body::Plain, 2), prepare("nothing", 1)] {
            assert!(matches!(server.answer(&request), Reply::Failed(_)), "{request}");
        }
    }

    #[test]
    fn every_line_has_its_reply() {
        let mut output = Vec::new();
        let input = b"prepare dot 3 1\ncheck plain\nnonsense\ntime vector 8\n";
        Server::default().serve(&input[..], &mut output).expect("memory");
        let output = String::from_utf8(output).expect("text");
        let words: Vec<&str> =
            output.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(words, ["ready", "took", "failed", "none"]);
    }
}
