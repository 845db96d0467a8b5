//! What client and server say to each other: a line each way, in turn.
//!
//! ```text
//! prepare matmul 384 7      ready             arguments from a seed
//! check plain               took 0.0031       run on fresh arguments, result compared
//! check vector              wrong …           … and it is not the reference's
//! time plain 1              took 0.0029       run so many times more: the seconds of one
//! time vector 8             none              the kernel is not written like this
//! peak 2                    flops 2.2e11      of two threads together
//! nonsense                  failed …          what could not be done
//! ```
//!
//! Times are seconds. Parsing is the inverse of `Display`.

use std::fmt;
use std::str::FromStr;

use crate::Body;

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Make the arguments of a kernel.
    Prepare {
        /// The kernel.
        kernel: String,
        /// Its size.
        size: usize,
        /// The seed of its inputs.
        seed: u64,
    },
    /// Run it on fresh arguments and compare the result with the reference.
    Check(Body),
    /// Run it so many times more, and say what one run took.
    Time(Body, u32),
    /// Measure the multiply-adds of so many threads.
    Peak(usize),
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The arguments are made.
    Ready,
    /// A run took so many seconds.
    Took(f64),
    /// The kernel is not written like this.
    None,
    /// The result is not the reference's: what is wrong.
    Wrong(String),
    /// Floating-point operations a second.
    Flops(f64),
    /// The request cannot be served, and why.
    Failed(String),
}

/// A line that is no request or no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not of the protocol", self.0)
    }
}

impl std::error::Error for Unreadable {}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Prepare { kernel, size, seed } => write!(f, "prepare {kernel} {size} {seed}"),
            Request::Check(body) => write!(f, "check {}", body.name()),
            Request::Time(body, count) => write!(f, "time {} {count}", body.name()),
            Request::Peak(threads) => write!(f, "peak {threads}"),
        }
    }
}

impl FromStr for Request {
    type Err = Unreadable;

    fn from_str(line: &str) -> Result<Request, Unreadable> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let request = match words[..] {
            ["prepare", kernel, size, seed] => prepare(kernel, size, seed),
            ["check", name] => body(name).map(Request::Check),
            ["time", name, count] => time(name, count),
            ["peak", threads] => threads.parse().ok().map(Request::Peak),
            _ => None,
        };
        request.ok_or_else(|| Unreadable(line.to_owned()))
    }
}

fn prepare(kernel: &str, size: &str, seed: &str) -> Option<Request> {
    let (size, seed) = (size.parse().ok()?, seed.parse().ok()?);
    Some(Request::Prepare { kernel: kernel.to_owned(), size, seed })
}

fn time(name: &str, count: &str) -> Option<Request> {
    let count = count.parse().ok().filter(|&count| count > 0)?;
    Some(Request::Time(body(name)?, count))
}

fn body(name: &str) -> Option<Body> {
    Body::ALL.into_iter().find(|body| body.name() == name)
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A line break within a message would be two replies.
        let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        match self {
            Reply::Ready => write!(f, "ready"),
            Reply::Took(seconds) => write!(f, "took {seconds:e}"),
            Reply::None => write!(f, "none"),
            Reply::Wrong(what) => write!(f, "wrong {}", line(what)),
            Reply::Flops(flops) => write!(f, "flops {flops:e}"),
            Reply::Failed(why) => write!(f, "failed {}", line(why)),
        }
    }
}

impl FromStr for Reply {
    type Err = Unreadable;

    fn from_str(line: &str) -> Result<Reply, Unreadable> {
        let (word, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let number = || rest.parse::<f64>().ok().filter(|x| x.is_finite() && *x >= 0.0);
        let reply = match (word, rest) {
            ("ready", "") => Some(Reply::Ready),
            ("none", "") => Some(Reply::None),
            ("took", _) => number().map(Reply::Took),
            ("flops", _) => number().map(Reply::Flops),
            ("wrong", what) => Some(Reply::Wrong(what.to_owned())),
            ("failed", why) => Some(Reply::Failed(why.to_owned())),
            _ => None,
        };
        reply.ok_or_else(|| Unreadable(line.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsing_is_the_inverse_of_display() {
        let requests = [
            Request::Prepare { kernel: "matmul".to_owned(), size: 384, seed: u64::MAX },
            Request::Check(Body::Plain),
            Request::Time(Body::Vector, 3),
            Request::Peak(2),
        ];
        for request in requests {
            assert_eq!(request.to_string().parse(), Ok(request));
        }
        let replies = [
            Reply::Ready,
            Reply::Took(1.234_567_890_123e-7),
            Reply::Took(0.0),
            Reply::None,
            Reply::Wrong("argument 3 at 7: 1 instead of 2".to_owned()),
            Reply::Flops(2.2e11),
            Reply::Failed("no such kernel".to_owned()),
        ];
        for reply in replies {
            assert_eq!(reply.to_string().parse(), Ok(reply));
        }
    }

    #[test]
    fn a_reply_is_one_line() {
        assert_eq!(Reply::Wrong("a\n b".to_owned()).to_string(), "wrong a b");
    }

    #[test]
    fn other_lines_are_refused() {
        let lines =
            ["", "prepare", "prepare sum -1 0", "prepare sum 1", "check", "time plain 0", "x"];
        for line in lines {
            assert_eq!(line.parse::<Request>(), Err(Unreadable(line.to_owned())));
        }
        for line in ["", "took", "took x", "took NaN", "took -1", "ready now", "flops inf"] {
            assert_eq!(line.parse::<Reply>(), Err(Unreadable(line.to_owned())));
        }
    }
}
