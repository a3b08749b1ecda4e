//! The daemon: loads the packet path, owns the configuration, keeps next hops, sweeps. The one place that uses all of it.

mod accounts;
mod clock;
mod director;
mod drift;
mod episode;
mod held;
mod http;
mod inherit;
mod interfaces;
mod keeper;
pub(crate) mod links;
mod listing;
pub mod load;
mod look;
mod next_hops;
mod notify;
mod oblivion;
mod settings;
mod socket;
mod start;
mod totals;
pub mod verify;
mod watching;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::metrics::ServerLimit;
use crate::saved::{self, SavedError};
use crate::tables::TableError;
use crate::tables::pins::Instance;
use accounts::ESTIMATE_EVERY_S;
use director::Director;
use held::HeldError;
use http::Http;
use interfaces::Interfaces;
use listing::Listing;
use load::LoadError;
use look::{Look, Observer};
use next_hops::NetlinkError;
use start::Started;
use watching::Watching;

/// Requests that wait for the director.
const QUEUE: usize = 64;
/// Looks at everything that wait: there is one who looks.
const LOOKS: usize = 1;
/// Time between two looks at what the packet path wishes for: which clients replies wait for is what the first packet of a connection may have to be sent again
/// for, if nobody has spoken with its client before.
const GRANT_EVERY: Duration = Duration::from_millis(50);
/// Time between two looks at next hops and deleted servers.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// Time between two comparisons of the tables with what they should say.
const COMPARE_EVERY: Duration = Duration::from_secs(5);

/// What `lbxdp run` was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    pub instance: Instance,
    pub interfaces: Vec<String>,
    /// How many connections of IPv4 there must be room for; `None` for what suits the machine.
    pub connections: Option<u32>,
    /// How many of IPv6; `None` for as much memory.
    pub connections_v6: Option<u32>,
    /// Keep forwarding after the daemon has ended.
    pub leave: bool,
    /// Attach anew, in the driver if it takes the program now, what an earlier daemon could attach only generically.
    pub reattach: bool,
    /// Serve metrics and the status page.
    pub metrics: Option<Metrics>,
}

