//! What this command and a peer's server say to each other: a line each way, in turn.
//! `bench/peers/server.py` is the other end, and shows what it looks like.

use std::fmt;
use std::str::FromStr;

use crossover::kernels::library::Input;

/// What a peer is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request<'a> {
    /// What it is, and of which version.
    About,
    /// Make a call on the arguments in the folder of inputs, and leave the results in that of outputs.
    Run(&'a str, &'a [Input]),
    /// Make so many more, and say what one took.
    Time(u32),
}

/// What it answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    /// What it is.
    About(String),
    /// A call took so many seconds.
    Took(f64),
    /// It has no such kernel, and why.
    None(String),
    /// The request cannot be served, and why.
    Failed(String),
}

/// A line that is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::About => write!(f, "about"),
            Request::Run(kernel, args) => {
                write!(f, "run {kernel}")?;
                args.iter().try_for_each(|arg| match arg {
                    // The shortest text that is read as the same `f32`.
                    Input::Scalar(c) if c.ty.is_float() => {
                        write!(f, " f32={:?}", c.to_f64() as f32)
                    }
                    Input::Scalar(c) => write!(f, " u32={}", c.bits),
                    Input::F32(v) => write!(f, " f32[{}]", v.len()),
                    Input::U32(v) => write!(f, " u32[{}]", v.len()),
                    Input::I32(v) => write!(f, " i32[{}]", v.len()),
                })
            }
            Request::Time(count) => write!(f, "time {count}"),
        }
    }
}

impl FromStr for Reply {
    type Err = Unreadable;

    fn from_str(line: &str) -> Result<Reply, Unreadable> {
        let (word, rest) = line.trim_end().split_once(' ').unwrap_or((line.trim_end(), ""));
        let seconds = || rest.parse::<f64>().ok().filter(|x| x.is_finite() && *x >= 0.0);
        match word {
            "about" => Ok(Reply::About(rest.to_owned())),
            "took" => seconds().map(Reply::Took).ok_or(Unreadable),
            "none" => Ok(Reply::None(rest.to_owned())),
            "failed" => Ok(Reply::Failed(rest.to_owned())),
            _ => Err(Unreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines() {
        let args = [
            Input::Scalar(0.1f32.into()),
            Input::Scalar(7u32.into()),
            Input::F32(vec![1.0; 3]),
            Input::U32(Vec::new()),
        ];
        let run = Request::Run("spmv", &args);
        assert_eq!(run.to_string(), "run spmv f32=0.1 u32=7 f32[3] u32[0]");
        assert_eq!(Request::About.to_string(), "about");
        assert_eq!(Request::Time(64).to_string(), "time 64");
    }

    #[test]
    fn replies_are_read_and_other_lines_refused() {
        let known = [
            ("about numba 0.68\n", Reply::About("numba 0.68".to_owned())),
            ("took 2.5e-6", Reply::Took(2.5e-6)),
            ("took 0", Reply::Took(0.0)),
            ("none no loops", Reply::None("no loops".to_owned())),
            ("failed", Reply::Failed(String::new())),
        ];
        for (line, reply) in known {
            assert_eq!(line.parse(), Ok(reply));
        }
        for line in ["", "took", "took x", "took NaN", "took -1", "took inf", "ready", "Took 1"] {
            assert_eq!(line.parse::<Reply>(), Err(Unreadable), "{line}");
        }
    }
}
