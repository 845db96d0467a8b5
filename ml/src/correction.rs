//! What one kernel's own measurements add to the model's prediction.
//!
//! The log2 time of side s at size x (log2 items) is taken to be
//!
//! ```text
//! prior mean[s] + intercept[s] + slope[s] · (x − x₀) + cell[s, bucket of x] + noise
//! ```
//!
//! with a joint Gaussian over all of it, so that a run on one side also moves the other, by as
//! much as the model's errors on both sides go together. The cells of sizes near each other are
//! alike (an Ornstein–Uhlenbeck process over the buckets): what a size has shown beyond the rest of
//! the kernel is expected of its neighbours, and the less the farther away. Each measurement is a
//! rank-1 Kalman update. Runs are slow by accident, since something else got in the way, but hardly ever fast.
//! So what is beyond three standard deviations is not treated alike:
//!
//! - faster: it is believed, at once. Where all that is known of the size may be spikes, these are taken back,
//!   also from what they said of other sizes; else the side's intercept is opened and moves there;
//! - slower: it is a spike, which moves nothing, unless spikes as frequent as this kernel's would
//!   hardly make so many in a row. Then the side has become slower, and is opened as well.
//!
//! Small changes, within the noise of a run but all in one direction, are found by Page–Hinkley.
//! Nothing decays by itself, so that what happens rarely is not forgotten.
//!
//! Before the first measurement the posterior is the prior. Where that measurement is far from it, the prior
//! is trusted less in all else that it says of the kernel.

use crate::gaussian::Gaussian;
use crate::prediction::{Prediction, Side};
#[cfg(doc)]
use crate::spikes::Spikes;
use crate::spikes::{FAR, Seen};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The constants of the correction. How sizes go together is fitted to what networks miss of kernels held
/// out, at six sizes each; the rest is chosen by hand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyper {
    /// Standard deviation of a measurement at first, in log2 seconds. Learned on from there.
    pub noise_sd: f64,
    /// How many measurements the first noise is worth.
    pub noise_weight: f64,
    /// Share of the prior's variance that all sizes of a kernel have in common; the rest is the cells'.
    pub intercept_share: f64,
    /// Doublings of the items over which the correlation of cells falls to 1/e.
    pub cells_reach: f64,
    /// Standard deviation of the slope, in log2 seconds a doubling of the items.
    pub slope_sd: f64,
    /// Innovations beyond so many standard deviations are no noise.
    pub clip_sd: f64,
    /// Page–Hinkley: standardised innovations below this are no drift.
    pub drift_slack: f64,
    /// Page–Hinkley: the sum at which a drift is believed.
    pub drift_threshold: f64,
    /// Share of the runs that are spikes, before any was seen, and how many runs that is worth.
    pub spike_rate: f64,
    /// See above.
    pub spike_weight: f64,
    /// So many slow runs in a row that spikes would make them with this probability are no spikes.
    pub spike_doubt: f64,
}

impl Default for Hyper {
    fn default() -> Self {
        Hyper {
            noise_sd: 0.15,
            noise_weight: 8.0,
            intercept_share: 0.5,
            cells_reach: 6.0,
            slope_sd: 0.05,
            clip_sd: 3.0,
            drift_slack: 0.5,
            drift_threshold: 7.0,
            spike_rate: 0.2,
            spike_weight: 10.0,
            spike_doubt: 0.002,
        }
    }
}

/// Detects that numbers which should be around zero have moved to one side (Page–Hinkley, both ways).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    up: f64,
    down: f64,
}

impl Drift {
    /// Takes the next standardised innovation. Returns whether drift is believed, and starts anew if so.
    ///
    /// ```
    /// use crossover_ml::correction::Drift;
    /// let mut drift = Drift::default();
    /// // Runs that are three deviations slower than before, one after the other.
    /// let noticed = (1..9).find(|_| drift.observe(3.0, 0.5, 8.0));
    /// assert_eq!(noticed, Some(4));
    /// ```
    pub fn observe(&mut self, standardised: f64, slack: f64, threshold: f64) -> bool {
        self.up = (self.up + standardised - slack).max(0.0);
        self.down = (self.down - standardised - slack).max(0.0);
        let drifted = self.up.max(self.down) > threshold;
        if drifted {
            *self = Drift::default();
        }
        drifted
    }
}

/// The least and the largest share of spikes that is believed of a kernel: two slow runs in a row are
/// never enough, and three are where none but these was seen to be slow.
const SPIKE_RATES: [f64; 2] = [0.05, 0.5];

/// The least doubt of a first run, and of its being a far spike: of a kernel that never met one it is still the first.
const DOUBT_MIN: f64 = 0.012;
const FAR_DOUBT_MIN: f64 = 0.002;

/// A doubt below which nobody asks whether far spikes are all that is known: at three times the time and more, no look
/// would be worth it.
const NO_DOUBT: f64 = 1e-4;

/// A doubt below which what is believed is no spike.
const SURE: f64 = 0.01;

