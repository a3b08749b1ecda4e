//! `lbxdp top`: what the status page shows, in a terminal. Everything that is decided is a function of a [`Scene`] (what the daemon
//! says) and a [`View`] (how somebody looks at it); the terminal, the clock and the daemon are in `live` and `terminal` alone.

mod column;
mod director;
mod draw;
mod filter;
mod hand;
mod head;
mod keys;
mod live;
mod once;
mod rate;
mod reasons;
mod rows;
mod scene;
mod services;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::client::{Client, ClientError, Director};
use crate::message::{Request, Response};
use crate::snapshot::Moment;
use crate::tables::pins::Instance;
use scene::Scene;

/// Time between two looks, if nothing else is said: that of the daemon's own averages.
const INTERVAL: Duration = Duration::from_secs(2);
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
const MOST_INTERVAL: Duration = Duration::from_hours(1);

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    #[error(transparent)]
    Director(#[from] ClientError),
    #[error(
        "there is no terminal to draw on and type at: lbxdp top --once prints one frame as text, lbxdp service list --json is for \
         programs"
    )]
    NoTerminal,
    #[error("the terminal cannot be used")]
    Terminal(#[source] io::Error),
    #[error("a part of it has ended, as was said before")]
    Broken,
}

/// Shows an instance until somebody has seen enough.
pub fn run(instance: &Instance, interval: Option<Duration>) -> Result<(), TopError> {
    if !terminal::is_there() {
        return Err(TopError::NoTerminal);
    }
    // Before the terminal is taken: a daemon that is not there from the beginning may be called by a wrong name.
    let first = ask(&mut Client::new(instance.clone()))?;
    live::run(instance, first, interval.unwrap_or(INTERVAL))
}

/// Prints one frame. With an interval there are two looks that far apart, so that everything has a rate.
pub fn once(instance: &Instance, interval: Option<Duration>) -> Result<(), TopError> {
    let mut client = Client::new(instance.clone());
    let mut now = ask(&mut client)?;
    let mut before = None;
    if let Some(interval) = interval {
        let begun = Instant::now();
        thread::sleep(interval);
        let then = std::mem::replace(&mut now, ask(&mut client)?);
        before = Some((then, begun.elapsed()));
    }
    let before = before.as_ref().map(|(then, elapsed)| (then, *elapsed));
    let scene = Scene::new(instance.to_string(), &now, before, SystemTime::now());
    let written = io::stdout().write_all(once::text(&scene).as_bytes());
    written.or_else(super::native::unless_nobody_reads).map_err(|error| ClientError::Output(error).into())
}

fn ask(director: &mut impl Director) -> Result<Moment, ClientError> {
    match director.ask(&Request::Moment)? {
        Response::Moment(moment) => Ok(*moment),
        other => Err(ClientError::unexpected(&other)),
    }
}

/// Seconds, also parts of one.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let fits = |interval: &Duration| (LEAST_INTERVAL..=MOST_INTERVAL).contains(interval);
    seconds.filter(fits).ok_or_else(|| "a number of seconds, from 0.1 to 3600".into())
}
