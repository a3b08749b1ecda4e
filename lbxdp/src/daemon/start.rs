//! The start: empty tables, a saved configuration restored into them, or the tables of a daemon before this one.

use std::fs::File;
use std::io;
use std::time::Instant;

use lbxdp_common::table::{BUCKET_BYTES, Seed, WAYS, places_for};

use super::clock::Clock;
use super::director::{Begin, Director};
use super::interfaces::{Interfaces, named};
use super::links::Generic;
use super::listing::Listing;
use super::load::{Interface, LoadError, Mode, Sizes};
use super::next_hops::NextHops;
use super::{Options, StartError, inherit, links, load, settings};
use crate::layout::Layout;
use crate::saved::{self, Saved};
use crate::snapshot::PacketPath;
use crate::state::State;
use crate::tables::pins::Instance;
use crate::tables::{MAP_NAMES, Mapped, Tables, wait_for_packets};

/// Everything that runs.
pub(super) struct Started {
    pub director: Director,
    pub listing: Listing,
    pub interfaces: Interfaces,
}

/// What an instance has left in the kernel.
enum Left {
    Nothing,
    /// Tables that packets go by, or may.
    Tables,
}

/// Starts as is fitting.
pub(super) async fn start(options: &Options) -> Result<Started, StartError> {
    let instance = &options.instance;
    // Read first: a file that cannot be read is to stop the start before anything is done.
    let saved = saved::read(&instance.saved())?;
    let next_hops = NextHops::connect().await?;
    let interfaces = named(&options.interfaces, &next_hops)?;
    let started = match left(instance)? {
        Left::Tables => take_over(options, next_hops, interfaces, saved).await?,
        Left::Nothing => {
            let begun = begin(options, next_hops, interfaces, saved).await;
            if begun.is_err() {
                super::take_out(instance);
            }
            begun?
        }
    };
    Ok(started)
}

impl Started {
    /// The last line of a start.
    pub(super) fn say_ready(&self, instance: &Instance) {
        let places = |table: Mapped| u64::from(table.rows()) * WAYS as u64;
        let (places, places_v6) = (places(self.listing.connections), places(self.listing.connections_v6));
        tracing::info!(%instance, places, places_v6, hertz = self.listing.clock.hertz(), "ready");
    }
}

/// Looks at the pins. A start is never an empty one while something forwards.
fn left(instance: &Instance) -> Result<Left, StartError> {
    let is_empty = |directory: std::path::PathBuf| {
        std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
    };
    if !instance.pins().exists() || is_empty(instance.pins()) {
        return Ok(Left::Nothing);
    }
    if !instance.layout_pins().exists() {
        return Err(StartError::OtherLayout(instance.clone(), instance.saved()));
    }
    let missing = MAP_NAMES.iter().find(|name| !instance.map_pins().join(name).exists());
    let is_begun = missing.is_none()
        && Tables::open(&instance.map_pins())
            .map_or(true, |tables| settings::seed(&inherit::settings_row(&tables)).is_some());
    if is_begun {
        return Ok(Left::Tables);
    }
    if !instance.link_pins().exists() || is_empty(instance.link_pins()) {
        tracing::warn!(%instance, "a start that was cut short before anything was attached is cleared away");
        load::unload(instance).map_err(|error| StartError::File(instance.pins(), error))?;
        return Ok(Left::Nothing);
    }
    let why = missing.map_or("its settings are empty".into(), |name| format!("table `{name}` is missing"));
    Err(refused(instance, why.into()))
}

/// A take-over that cannot be done: what forwards goes on.
fn refused(instance: &Instance, why: load::Anything) -> StartError {
    StartError::TakeOver { instance: instance.clone(), saved: instance.saved(), why }
}

/// Loads the program for every interface, fills the tables, and only then attaches it.
async fn begin(
    options: &Options,
    next_hops: NextHops,
    interfaces: Vec<Interface>,
    saved: Option<State>,
) -> Result<Started, StartError> {
    let instance = &options.instance;
    let sizes = sizes(options);
    let mut programs = load_all(instance, &interfaces, sizes)?;
    let tables = Tables::open(&instance.map_pins())?;
    let clock = clock(&mut programs)?;
    let listing = listing(&tables, clock);
    let begin = Begin {
        layout: Layout::new(tables.SERVERS.rows(), tables.SERVICES.rows(), tables.MEMBERS.rows()),
        state: State::default(),
        seed: seed()?,
        saved: Saved::new(instance.saved()),
    };
    let mut director = Director::new(tables, next_hops, clock, begin);
    director.write_settings();
    if let Some(saved) = saved {
        director.restore(saved).await.map_err(|error| refused_saved(instance, error.into()))?;
    }
    attach(director, listing, options, interfaces, programs)
}

