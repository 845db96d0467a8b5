//! Learning while the program runs.
//!
//! ```text
//! record(row) ─→ bounded queue ─→ background thread: replay ─→ retrain when it grew by a fifth
//!                                                                 │ better on held-out kernels?
//! model() ◀── Arc<Ensemble>, generation + 1 ◀── promote ◀── yes ──┘ no: keep, note it
//! ```
//!
//! A fixed fifth of the kernels, by a hash of their name, is never trained on here: old and new
//! model are compared on these. The thread trains in short steps and sleeps between them
//! ([`LearnerOptions::duty`]), so that it takes little from the calls it learns from. Dropping
//! the learner stops it within a step.

use crate::dataset::{Dataset, Row};
use crate::ensemble::Ensemble;
use crate::error::Error;
use crate::eval::{Metrics, evaluate};
use crate::prediction::{CostModel, normal_quantile};
use crate::replay::Replay;
use crate::rng::hash_text;
use crate::train::{Job, Progress, ROWS_MIN, TrainOptions, TrainReport, member_options};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long rows gather before the thread looks at them: to wake it takes the caller ten times as long as
/// to hand a row over.
const GATHERS: Duration = Duration::from_millis(20);

/// How many retrain outcomes are remembered.
const EVENTS_MAX: usize = 256;

/// How a [`Learner`] works.
#[derive(Clone, Debug)]
pub struct LearnerOptions {
    /// The fewest kept rows before the first retraining.
    pub rows_min: usize,
    /// Retrain when the rows offered have grown by this share since the last time.
    pub growth: f64,
    /// Rows that may wait for the background thread; more are dropped and counted.
    pub queue: usize,
    /// The most of one core that retraining takes, above 0 up to 1.
    pub duty: f64,
    /// How much held-out NLL (nats a row) may rise in a promotion.
    pub nll_slack: f64,
    /// How many networks are trained when the present model has none.
    pub members: usize,
    /// How to train.
    pub train: TrainOptions,
    /// Measured before: always trained on beside what is recorded.
    pub base: Dataset,
}

impl Default for LearnerOptions {
    fn default() -> Self {
        LearnerOptions {
            rows_min: 64,
            growth: 0.2,
            queue: 4096,
            duty: 0.25,
            nll_slack: 0.0,
            members: 4,
            train: TrainOptions { epochs: 20, learning_rate: 1e-3, ..TrainOptions::default() },
            base: Dataset::new(),
        }
    }
}

/// Why a retraining began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// There was enough new data.
    Growth,
    /// Too many or too few of the measured times were inside their 90 % interval.
    Coverage,
    /// [`Learner::retrain_now`].
    Request,
}

/// What became of a retraining, or of a request to go back.
#[derive(Clone, Debug)]
pub enum Event {
    /// The new model took over.
    Promoted(Trial),
    /// The new model was not better; the old one stays.
    Rejected(Trial),
    /// Training failed; the old one stays.
    Failed {
        /// Why, in words.
        reason: String,
    },
    /// The model before the last promotion took over again.
    RolledBack {
        /// The generation that this made.
        generation: u64,
    },
}

/// A comparison of the old and the new model.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Why it was trained.
    pub trigger: Trigger,
    /// The generation after the decision.
    pub generation: u64,
    /// The old model on the held-out rows.
    pub before: Metrics,
    /// The new model on the held-out rows.
    pub after: Metrics,
    /// One a network.
    pub reports: Vec<TrainReport>,
    /// Time taken, with the sleeps, in seconds.
    pub seconds: f64,
}

/// A model that is retrained in the background. See the module's text.
#[derive(Debug)]
pub struct Learner {
    shared: Arc<Shared>,
    sender: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    models: RwLock<Models>,
    generation: AtomicU64,
    stop: AtomicBool,
    dropped: AtomicU64,
    events: Mutex<VecDeque<Event>>,
}

#[derive(Debug)]
struct Models {
    current: Arc<Ensemble>,
    previous: Option<Arc<Ensemble>>,
}

enum Message {
    Row(Box<Row>),
    Retrain(SyncSender<bool>),
}

impl Learner {
    /// Starts with `initial`, which may have no members: then the roofline answers until the
    /// first promotion. Never fails: with options out of range, or without a thread left in the
    /// system, `initial` goes on answering, nothing is learned, and [`Learner::events`] says why.
    ///
    /// ```
    /// use crossover_ml::{Ensemble, Learner, LearnerOptions};
    /// // An option that is out of range is no reason to fail.
    /// let impossible = LearnerOptions { duty: -1.0, ..LearnerOptions::default() };
    /// let learner = Learner::start(Ensemble::default(), impossible);
    /// assert!(!learner.is_learning() && learner.events().len() == 1);
    /// ```
    #[must_use]
    pub fn start(initial: Ensemble, options: LearnerOptions) -> Learner {
        let shared = Arc::new(Shared {
            models: RwLock::new(Models { current: Arc::new(initial), previous: None }),
            generation: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            events: Mutex::default(),
        });
        let (sender, thread) = match start_thread(&shared, options) {
            Ok((sender, thread)) => (Some(sender), Some(thread)),
            Err(error) => {
                shared.note(Event::Failed { reason: error.to_string() });
                (None, None)
            }
        };
        Learner { shared, sender, thread }
    }