/// Runs of a kernel that tell of spikes on the machine: the rest would be of this kernel alone.
const TELLING: u32 = 64;

/// The probability that a side has not become slower although its runs say so: as many spikes in a row
/// are about as rare.
const DOUBT_OF_CHANGE: f64 = 0.015;

/// Runs after which the share of spikes forgets older ones.
const SPIKES_REMEMBERED: f64 = 48.0;

/// Nine in ten draws of a Gaussian are within so many standard deviations.
const Z90: f64 = 1.645;

/// Half of the widest interval, in log2.
const HALF_WIDTH_MAX: f64 = 10.0;

/// How fast the width of intervals follows what was outside, and its least and largest value.
const WIDTH_STEP: f64 = 0.15;
const WIDTHS: [f64; 2] = [0.5, 16.0];

/// How heavy the tails of the model's errors are taken to be, as Student's degrees of freedom; and by how much
/// variances grow at most.
const DEGREES_OF_FREEDOM: f64 = 4.0;
const WIDENED_MAX: f64 = 25.0;

/// At most so many sizes of a kernel get a cell of their own.
const CELLS_MAX: usize = 24;

/// States before the cells: two intercepts, two slopes.
const SHARED: usize = 4;

/// The most places of a row of the observation matrix that are not zero.
const TOUCHED: usize = 4;

/// Reaches of cells that can be computed with.
const REACHES: std::ops::RangeInclusive<f64> = 1e-3..=1e3;

/// Of a variance this share at least must be left where a measurement is taken back: it was in there once.
const LEFT_MIN: f64 = 1e-9;

/// What has been learned of one kernel. It can be stored; a damaged state is refused on loading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Correction {
    hyper: Hyper,
    /// log2 items at which the slopes do nothing; set by the first measurement.
    origin: f64,
    /// The prior's covariance that belongs to a cell.
    cell_cov: [[f64; 2]; 2],
    /// The bucket of each cell.
    buckets: Vec<i32>,
    /// What has been taken in of each cell while it may be spikes, a side.
    told: Vec<[Told; 2]>,
    /// Intercepts, slopes, then two cell terms a bucket.
    state: Gaussian,
    noise_variance: [f64; 2],
    visits: [u64; 2],
    drift: [Drift; 2],
    /// The raw innovations of late, a side: how far a drift has gone.
    excursion: [f64; 2],
    /// Slow runs in a row, a side.
    slow: [Slow; 2],
    /// The probability that all that is believed of a cell is made of spikes, a side; last that of what
    /// is outside of all cells.
    doubts: Vec<[f64; 2]>,
    /// How many measurements of both sides each cell has taken in; last what is outside of all cells.
    runs: Vec<u64>,
    /// Shares of the runs that were spikes, and far ones, and of how many.
    spikes: ([f64; 2], f64),
    /// What of that nobody has been told; and how many runs there were in all.
    #[serde(skip)]
    untold: Seen,
    telling: u32,
    /// How many times wider than a Gaussian's the noise in the 90 % intervals of a side must be.
    width: [f64; 2],
}

/// Measurements that can be taken back, all of one cell and side, as one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    /// Sum of their inverse variances; 0 where there are none.
    information: f64,
    /// Sum of what they were above the prior, each over its variance.
    sum: f64,
    /// Their size.
    log2_items: f64,
    /// By how much they have widened all variances.
    widened: f64,
}

impl Default for Told {
    fn default() -> Told {
        Told { information: 0.0, sum: 0.0, log2_items: 0.0, widened: 1.0 }
    }
}

/// How a size without a cell follows from the cells next to it.
#[derive(Clone, Copy, Debug, Default)]
struct Between {
    /// Cell, and how much of it.
    cells: [(usize, f64); 2],
    /// The share of a cell's variance that these do not tell.
    left: f64,
}

/// Slow runs in a row: how many, the sum of their innovations, and how many were far off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Slow {
    runs: u32,
    sum: f64,
    far: u32,
}

impl Slow {
    fn add(&mut self, innovation: f64) {
        self.runs += 1;
        self.sum += innovation;
        self.far += u32::from(innovation > FAR.log2());
    }
}

/// What a measurement is, beside what was believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Within the noise.
    Usual,
    /// Much faster than believed.
    Fast,
    /// Much slower, for once.
    Spike,
    /// Much slower, once more: so it is now.
    Slower,
}

impl Correction {
    /// Nothing measured yet.
    ///
    /// ```
    /// use crossover_ml::{Correction, Hyper, Prediction};
    /// let (prior, unknown) = (Prediction::vague(), Correction::new(&Hyper::default()));
    /// assert_eq!(unknown.posterior(&prior, 20.0), prior);
    /// ```
    #[must_use]
    pub fn new(hyper: &Hyper) -> Correction {
        Correction {
            hyper: *hyper,
            origin: 0.0,
            cell_cov: [[0.0; 2]; 2],
            buckets: Vec::new(),
            told: Vec::new(),
            state: Gaussian::default(),
            noise_variance: [hyper.noise_sd * hyper.noise_sd; 2],
            visits: [0; 2],
            drift: Default::default(),
            excursion: [0.0; 2],
            slow: Default::default(),
            doubts: vec![[1.0; 2]],
            runs: vec![0],
            spikes: ([hyper.spike_rate; 2], hyper.spike_weight),
            untold: Seen::default(),
            telling: 0,
            width: [1.0; 2],
        }
    }