/// Goes on with the tables that are there. Until all that can be refused has been asked, nothing is changed.
async fn take_over(
    options: &Options,
    next_hops: NextHops,
    interfaces: Vec<Interface>,
    saved: Option<State>,
) -> Result<Started, StartError> {
    let instance = &options.instance;
    let refused = |why: load::Anything| refused(instance, why);
    let tables = Tables::open(&instance.map_pins()).map_err(|error| refused(error.into()))?;
    let seed = settings::seed(&inherit::settings_row(&tables)).ok_or_else(|| refused("no seed".into()))?;
    let sizes = load::pinned_sizes(instance).map_err(&refused)?;
    if are_others(options, sizes) {
        tracing::warn!(
            "--connections and --connections-v6 count when tables are made; these stay as they are until `lbxdp unload`"
        );
    }
    // A packet may still walk a list that the daemon before has replaced.
    wait_for_packets();
    let taken = Layout::take_over(&tables, Instant::now()).map_err(|error| refused(error.into()))?;
    let mut programs = load_all(instance, &interfaces, sizes)?;
    let clock = clock(&mut programs)?;
    links::tidy(instance, next_hops.links()).map_err(|error| refused(error.into()))?;
    let listing = listing(&tables, clock);
    let begin = Begin {
        state: inherit::state(&tables, &taken, &next_hops, &clock),
        layout: taken.layout,
        seed,
        saved: Saved::new(instance.saved()),
    };
    let mut director = Director::new(tables, next_hops, clock, begin);
    let gone_on = director.go_on(&taken.unfinished, saved).await;
    gone_on.map_err(|error| refused_saved(instance, error.into()))?;
    let started = attach(director, listing, options, interfaces, programs)?;
    // Last of all: whoever is no longer wanted was forwarding until now.
    let kept: Vec<Interface> = started.interfaces.attached().cloned().collect();
    links::keep_only(instance, &kept).map_err(|error| StartError::File(instance.link_pins(), error))?;
    Ok(started)
}

fn refused_saved(instance: &Instance, why: load::Anything) -> StartError {
    StartError::Saved(instance.saved(), why)
}

type Programs = Vec<aya::Ebpf>;

fn load_all(instance: &Instance, interfaces: &[Interface], sizes: Sizes) -> Result<Programs, StartError> {
    let load = |(number, interface): (usize, &Interface)| {
        let load = if number == 0 { load::load } else { load::load_straight };
        load(instance, interface, sizes)
    };
    Ok(interfaces.iter().enumerate().map(load).collect::<Result<_, _>>()?)
}

fn clock(programs: &mut Programs) -> Result<Clock, StartError> {
    Ok(Clock::set(load::clock(programs.first_mut().ok_or(LoadError::NoProgram)?)?)?)
}

fn listing(tables: &Tables, clock: Clock) -> Listing {
    Listing {
        connections: tables.CONNECTIONS,
        connections_v6: tables.CONNECTIONS_V6,
        settings: tables.SETTINGS,
        servers: tables.SERVERS,
        clock,
    }
}

/// Puts the programs on their interfaces, and begins to keep the table.
fn attach(
    mut director: Director,
    listing: Listing,
    options: &Options,
    interfaces: Vec<Interface>,
    mut programs: Programs,
) -> Result<Started, StartError> {
    let instance = &options.instance;
    let generic = if options.reattach { Generic::AttachedAnew } else { Generic::Left };
    for (interface, ebpf) in interfaces.iter().zip(&mut programs) {
        let link = director.link(interface.ifindex).cloned();
        let mode = links::put(instance, interface, link.as_ref(), ebpf, generic)?;
        director.has_attached(&interface.name, path(mode));
    }
    // All of its programs are loaded; the keeper needs one of each.
    let ebpf = programs.into_iter().next().ok_or(LoadError::NoProgram)?;
    director.start_keeping(ebpf).map_err(StartError::Keeper)?;
    director.start_holding(instance)?;
    director.save();
    director.say_what_is_only_kept();
    Ok(Started { director, listing, interfaces: Interfaces::new(interfaces) })
}

/// How a mode is shown.
pub(super) fn path(mode: Mode) -> PacketPath {
    match mode {
        Mode::Native => PacketPath::Native,
        Mode::Generic => PacketPath::Generic,
    }
}

/// Room for so many connections of IPv4; else a 256th of the machine's memory, between 4 and 512 MiB. The table of IPv6's
/// has as many bytes, so half as many places, if nothing else is asked for.
fn sizes(options: &Options) -> Sizes {
    let buckets = options.connections.map_or_else(suits_the_machine, buckets_for);
    let buckets_v6 = options.connections_v6.map_or((buckets / 2).max(1), buckets_for);
    Sizes { buckets, buckets_v6, ..Sizes::default() }
}

/// Buckets with room for so many connections.
fn buckets_for(connections: u32) -> u32 {
    let places = places_for(u64::from(connections).clamp(4, 1 << 30));
    u32::try_from(places.div_ceil(WAYS as u64)).unwrap_or(u32::MAX)
}

/// Whether tables were made with other sizes than those that are asked for.
fn are_others(options: &Options, sizes: Sizes) -> bool {
    let is_other = |asked: Option<u32>, buckets| asked.is_some_and(|asked| buckets_for(asked) != buckets);
    is_other(options.connections, sizes.buckets) || is_other(options.connections_v6, sizes.buckets_v6)
}

/// Buckets in a 256th of the machine's memory.
fn suits_the_machine() -> u32 {
    let pages = nix::unistd::sysconf(nix::unistd::SysconfVar::_PHYS_PAGES).ok().flatten().unwrap_or(0);
    let bytes = u64::try_from(pages).unwrap_or(0) * 4096 / 256;
    u32::try_from(bytes.clamp(4 << 20, 512 << 20) / BUCKET_BYTES as u64).unwrap_or(u32::MAX)
}

/// A secret of its own for all tables that are made.
fn seed() -> Result<Seed, StartError> {
    let mut bytes = [0; 16];
    io::Read::read_exact(&mut File::open("/dev/urandom").map_err(StartError::Random)?, &mut bytes)
        .map_err(StartError::Random)?;
    let [offset, multiplier]: [u64; 2] = zerocopy::transmute!(bytes);
    Ok(Seed { offset, multiplier: multiplier | 1 })
}