    /// Whether there is a background thread that learns.
    ///
    /// ```
    /// # use crossover_ml::{Ensemble, Learner, LearnerOptions};
    /// assert!(Learner::start(Ensemble::default(), LearnerOptions::default()).is_learning());
    /// ```
    #[must_use]
    pub fn is_learning(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// The present model.
    ///
    /// ```
    /// # use crossover_ml::{Ensemble, Learner, LearnerOptions};
    /// let learner = Learner::start(Ensemble::default(), LearnerOptions::default());
    /// assert!(learner.model().members().is_empty(), "nothing has been trained yet");
    /// ```
    #[must_use]
    pub fn model(&self) -> Arc<Ensemble> {
        Arc::clone(&self.shared.models().current)
    }

    /// Rises by one whenever [`Learner::model`] changes: a cheap check before asking for it.
    ///
    /// ```
    /// # use crossover_ml::{Ensemble, Learner, LearnerOptions};
    /// let learner = Learner::start(Ensemble::default(), LearnerOptions::default());
    /// assert_eq!(learner.generation(), 0);
    /// ```
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Hands over a measured call. Never waits: if the queue is full the row is dropped.
    ///
    /// ```
    /// # use crossover_ml::{Ensemble, Features, Learner, LearnerOptions, Row};
    /// let learner = Learner::start(Ensemble::default(), LearnerOptions::default());
    /// learner.record(Row::new("saxpy", "user", 4096, Features::missing(), [Some(1e-5), None]));
    /// assert_eq!(learner.dropped(), 0);
    /// ```
    pub fn record(&self, row: Row) {
        let Some(sender) = &self.sender else { return };
        if let Err(TrySendError::Full(_)) = sender.try_send(Message::Row(Box::new(row))) {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many rows found the queue full.
    ///
    /// ```
    /// # use crossover_ml::{Ensemble, Features, Learner, LearnerOptions, Row};
    /// let learner = Learner::start(Ensemble::default(), LearnerOptions::default());
    /// let row = Row::new("saxpy", "user", 4096, Features::missing(), [Some(1e-5), None]);
    /// (0..100).for_each(|_| learner.record(row.clone()));
    /// assert_eq!(learner.dropped(), 0, "the queue has place for thousands");
    /// ```
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Retrains on all that was recorded before, and waits for it, without sleeps in between.
    /// Returns whether the new model took over.
    ///
    /// ```
    /// # use crossover_ml::{Ensemble, Learner, LearnerOptions};
    /// let learner = Learner::start(Ensemble::default(), LearnerOptions::default());
    /// assert!(!learner.retrain_now(), "there is nothing to train on");
    /// ```
    pub fn retrain_now(&self) -> bool {
        let (done, answer) = sync_channel(1);
        let sent = self.sender.as_ref().is_some_and(|s| s.send(Message::Retrain(done)).is_ok());
        self.thread.iter().for_each(|thread| thread.thread().unpark());
        sent && answer.recv().unwrap_or(false)
    }

    /// Goes back to the model before the last promotion. Returns whether there was one.
    ///
    /// ```
    /// # use crossover_ml::{Ensemble, Learner, LearnerOptions};
    /// let learner = Learner::start(Ensemble::default(), LearnerOptions::default());
    /// assert!(!learner.rollback(), "this is the first model");
    /// ```
    pub fn rollback(&self) -> bool {
        let mut models = self.shared.models.write().unwrap_or_else(PoisonError::into_inner);
        let Some(previous) = models.previous.take() else { return false };
        models.current = previous;
        let generation = self.shared.generation.fetch_add(1, Ordering::AcqRel) + 1;
        drop(models);
        self.shared.note(Event::RolledBack { generation });
        true
    }

    /// What became of the retrainings, oldest first (the last 256).
    ///
    /// ```
    /// # use crossover_ml::{Ensemble, Learner, LearnerOptions, learner::Event};
    /// let learner = Learner::start(Ensemble::default(), LearnerOptions::default());
    /// learner.retrain_now();
    /// for event in learner.events() {
    ///     assert!(matches!(event, Event::Failed { .. }), "no row has been recorded");
    /// }
    /// ```
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.shared.events().iter().cloned().collect()
    }
}

fn start_thread(
    shared: &Arc<Shared>,
    options: LearnerOptions,
) -> Result<(SyncSender<Message>, JoinHandle<()>), Error> {
    options.validate()?;
    let (sender, receiver) = sync_channel(options.queue);
    let worker = Worker::new(Arc::clone(shared), options);
    let thread = std::thread::Builder::new()
        .name("crossover-learner".to_owned())
        .spawn(move || worker.run(&receiver))
        .map_err(|source| Error::Io { path: "thread crossover-learner".into(), source })?;
    Ok((sender, thread))
}

impl Drop for Learner {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic over there was already printed; here it must not become an abort.
            let _ = thread.join();
        }
    }
}

