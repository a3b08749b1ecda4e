//! Work that goes on by itself: a thread inside a namespace, until it is told to stop.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::namespace::Namespace;

/// Tells work that it is to come to its end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn want(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A thread that works in a namespace. It is stopped and waited for, at the latest when this is dropped.
#[derive(Debug)]
pub struct Background<T> {
    stop: Stop,
    thread: Option<JoinHandle<Result<T>>>,
}

impl<T: Send + 'static> Background<T> {
    /// Starts work inside. It ends by itself, or looks now and then whether its stop is wanted.
    pub fn start(
        namespace: &Namespace,
        name: &str,
        work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
    ) -> Result<Self> {
        let file = File::open(namespace.path())
            .with_context(|| format!("opening the namespace {}", namespace.name()))?;
        let stop = Stop::default();
        let heard = stop.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            setns(&file, CloneFlags::CLONE_NEWNET).context("entering a namespace")?;
            work(&heard)
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Whether it has come to its end by itself, or by a failure.
    pub fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Tells it to stop, and waits for what it has to say.
    pub fn finish(mut self) -> Result<T> {
        self.stop.want();
        self.join()
    }

    /// Waits until it comes to its end by itself.
    pub fn wait(mut self) -> Result<T> {
        self.join()
    }

    fn join(&mut self) -> Result<T> {
        let thread = self.thread.take().context("the work was waited for twice")?;
        let name = thread.thread().name().unwrap_or("nameless").to_owned();
        thread.join().map_err(|_| anyhow!("the thread `{name}` panicked"))?.context(name)
    }
}

impl<T> Drop for Background<T> {
    fn drop(&mut self) {
        self.stop.want();
        if let Some(thread) = self.thread.take() {
            // Whoever drops it does not care how it went; a panic has been printed.
            drop(thread.join());
        }
    }
}
