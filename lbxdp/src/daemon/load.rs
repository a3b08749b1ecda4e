//! The packet path's program: from this binary into the kernel, onto the interfaces, and off them again.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use aya::maps::{MapData, MapError, ProgramArray};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{ProgramError, ProgramInfo, Xdp, XdpMode, loaded_links, loaded_programs};
use aya::{Ebpf, EbpfLoader};
use lbxdp_common::server::MAX_SERVERS;
use lbxdp_common::steer::{REPORT_SLOT, Stage};

use crate::tables::pins::Instance;
use crate::tables::{MAP_NAMES, WATCH_MAP_NAMES};

/// How long the kernel may take to end a link that nobody holds any more.
const DETACH_TIME: Duration = Duration::from_secs(2);

/// The program's name, in the object and in the kernel.
pub const PROGRAM: &str = "lbxdp";

#[cfg(has_packet_program)]
static OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(env!("LBXDP_BPF_OBJECT")));
#[cfg(not(has_packet_program))]
static OBJECT: Option<&[u8]> = None;

/// The program's name while somebody watches.
pub const WATCHED_PROGRAM: &str = "lbxdp_watched";
/// The program that makes records of what is watched.
pub const REPORT: &str = "report";

#[cfg(has_watch_program)]
static WATCH_OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(env!("LBXDP_WATCH_OBJECT")));
#[cfg(not(has_watch_program))]
static WATCH_OBJECT: Option<&[u8]> = None;

/// Sizes of the tables, in rows.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Buckets of the table of IPv4 connections at its limit.
    pub buckets: u32,
    /// Of that of IPv6 connections.
    pub buckets_v6: u32,
    pub servers: u32,
    pub services: u32,
    pub members: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { buckets: 1 << 16, buckets_v6: 1 << 15, servers: 1 << 15, services: 1 << 14, members: 1 << 20 }
    }
}

/// An interface that packets come in by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub ifindex: u32,
    pub mac: [u8; 6],
}

/// How the program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver.
    Native,
    /// By the kernel, after it has built a socket buffer: works everywhere, several times slower.
    Generic,
}

