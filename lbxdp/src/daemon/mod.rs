//! The daemon: loads the packet path, owns the configuration, keeps next hops, sweeps. The one place that uses all of it.

mod accounts;
mod clock;
mod director;
mod episode;
mod keeper;
mod listing;
pub mod load;
mod next_hops;
mod socket;
pub mod verify;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use lbxdp_common::table::{BUCKET_BYTES, Seed, WAYS};
use nix::fcntl::{Flock, FlockArg};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::snapshot::PacketPath;
use crate::tables::pins::Instance;
use crate::tables::{TableError, Tables};
use accounts::ESTIMATE_EVERY_S;
use clock::Clock;
use director::Director;
use listing::Listing;
use load::{Interface, LoadError, Mode, Sizes};
use next_hops::{NetlinkError, NextHops};

/// Requests that wait for the director.
const QUEUE: usize = 64;
/// Time between two looks at next hops and deleted servers.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// What `lbxdp run` was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    pub instance: Instance,
    pub interfaces: Vec<String>,
    /// How many connections there must be room for; `None` for what suits the machine.
    pub connections: Option<u32>,
    /// Keep forwarding after the daemon has ended.
    pub leave: bool,
}

/// Why the daemon did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("instance {0} is running already: one daemon an instance (--instance NAME starts another one)")]
    AlreadyRunning(Instance),
    #[error(
        "instance {0} still forwards without a daemon; take it out of the kernel first, with its connections: \
         lbxdp unload --instance {0}"
    )]
    LeftBehind(Instance),
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
    if instance.pins().exists() {
        return Err(StartError::LeftBehind(instance.clone()));
    }
    let started = start(&options).await;
    if started.is_err() {
        take_out(instance);
    }
    let (director, listing, interfaces) = started?;
    let listener = socket::listen(&instance.socket()).map_err(|e| StartError::File(instance.socket(), e));
    let served = match listener {
        Ok(listener) => serve(director, listener, listing, instance, interfaces, stop).await,
        Err(error) => Err(error),
    };
    let _ = std::fs::remove_file(instance.socket());
    if options.leave && served.is_ok() {
        tracing::info!(%instance, "the packet path goes on without the daemon");
    } else {
        take_out(instance);
    }
    served
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

