//! Ctrl-C and its like: they end the demo, but between two steps, so that everything is put away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use anyhow::{Context, Result, bail};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// Whether a signal has asked for the end.
pub(crate) struct Interrupt {
    came: Arc<AtomicBool>,
    signals: Receiver<()>,
}

impl Interrupt {
    /// Takes the signals over.
    pub(crate) fn catch() -> Result<Self> {
        let (sender, signals) = channel();
        let came = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&came);
        on_signal(move || {
            seen.store(true, Ordering::Relaxed);
            // Nobody may be listening any more: then the end has begun.
            let _ = sender.send(());
        })?;
        Ok(Self { came, signals })
    }

    /// Fails once a signal has come.
    pub(crate) fn check(&self) -> Result<()> {
        if self.came.load(Ordering::Relaxed) {
            bail!("interrupted; what was set up is removed");
        }
        Ok(())
    }

    /// Waits for a signal.
    pub(crate) fn wait(&self) -> Result<()> {
        self.signals.recv().context("waiting for a signal")
    }
}

/// From now on the signals that ask for the end do this work instead, each time they come.
///
/// By handlers, not by blocking the signals: a blocked one stays so in every program that is started, and none of those
/// could be ended by it.
pub(crate) fn on_signal(mut work: impl FnMut() + Send + 'static) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build().context("taking signals over")?;
    let listen = |kind| {
        let _inside = runtime.enter();
        signal(kind).context("taking a signal over")
    };
    let (mut interrupt, mut terminate, mut hangup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    _ = hangup.recv() => {}
                }
                work();
            }
        });
    });
    Ok(())
}
