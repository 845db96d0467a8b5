//! The layouts of one kernel: which is in use for calls of what size, which were tried, and which is next.
//!
//! ```text
//! time spent on a size ─→ forecast ─→ the best is compiled, when that has paid ─→ race ─→ taken, or dropped ─┐
//!                                  └──────────────────── the next best, three in all ←──────────────────────┘
//! ```
//!
//! All but the race is done where nobody waits. Who calls looks at one byte, and at a second one for the size.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossover_kernels::exec::Version;
use crossover_ml::Features;
use crossover_ml::layout::{Expected, Layout};
use serde::Serialize;

use super::race::{Race, Side};

/// Layouts that are compiled beside the default, at most.
const MADE_MAX: usize = 3;

/// Sizes that are told apart: by the whole part of log2 of their operations.
const SIZES: usize = 64;

/// Seconds of a size's calls from which on layouts are thought of.
const ASK_AFTER_S: f64 = 0.02;

/// A race without calls for so many seconds, told so often, is given up: the program does something else now.
const WAIT_S: f64 = 1.0;
const WAIT_CALLS: u32 = 8;

/// Gains below this, in log2, are left alone.
const GAIN_MIN: f64 = 0.03;

/// Code with another layout than the default.
struct Made {
    expected: Expected,
    name: Arc<str>,
    version: Arc<dyn Version>,
}

/// What is to be done where nobody waits.
pub(super) enum Want {
    /// To say what layouts are expected to be worth.
    Forecast(Box<Features>),
    /// To compile this one.
    Compile(Expected),
}

/// What callers look at first: nothing, that something is to be done, or a race under way.
const IDLE: u8 = 0;
const WANTED: u8 = 1;
const RACING: u8 = 2;

/// The layouts of a kernel.
pub(crate) struct Lays {
    state: AtomicU8,
    /// For each size, the number of the layout in use: 0 is the default, others count from 1.
    in_use: [AtomicU8; SIZES],
    made: [OnceLock<Made>; MADE_MAX],
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    sizes: Vec<Size>,
    /// What was forecast of those that are not made yet, the most promising first.
    plan: Option<Vec<Expected>>,
    want: Option<Want>,
    /// What stands for the code that there is.
    known: Vec<u64>,
    /// Whether somebody is at what was wanted.
    is_busy: bool,
    race: Option<Racing>,
    /// Races so far.
    races: u32,
}

struct Size {
    at: u8,
    spent_s: f64,
    /// log2 of the speed of what is in use over that of the default.
    log2: f64,
    raced: Vec<Raced>,
}

struct Raced {
    number: u8,
    /// log2 of its speed over the default's.
    log2: f64,
}

struct Racing {
    id: u32,
    at: u8,
    number: u8,
    /// Threads of the calls that count: the first one's.
    threads: Option<usize>,
    /// What calls have taken since the last one that could have had a part, and how often that was told.
    waited: (f64, u32),
    race: Race,
}

/// A call's part in a race.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    race: u32,
    side: Side,
    /// The layout that it runs with.
    number: u8,
}

impl Turn {
    /// Whether it runs with a layout that is not in use.
    pub(crate) fn is_trial(self) -> bool {
        self.side == Side::Challenger
    }

    /// The layout that it runs with.
    pub(crate) fn number(self) -> u8 {
        self.number
    }
}

/// How the CPU's code of a kernel is laid out for calls of a size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Laid {
    /// The layout in use: vectors, rows, passages of a loop, depth of panels.
    pub in_use: String,
    /// The one without further knowledge.
    pub default: String,
    /// Whether it is another one than without further knowledge.
    pub is_learned: bool,
    /// What is known of others.
    pub others: Vec<Other>,
}

/// What is known of a layout that is not the default.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Other {
    /// Which.
    pub layout: String,
    /// Its speed over that of the default, as it was predicted.
    pub predicted: f64,
    /// The same as measured in calls of this size, where there was a race.
    pub measured: Option<f64>,
    /// Whether it is compiled.
    pub is_compiled: bool,
}