impl LearnerOptions {
    fn validate(&self) -> Result<(), Error> {
        self.train.validate()?;
        let name = if !self.growth.is_finite() || self.growth < 0.0 {
            "growth"
        } else if self.queue == 0 {
            "queue"
        } else if !(self.duty > 0.0 && self.duty <= 1.0) {
            "duty"
        } else if !self.nll_slack.is_finite() {
            "nll_slack"
        } else if self.members == 0 {
            "members"
        } else {
            return Ok(());
        };
        Err(Error::InvalidOption { name })
    }
}

impl Shared {
    /// Every write leaves both fields whole, so a poisoned lock is as good as any.
    fn models(&self) -> std::sync::RwLockReadGuard<'_, Models> {
        self.models.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn events(&self) -> MutexGuard<'_, VecDeque<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: Event) {
        let mut events = self.events();
        if events.len() == EVENTS_MAX {
            events.pop_front();
        }
        events.push_back(event);
    }

    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Makes `next` the model if `old` still is; returns whether it did, and the generation.
    fn promote(&self, old: &Arc<Ensemble>, next: Ensemble) -> (bool, u64) {
        let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(old, &models.current) {
            return (false, self.generation.load(Ordering::Acquire));
        }
        let old = std::mem::replace(&mut models.current, Arc::new(next));
        models.previous = Some(old);
        (true, self.generation.fetch_add(1, Ordering::AcqRel) + 1)
    }
}

/// The background thread.
struct Worker {
    shared: Arc<Shared>,
    options: LearnerOptions,
    replay: Replay,
    seen_at_training: usize,
    trainings: u64,
    coverage: Coverage,
}

/// How many measured times were inside their 90 % interval since the last retraining.
#[derive(Default)]
struct Coverage {
    inside: usize,
    measured: usize,
}

impl Coverage {
    /// The share that is still believed to be 90 %.
    const PLAUSIBLE: std::ops::RangeInclusive<f64> = 0.80..=0.97;

    /// So many times must have been measured before a share is believed.
    const MEASURED_MIN: usize = 500;

    fn is_off(&self) -> bool {
        let share = self.inside as f64 / self.measured.max(1) as f64;
        self.measured >= Coverage::MEASURED_MIN && !Coverage::PLAUSIBLE.contains(&share)
    }
}

impl Worker {
    fn new(shared: Arc<Shared>, options: LearnerOptions) -> Worker {
        let replay = Replay::new(options.train.seed);
        let coverage = Coverage::default();
        Worker { shared, options, replay, seen_at_training: 0, trainings: 0, coverage }
    }

