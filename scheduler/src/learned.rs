//! What a runtime knows of a kernel: the network's answer for each shape of call, what running it has
//! taught, and what the numbers of threads have taken.

use std::sync::Arc;

use crossover_kernels::analysis::{Cut, Uncut};
use crossover_ml::{Features, Prediction, Trust};

use crate::device::Device;
use crate::footprint::Footprint;
use crate::place::Decision;
use crate::route::{Answer, Experience, FLEETING_S, Lesson, SliceRun};
use crate::terms::Work;
use crate::threads::{Choice, Crew, Crews};
use crate::trust::{Opinions, Sight, Sighting};
use crate::version::Prepared;
use crate::words::WordMap;

/// Predictions kept per kernel, one for each shape of call.
const SHAPES_MAX: usize = 512;

/// Calls of a kernel that are all shown to the trainer, and seconds of run time for each after that:
/// it works on a row for some 30 µs.
const SHOWN_FIRST: u64 = 128;
const SHOWN_S: f64 = 1e-3;

/// What has been learned of a kernel.
pub(crate) struct Learned {
    pub(crate) experience: Experience,
    /// What one thread and all threads of the CPU have taken.
    crews: Crews,
    /// Predictions of the network by shape of call.
    shapes: WordMap<u64, Known>,
    /// The generation that the correction is relative to.
    pub(crate) generation: u64,
    /// How far the network of that generation was believed when it was first asked: so it stays, since the correction is
    /// relative to the prior.
    trust: Option<Trust>,
    /// A prior of that generation: by what another network says of it the correction is moved.
    anchor: Option<Arc<Prior>>,
    /// The first runs on each device.
    sightings: [Sighting; 2],
    /// Rises whenever `crews` changes.
    crews_revision: u64,
    /// Seconds that calls have taken on other GPUs since this one last ran one.
    pub(crate) elsewhere_s: f64,
    /// Seconds of run time since the trainer was last shown a call.
    unshown_s: f64,
}

/// A shape of call, and what is to be expected of it.
pub(crate) struct Known {
    pub(crate) prior: Arc<Prior>,
    pub(crate) answer: Answer,
    /// Of threads; `None` where there is but one.
    pub(crate) choice: Option<Choice>,
    /// The newest decision about such a call.
    pub(crate) kept: Option<Kept>,
    /// The revision that all this is of.
    revision: Option<u64>,
}

/// A decision that may be made again.
pub(crate) struct Kept {
    pub(crate) decision: Arc<Decision>,
    /// The budget for trials until which the policy need not be asked.
    pub(crate) until_s: f64,
    /// Whether something has been learned since.
    pub(crate) is_old: bool,
}

/// Until when a decision would be made again, as far as what was learned goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    revision: u64,
    until_s: f64,
}

/// What the network says of one shape of call.
#[derive(Debug)]
pub(crate) struct Prior {
    /// Which shape.
    pub(crate) shape: u64,
    pub(crate) prediction: Prediction,
    /// What that was made from.
    pub(crate) opinions: Opinions,
    pub(crate) features: Box<Features>,
    /// log2 of the operations of the call: where it lies on the kernel's size axis.
    pub(crate) log2_work: f64,
    pub(crate) work: Work,
    pub(crate) generation: u64,
    /// What such a call touches of its buffers.
    pub(crate) footprints: Box<[Footprint]>,
    /// Why the GPU cannot run such a call, though it can run the kernel.
    pub(crate) refusal: Option<Arc<str>>,
    /// How such a call can be cut, or why not.
    pub(crate) cut: Result<Cut, Uncut>,
}

impl Default for Learned {
    fn default() -> Learned {
        Learned {
            experience: Experience::default(),
            crews: Crews::default(),
            shapes: WordMap::default(),
            generation: 0,
            trust: None,
            anchor: None,
            sightings: Default::default(),
            crews_revision: 0,
            elsewhere_s: 0.0,
            unshown_s: 0.0,
        }
    }
}