    /// The probability that all that is believed of a side at this size is made of spikes; 1 before
    /// the first run.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let mut kernel = Correction::new(&Hyper::default());
    /// assert_eq!(kernel.doubt(Side::Cpu, 20.0), 1.0);
    /// kernel.observe(&Prediction::vague(), 20.0, Side::Cpu, -13.0);
    /// assert!(kernel.doubt(Side::Cpu, 20.0) < 1.0);
    /// ```
    #[must_use]
    pub fn doubt(&self, side: Side, log2_items: f64) -> f64 {
        self.doubts[self.place(log2_items)][side.index()]
    }

    /// The share of runs that are slow by accident.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper};
    /// assert!((0.0..0.5).contains(&Correction::new(&Hyper::default()).spike_rate()));
    /// ```
    #[must_use]
    pub fn spike_rate(&self) -> f64 {
        self.spikes.0[0].clamp(SPIKE_RATES[0], SPIKE_RATES[1])
    }

    /// As [`Correction::doubt`], of nothing but spikes in which runs took three times as long and more.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let mut kernel = Correction::new(&Hyper::default());
    /// assert_eq!(kernel.far_doubt(Side::Cpu, 20.0), 1.0);
    /// (0..9).for_each(|_| kernel.observe(&Prediction::vague(), 20.0, Side::Cpu, -13.0));
    /// assert!(kernel.far_doubt(Side::Cpu, 20.0) < 0.01);
    /// ```
    #[must_use]
    pub fn far_doubt(&self, side: Side, log2_items: f64) -> f64 {
        let doubt = self.doubt(side, log2_items);
        if doubt < NO_DOUBT {
            return 0.0;
        }
        // So many runs agree.
        let runs = doubt.ln() / self.doubt_of_one().ln();
        self.spikes.0[1].clamp(FAR_DOUBT_MIN, SPIKE_RATES[1]).powf(runs)
    }

    /// Expects these shares of spikes, as others have seen them ([`Spikes::rates`]); of a kernel that has run they are
    /// known better.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let doubt_at = |rate| {
    ///     let mut kernel = Correction::new(&Hyper::default());
    ///     kernel.expect_spikes([rate; 2]);
    ///     kernel.observe(&Prediction::vague(), 20.0, Side::Cpu, -13.0);
    ///     kernel.doubt(Side::Cpu, 20.0)
    /// };
    /// assert!(doubt_at(0.02) < doubt_at(0.3));
    /// ```
    pub fn expect_spikes(&mut self, rates: [f64; 2]) {
        if self.visits == [0; 2] {
            self.spikes.0 = rates;
        }
    }

    /// How many runs were spikes, since this was asked last; of a kernel's first runs alone.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let mut kernel = Correction::new(&Hyper::default());
    /// (0..5).for_each(|_| kernel.observe(&Prediction::vague(), 20.0, Side::Cpu, -13.0));
    /// assert_eq!(kernel.take_spikes().runs, 4, "of the first nothing else is known");
    /// assert_eq!(kernel.take_spikes().runs, 0);
    /// ```
    pub fn take_spikes(&mut self) -> Seen {
        std::mem::take(&mut self.untold)
    }

    /// How many measurements of this size were taken in, of both sides together.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let mut kernel = Correction::new(&Hyper::default());
    /// kernel.observe(&Prediction::vague(), 20.0, Side::Cpu, -13.0);
    /// assert_eq!((kernel.runs(20.0), kernel.runs(10.0)), (1, 0));
    /// ```
    #[must_use]
    pub fn runs(&self, log2_items: f64) -> u64 {
        self.runs[self.place(log2_items)]
    }

    /// How many measurements of a side were taken in.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let mut kernel = Correction::new(&Hyper::default());
    /// kernel.observe(&Prediction::vague(), 20.0, Side::Gpu, -13.0);
    /// assert_eq!(Side::ALL.map(|side| kernel.visits(side)), [0, 1]);
    /// ```
    #[must_use]
    pub fn visits(&self, side: Side) -> u64 {
        self.visits[side.index()]
    }

    /// The standard deviation of a single measurement of a side, in log2 seconds, as learned so far.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let (mut kernel, prior) = (Correction::new(&Hyper::default()), Prediction::vague());
    /// let before = kernel.noise_sd(Side::Cpu);
    /// (0..50).for_each(|_| kernel.observe(&prior, 20.0, Side::Cpu, -13.0));
    /// assert!(kernel.noise_sd(Side::Cpu) < before, "all runs were alike");
    /// ```
    #[must_use]
    pub fn noise_sd(&self, side: Side) -> f64 {
        self.noise_variance[side.index()].sqrt()
    }