/// What stands for a size.
fn size(log2_work: f64) -> u8 {
    log2_work.round().clamp(0.0, (SIZES - 1) as f64) as u8
}

impl Default for Lays {
    fn default() -> Lays {
        Lays {
            state: AtomicU8::new(IDLE),
            in_use: std::array::from_fn(|_| AtomicU8::new(0)),
            made: Default::default(),
            table: Mutex::default(),
        }
    }
}

impl Lays {
    /// The number of the layout in use for calls of so much work; 0 for the default.
    pub(crate) fn in_use(&self, log2_work: f64) -> u8 {
        self.in_use[usize::from(size(log2_work))].load(Ordering::Acquire)
    }

    fn made(&self, number: u8) -> Option<&Made> {
        self.made.get(usize::from(number).checked_sub(1)?)?.get()
    }

    /// Its code; `None` of the default.
    pub(crate) fn version(&self, number: u8) -> Option<&Arc<dyn Version>> {
        self.made(number).map(|made| &made.version)
    }

    /// Its name; `None` of the default.
    pub(crate) fn name(&self, number: u8) -> Option<Arc<str>> {
        self.made(number).map(|made| made.name.clone())
    }

    /// Whether nothing is to be done, and no race is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Relaxed) == IDLE
    }

    /// Whether something is to be done in the background. True for one caller.
    pub(crate) fn is_wanted(&self) -> bool {
        self.state.load(Ordering::Relaxed) == WANTED
            && self
                .state
                .compare_exchange(WANTED, IDLE, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// The part in a race of a call of so much work on so many threads.
    pub(crate) fn turn(&self, log2_work: f64, threads: usize) -> Option<Turn> {
        if self.state.load(Ordering::Relaxed) != RACING {
            return None;
        }
        let mut table = self.lock();
        let at = size(log2_work);
        let spent_s = table.size(at).spent_s;
        let racing = table.race.as_mut().filter(|racing| racing.at == at)?;
        if *racing.threads.get_or_insert(threads) != threads {
            return None;
        }
        racing.waited = (0.0, 0);
        let side = racing.race.next(spent_s)?;
        let number = match side {
            Side::Present => self.in_use(log2_work),
            Side::Challenger => racing.number,
        };
        Some(Turn { race: racing.id, side, number })
    }

    /// Takes in what a call has taken that was part of a race; gives the name of the layout and its speed over the
    /// default's, if it is taken now.
    pub(crate) fn observe(
        &self,
        turn: Turn,
        log2_work: f64,
        run_s: f64,
    ) -> Option<(Arc<str>, f64)> {
        let mut table = self.lock();
        let at = size(log2_work);
        let racing = table.race.as_mut().filter(|r| (r.id, r.at) == (turn.race, at))?;
        // Calls of about this size are about as long as they have work.
        let verdict = racing.race.observe(turn.side, run_s * (f64::from(at) - log2_work).exp2())?;
        let number = racing.number;
        table.race = None;
        let size = table.size(at);
        let log2 = size.log2 + verdict.log2;
        size.raced.push(Raced { number, log2 });
        if verdict.is_taken {
            size.log2 = log2;
            self.in_use[usize::from(at)].store(number, Ordering::Release);
        }
        self.state.store(IDLE, Ordering::Relaxed);
        let name = self.name(number).filter(|_| verdict.is_taken)?;
        Some((name, log2.exp2()))
    }

    /// Calls of so much work have taken so long since the last time: is there something to try? `features` is what is
    /// known of the last one.
    pub(crate) fn spend(&self, log2_work: f64, seconds: f64, features: &Features) {
        let mut table = self.lock();
        let at = size(log2_work);
        table.size(at).spent_s += seconds;
        let made = self.made.iter().take_while(|made| made.get().is_some()).count();
        if table.is_abandoned(seconds) {
            table.race = None;
            self.state.store(IDLE, Ordering::Relaxed);
        }
        let state = table.look(at, made, features);
        if state != IDLE {
            self.state.store(state, Ordering::Relaxed);
        }
    }

    /// What is to be done.
    pub(super) fn want(&self) -> Option<Want> {
        let mut table = self.lock();
        let want = table.want.take();
        table.is_busy = want.is_some();
        want
    }

    /// What was wanted is done, or cannot be.
    pub(super) fn done(&self) {
        self.lock().is_busy = false;
    }

    /// Says what layouts are expected to be worth.
    pub(super) fn plan(&self, plan: Vec<Expected>) {
        self.lock().plan = Some(plan);
    }

    /// Whether there was such code before, that of the default included; else it is known from now on.
    pub(super) fn is_known(&self, hash: u64, default: impl FnOnce() -> Option<u64>) -> bool {
        let known = &mut self.lock().known;
        if known.is_empty() {
            known.extend(default());
        }
        let is_known = known.contains(&hash);
        known.push(hash);
        is_known
    }

    /// Another layout has been compiled: it is raced next by the size that finds it.
    pub(super) fn add(&self, expected: Expected, version: Arc<dyn Version>) {
        let made = Made { expected, name: expected.layout.to_string().into(), version };
        // One thread compiles, one after the other.
        if let Some(free) = self.made.iter().find(|made| made.get().is_none()) {
            let _ = free.set(made);
        }
    }

    /// What there is to say of calls of so much work.
    pub(crate) fn laid(&self, log2_work: f64, default: Layout) -> Laid {
        let number = self.in_use(log2_work);
        let table = self.lock();
        let size = table.sizes.iter().find(|known| known.at == size(log2_work));
        let measured = |number: u8| {
            let raced = size?.raced.iter().rev().find(|raced| raced.number == number)?;
            Some(raced.log2.exp2())
        };
        let other = |expected: &Expected, number: Option<u8>| Other {
            layout: expected.layout.to_string(),
            predicted: expected.log2.exp2(),
            measured: number.and_then(measured),
            is_compiled: number.is_some(),
        };
        let made = self.made.iter().filter_map(OnceLock::get).zip(1..);
        let made = made.map(|(made, number)| other(&made.expected, Some(number)));
        let planned = table.plan.iter().flatten().map(|expected| other(expected, None));
        Laid {
            in_use: self.name(number).map_or_else(|| default.to_string(), |name| name.to_string()),
            default: default.to_string(),
            is_learned: number > 0,
            others: made.chain(planned.take(MADE_MAX)).collect(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn size(&mut self, at: u8) -> &mut Size {
        let known = self.sizes.iter().position(|size| size.at == at);
        let index = known.unwrap_or_else(|| {
            self.sizes.push(Size { at, spent_s: 0.0, log2: 0.0, raced: Vec::new() });
            self.sizes.len() - 1
        });
        &mut self.sizes[index]
    }

    /// Whether a race under way has no calls any more.
    fn is_abandoned(&mut self, seconds: f64) -> bool {
        self.race.as_mut().is_some_and(|racing| {
            let (waited_s, times) = &mut racing.waited;
            (*waited_s, *times) = (*waited_s + seconds, *times + 1);
            *waited_s > WAIT_S && *times > WAIT_CALLS
        })
    }

    /// What comes next for a size, where so many layouts are made.
    fn look(&mut self, at: u8, made: usize, features: &Features) -> u8 {
        if self.race.is_some() || self.want.is_some() || self.is_busy {
            return IDLE;
        }
        let Size { spent_s, log2, raced, .. } = self.size(at);
        let (spent_s, log2) = (*spent_s, *log2);
        if spent_s < ASK_AFTER_S {
            return IDLE;
        }
        let unraced =
            (1..=made as u8).find(|number| raced.iter().all(|raced| raced.number != *number));
        let Some(plan) = &mut self.plan else {
            self.want = Some(Want::Forecast(Box::new(*features)));
            return WANTED;
        };
        if let Some(number) = unraced {
            self.races += 1;
            let (id, race) = (self.races, Race::new(u64::from(self.races)));
            self.race = Some(Racing { id, at, number, threads: None, waited: (0.0, 0), race });
            return RACING;
        }
        let Some(next) = plan.first().filter(|_| made < MADE_MAX) else { return IDLE };
        let gain = next.gain(log2);
        // As much again is expected to come.
        if gain < GAIN_MIN || spent_s * (1.0 - (-gain).exp2()) < next.code_s {
            return IDLE;
        }
        self.want = Some(Want::Compile(plan.remove(0)));
        WANTED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossover_kernels::error::RunError;
    use crossover_kernels::exec::{Call, Measurement};

    struct Nothing;

    impl Version for Nothing {
        fn run(&self, _: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
            Ok(Measurement::default())
        }
    }

    fn expected(vectors: u8, log2: f64) -> Expected {
        let layout = Layout { vectors, rows: 1, unroll: 1, depth: 0 };
        Expected { layout, log2, sd: 0.01, code_s: 0.01 }
    }

    /// A call of a millisecond, in which another layout than the default takes so many; what is wanted is done at
    /// once. Gives the layout of the call, if it is not the default.
    fn call(lays: &Lays, log2_work: f64, other_s: f64) -> Option<u8> {
        if lays.is_wanted() {
            match lays.want().expect("somebody wanted something") {
                Want::Forecast(_) => lays.plan(vec![expected(4, 0.5), expected(2, 0.1)]),
                Want::Compile(expected) => lays.add(expected, Arc::new(Nothing)),
            }
            lays.done();
        }
        let turn = lays.turn(log2_work, 1);
        let number = turn.map_or_else(|| lays.in_use(log2_work), Turn::number);
        let run_s = if number > 0 { other_s } else { 1e-3 };
        if let Some(turn) = turn {
            lays.observe(turn, log2_work, run_s);
        }
        lays.spend(log2_work, run_s, &Features::missing());
        (number > 0).then_some(number)
    }

    #[test]
    fn each_size_has_its_own_layout() {
        let lays = Lays::default();
        for _ in 0..300 {
            call(&lays, 20.0, 0.7e-3);
        }
        assert_eq!((lays.in_use(20.2), lays.in_use(16.0)), (1, 0));
        assert_eq!(lays.name(1).as_deref(), Some("4,1,1,0"));
        let laid = lays.laid(20.0, Layout::default());
        assert!(laid.is_learned && laid.in_use == "4,1,1,0", "{laid:?}");
        assert!(laid.others[0].measured.is_some_and(|m| (m - 1.0 / 0.7).abs() < 0.1), "{laid:?}");
        // What is compiled is tried at another size without more ado, and is not the faster there.
        let tried = (0..300).filter(|_| call(&lays, 16.0, 1.3e-3).is_some()).count();
        assert!((4..20).contains(&tried), "{tried}");
        assert_eq!((lays.in_use(20.0), lays.in_use(16.0)), (1, 0));
        assert!(!lays.laid(16.0, Layout::default()).is_learned);
    }

    #[test]
    fn what_does_not_pay_is_not_compiled() {
        let lays = Lays::default();
        let plan = vec![Expected { code_s: 10.0, ..expected(4, 0.5) }];
        for _ in 0..1000 {
            if lays.is_wanted() {
                assert!(matches!(lays.want(), Some(Want::Forecast(_))));
                lays.plan(plan.clone());
                lays.done();
            }
            assert!(lays.turn(20.0, 1).is_none());
            lays.spend(20.0, 1e-3, &Features::missing());
        }
        assert!(lays.made(1).is_none());
    }

    #[test]
    fn a_race_whose_calls_are_over_is_given_up() {
        let lays = Lays::default();
        while lays.turn(20.0, 1).is_none() {
            call(&lays, 20.0, 0.7e-3);
        }
        // Calls of another size, and one with other threads: none has a part in it.
        assert!(lays.turn(10.0, 1).is_none() && lays.turn(20.0, 2).is_none());
        for _ in 0..2000 {
            call(&lays, 10.0, 0.7e-3);
        }
        assert_eq!((lays.in_use(10.0), lays.in_use(20.0)), (1, 0), "the other size has its race");
    }
}