impl Learned {
    /// What a shape of call is known by, corrected, beside what is known of the kernel; `ask` asks the
    /// network where it is not known, or only by an older network: given how far the network is believed of the kernel,
    /// and a prior of an older network, of which it is to say what the new one says. `choose` chooses the number of
    /// threads. From memory, where nothing has been learned since the last call.
    pub(crate) fn expect(
        &mut self,
        shape: u64,
        generation: u64,
        ask: impl FnOnce(Option<Trust>, Option<&Prior>) -> (Prior, Option<Prediction>),
        choose: impl FnOnce(&Crews, f64, &Answer) -> Option<Choice>,
    ) -> (&mut Known, &Experience) {
        if self.shapes.get(&shape).is_none_or(|known| known.prior.generation != generation) {
            let is_new = self.generation != generation;
            let anchor = self.anchor.take();
            let (prior, moved) =
                ask(self.trust.filter(|_| !is_new), anchor.as_deref().filter(|_| is_new));
            if let (Some(old), Some(new)) = (&anchor, moved) {
                self.experience.rebase(&old.prediction, &new);
            }
            self.generation = generation;
            self.insert(shape, prior, anchor.filter(|_| !is_new));
        }
        let revision = self.revision();
        let known = self.shapes.get_mut(&shape).expect("it is known now");
        if known.revision != Some(revision) {
            let prior = &known.prior;
            known.answer = self.experience.expect(&prior.prediction, prior.log2_work);
            known.choice = choose(&self.crews, prior.log2_work, &known.answer);
            known.kept.iter_mut().for_each(|kept| kept.is_old = true);
            known.revision = Some(revision);
        }
        (known, &self.experience)
    }

    /// Rises whenever what was expected before may be otherwise now.
    fn revision(&self) -> u64 {
        self.experience.revision() + self.crews_revision
    }

    /// What is known of a shape of call, if it has been asked for.
    pub(crate) fn prior(&self, shape: u64) -> Option<Arc<Prior>> {
        self.shapes.get(&shape).map(|known| known.prior.clone())
    }

    /// A trial of a number of threads is sent.
    pub(crate) fn begin_crews_trial(&mut self, log2_work: f64, crew: Crew) {
        self.crews.begin_trial(log2_work, crew);
        self.crews_revision += 1;
    }

    fn insert(&mut self, shape: u64, prior: Prior, anchor: Option<Arc<Prior>>) {
        self.trust = Some(prior.opinions.trust);
        if self.shapes.len() >= SHAPES_MAX {
            self.shapes.clear();
        }
        let (prior, answer) = (Arc::new(prior), Answer::default());
        self.anchor = anchor.or_else(|| Some(prior.clone()));
        let known = Known { prior, answer, choice: None, kept: None, revision: None };
        self.shapes.insert(shape, known);
    }

    /// Learns from a measured run, of which `predicted_s` was expected if anything was. `crew` is who
    /// ran it, where that was the CPU.
    pub(crate) fn observe(
        &mut self,
        prior: &Prior,
        device: Device,
        crew: Option<Seen>,
        predicted_s: Option<f64>,
        seconds: f64,
        total_s: f64,
    ) {
        let is_crew_trial = crew.is_some_and(|seen| seen.is_trial);
        let (log2_work, prior) = (prior.log2_work, prior.prediction);
        let run = Lesson::of_run(prior, log2_work, device, seconds);
        let lesson = Lesson { predicted_s, total_s, is_crew_trial, ..run };
        let crew = crew.filter(|_| self.experience.teaches(&lesson)).and_then(|seen| seen.crew);
        if let Some(crew) = crew {
            self.crews.observe(log2_work, crew, seconds);
            self.crews_revision += 1;
        }
        self.experience.observe(&lesson);
    }

    /// Until when this decision about a shape of call, which is over at once, would be made again.
    pub(crate) fn hold(&self, shape: u64, decision: &Arc<Decision>) -> Option<Hold> {
        let (known, revision) = (self.shapes.get(&shape)?, self.revision());
        let is_kept = |kept: &&Kept| !kept.is_old && Arc::ptr_eq(&kept.decision, decision);
        let kept = known.kept.as_ref().filter(is_kept)?;
        let hold = Hold { revision, until_s: kept.until_s };
        let is_fleeting = decision.predicted_s() < FLEETING_S;
        (is_fleeting && known.revision == Some(revision) && self.holds(&hold)).then_some(hold)
    }