    /// The prediction for a call of `log2_items`, given what the model says of it.
    /// Its covariance is that of the expected log2 time, without the noise of a single run.
    /// Never allocates.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let (mut kernel, prior) = (Correction::new(&Hyper::default()), Prediction::vague());
    /// kernel.observe(&prior, 20.0, Side::Cpu, -8.0);
    /// let [cpu, gpu] = kernel.posterior(&prior, 20.0).mean;
    /// assert!((cpu + 8.0).abs() < 0.1, "as measured");
    /// assert!(gpu > prior.mean[1], "what is slow here may be slow there");
    /// ```
    #[must_use]
    pub fn posterior(&self, prior: &Prediction, log2_items: f64) -> Prediction {
        if self.state.is_empty() {
            return *prior;
        }
        let rows = Side::ALL.map(|side| self.row(side, log2_items));
        let mean = [0, 1].map(|i| prior.mean[i] + self.state.value(&rows[i]));
        let mut cov = [0, 1].map(|i| [0, 1].map(|j| self.state.covariance(&rows[i], &rows[j])));
        if self.cell(log2_items).is_none() {
            let left = self.between(bucket_of(log2_items)).left;
            for (cov, cell) in cov.iter_mut().flatten().zip(self.cell_cov.iter().flatten()) {
                *cov += left * cell;
            }
        }
        Prediction { mean, cov }
    }

    /// The central interval, in seconds, that holds the next run of a side with a probability of 90 %, where
    /// `posterior` is what [`Correction::posterior`] says. The noise of a single run is in it, as wide as it
    /// would have had to be in the intervals before: runs are no Gaussians. At most a factor of a thousand both
    /// ways: beyond that nothing is known.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let (mut kernel, prior) = (Correction::new(&Hyper::default()), Prediction::vague());
    /// (0..8).for_each(|_| kernel.observe(&prior, 20.0, Side::Cpu, -8.0));
    /// let (low_s, high_s) = kernel.interval90(&kernel.posterior(&prior, 20.0), Side::Cpu);
    /// assert!((low_s..high_s).contains(&2f64.powi(-8)) && high_s < 2.0 * low_s);
    /// ```
    #[must_use]
    pub fn interval90(&self, posterior: &Prediction, side: Side) -> (f64, f64) {
        let i = side.index();
        let half = if self.state.is_empty() {
            Z90 * posterior.sd(side)
        } else {
            self.half_width(i, posterior.cov[i][i].max(0.0))
        };
        let half = half.min(HALF_WIDTH_MAX);
        ((posterior.mean[i] - half).exp2(), (posterior.mean[i] + half).exp2())
    }

    /// How much a run of `run_items` on a side is going to tell of a call of `log2_items`: the standard
    /// deviation of the change of the log2 of how many times longer one side takes than the other.
    /// Never allocates.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let (mut kernel, prior) = (Correction::new(&Hyper::default()), Prediction::vague());
    /// let news = |kernel: &Correction| kernel.news_sd(&prior, 20.0, Side::Cpu, 20.0);
    /// let before = news(&kernel);
    /// kernel.observe(&prior, 20.0, Side::Cpu, -8.0);
    /// assert!(news(&kernel) < before, "the next run tells less");
    /// ```
    #[must_use]
    pub fn news_sd(&self, prior: &Prediction, log2_items: f64, side: Side, run_items: f64) -> f64 {
        let (i, other) = (side.index(), side.other().index());
        let noise = self.noise_variance[i];
        let (told, variance) = if self.state.is_empty() {
            let own = prior.cov[i][i];
            let share = self.hyper.intercept_share;
            let alike = self.alike(bucket_of(log2_items), bucket_of(run_items));
            let share = share + (1.0 - share) * alike;
            let slope = self.hyper.slope_sd * (run_items - log2_items);
            (share * (own - prior.cov[i][other]), own + slope * slope)
        } else {
            let [own, others] = [side, side.other()].map(|side| self.row(side, log2_items));
            let run = self.row(side, run_items);
            let both = self.left_of_both(log2_items, run_items);
            let cells = both * (self.cell_cov[i][i] - self.cell_cov[i][other]);
            let told =
                self.state.covariance(&own, &run) + cells - self.state.covariance(&others, &run);
            (told, self.state.covariance(&run, &run) + self.cell_outside(run_items, i))
        };
        told.abs() / (variance.max(0.0) + noise).sqrt()
    }

    /// Takes in a measured call. `prior` is what the model says of it, without this correction.
    /// Numbers that are not finite are ignored.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let (mut kernel, prior) = (Correction::new(&Hyper::default()), Prediction::vague());
    /// kernel.observe(&prior, 20.0, Side::Cpu, f64::NAN);
    /// assert_eq!(kernel.visits(Side::Cpu), 0, "this is no time");
    /// kernel.observe(&prior, 20.0, Side::Cpu, -8.0);
    /// assert_eq!(kernel.visits(Side::Cpu), 1);
    /// ```
    pub fn observe(&mut self, prior: &Prediction, log2_items: f64, side: Side, log2_seconds: f64) {
        self.observe_with_noise(prior, log2_items, side, log2_seconds, 0.0);
    }