    fn run(mut self, receiver: &Receiver<Message>) {
        while !self.shared.stopping() {
            match receiver.recv_timeout(Duration::from_millis(200)) {
                Ok(message) => {
                    self.take(message);
                    receiver.try_iter().for_each(|message| self.take(message));
                    std::thread::park_timeout(GATHERS);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(trigger) = self.due() {
                self.retrain(trigger);
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Row(row) => self.keep(*row),
            Message::Retrain(done) => {
                let promoted = self.retrain(Trigger::Request);
                // Whoever asked may have gone.
                let _ = done.send(promoted);
            }
        }
    }

    fn keep(&mut self, row: Row) {
        let prediction = Arc::clone(&self.shared.models().current).predict(&row.features);
        let seconds = row.log2_seconds();
        let surprise = |i: usize| {
            let error = (seconds[i]? - prediction.mean[i]).abs();
            Some(error / prediction.cov[i][i].max(1e-6).sqrt())
        };
        let surprises = [0, 1].map(surprise);
        for surprise in surprises.into_iter().flatten() {
            self.coverage.measured += 1;
            self.coverage.inside += usize::from(surprise < normal_quantile(0.95));
        }
        self.replay.insert(row, surprises.into_iter().flatten().fold(0.0, f64::max));
    }

    /// Why to retrain now, if at all.
    fn due(&self) -> Option<Trigger> {
        let (seen, before) = (self.replay.seen() as f64, self.seen_at_training as f64);
        if self.replay.len() < self.options.rows_min.max(ROWS_MIN) || seen <= before {
            None
        } else if seen >= before * (1.0 + self.options.growth) {
            Some(Trigger::Growth)
        } else {
            // A share cannot be far off for long without new rows having come in as well.
            let grown = seen >= before * (1.0 + 0.25 * self.options.growth);
            (grown && self.coverage.is_off()).then_some(Trigger::Coverage)
        }
    }

    /// Trains, compares, promotes. Returns whether the new model took over.
    fn retrain(&mut self, trigger: Trigger) -> bool {
        let start = Instant::now();
        self.seen_at_training = self.replay.seen();
        self.coverage = Coverage::default();
        self.trainings += 1;
        let (known, unseen) = self.split();
        let old = Arc::clone(&self.shared.models().current);
        let (next, reports) = match self.train(&old, &known, trigger) {
            Ok(trained) => trained,
            Err(Error::Stopped) => return false,
            Err(error) => {
                self.shared.note(Event::Failed { reason: error.to_string() });
                return false;
            }
        };
        let before = evaluate(&*old, unseen.rows());
        let after = evaluate(&next, unseen.rows());
        let chooses_worse = after.oracle_percent < before.oracle_percent - 1e-9;
        let better = after.nll <= before.nll + self.options.nll_slack && !chooses_worse;
        let (promoted, generation) = if better {
            self.shared.promote(&old, next)
        } else {
            (false, self.shared.generation.load(Ordering::Acquire))
        };
        let seconds = start.elapsed().as_secs_f64();
        let trial = Trial { trigger, generation, before, after, reports, seconds };
        self.shared.note(if promoted { Event::Promoted(trial) } else { Event::Rejected(trial) });
        promoted
    }

    /// All rows as (to train on, never to train on).
    fn split(&self) -> (Dataset, Dataset) {
        let (mut data, _) = self.replay.dataset();
        data.merge(&self.options.base);
        let held_out = held_out_kernels(&data);
        let is_held_out = |at: usize, row: &Row| match &held_out {
            Some(names) => names.contains(&row.kernel.as_str()),
            None => at % 5 == 4,
        };
        let rows = || data.rows().iter().enumerate();
        let numbers = |wanted: bool| -> Vec<usize> {
            rows().filter(|(at, row)| is_held_out(*at, row) == wanted).map(|(at, _)| at).collect()
        };
        (data.subset(&numbers(false)), data.subset(&numbers(true)))
    }

    fn train(
        &self,
        old: &Ensemble,
        known: &Dataset,
        trigger: Trigger,
    ) -> Result<(Ensemble, Vec<TrainReport>), Error> {
        let count =
            if old.members().is_empty() { self.options.members } else { old.members().len() };
        let base = TrainOptions {
            seed: self.options.train.seed.wrapping_add(self.trainings),
            ..self.options.train.clone()
        };
        let surprise = self.surprises();
        let mut networks = Vec::with_capacity(count);
        let mut reports = Vec::with_capacity(count);
        for member in 0..count {
            let options = member_options(&base, member);
            let mut job = Job::new(known, &options)?;
            job.member = member;
            if count > 1 {
                job.bootstrap();
            }
            job.prioritise(|row| surprise.get(&key(row)).copied().unwrap_or(1.0));
            let mut progress = |progress: Progress| self.pause(trigger, progress);
            let (network, report) = job.run(old.members().get(member), &mut progress)?;
            networks.push(network);
            reports.push(report);
        }
        Ok((Ensemble::new(networks), reports))
    }

    fn surprises(&self) -> std::collections::BTreeMap<(String, u32), f64> {
        self.replay.rows().map(|(row, priority)| (key(row), priority)).collect()
    }

    /// Between two steps: leaves the core to others, and stops if asked to.
    fn pause(&self, trigger: Trigger, progress: Progress) -> ControlFlow<()> {
        if trigger != Trigger::Request && self.options.duty < 1.0 {
            let share = 1.0 / self.options.duty - 1.0;
            std::thread::park_timeout(progress.elapsed.mul_f64(share.min(100.0)));
        }
        if self.shared.stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn key(row: &Row) -> (String, u32) {
    (row.kernel.clone(), row.bucket())
}

/// The kernels that are never trained on: those whose hash is a multiple of five, or the one of
/// the smallest hash. `None` if there are too few kernels to spare one.
fn held_out_kernels(data: &Dataset) -> Option<Vec<&str>> {
    let kernels = data.by_kernel();
    if kernels.len() < 3 {
        return None;
    }
    let mut names: Vec<&str> = kernels.into_keys().collect();
    names.sort_by_key(|name| (!hash_text(name).is_multiple_of(5), hash_text(name)));
    let chosen = names.iter().filter(|name| hash_text(name).is_multiple_of(5)).count();
    names.truncate(chosen.clamp(1, names.len() - 2));
    Some(names)
}