    /// Whether that still is so.
    pub(crate) fn holds(&self, hold: &Hold) -> bool {
        self.revision() == hold.revision
            && self.experience.budget_s() < hold.until_s
            && self.is_past_first()
    }

    /// Counts a run of which nothing is to be learned, nor is anybody told. False, with nothing done, of any other.
    pub(crate) fn pass_over(
        &mut self,
        device: Device,
        predicted_s: Option<f64>,
        run_s: f64,
        total_s: f64,
    ) -> bool {
        let is_lesson = self.experience.teaches_run(device, predicted_s, run_s);
        if is_lesson || !self.is_past_first() || self.unshown_s + run_s >= SHOWN_S {
            return false;
        }
        self.unshown_s += run_s;
        self.experience.count(device, total_s);
        true
    }

    /// Learns from a slice of a call.
    pub(crate) fn observe_slice(&mut self, prior: &Prior, run: &SliceRun) {
        self.experience.observe_slice(&prior.prediction, prior.log2_work, run);
    }

    /// Learns from what parts of a call have taken on a device: `share` of it in all.
    pub(crate) fn observe_parts(
        &mut self,
        prior: &Prior,
        device: Device,
        share: f64,
        run_s: f64,
        total_s: f64,
    ) {
        let lesson = Lesson::of_parts(prior.prediction, prior.log2_work, device, share, run_s);
        self.experience.observe(&Lesson { total_s, ..lesson });
    }

    /// Whether nothing is known of the kernel yet, nor was asked.
    pub(crate) fn is_new(&self) -> bool {
        self.shapes.is_empty() && self.experience.visits == [0; 2]
    }

    /// Learns from a run in an earlier process, of which this would have been said.
    pub(crate) fn recall(&mut self, said: &Opinions, log2_work: f64, device: Device, run_s: f64) {
        self.trust = Some(said.trust);
        let run = Lesson::of_run(said.prior(), log2_work, device, run_s);
        // What another process has taken pays for no trial of this one.
        self.experience.observe(&Lesson { total_s: 0.0, ..run });
    }

    /// A whole run on a device, as they always will be: what it shows of the network, once there were enough.
    pub(crate) fn sight(&mut self, said: &Opinions, device: Device, run_s: f64) -> Option<Sight> {
        self.sightings[device as usize].run(said, device, run_s)
    }

    /// Whether calls are so many that not all of them are shown to the trainer.
    fn is_past_first(&self) -> bool {
        self.experience.visits.iter().sum::<u64>() > SHOWN_FIRST
    }

    /// What runs have taken since one was last shown to the trainer, if this one is to be.
    pub(crate) fn show(&mut self, seconds: f64) -> Option<f64> {
        self.unshown_s += seconds;
        let shown = !self.is_past_first() || self.unshown_s >= SHOWN_S;
        shown.then(|| std::mem::take(&mut self.unshown_s))
    }
}

/// Who ran a call on the CPU.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The number of threads; `None` where the run says nothing of it.
    pub(crate) crew: Option<Crew>,
    /// Whether that, or the layout, was not expected to be the faster.
    pub(crate) is_trial: bool,
}

impl Seen {
    /// With a layout that is tried: what that takes is not what the CPU takes.
    pub(crate) const LAYOUT: Seen = Seen { crew: None, is_trial: true };
}

/// A trial under way; it is over when this is dropped.
pub(crate) struct Trial {
    prepared: Arc<Prepared>,
    device: Device,
    adapter: usize,
}

impl Trial {
    pub(crate) fn begin(prepared: &Arc<Prepared>, decision: &Decision) -> Trial {
        Trial::of(prepared, decision.adapter, decision.device)
    }

    /// Of a device, beside an adapter or that adapter itself.
    pub(crate) fn of(prepared: &Arc<Prepared>, adapter: usize, device: Device) -> Trial {
        let mut learned = prepared.learned(adapter);
        learned.experience.begin_trial(device);
        learned.elsewhere_s = 0.0;
        drop(learned);
        Trial { prepared: prepared.clone(), device, adapter }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.prepared.learned(self.adapter).experience.end_trial(self.device);
    }
}

