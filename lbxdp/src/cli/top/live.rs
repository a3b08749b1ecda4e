//! What goes on while somebody looks: one thread waits for keys, one for signals, one asks the daemon; this one draws.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{SigSet, Signal, raise};
use ratatui_crossterm::crossterm::event::{self, KeyEvent};

use super::draw;
use super::hand::Hand;
use super::keys::{Then, press};
use super::scene::Scene;
use super::terminal::Taken;
use super::view::View;
use super::{TopError, ask};
use crate::cli::client::{Client, ClientError};
use crate::snapshot::Moment;
use crate::tables::pins::Instance;

/// Signals that end it, with the terminal given back before.
const ENDS: [Signal; 4] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];

/// A look at a very large director takes its time: that is to be at most one part in so many of all time.
const LEAST_PAUSE: u32 = 10;

/// What happens.
enum Event {
    Key(KeyEvent),
    Resized,
    Seen(Box<Scene>),
    /// There is no answer, and why.
    Silent(ClientError),
    Signal(Signal),
    /// Nobody types any more.
    Over(io::Result<()>),
    /// A thread has ended that must not; it has said why.
    Broken,
}

/// What the one who asks is told.
enum Order {
    Pause,
    GoOn,
}

/// Shows a director, beginning with a moment, until somebody has seen enough.
pub(super) fn run(instance: &Instance, first: Moment, interval: Duration) -> Result<(), TopError> {
    // Before there is another thread: all are to leave these signals to the one that waits for them.
    let ends = SigSet::from_iter(ENDS);
    ends.thread_block().map_err(|error| TopError::Terminal(error.into()))?;
    let mut scene = Box::new(Scene::new(instance.to_string(), &first, None, SystemTime::now()));
    let mut view = View::new(&scene);
    let (events, happened) = channel();
    let (orders, ordered) = channel();
    let mut terminal = Taken::take().map_err(TopError::Terminal)?;
    spawn(&events, wait_for_signals);
    spawn(&events, wait_for_keys);
    let asker = Asker { instance: instance.clone(), interval, before: (first, Instant::now()) };
    spawn(&events, move |events| asker.go_on(events, &ordered));
    let end = look(&mut terminal, &mut scene, &mut view, &happened, &orders);
    drop(terminal);
    match end? {
        End::Quit => Ok(()),
        End::Broken => Err(TopError::Broken),
        End::Signal(signal) => {
            // As it would have ended without all this: whoever waits for it is to see that.
            let _ = raise(signal);
            let _ = ends.thread_unblock();
            Ok(())
        }
    }
}

/// Why it ends.
enum End {
    Quit,
    Broken,
    Signal(Signal),
}

/// Draws whenever something has happened.
fn look(
    terminal: &mut Taken,
    scene: &mut Box<Scene>,
    view: &mut View,
    happened: &Receiver<Event>,
    orders: &Sender<Order>,
) -> Result<End, TopError> {
    let hand = Hand::of_output();
    loop {
        let height = terminal.height().map_err(TopError::Terminal)?;
        view.settle(scene, draw::body_height(height));
        terminal.draw(|frame| draw::frame(frame, hand, scene, view)).map_err(TopError::Terminal)?;
        let Ok(mut event) = happened.recv() else { return Ok(End::Broken) };
        // Whatever else has happened meanwhile is drawn with it.
        loop {
            let was_paused = view.is_paused;
            match event {
                Event::Key(key) if press(view, scene, key) == Then::Quit => return Ok(End::Quit),
                Event::Key(_) | Event::Resized => {}
                Event::Seen(_) | Event::Silent(_) if view.is_paused => {}
                Event::Seen(seen) => {
                    *scene = seen;
                    view.trouble = None;
                }
                Event::Silent(error) => view.trouble = Some(trouble(&error)),
                Event::Signal(signal) => return Ok(End::Signal(signal)),
                Event::Over(end) => return end.map(|()| End::Quit).map_err(TopError::Terminal),
                Event::Broken => return Ok(End::Broken),
            }
            if view.is_paused != was_paused {
                let _ = orders.send(if view.is_paused { Order::Pause } else { Order::GoOn });
            }
            // Keys that were typed fast mean rows as they are after those before.
            view.settle(scene, draw::body_height(height));
            match happened.try_recv() {
                Ok(next) => event = next,
                Err(_) => break,
            }
        }
    }
}

fn trouble(error: &ClientError) -> String {
    match error {
        ClientError::NotRunning(_) | ClientError::GoneAway(_) => "no daemon answers".into(),
        other => format!("no daemon answers ({other})"),
    }
}

/// Tells when a thread has ended, however it did.
struct Bell(Sender<Event>);

impl Drop for Bell {
    fn drop(&mut self) {
        // Nobody listens any more if all has ended.
        let _ = self.0.send(Event::Broken);
    }
}

/// These threads end with the process: one waits for a signal, one for a key, one perhaps for an answer.
fn spawn(events: &Sender<Event>, work: impl FnOnce(&Sender<Event>) + Send + 'static) {
    let bell = Bell(events.clone());
    thread::spawn(move || work(&bell.0));
}

fn wait_for_signals(events: &Sender<Event>) {
    while let Ok(signal) = SigSet::from_iter(ENDS).wait() {
        if events.send(Event::Signal(signal)).is_err() {
            return;
        }
    }
}

fn wait_for_keys(events: &Sender<Event>) {
    loop {
        let event = match event::read() {
            Ok(event::Event::Key(key)) => Event::Key(key),
            Ok(event::Event::Resize(..)) => Event::Resized,
            Ok(_) => continue,
            Err(error) => Event::Over(Err(error)),
        };
        let is_over = matches!(event, Event::Over(_));
        if events.send(event).is_err() || is_over {
            return;
        }
    }
}

/// The one who asks the daemon, again and again.
struct Asker {
    instance: Instance,
    interval: Duration,
    /// The last answer, and when it came.
    before: (Moment, Instant),
}

impl Asker {
    fn go_on(mut self, events: &Sender<Event>, orders: &Receiver<Order>) {
        let mut client = Client::new(self.instance.clone());
        let mut pause = self.interval;
        loop {
            match orders.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) | Ok(Order::GoOn) => {}
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(Order::Pause) => {
                    pause = Duration::MAX;
                    continue;
                }
            }
            let begun = Instant::now();
            let event = match ask(&mut client) {
                Ok(moment) => Event::Seen(Box::new(self.seen(moment))),
                Err(error) => {
                    // The old connection leads to a daemon that is gone.
                    client = Client::new(self.instance.clone());
                    Event::Silent(error)
                }
            };
            if events.send(event).is_err() {
                return;
            }
            pause = self.interval.max(begun.elapsed() * LEAST_PAUSE);
        }
    }

    fn seen(&mut self, moment: Moment) -> Scene {
        let now = Instant::now();
        let (then, at) = &self.before;
        let before = Some((then, now.duration_since(*at)));
        let scene = Scene::new(self.instance.to_string(), &moment, before, SystemTime::now());
        self.before = (moment, now);
        scene
    }
}
