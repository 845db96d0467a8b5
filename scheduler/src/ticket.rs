//! Tickets: the handle of a call that is under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::call::Outcome;
use crate::error::Error;

type Answer = Result<Outcome, Error>;

#[derive(Debug, Default)]
struct State {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    done: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A submitted call. Wait for it with [`Ticket::wait`], or await it on any executor. Dropping the
/// ticket does not stop the call: its buffers wait for it when they are looked at.
#[derive(Debug)]
#[must_use = "a ticket says whether the call succeeded"]
pub struct Ticket(Arc<Shared>);

/// The other end: gives the answer once.
#[derive(Debug)]
pub(crate) struct Promise {
    shared: Arc<Shared>,
    kernel: Arc<str>,
    is_kept: bool,
}

/// A ticket and the promise that fulfils it.
pub(crate) fn ticket(kernel: Arc<str>) -> (Ticket, Promise) {
    let shared = Arc::new(Shared::default());
    let promise = Promise { shared: shared.clone(), kernel, is_kept: false };
    (Ticket(shared), promise)
}

impl Promise {
    pub(crate) fn keep(mut self, answer: Answer) {
        self.is_kept = true;
        self.give(answer);
    }

    fn give(&self, answer: Answer) {
        let mut state = self.shared.lock();
        state.answer = Some(answer);
        let waker = state.waker.take();
        drop(state);
        self.shared.done.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if !self.is_kept {
            let kernel = self.kernel.to_string();
            self.give(Err(Error::Stopped { kernel }));
        }
    }
}

impl Ticket {
    /// Blocks until the call has ended.
    ///
    /// # Errors
    /// What the call ran into.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// let outcome = saxpy::on(&rt).args(2.0, &x, &mut y).submit().wait()?;
    /// let row = rt.ledger().last().expect("a call was made");
    /// assert_eq!((row.call, row.chosen), (outcome.call, outcome.device));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn wait(self) -> Result<Outcome, Error> {
        let mut state = self.0.lock();
        loop {
            if let Some(answer) = state.answer.take() {
                return answer;
            }
            state = self.0.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether the call has ended.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// let ticket = saxpy::on(&rt).args(2.0, &x, &mut y).submit();
    /// while !ticket.is_done() {
    ///     std::thread::yield_now(); // There is something else to do.
    /// }
    /// ticket.wait()?;
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn is_done(&self) -> bool {
        self.0.lock().answer.is_some()
    }
}

impl Future for Ticket {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.0.lock();
        match state.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}
