//! What the first parts of a call have told of it, while it is being made.

use crossover_ml::Prediction;

use super::experience::{Answer, Experience, Lesson, SliceRun};
use super::policy::{Part, Slice};
use crate::device::Device;

/// How many times larger the next slice on a device has to be: another of the same size tells little more, since its
/// points may be unlike the rest just as much.
const GROWTH: f64 = 2.0;

/// What is known of a kernel amid a call.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    known: Experience,
    /// Of which devices no whole call of this size had run before.
    is_new: [bool; 2],
    /// The largest slice of the call that each device has run.
    largest: [f64; 2],
    /// Seconds that slices have taken.
    pub(crate) spent_s: f64,
}

impl Told {
    /// Of a call of so much work of which nothing has run.
    pub(crate) fn begin(known: &Experience, log2_work: f64) -> Told {
        let is_new = Device::ALL.map(|device| known.is_new(device, log2_work));
        Told { known: known.clone(), is_new, largest: [0.0; 2], spent_s: 0.0 }
    }

    pub(crate) fn known(&self) -> &Experience {
        &self.known
    }

    /// A part has run that tells of all of the call.
    pub(crate) fn part(&mut self, lesson: &Lesson) {
        self.known.observe(lesson);
    }

    /// A slice has run, which tells of the call with so much doubt at least: a standard deviation of log2.
    pub(crate) fn slice(
        &mut self,
        prior: &Prediction,
        log2_work: f64,
        run: &SliceRun,
        least_sd: f64,
    ) {
        let Slice { device, share } = run.slice;
        let largest = &mut self.largest[device as usize];
        *largest = largest.max(share);
        self.spent_s += run.run_s;
        self.known.observe_slice_of(prior, log2_work, run, least_sd);
    }

    /// What is to be expected of all of the call.
    pub(crate) fn expect(&self, prior: &Prediction, log2_work: f64) -> Answer {
        self.known.expect(prior, log2_work)
    }

    /// What slices could tell now.
    pub(crate) fn parts(
        &self,
        prior: &Prediction,
        log2_work: f64,
        answer: &Answer,
        start_s: [f64; 2],
    ) -> [Part; 2] {
        let of = (prior, log2_work);
        let mut parts = self.known.parts_of_new(of, answer, start_s, self.is_new);
        // Those that have run tell of the call itself, not only of calls of their size, and so will the next.
        if self.spent_s > 0.0 {
            for (part, news_sd) in parts.iter_mut().zip(answer.news_sd) {
                part.news_sd = part.news_sd.max(news_sd);
            }
        }
        self.leave_out(&mut parts);
        parts
    }

    /// Says of parts no larger than those that have run that they tell nothing.
    pub(crate) fn leave_out(&self, parts: &mut [Part; 2]) {
        for (part, largest) in parts.iter_mut().zip(self.largest) {
            if part.share < GROWTH * largest {
                part.news_sd = 0.0;
            }
        }
    }
}