    /// As [`Correction::observe`], for a measurement with `extra_sd` log2 seconds of standard
    /// deviation beyond the usual: a slice, which has its own start-up cost, or a timer that is coarse.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let prior = Prediction::vague();
    /// let told = |extra_sd| {
    ///     let mut kernel = Correction::new(&Hyper::default());
    ///     kernel.observe_with_noise(&prior, 20.0, Side::Cpu, -8.0, extra_sd);
    ///     kernel.posterior(&prior, 20.0).mean[0] - prior.mean[0]
    /// };
    /// assert!(told(3.0) < told(0.0), "a coarse measurement is believed less");
    /// ```
    pub fn observe_with_noise(
        &mut self,
        prior: &Prediction,
        log2_items: f64,
        side: Side,
        log2_seconds: f64,
        extra_sd: f64,
    ) {
        let numbers = [prior.mean[0], prior.mean[1], log2_items, log2_seconds, extra_sd];
        let prior_is_usable = prior.cov.iter().flatten().all(|x| x.is_finite());
        if !prior_is_usable || !numbers.iter().all(|x| x.is_finite()) {
            return;
        }
        if self.state.is_empty() {
            self.begin(prior, log2_items);
        }
        self.add_cell(log2_items);
        let i = side.index();
        let row = self.row(side, log2_items);
        let innovation = log2_seconds - prior.mean[i] - self.state.value(&row);
        let extra = extra_sd * extra_sd + self.cell_outside(log2_items, i);
        let noise = self.noise_variance[i] + extra;
        let known = self.known(&row);
        let limit = self.hyper.clip_sd * (known + noise).sqrt();
        let doubt = self.doubt(side, log2_items);
        self.learn_width(i, innovation, known + extra);
        // Where to look for what has changed: in what is least sure.
        let opened = if self.is_least_sure(i, log2_items) { row[2].0 } else { i };
        match self.kind(i, log2_items, [innovation, limit]) {
            Kind::Spike => self.slow[i].add(innovation),
            Kind::Usual => {
                self.follow_drift(i, innovation, known + noise);
                let known = self.known(&row);
                self.state.update(&row, innovation, known + noise);
                self.tell(i, log2_items, log2_seconds - prior.mean[i], noise);
                let shown = innovation.clamp(-limit, limit);
                self.learn_noise(i, known, shown * shown - known - extra);
            }
            Kind::Fast => {
                let taken_back = (doubt > SURE).then(|| self.take_back(i, log2_items));
                if let Some(widened) = taken_back.flatten() {
                    let above = log2_seconds - prior.mean[i];
                    self.learn_anew(i, opened, &row, [above, log2_items, extra], widened);
                } else {
                    self.jump(i, opened, &row, innovation, extra);
                }
                // What was sure before may be noisier than believed; what was not was a spike.
                if doubt < SURE {
                    self.learn_noise(i, 0.0, limit * limit);
                }
            }
            Kind::Slower => {
                let Slow { runs, sum, .. } = std::mem::take(&mut self.slow[i]);
                let level = (sum + innovation) / f64::from(runs + 1);
                self.jump(i, opened, &row, level, extra);
            }
        }
        if self.visits == [0; 2] {
            self.widen(i, innovation * innovation / (known + noise));
        }
        self.visits[i] += 1;
        let place = self.place(log2_items);
        self.runs[place] += 1;
    }

    /// After the first measurement, whose squared innovation was so many variances: what the model has said
    /// of a kernel on which it errs far more than it believes is not believed of the other side and of other
    /// sizes either. Variances grow as those of Student's distribution, given one of its variables.
    fn widen(&mut self, i: usize, squared: f64) {
        let factor = ((DEGREES_OF_FREEDOM + squared) / (DEGREES_OF_FREEDOM + 1.0)).min(WIDENED_MAX);
        if factor > 1.0 {
            self.scale(factor);
            if let Some(told) = self.told.first_mut() {
                told[i].widened = factor;
            }
        }
    }

    /// Every variance becomes so many times as large, as if all that was measured had been less exact by as much.
    fn scale(&mut self, factor: f64) {
        self.state.widen(factor);
        self.cell_cov.iter_mut().flatten().for_each(|x| *x *= factor);
        for told in self.told.iter_mut().flatten() {
            told.information /= factor;
            told.sum /= factor;
        }
    }

    /// A measurement was taken in that may have been a spike: so much above the prior, with such a variance.
    fn tell(&mut self, i: usize, log2_items: f64, above: f64, variance: f64) {
        let Some(cell) = self.cell(log2_items) else { return };
        let told = &mut self.told[cell][i];
        if self.doubts[cell][i] <= SURE {
            *told = Told::default();
            return;
        }
        if told.information == 0.0 {
            *told = Told { log2_items, ..Told::default() };
        }
        told.information += 1.0 / variance;
        told.sum += above / variance;
    }

