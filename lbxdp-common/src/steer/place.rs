//! The packet's server where it takes a decision: connections that begin, end, or got no room in the table.

use super::World;
use super::follow::advance;
use super::kind::{Kind, UNCONFIRMED};
use crate::cells::Cells;
use crate::connection::{Key, Word};
use crate::overflow::Overflow;
use crate::pressure::Pressure;
use crate::protocol::Protocol;
use crate::schedule;
use crate::server::{Load, Server, ServerFlags, ServerId};
use crate::service::{List, Service, ServiceKey};
use crate::settings::{Rules, SettingsView};
use crate::table::{self, Found, Hash, NoRoom, Published, Wish};
use crate::tend::{is_served, uncount};
use crate::time::Ticks;
use crate::verdict::Reason;
use crate::wire::tcp::Flags;

/// How often the table is looked into again after another CPU changed the connection that was found.
const MAX_LOOKS: u32 = 2;
/// Active FTP's data connections come from here (RFC 959, 3.2).
const FTP_DATA_PORT: [u8; 2] = 20u16.to_be_bytes();

/// What is asked beside the key, in one number: functions that are not inlined can take no more.
#[derive(Clone, Copy)]
pub(super) struct Asked(u16);

impl Asked {
    const KNOWN: u16 = 1 << 8;

    /// The packet's flags, and whether its key has an entry at home.
    #[inline(always)]
    pub(super) fn new(flags: Flags, is_known: bool) -> Self {
        Self(u16::from(flags.0) | if is_known { Self::KNOWN } else { 0 })
    }

    #[inline(always)]
    fn flags(self) -> Flags {
        Flags(self.0 as u8)
    }

    #[inline(always)]
    fn is_known(self) -> bool {
        self.0 & Self::KNOWN != 0
    }
}

/// A packet's server, in one number: functions that are not inlined can return no more.
pub(super) struct Placed;

impl Placed {
    const REFUSED: u64 = 1 << 63;
    const NEW: u64 = 1 << 32;

    #[inline(always)]
    fn packed(placed: Result<(ServerId, bool), Reason>) -> u64 {
        match placed {
            Ok((server, is_new)) => u64::from(server.0) | if is_new { Self::NEW } else { 0 },
            Err(reason) => Self::REFUSED | u64::from(reason.raw()),
        }
    }

    /// The server, and how many connections are to be counted for it.
    #[inline(always)]
    pub(super) fn unpacked(packed: u64) -> Result<(ServerId, u64), Reason> {
        if packed & Self::REFUSED != 0 {
            return Err(Reason::from_raw(packed as u32).unwrap_or(Reason::NotReady));
        }
        Ok((ServerId(packed as u32), packed >> 32))
    }
}

/// Finds a server for whatever is not simply the next packet of a known connection. A function of its own in the
/// kernel, so that the path of known connections has the registers.
#[inline(never)]
pub(super) fn place<W: World>(
    world: &W,
    first: u64,
    second: u64,
    asked: Asked,
    hash: Hash,
    now: Ticks,
) -> u64 {
    Placed::packed(server_of(world, Key::from_cells([first, second]), asked, hash, now))
}

/// The packet's server, and whether a connection is to be counted for it.
#[inline(always)]
fn server_of<W: World>(
    world: &W,
    key: Key,
    asked: Asked,
    hash: Hash,
    now: Ticks,
) -> Result<(ServerId, bool), Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let kind = Kind { protocol: key.protocol().ok_or(Reason::OtherProtocol)?, flags: asked.flags() };
    let shape = settings.shape();
    let looks = if asked.is_known() || !shape.is_steady() { MAX_LOOKS } else { 0 };
    for _ in 0..looks {
        let (slot, word) = match table::find(world, shape, hash, key) {
            None => break,
            Some(Found::OnItsWay(word)) => return Ok((word.server(), false)),
            Some(Found::Here(slot, word)) => (slot, word),
        };
        if is_over(world, settings, kind, word, now) {
            if slot.retire(word) {
                uncount(world, kind.protocol, word);
                break;
            }
        } else if !is_served(world, word) {
            return Err(Reason::ServerGone);
        } else if advance(world, settings, kind, key, slot, word, now) {
            return Ok((word.server(), false));
        }
    }
    open(world, settings, key, kind, hash, now)
}