#[cfg(test)]
mod tests {
    use super::{Learned, Prior, SHOWN_FIRST};
    use crate::device::Device;
    use crate::route::FLEETING_FIRST;
    use crate::terms::Work;
    use crate::trust::Opinions;
    use crossover_kernels::analysis::Uncut;
    use crossover_ml::{Ensemble, Features, Prediction, Trust};

    fn prior() -> Prior {
        let prediction = Prediction::new([-18.0; 2], [1.0; 2], 0.5);
        let features = Features::missing().into();
        Prior {
            shape: 1,
            prediction,
            opinions: Opinions::of(&Ensemble::default(), &Features::missing(), Trust::default()),
            features,
            log2_work: 10.0,
            work: Work::default(),
            generation: 0,
            footprints: [].into(),
            refusal: None,
            cut: Err(Uncut::Small),
        }
    }

    fn calls(learned: &mut Learned, count: u64, seconds: f64) {
        for _ in 0..count {
            let (known, _) = learned.expect(1, 0, |_, _| (prior(), None), |_, _, _| None);
            let (prior, predicted_s) = (known.prior.clone(), Some(known.answer.run_s[0]));
            learned.observe(&prior, Device::Cpu, None, predicted_s, seconds, seconds);
        }
    }

    #[test]
    fn fleeting_calls_teach_now_and_then_and_a_change_is_still_followed() {
        let mut learned = Learned::default();
        calls(&mut learned, FLEETING_FIRST, 3e-6);
        let before = learned.revision();
        assert_eq!(before, FLEETING_FIRST);
        calls(&mut learned, 80, 3e-6);
        assert_eq!(learned.revision() - before, 10);
        assert_eq!(learned.experience.visits[0], FLEETING_FIRST + 80);
        calls(&mut learned, 100, 6e-6);
        let answer = learned.expect(1, 0, |_, _| (prior(), None), |_, _, _| None).0.answer;
        assert!((answer.run_s[0] / 6e-6 - 1.0).abs() < 0.1, "{answer:?}");
        // What has become slow is no longer fleeting: ten calls are enough.
        calls(&mut learned, 10, 1e-3);
        let answer = learned.expect(1, 0, |_, _| (prior(), None), |_, _, _| None).0.answer;
        assert!((answer.run_s[0] / 1e-3 - 1.0).abs() < 0.3, "{answer:?}");
    }

    #[test]
    fn the_network_is_asked_once_for_a_shape_and_generation() {
        let mut learned = Learned::default();
        let mut asked = 0;
        for (shape, generation) in [(1, 0), (1, 0), (2, 0), (1, 1), (1, 1)] {
            let ask = |_: Option<Trust>, _: Option<&Prior>| {
                asked += 1;
                (Prior { generation, ..prior() }, None)
            };
            learned.expect(shape, generation, ask, |_, _, _| None);
        }
        assert_eq!(asked, 3);
    }

    #[test]
    fn another_network_takes_nothing_away_whatever_shape_is_asked_first() {
        for shape in [1, 2] {
            let mut learned = Learned::default();
            calls(&mut learned, 40, 3e-6);
            let said = Prediction::new([-14.0; 2], [1.0; 2], 0.5);
            let ask = |_: Option<Trust>, old: Option<&Prior>| {
                assert_eq!(old.map(|old| old.prediction), Some(prior().prediction));
                (Prior { shape, generation: 1, prediction: said, ..prior() }, Some(said))
            };
            let answer = learned.expect(shape, 1, ask, |_, _, _| None).0.answer;
            assert!((answer.run_s[0] / 3e-6 - 1.0).abs() < 0.1, "shape {shape}: {answer:?}");
        }
    }

    #[test]
    fn the_trainer_is_shown_the_first_calls_and_then_a_share_of_the_time() {
        let mut learned = Learned::default();
        let mut shown = 0;
        for _ in 0..SHOWN_FIRST + 1000 {
            learned.experience.visits[0] += 1;
            shown += u64::from(learned.show(1e-5).is_some());
        }
        assert_eq!(shown, SHOWN_FIRST + 10);
        assert!(learned.show(1e-2).is_some(), "a long call always is");
    }
}
