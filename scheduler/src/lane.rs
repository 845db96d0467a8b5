//! A thread that runs jobs in order. Dropping it lets the jobs that wait run, then joins it.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug)]
enum Queue {
    Open(Sender<Job>),
    Bounded(SyncSender<Job>),
}

#[derive(Debug)]
pub(crate) struct Lane {
    sender: Option<Queue>,
    thread: Option<JoinHandle<()>>,
}

impl Lane {
    /// A lane; without a thread, where the system gives none, jobs run on the caller.
    pub(crate) fn new(name: &str) -> Lane {
        let (sender, receiver) = channel();
        Lane::start(name, Queue::Open(sender), receiver)
    }

    /// A lane where whoever brings more than so many jobs waits.
    pub(crate) fn bounded(name: &str, jobs: usize) -> Lane {
        let (sender, receiver) = sync_channel(jobs);
        Lane::start(name, Queue::Bounded(sender), receiver)
    }

    fn start(name: &str, sender: Queue, receiver: Receiver<Job>) -> Lane {
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
        let rejected = match &self.sender {
            Some(Queue::Open(sender)) => sender.send(job).err(),
            Some(Queue::Bounded(sender)) => sender.send(job).err(),
            None => return job(),
        };
        if let Some(rejected) = rejected {
            (rejected.0)();
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