/// Why the packet path is not there.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("this binary was built without the packet program: build it with `cargo xtask build`")]
    NoProgram,
    #[error("this binary was built without the program that watches: build it with `cargo xtask build`")]
    NoWatchProgram,
    #[error("loading BPF programs needs root (or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON)")]
    NotPermitted,
    #[error("cannot create {0} in the BPF file system; is it mounted? (mount -t bpf bpf /sys/fs/bpf)")]
    Pins(std::path::PathBuf, #[source] io::Error),
    #[error("cannot load the packet program's tables")]
    Maps(#[source] aya::EbpfError),
    #[error("cannot put the packet program together")]
    Stages(#[source] MapError),
    #[error("the kernel's verifier refuses the packet program")]
    Verifier(#[source] ProgramError),
    #[error(
        "{0} already carries another XDP program (bpftool net show names it): another instance of lbxdp, or one to take off first: ip link set dev {0} xdp off"
    )]
    Busy(String),
    #[error("cannot attach the packet program to {0}")]
    Attach(String, #[source] ProgramError),
    #[error("cannot pin the packet program of {0}")]
    Pin(String, #[source] Anything),
}

/// Whatever went wrong while pinning: aya has an error type for each step.
pub(super) type Anything = Box<dyn std::error::Error + Send + Sync>;

/// Creates the tables (or takes the pinned ones) and loads the program for one interface, without attaching it.
pub fn load(instance: &Instance, interface: &Interface, sizes: Sizes) -> Result<Ebpf, LoadError> {
    load_beside(&instance.map_pins(), interface, sizes)
}

/// As [`load`], with the tables pinned in any directory of the BPF file system.
pub fn load_beside(maps: &Path, interface: &Interface, sizes: Sizes) -> Result<Ebpf, LoadError> {
    let mut ebpf = beside(maps, interface, sizes, |_| true)?;
    put_stages(&mut ebpf)?;
    Ok(ebpf)
}

/// Loads nothing but the program that is made for an interface, where this build's stages are in their slots already: they are
/// the same for all interfaces, and looking at them takes the kernel's verifier some seconds.
pub fn load_straight(instance: &Instance, interface: &Interface, sizes: Sizes) -> Result<Ebpf, LoadError> {
    beside(&instance.map_pins(), interface, sizes, |name| name == PROGRAM)
}

fn beside(
    maps: &Path,
    interface: &Interface,
    sizes: Sizes,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Ebpf, LoadError> {
    create_directory(maps)?;
    verified(object()?, interface, sizes, |loader| pin_maps(loader, maps), is_wanted)
}

fn pin_maps(loader: &mut EbpfLoader<'_>, maps: &Path) {
    for name in MAP_NAMES {
        loader.map_pin_path(name, maps.join(name));
    }
}

/// Loads the programs of watching for one interface: tables as [`load_beside`], and those of watching pinned in a directory of
/// their own.
pub fn load_watched(
    maps: &Path,
    watch_maps: &Path,
    interface: &Interface,
    sizes: Sizes,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Ebpf, LoadError> {
    create_directory(watch_maps)?;
    let pins = |loader: &mut EbpfLoader<'_>| {
        pin_maps(loader, maps);
        for name in WATCH_MAP_NAMES {
            loader.map_pin_path(name, watch_maps.join(name));
        }
    };
    verified(watch_object()?, interface, sizes, pins, is_wanted)
}

/// Lets stages have the record of a packet made, by the program of an object of watching.
pub fn put_report(ebpf: &Ebpf, stages: &mut ProgramArray<MapData>) -> Result<(), LoadError> {
    let report = ebpf.program(REPORT).ok_or(LoadError::NoProgram)?.fd().map_err(LoadError::Verifier)?;
    stages.set(REPORT_SLOT, report, 0).map_err(LoadError::Stages)
}

/// Takes that program away. Not an error if there is none.
pub fn remove_report(stages: &mut ProgramArray<MapData>) -> Result<(), LoadError> {
    match stages.clear_index(&REPORT_SLOT) {
        Err(error) if os_error(&error) != Some(libc::ENOENT) => Err(LoadError::Stages(error)),
        _ => Ok(()),
    }
}

/// Loads the program with tables of the least size, and without any trace: what the verifier says of it.
pub fn verify() -> Result<Ebpf, LoadError> {
    verify_object(object()?)
}

/// The same of the programs of watching.
pub fn verify_watched() -> Result<Ebpf, LoadError> {
    verify_object(watch_object()?)
}

fn verify_object(object: &[u8]) -> Result<Ebpf, LoadError> {
    let nowhere = Interface { name: String::new(), ifindex: 0, mac: [0; 6] };
    let sizes = Sizes { buckets: 1, buckets_v6: 1, servers: 1, services: 1, members: 1 };
    verified(object, &nowhere, sizes, |_| (), |_| true)
}

/// The object as it was compiled.
pub fn object() -> Result<&'static [u8], LoadError> {
    OBJECT.ok_or(LoadError::NoProgram)
}

/// The object of watching as it was compiled.
pub fn watch_object() -> Result<&'static [u8], LoadError> {
    WATCH_OBJECT.ok_or(LoadError::NoWatchProgram)
}

fn verified(
    object: &[u8],
    interface: &Interface,
    sizes: Sizes,
    pins: impl FnOnce(&mut EbpfLoader<'_>),
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Ebpf, LoadError> {
    let mac = lbxdp_common::wire::ethernet::number(interface.mac);
    let servers = sizes.servers.min(MAX_SERVERS);
    let mut loader = EbpfLoader::new();
    loader
        .map_max_entries("connections", sizes.buckets)
        .map_max_entries("connections_v6", sizes.buckets_v6)
        .map_max_entries("servers", servers)
        .map_max_entries("loads", servers)
        .map_max_entries("counters", servers)
        .map_max_entries("server_bases", servers)
        .map_max_entries("services", sizes.services)
        .map_max_entries("turns", sizes.services)
        .map_max_entries("service_bases", sizes.services)
        .map_max_entries("service_ids", sizes.services)
        .map_max_entries("members", sizes.members)
        .override_global("PORT_MAC", &mac, true)
        .override_global("PORT_IFINDEX", &interface.ifindex, true);
    pins(&mut loader);
    let mut ebpf = loader.load(object).map_err(|error| {
        if is_permission(&error) { LoadError::NotPermitted } else { LoadError::Maps(error) }
    })?;
    for (_, program) in ebpf.programs_mut().filter(|(name, _)| is_wanted(name)) {
        let program: &mut Xdp = program.try_into().map_err(LoadError::Verifier)?;
        program.load().map_err(LoadError::Verifier)?;
    }
    Ok(ebpf)
}

/// Puts the stages into their slots: each in the place of the one that was there before, in one step. They are the same for
/// all interfaces.
fn put_stages(ebpf: &mut Ebpf) -> Result<(), LoadError> {
    let slots = ebpf.take_map("stages").ok_or(LoadError::NoProgram)?;
    let mut slots = ProgramArray::try_from(slots).map_err(LoadError::Stages)?;
    // The last one first: slots of a version that had fewer are refused before anything has changed.
    for stage in Stage::ALL.iter().rev() {
        let program = ebpf.program(stage.name()).ok_or(LoadError::NoProgram)?;
        let program = program.fd().map_err(LoadError::Verifier)?;
        slots.set(stage.raw(), program, 0).map_err(LoadError::Stages)?;
    }
    // A daemon that was killed while somebody watched has left it.
    remove_report(&mut slots)
}

/// The program of a loaded object.
pub fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, LoadError> {
    named(ebpf, PROGRAM)
}

/// The program of a loaded object of watching.
pub fn watched_program(ebpf: &mut Ebpf) -> Result<&mut Xdp, LoadError> {
    named(ebpf, WATCHED_PROGRAM)
}

fn named<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, LoadError> {
    ebpf.program_mut(name).ok_or(LoadError::NoProgram)?.try_into().map_err(LoadError::Verifier)
}

/// The program of a loaded object that tends the connection table; see `keeper.rs`.
pub fn tend(ebpf: &mut Ebpf) -> Result<&mut Xdp, LoadError> {
    ebpf.program_mut("tend").ok_or(LoadError::NoProgram)?.try_into().map_err(LoadError::Verifier)
}

/// The program of a loaded object that tells the time; see [`super::clock`].
pub fn clock(ebpf: &mut Ebpf) -> Result<&Xdp, LoadError> {
    let program: &mut Xdp =
        ebpf.program_mut("clock").ok_or(LoadError::NoProgram)?.try_into().map_err(LoadError::Verifier)?;
    Ok(program)
}

/// Attaches the program, in the driver if it can, and pins program and link.
pub fn attach(instance: &Instance, interface: &Interface, program: &mut Xdp) -> Result<Mode, LoadError> {
    let name = &interface.name;
    let failed = |error: ProgramError| {
        if os_error(&error) == Some(libc::EBUSY) {
            LoadError::Busy(name.clone())
        } else {
            LoadError::Attach(name.clone(), error)
        }
    };
    let (id, mode) = match program.attach_to_if_index(interface.ifindex, XdpMode::Driver) {
        Ok(id) => (id, Mode::Native),
        Err(error) if os_error(&error) == Some(libc::EBUSY) => return Err(failed(error)),
        Err(error) => {
            let id = program.attach_to_if_index(interface.ifindex, XdpMode::Skb).map_err(failed)?;
            tracing::warn!(
                interface = name,
                reason = %chain(&error),
                "GENERIC XDP: the driver does not take the program, the kernel runs it at a fraction of the speed"
            );
            (id, Mode::Generic)
        }
    };
    pin(instance, interface, program, id).map_err(|error| LoadError::Pin(name.clone(), error))?;
    Ok(mode)
}

fn pin(
    instance: &Instance,
    interface: &Interface,
    program: &mut Xdp,
    id: aya::programs::xdp::XdpLinkId,
) -> Result<(), Anything> {
    for path in [instance.program_pin(&interface.name), instance.link_pin(&interface.name)] {
        create_directory(path.parent().unwrap_or(&path))?;
    }
    let link: FdLink = program.take_link(id)?.try_into()?;
    link.pin(instance.link_pin(&interface.name))?;
    program.pin(instance.program_pin(&interface.name))?;
    Ok(())
}

/// Takes the program off an interface. When this returns, the interface is free.
pub(super) fn detach(instance: &Instance, interface: &Interface) -> Result<(), LoadError> {
    let failed = |error: Anything| LoadError::Pin(interface.name.clone(), error);
    let pin = instance.link_pin(&interface.name);
    let attached = PinnedLink::from_pin(&pin).and_then(|link| Ok(FdLink::from(link).info()?.program_id()));
    let attached = attached.map_err(|error| failed(error.into()))?;
    for pin in [pin, instance.program_pin(&interface.name)] {
        crate::saved::remove(&pin).map_err(|error| failed(error.into()))?;
    }
    // The link's id is free before the interface is; the program goes last of all (`bpf_link_free`).
    let deadline = Instant::now() + DETACH_TIME;
    while loaded_programs().flatten().any(|program| program.id() == attached) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Puts a new program in the place of an interface's attached one, in one step: no packet goes without.
pub fn replace(instance: &Instance, interface: &Interface) -> Result<(), LoadError> {
    let failed = |error| LoadError::Pin(interface.name.clone(), error);
    // The tables are the pinned ones; the program must know how many buckets they have.
    let mut ebpf = load_straight(instance, interface, pinned_sizes(instance).map_err(failed)?)?;
    put_in_place(instance, interface, program(&mut ebpf)?)
}

/// As [`replace`], with a program that is loaded already.
pub(super) fn put_in_place(
    instance: &Instance,
    interface: &Interface,
    program: &mut Xdp,
) -> Result<(), LoadError> {
    replace_pinned(instance, interface, program)
        .map_err(|error| LoadError::Pin(interface.name.clone(), error))
}

fn replace_pinned(instance: &Instance, interface: &Interface, program: &mut Xdp) -> Result<(), Anything> {
    let link = FdLink::from(PinnedLink::from_pin(instance.link_pin(&interface.name))?);
    // Dropping it afterwards closes a descriptor; the pin is what holds the link.
    program.attach_to_link(link.try_into()?)?;
    // Pinned beside it first: at no moment is there no pin. No interface is called so: it is too long.
    let pin = instance.program_pin(&interface.name);
    let beside = instance.program_pins().join(format!("program-of-index-{}", interface.ifindex));
    crate::saved::remove(&beside)?;
    program.pin(&beside)?;
    std::fs::rename(beside, pin)?;
    Ok(())
}

/// The kernel's id of an interface's program: another one whenever the program is replaced.
pub(super) fn pinned_program(instance: &Instance, interface: &str) -> Result<u32, ProgramError> {
    Ok(ProgramInfo::from_pin(instance.program_pin(interface))?.id())
}

/// The sizes of an instance's tables.
pub(super) fn pinned_sizes(instance: &Instance) -> Result<Sizes, Anything> {
    let rows = |table| -> Result<u32, Anything> {
        Ok(MapData::from_pin(instance.map_pins().join(table))?.info()?.max_entries())
    };
    Ok(Sizes {
        buckets: rows("connections")?,
        buckets_v6: rows("connections_v6")?,
        servers: rows("servers")?,
        services: rows("services")?,
        members: rows("members")?,
    })
}

fn create_directory(path: &Path) -> Result<(), LoadError> {
    std::fs::create_dir_all(path).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied if !nix::unistd::geteuid().is_root() => LoadError::NotPermitted,
        _ => LoadError::Pins(path.into(), source),
    })
}

/// Takes everything of an instance out of the kernel: links (so the program leaves the interfaces), programs, tables.
/// When this returns, the interfaces are free.
pub(super) fn unload(instance: &Instance) -> io::Result<()> {
    let links = pinned_links(instance);
    match std::fs::remove_dir_all(instance.pins()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    wait_until_gone(&links);
    Ok(())
}

/// The kernel ends a link in its own time once the last pin is gone.
fn wait_until_gone(links: &[u32]) {
    let deadline = Instant::now() + DETACH_TIME;
    while loaded_links().flatten().any(|link| links.contains(&link.id())) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The ids of an instance's links, of whatever layout.
fn pinned_links(instance: &Instance) -> Vec<u32> {
    let directories = std::fs::read_dir(instance.pins()).into_iter().flatten().flatten();
    let pins = directories
        .filter_map(|layout| std::fs::read_dir(layout.path().join("links")).ok())
        .flatten()
        .flatten();
    pins.filter_map(|pin| FdLink::from(PinnedLink::from_pin(pin.path()).ok()?).info().ok())
        .map(|info| info.id())
        .collect()
}

/// The error number at the end of a chain of causes.
pub(crate) fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    if let Some(io_error) = error.downcast_ref::<io::Error>() {
        return io_error.raw_os_error();
    }
    error.source().and_then(os_error)
}

pub(crate) fn is_permission(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(os_error(error), Some(libc::EPERM | libc::EACCES))
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