    /// Takes back what has been told of a cell and side: it was made of spikes, and has moved other sizes and the other
    /// side as well. In information measurements are a sum, so that one can be subtracted whatever came after it.
    /// Returns by how much it had widened the variances, if there was such a thing.
    fn take_back(&mut self, i: usize, log2_items: f64) -> Option<f64> {
        let cell = self.cell(log2_items)?;
        let told = std::mem::take(&mut self.told[cell][i]);
        if told.information == 0.0 {
            return None;
        }
        let row = self.row(Side::ALL[i], told.log2_items);
        let variance = 1.0 / told.information;
        let left = variance - self.state.covariance(&row, &row);
        // What has been opened since is less known than it was then.
        if left <= LEFT_MIN * variance {
            return None;
        }
        let innovation = told.sum * variance - self.state.value(&row);
        self.state.update(&row, innovation, -left);
        self.scale(1.0 / told.widened);
        Some(told.widened)
    }

    /// What was known of a size has been taken back, and this is what it takes: so much above the prior.
    fn learn_anew(
        &mut self,
        i: usize,
        opened: usize,
        row: &[(usize, f64); TOUCHED],
        [above, log2_items, extra]: [f64; 3],
        widened: f64,
    ) {
        let innovation = above - self.state.value(row);
        let noise = self.noise_variance[i] + extra;
        let variance = self.known(row) + noise;
        if innovation.abs() > self.hyper.clip_sd * variance.sqrt() {
            self.jump(i, opened, row, innovation, extra);
        } else {
            self.state.update(row, innovation, variance);
            self.tell(i, log2_items, above, noise);
        }
        if widened > 1.0 {
            self.widen(i, innovation * innovation / variance);
        }
    }

    /// Keeps what was learned when the model is exchanged: `old` and `new` are both models'
    /// predictions for one typical call of this kernel.
    ///
    /// ```
    /// # use crossover_ml::{Correction, Hyper, Prediction, Side};
    /// let (old, new) = (Prediction::vague(), Prediction::new([-9.0; 2], [5.0; 2], 0.8));
    /// let mut kernel = Correction::new(&Hyper::default());
    /// kernel.observe(&old, 20.0, Side::Cpu, -8.0);
    /// kernel.rebase(&old, &new);
    /// assert!((kernel.posterior(&new, 20.0).mean[0] + 8.0).abs() < 0.2, "it stays as measured");
    /// ```
    pub fn rebase(&mut self, old: &Prediction, new: &Prediction) {
        for i in 0..2 {
            let shift = old.mean[i] - new.mean[i];
            if shift.is_finite() {
                self.state.shift(i, shift);
                for told in &mut self.told {
                    told[i].sum += shift * told[i].information;
                }
            }
        }
    }

    /// The state before the first measurement: the prior's covariance, split between what all
    /// sizes share and what is a cell's own.
    fn begin(&mut self, prior: &Prediction, log2_items: f64) {
        let share = self.hyper.intercept_share.clamp(0.0, 1.0);
        self.origin = log2_items;
        self.state = Gaussian::zeros(SHARED);
        let correlation = prior.correlation();
        let sd = Side::ALL.map(|side| prior.sd(side).max(1e-3));
        for i in 0..2 {
            for j in 0..2 {
                let together = if i == j { 1.0 } else { correlation };
                self.cell_cov[i][j] = sd[i] * sd[j] * together * (1.0 - share);
                self.state.relate(i, j, sd[i] * sd[j] * together * share);
                let slope = self.hyper.slope_sd * self.hyper.slope_sd;
                self.state.relate(i + 2, j + 2, slope * together);
            }
        }
    }

    fn cell(&self, log2_items: f64) -> Option<usize> {
        let bucket = bucket_of(log2_items);
        self.buckets.iter().position(|&known| known == bucket)
    }

    /// Where the doubts of this size are.
    fn place(&self, log2_items: f64) -> usize {
        self.cell(log2_items).unwrap_or(self.buckets.len())
    }

    /// The variance of a side of a size that the states do not hold, because it has no cell.
    fn cell_outside(&self, log2_items: f64, side: usize) -> f64 {
        match self.cell(log2_items) {
            Some(_) => 0.0,
            None => self.between(bucket_of(log2_items)).left * self.cell_cov[side][side],
        }
    }

    /// The correlation of two cells.
    fn alike(&self, a: i32, b: i32) -> f64 {
        (-f64::from(a.abs_diff(b)) / self.hyper.cells_reach).exp()
    }

