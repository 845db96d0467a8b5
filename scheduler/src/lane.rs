//! A thread that runs jobs in order. Dropping it lets the jobs that wait run, then joins it.

use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
pub(crate) struct Lane {
    sender: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Lane {
    /// A lane; without a thread, where the system gives none, jobs run on the caller.
    pub(crate) fn new(name: &str) -> Lane {
        let (sender, receiver) = channel::<Job>();
        let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in receiver {
                job();
            }
        });
        match spawned {
            Ok(thread) => Lane { sender: Some(sender), thread: Some(thread) },
            Err(_) => Lane { sender: None, thread: None },
        }
    }

    pub(crate) fn push(&self, job: impl FnOnce() + Send + 'static) {
        let job: Job = Box::new(job);
        match &self.sender {
            Some(sender) => {
                if let Err(rejected) = sender.send(job) {
                    (rejected.0)();
                }
            }
            None => job(),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A job that panicked has already reported through its ticket.
            let _ = thread.join();
        }
    }
}
