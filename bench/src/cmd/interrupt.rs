//! Stopping a run with what was measured kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Listens for Ctrl-C while it lives: the first stops the run after the repetition at hand, the
/// second ends the process.
pub(super) struct Interrupt(Option<tokio::runtime::Runtime>);

impl Interrupt {
    pub(super) fn listen(stop: Arc<AtomicBool>) -> Interrupt {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let Ok(runtime) = runtime else { return Interrupt(None) };
        runtime.spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                if stop.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
        Interrupt(Some(runtime))
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