/// Takes an instance that no daemon runs any more out of the kernel.
pub fn unload(instance: &Instance) -> Result<(), StartError> {
    let _lock = lock(instance)?;
    load::unload(instance).map_err(|error| StartError::File(instance.pins(), error))
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

type Started = (Director, Listing, Vec<Interface>);

/// Loads the program for every interface, fills the settings, and only then attaches it.
async fn start(options: &Options) -> Result<Started, StartError> {
    let next_hops = NextHops::connect().await?;
    let interfaces = interfaces(options, &next_hops)?;
    let sizes = sizes(options.connections);
    let mut programs = Vec::new();
    for interface in &interfaces {
        programs.push(load::load(&options.instance, interface, sizes)?);
    }
    let tables = Tables::open(&options.instance.map_pins())?;
    let clock_program = programs.first_mut().ok_or(LoadError::NoProgram)?;
    let clock = Clock::set(load::clock(clock_program)?)?;
    let listing = Listing {
        connections: tables.CONNECTIONS,
        settings: tables.SETTINGS,
        servers: tables.SERVERS,
        clock,
    };
    let mut director = Director::new(tables, next_hops, clock, seed()?);
    for (interface, ebpf) in interfaces.iter().zip(&mut programs) {
        let mode = load::attach(&options.instance, interface, load::program(ebpf)?)?;
        let path = match mode {
            Mode::Native => PacketPath::Native,
            Mode::Generic => PacketPath::Generic,
        };
        director.has_attached(&interface.name, path);
        if mode == Mode::Native {
            tracing::info!(interface = interface.name, "attached in the driver");
        }
    }
    // All of its programs are loaded; the keeper needs one of each.
    let ebpf = programs.into_iter().next().ok_or(LoadError::NoProgram)?;
    director.start_keeping(ebpf).map_err(StartError::Keeper)?;
    tracing::info!(
        instance = %options.instance,
        places = u64::from(sizes.buckets) * WAYS as u64,
        hertz = clock.hertz(),
        "ready"
    );
    Ok((director, listing, interfaces))
}

fn interfaces(options: &Options, next_hops: &NextHops) -> Result<Vec<Interface>, StartError> {
    let names: BTreeSet<&String> = options.interfaces.iter().collect();
    names
        .into_iter()
        .map(|name| match next_hops.link_named(name) {
            Some((ifindex, link)) => Ok(Interface { name: name.clone(), ifindex, mac: link.mac }),
            None => Err(StartError::NoInterface(name.clone())),
        })
        .collect()
}

/// Room for so many connections; else a 256th of the machine's memory, between 4 and 512 MiB.
fn sizes(connections: Option<u32>) -> Sizes {
    let buckets = connections.map_or_else(suits_the_machine, |connections| {
        // Of ten thousand connections six find no place when 62 % of all places are taken.
        let places = u64::from(connections).clamp(4, 1 << 30) * 100 / 62;
        u32::try_from(places.div_ceil(WAYS as u64)).unwrap_or(u32::MAX)
    });
    Sizes { buckets, ..Sizes::default() }
}

/// Buckets in a 256th of the machine's memory.
fn suits_the_machine() -> u32 {
    let pages = nix::unistd::sysconf(nix::unistd::SysconfVar::_PHYS_PAGES).ok().flatten().unwrap_or(0);
    let bytes = u64::try_from(pages).unwrap_or(0) * 4096 / 256;
    u32::try_from(bytes.clamp(4 << 20, 512 << 20) / BUCKET_BYTES as u64).unwrap_or(u32::MAX)
}

/// A secret of its own for every start.
fn seed() -> Result<Seed, StartError> {
    let mut bytes = [0; 16];
    io::Read::read_exact(&mut File::open("/dev/urandom").map_err(StartError::Random)?, &mut bytes)
        .map_err(StartError::Random)?;
    let [offset, multiplier]: [u64; 2] = zerocopy::transmute!(bytes);
    Ok(Seed { offset, multiplier: multiplier | 1 })
}

/// The loop: whatever happens next, until a signal.
async fn serve(
    mut director: Director,
    listener: tokio::net::UnixListener,
    listing: Listing,
    instance: &Instance,
    mut interfaces: Vec<Interface>,
    mut stop: Stop,
) -> Result<(), StartError> {
    let (calls, mut called) = mpsc::channel(QUEUE);
    let clients = tokio::spawn(socket::serve(listener, calls, listing));
    let mut housekeeping = tokio::time::interval(HOUSEKEEPING);
    let mut estimates = tokio::time::interval(Duration::from_secs(ESTIMATE_EVERY_S));
    loop {
        tokio::select! {
            () = stop.requested() => break,
            Some((request, answer)) = called.recv() => {
                let response = director.answer(request).await;
                // A client that has gone needs no answer; what it asked for is done.
                let _ = answer.send(response);
            }
            event = director.event() => {
                let event = event.ok_or(NetlinkError::Closed)?;
                director.digest(event).await;
                follow_interfaces(&mut director, instance, &mut interfaces);
            }
            _ = housekeeping.tick() => {
                director.keep_house().await;
                follow_interfaces(&mut director, instance, &mut interfaces);
            }
            _ = estimates.tick() => director.estimate(),
        }
    }
    tracing::info!(%instance, "stopping");
    clients.abort();
    Ok(())
}

/// The program knows its interface's MAC address as a constant; a new address needs a new program. And an interface that
/// was removed has taken its program along.
fn follow_interfaces(director: &mut Director, instance: &Instance, interfaces: &mut Vec<Interface>) {
    interfaces.retain_mut(|interface| {
        let name = &interface.name;
        let Some(mac) = director.mac_of(interface.ifindex) else {
            tracing::error!(
                interface = name,
                "the interface is gone, and its packet path with it; once it is back, start \
                the daemon again"
            );
            director.has_lost(name);
            return false;
        };
        if mac != interface.mac {
            match load::replace(instance, &Interface { mac, ..interface.clone() }) {
                Ok(()) => {
                    tracing::info!(interface = name, "the interface has another MAC address");
                    interface.mac = mac;
                }
                Err(error) => {
                    tracing::error!(interface = name, error = %load::chain(&error), "cannot follow the \
                    interface's new MAC address: its packets go to the stack");
                }
            }
        }
        true
    });
}