    /// What the nearest cells on both sides tell of a bucket that has none. Those beyond tell nothing more.
    fn between(&self, bucket: i32) -> Between {
        let cells = || self.buckets.iter().copied().enumerate();
        let below = cells().filter(|&(_, known)| known < bucket).max_by_key(|&(_, known)| known);
        let above = cells().filter(|&(_, known)| known > bucket).min_by_key(|&(_, known)| known);
        let near = [below, above]
            .map(|cell| cell.map_or((0, 0.0), |(cell, known)| (cell, self.alike(bucket, known))));
        let [(_, a), (_, b)] = near;
        // Nothing is learned twice of what the two have in common.
        let rest = 1.0 - (a * b).powi(2);
        let factor = [a * (1.0 - b * b) / rest, b * (1.0 - a * a) / rest];
        let left = (1.0 - a * a) * (1.0 - b * b) / rest;
        Between { cells: [(near[0].0, factor[0]), (near[1].0, factor[1])], left }
    }

    /// The share of a cell's covariance that two sizes have in common beyond what the states hold.
    fn left_of_both(&self, one: f64, other: f64) -> f64 {
        let (bucket, run) = (bucket_of(one), bucket_of(other));
        if self.cell(one).is_some() || self.cell(other).is_some() {
            return 0.0;
        }
        let told = |(cell, factor): (usize, f64)| {
            self.buckets.get(cell).map_or(0.0, |&known| factor * self.alike(known, run))
        };
        self.alike(bucket, run) - self.between(bucket).cells.map(told).iter().sum::<f64>()
    }

    /// Makes room for the cell of this size, unless it is there or there are too many.
    fn add_cell(&mut self, log2_items: f64) {
        if self.cell(log2_items).is_some() || self.buckets.len() >= CELLS_MAX {
            return;
        }
        let bucket = bucket_of(log2_items);
        let Between { cells, left } = self.between(bucket);
        let seen = [0, 1].map(|i| cells.map(|(cell, factor)| self.part(i, cell, factor)));
        let own = self.cell_cov.map(|row| row.map(|x| left * x));
        self.state.extend([&seen[0], &seen[1]], own);
        self.told.push([Told::default(); 2]);
        self.doubts.insert(self.buckets.len(), [1.0; 2]);
        self.runs.insert(self.buckets.len(), 0);
        self.buckets.push(bucket);
    }

    /// The row of the observation matrix: which states a measurement sees, and how much of each.
    fn row(&self, side: Side, log2_items: f64) -> [(usize, f64); TOUCHED] {
        let i = side.index();
        let cells = match self.cell(log2_items) {
            Some(cell) => [(cell, 1.0), (cell, 0.0)],
            None => self.between(bucket_of(log2_items)).cells,
        };
        let [one, other] = cells.map(|(cell, factor)| self.part(i, cell, factor));
        [(i, 1.0), (2 + i, log2_items - self.origin), one, other]
    }

    /// So much of a cell's state; of none where there are no cells.
    fn part(&self, i: usize, cell: usize, factor: f64) -> (usize, f64) {
        if factor == 0.0 { (i, 0.0) } else { (SHARED + 2 * cell + i, factor) }
    }

    fn known(&self, row: &[(usize, f64); TOUCHED]) -> f64 {
        self.state.covariance(row, row).max(0.0)
    }

    /// What a measurement is that lies so many limits above what was believed of a side, and what that
    /// says of spikes.
    fn kind(&mut self, i: usize, log2_items: f64, [innovation, limit]: [f64; 2]) -> Kind {
        let (place, limits) = (self.place(log2_items), innovation / limit);
        let is_first = self.doubts[place][i] == 1.0;
        // Whatever the first run of a size says is all that is known of it.
        if is_first {
            self.doubts[place][i] = self.doubt_of_one();
            return Kind::Usual;
        }
        if limits > 1.0 {
            let runs = self.slow[i].runs + 1;
            if self.spike_rate().powi(runs as i32) >= self.hyper.spike_doubt {
                return Kind::Spike;
            }
            self.doubt_anew(i, place, DOUBT_OF_CHANGE);
            return Kind::Slower;
        }
        // The slow ones before this have been spikes.
        let slow = std::mem::take(&mut self.slow[i]);
        for at in 0..slow.runs {
            self.count([true, at < slow.far]);
        }
        let doubt = self.doubts[place][i];
        if limits < -1.0 {
            // What was in doubt has been one, too.
            self.count([doubt > SURE, doubt > SURE && innovation < -FAR.log2()]);
            self.doubt_anew(i, place, self.doubt_of_one());
            return Kind::Fast;
        }
        self.count([false; 2]);
        self.doubts[place][i] = doubt * self.doubt_of_one();
        Kind::Usual
    }

    /// A side has changed, as the runs of a cell say; the others' only believe so.
    fn doubt_anew(&mut self, i: usize, place: usize, doubt: f64) {
        for doubts in &mut self.doubts {
            doubts[i] = doubts[i].max(doubt.min(0.99));
        }
        self.doubts[place][i] = doubt;
    }

    /// Counts a run: whether it was a spike, and a far one.
    fn count(&mut self, is_spike: [bool; 2]) {
        let (rates, weight) = &mut self.spikes;
        *weight = (*weight + 1.0).min(SPIKES_REMEMBERED);
        for (rate, is_spike) in rates.iter_mut().zip(is_spike) {
            *rate += (f64::from(u8::from(is_spike)) - *rate) / *weight;
        }
        if self.telling < TELLING {
            self.telling += 1;
            self.untold.add(is_spike);
        }
    }