/// Whether a connection is none any more for this packet: its place is given back, and the packet is a stranger's.
///
/// That a new connection never has to wait for an old one with the same ports is where this departs from IPVS, which
/// drops packets of a deleted server's connection even if they open a new one.
#[inline(always)]
fn is_over<W: World>(world: &W, settings: SettingsView<W::Row>, kind: Kind, word: Word, now: Ticks) -> bool {
    if table::is_overdue(word, now) {
        return true;
    }
    let expires_nodest = settings.rules().has(Rules::EXPIRE_NODEST_CONN);
    if !is_served(world, word) {
        return expires_nodest || kind.begins() && settings.reuses_connections();
    }
    kind.begins()
        && (settings.is_reusable(kind.protocol, word.state()) || expires_nodest && is_quiescent(world, word))
}

/// Opens a new connection, by its service's scheduler; or, for want of room, sends the packet where its hash leads.
#[inline(always)]
fn open<W: World>(
    world: &W,
    settings: SettingsView<W::Row>,
    key: Key,
    kind: Kind,
    hash: Hash,
    now: Ticks,
) -> Result<(ServerId, bool), Reason> {
    let service_key = ServiceKey { vip: key.vip, port: key.vip_port, protocol: key.protocol, pad: 0 };
    let index = world.service(service_key).ok_or(Reason::NoService)?;
    let state = kind.first_state(settings.rules());
    let lifetime = settings.timeout(state.timer(kind.protocol));
    // It may belong to a connection that got no entry. Such packets have followed the hash, and go on to.
    let follows_hash =
        !kind.begins() && Pressure(world.pressure().ok_or(Reason::NotReady)?).is_recent(now, lifetime);
    if !kind.opens(settings.rules()) && !follows_hash {
        return Err(Reason::NoConnection);
    }
    if key.client_port == FTP_DATA_PORT {
        return Err(Reason::FtpData);
    }
    let service = Service(world.service_row(index).ok_or(Reason::NotReady)?);
    if follows_hash && !kind.is_worth_an_entry(state) {
        return by_hash(world, service.list(), hash, now, Overflow::HashedOn).map(|server| (server, false));
    }
    let claim = match table::claim(world, settings.shape().home_of(hash), Wish::Share, now) {
        Ok(claim) => claim,
        Err(no_room) => {
            let overflow = match no_room {
                _ if follows_hash => Overflow::HashedOn,
                NoRoom::HalfOpen => Overflow::HashedHalfOpen,
                NoRoom::Full => Overflow::HashedFull,
            };
            let server = by_hash(world, service.list(), hash, now, overflow)?;
            return Ok((server, kind.begins()));
        }
    };
    if let Some(replaced) = claim.replaced
        && let Some(protocol) = replaced.key.protocol()
    {
        uncount(world, protocol, replaced.word);
    }
    let picked = if follows_hash {
        schedule::by_hash(world, service.list(), hash.first())
    } else {
        schedule::pick(world, index, service)
    };
    let Some(server) = picked else {
        claim.give_back();
        return Err(Reason::NoServer);
    };
    let due = now + if follows_hash { lifetime.min(settings.timeout(UNCONFIRMED)) } else { lifetime };
    let word = Word::live(server, state, due).half_open();
    match claim.publish(world, settings.shape(), hash, key, word) {
        Published::Existing(theirs) => Ok((theirs.server(), false)),
        Published::New => {
            if let Some(load) = world.load_row(server) {
                load.add(0, Load::gained(state.is_active(kind.protocol)));
            }
            if follows_hash {
                world.note(Overflow::TakenUp);
            }
            Ok((server, !follows_hash || matches!(kind.protocol, Protocol::Udp)))
        }
    }
}

/// The server of a packet that gets no entry.
#[inline(always)]
fn by_hash<W: World>(
    world: &W,
    list: List,
    hash: Hash,
    now: Ticks,
    overflow: Overflow,
) -> Result<ServerId, Reason> {
    let server = schedule::by_hash(world, list, hash.first()).ok_or(Reason::NoServer)?;
    world.note(overflow);
    if let Some(row) = world.pressure() {
        Pressure(row).is_felt(now);
    }
    Ok(server)
}

#[inline(always)]
fn is_quiescent<W: World>(world: &W, word: Word) -> bool {
    world.server_row(word.server()).is_some_and(|row| Server(row).hop().flags.has(ServerFlags::QUIESCENT))
}