/// Where metrics are served, and of what.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub address: SocketAddr,
    /// Names that it may be asked for by, beside the machine's own, `localhost` and addresses.
    pub hosts: Vec<String>,
    pub servers: ServerLimit,
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("instance {0} is running already: one daemon an instance (--instance NAME starts another one)")]
    AlreadyRunning(Instance),
    #[error(
        "instance {0} forwards by tables of another version of lbxdp, which this one does not understand. Start that \
         version again; or take them out of the kernel, with all connections and the saved configuration (copy {1} \
         first, it is a list of commands): lbxdp unload --instance {0}"
    )]
    OtherLayout(Instance, PathBuf),
    #[error(
        "cannot take over instance {instance}, which forwards on as it is. To begin anew, take it out of the kernel, with \
         all connections and the saved configuration (copy {saved} first, it is a list of commands): \
         lbxdp unload --instance {instance}"
    )]
    TakeOver {
        instance: Instance,
        saved: PathBuf,
        #[source]
        why: load::Anything,
    },
    #[error("cannot use the saved configuration {0}")]
    Saved(PathBuf, #[source] load::Anything),
    #[error(transparent)]
    Unreadable(#[from] SavedError),
    #[error("there is no interface {0} here (ip link shows those that are)")]
    NoInterface(String),
    #[error("cannot use {0}")]
    File(PathBuf, #[source] io::Error),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Tables(#[from] TableError),
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error("cannot set the clock by the kernel's")]
    Clock(#[from] clock::ClockError),
    #[error("the kernel gives no random numbers")]
    Random(#[source] io::Error),
    #[error(transparent)]
    Held(#[from] HeldError),
    #[error("cannot serve metrics at {0}")]
    Metrics(SocketAddr, #[source] io::Error),
    #[error("cannot start the thread that keeps the connection table")]
    Keeper(#[source] io::Error),
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

/// Runs the daemon until a signal ends it.
pub async fn run(options: Options) -> Result<(), StartError> {
    let instance = &options.instance;
    let _lock = lock(instance)?;
    // From here on a signal is remembered until somebody looks: a stop during the start cleans up too.
    let stop = Stop::listen()?;
    // Before anything is done, as it may be refused.
    let metrics = options
        .metrics
        .as_ref()
        .map(|metrics| http::listen(metrics.address).map(|listener| (listener, metrics)));
    let metrics = metrics.transpose()?;
    let started = start::start(&options).await?;
    let (looks, looked) = mpsc::channel(LOOKS);
    let _http = match metrics {
        Some((listener, metrics)) => Some(Http::start(listener, metrics, Observer::new(instance, looks)?)?),
        None => None,
    };
    let listener = socket::listen(&instance.socket());
    let listener = listener.map_err(|error| StartError::File(instance.socket(), error))?;
    // Not before somebody listens: whoever waits for this asks at once.
    started.say_ready(instance);
    notify::ready();
    let Started { director, listing, interfaces } = started;
    // An error leaves everything as it is, as a daemon that is killed does: the next one takes over.
    serve(director, Callers { listener, listing, looked }, instance, interfaces, stop).await?;
    let _ = std::fs::remove_file(instance.socket());
    if options.leave {
        tracing::info!(%instance, "the packet path goes on without the daemon");
    } else {
        take_out(instance);
        forget(instance).unwrap_or_else(|error| tracing::error!(%error, "cannot forget the configuration"));
    }
    Ok(())
}

/// The signals that end the daemon: SIGTERM, Ctrl-C, and the end of the terminal it runs in.
struct Stop([Signal; 3]);

impl Stop {
    fn listen() -> Result<Self, StartError> {
        let listen = |kind| signal(kind).map_err(StartError::Signals);
        let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()];
        Ok(Self([listen(terminate)?, listen(interrupt)?, listen(SignalKind::hangup())?]))
    }

    async fn requested(&mut self) {
        let [terminate, interrupt, hangup] = &mut self.0;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Takes an instance that no daemon runs any more out of the kernel, and forgets its configuration.
pub fn unload(instance: &Instance) -> Result<(), StartError> {
    let _lock = lock(instance)?;
    load::unload(instance).map_err(|error| StartError::File(instance.pins(), error))?;
    forget(instance)
}

/// The same, but the next daemon begins with the saved configuration.
pub fn take_down(instance: &Instance) -> Result<(), StartError> {
    let _lock = lock(instance)?;
    load::unload(instance).map_err(|error| StartError::File(instance.pins(), error))
}

/// Removes the saved configuration: what is taken out by order is not to come back.
fn forget(instance: &Instance) -> Result<(), StartError> {
    saved::remove(&instance.saved()).map_err(|error| StartError::File(instance.saved(), error))
}

fn take_out(instance: &Instance) {
    if let Err(error) = load::unload(instance) {
        tracing::error!(%error, pins = %instance.pins().display(), "cannot take the packet path out of the kernel");
    }
}

/// Held while the daemon runs; the kernel lets go of it however the process ends.
fn lock(instance: &Instance) -> Result<Flock<File>, StartError> {
    let path = instance.lock();
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => LoadError::NotPermitted.into(),
        _ => StartError::File(path.clone(), error),
    };
    // Root's alone: whoever can open the file can hold the lock.
    let directory = Instance::run_directory();
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    let file =
        File::options().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| StartError::AlreadyRunning(instance.clone()))
}

/// Those who want something of the director.
struct Callers {
    listener: tokio::net::UnixListener,
    listing: Listing,
    looked: mpsc::Receiver<Look>,
}

/// The loop: whatever happens next, until a signal.
async fn serve(
    mut director: Director,
    Callers { listener, listing, mut looked }: Callers,
    instance: &Instance,
    mut interfaces: Interfaces,
    mut stop: Stop,
) -> Result<(), StartError> {
    let (calls, mut called) = mpsc::channel(QUEUE);
    let (mut watching, watchers) = Watching::new(instance, listing);
    let daemon = socket::Daemon { calls, listing, watching: watchers };
    let clients = tokio::spawn(socket::serve(listener, daemon));
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    let mut comparisons = tokio::time::interval(COMPARE_EVERY);
    let mut wishes = tokio::time::interval(GRANT_EVERY);
    wishes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut estimates = tokio::time::interval(Duration::from_secs(ESTIMATE_EVERY_S));
    loop {
        tokio::select! {
            () = stop.requested() => break,
            Some((request, answer)) = called.recv() => {
                let response = director.answer(request).await;
                // A client that has gone needs no answer; what it asked for is done.
                let _ = answer.send(response);
            }
            Some(look) = looked.recv() => timed("a look at everything", || director.show(look)),
            event = director.event() => {
                let event = event.ok_or(NetlinkError::Closed)?;
                director.digest(event).await;
                interfaces.follow(&mut director, instance);
                watching.follow(&interfaces);
            }
            Some(call) = watching.called() => watching.answer(call, &interfaces),
            _ = housekeeping.tick() => {
                director.keep_house().await;
                interfaces.follow(&mut director, instance);
                watching.follow(&interfaces);
            }
            _ = wishes.tick(), if director.may_have_wishes() => director.grant_wishes().await,
            _ = estimates.tick() => timed("the step of the rates", || director.estimate()),
            _ = comparisons.tick() => timed("the comparison of the tables", || director.put_right()),
        }
    }
    tracing::info!(%instance, "stopping");
    clients.abort();
    watching.stop(&interfaces);
    Ok(())
}

/// Does what commands wait for meanwhile, and logs how long that was.
fn timed(what: &str, work: impl FnOnce()) {
    let begun = Instant::now();
    work();
    tracing::debug!(took = ?begun.elapsed(), "{what}");
}