    /// The probability that a single run was a spike.
    fn doubt_of_one(&self) -> f64 {
        self.spikes.0[0].clamp(DOUBT_MIN, SPIKE_RATES[1])
    }

    /// Whether a cell of a side may be made of spikes while others are better known.
    fn is_least_sure(&self, i: usize, log2_items: f64) -> bool {
        let doubt = self.doubts[self.place(log2_items)][i];
        doubt > SURE && self.doubts.iter().any(|other| other[i] < doubt)
    }

    /// Opens one of the states so far that an innovation is believed.
    fn jump(
        &mut self,
        i: usize,
        opened: usize,
        row: &[(usize, f64); TOUCHED],
        innovation: f64,
        extra: f64,
    ) {
        self.state.open(opened, innovation * innovation);
        self.drift[i] = Drift::default();
        // What was told before is of what is no more.
        self.told.iter_mut().for_each(|told| told[i] = Told::default());
        let variance = self.known(row) + self.noise_variance[i] + extra;
        self.state.update(row, innovation, variance);
    }

    /// Opens a side's intercept when its innovations keep pointing one way.
    fn follow_drift(&mut self, i: usize, innovation: f64, variance: f64) {
        self.excursion[i] = 0.5 * (self.excursion[i] + innovation);
        if self.visits[i] == 0 {
            return;
        }
        let (slack, threshold) = (self.hyper.drift_slack, self.hyper.drift_threshold);
        if self.drift[i].observe(innovation / variance.sqrt(), slack, threshold) {
            self.state.open(i, self.excursion[i] * self.excursion[i]);
            self.noise_variance[i] = self.noise_variance[i].min(4.0 * self.hyper.noise_sd.powi(2));
        }
    }

    /// Widens the intervals of a side where a run was outside, and narrows them where it was not, so that
    /// nine in ten are inside, however runs are distributed.
    fn learn_width(&mut self, i: usize, innovation: f64, known: f64) {
        // What the prior says says nothing of runs.
        if self.visits[i] == 0 {
            return;
        }
        let is_outside = innovation.abs() > self.half_width(i, known);
        let step = if is_outside { 0.9 } else { -0.1 };
        self.width[i] = (self.width[i] * (WIDTH_STEP * step).exp()).clamp(WIDTHS[0], WIDTHS[1]);
    }

    /// Half of the 90 % interval of a run, in log2, of which so much variance is no noise. The width is the
    /// noise's: what is not known of another size is no wider for it.
    fn half_width(&self, i: usize, known: f64) -> f64 {
        let noise = self.noise_variance[i];
        Z90 * (known + noise * self.width[i] * self.width[i]).sqrt()
    }

    /// Moves a side's noise towards what an innovation showed beyond what was uncertain anyway: the less,
    /// the more was uncertain.
    fn learn_noise(&mut self, i: usize, known: f64, shown: f64) {
        let first = self.hyper.noise_sd * self.hyper.noise_sd;
        let told = self.noise_variance[i] / (self.noise_variance[i] + known);
        let weight = self.hyper.noise_weight + (self.visits[i] as f64).min(64.0);
        let step = (shown - self.noise_variance[i]) / weight.max(1.0);
        let learned = self.noise_variance[i] + told * step;
        self.noise_variance[i] = learned.clamp(0.04 * first, 64.0 * first);
    }
}

impl Correction {
    /// Whether the parts fit together and can be computed with.
    fn is_valid(&self) -> bool {
        let states = if self.state.is_empty() { 0 } else { SHARED + 2 * self.buckets.len() };
        let told = |told: &Told| {
            [told.sum, told.log2_items].iter().all(|x| x.is_finite())
                && (0.0..f64::INFINITY).contains(&told.information)
                && (1.0..=WIDENED_MAX).contains(&told.widened)
        };
        let numbers = self.noise_variance.iter().chain(self.cell_cov.iter().flatten());
        let mut numbers = numbers.chain([&self.origin]);
        let widths = WIDTHS[0]..=WIDTHS[1];
        self.state.is_of(states)
            && self.buckets.len() <= CELLS_MAX
            && self.doubts.len() == self.buckets.len() + 1
            && self.runs.len() == self.doubts.len()
            && self.told.len() == self.buckets.len()
            && self.told.iter().flatten().all(told)
            && numbers.all(|x| x.is_finite())
            && self.noise_variance.iter().all(|&x| x > 0.0)
            && REACHES.contains(&self.hyper.cells_reach)
            && self.width.iter().all(|x| widths.contains(x))
    }
}

impl Serialize for Correction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Correction::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Correction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let correction = Correction::deserialize(deserializer)?;
        if correction.is_valid() {
            Ok(correction)
        } else {
            Err(D::Error::custom("a correction whose parts do not fit together"))
        }
    }
}

fn bucket_of(log2_items: f64) -> i32 {
    log2_items.floor() as i32
}

#[cfg(test)]
mod tests;
