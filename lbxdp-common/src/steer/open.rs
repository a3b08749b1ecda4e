//! A packet of no connection: it opens one, follows a hash for want of room, or is nobody's.

use super::World;
use super::answer::Answer;
use super::kind::{Kind, OPENING, UNCONFIRMED};
use crate::cells::Cells;
use crate::connection::{Key, Word};
use crate::overflow::Overflow;
use crate::pressure::Pressure;
use crate::protocol::Protocol;
use crate::schedule;
use crate::server::{Load, ServerId};
use crate::service::{List, Service, ServiceKey};
use crate::settings::SettingsView;
use crate::state::Event;
use crate::table::{self, Claim, Hash, NoRoom, Published, Wish};
use crate::tend::uncount;
use crate::time::Ticks;
use crate::verdict::Reason;

/// Active FTP's data connections come from here (RFC 959, 3.2).
const FTP_DATA_PORT: [u8; 2] = 20u16.to_be_bytes();

/// Opens a new connection, by its service's scheduler; or, for want of room, sends the packet where its hash leads. A
/// function of its own in the kernel, so that the path of known connections has the registers.
#[inline(never)]
pub(super) fn open<W: World>(
    world: &W,
    first: u64,
    second: u64,
    event: Event,
    hash: Hash,
    now: Ticks,
) -> u64 {
    Answer::packed(server_for(world, Key::from_cells([first, second]), event, hash, now))
}

/// The packet's server, and whether a connection is to be counted for it.
#[inline(always)]
fn server_for<W: World>(
    world: &W,
    key: Key,
    event: Event,
    hash: Hash,
    now: Ticks,
) -> Result<(ServerId, bool), Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let kind = Kind { protocol: key.protocol().ok_or(Reason::OtherProtocol)?, event };
    let service_key = ServiceKey { vip: key.vip, port: key.vip_port, protocol: key.protocol, pad: 0 };
    let index = world.service(service_key).ok_or(Reason::NoService)?;
    let state = kind.first_state(settings.rules());
    let lifetime = settings.timeout(state.timer(kind.protocol));
    let pressure = Pressure(world.pressure().ok_or(Reason::NotReady)?);
    // It may belong to a connection that got no entry. Such packets have followed the hash, and go on to.
    let follows_hash = !kind.begins() && pressure.is_recent(now, settings.timeout(kind.longest()));
    if !kind.opens(settings.rules()) && !follows_hash {
        return Err(Reason::NoConnection);
    }
    if key.client_port == FTP_DATA_PORT {
        return Err(Reason::FtpData);
    }
    let service = Service(world.service_row(index).ok_or(Reason::NotReady)?);
    if follows_hash && !kind.is_worth_an_entry(state) {
        // It ends its connection, if there is one: no sign of pressure.
        let server = schedule::by_hash(world, service.list(), hash.first()).ok_or(Reason::NoServer)?;
        world.note(Overflow::HashedOn);
        return Ok((server, false));
    }
    let claim = match Place::unpacked(world, claim(world, hash, now))? {
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
    // An opening packet that is sent again (within 3 s, RFC 6298) may have gone by hash the first time.
    let may_be_sent_again = pressure.is_recent(now, settings.timeout(OPENING) / 16);
    let picked = if follows_hash || may_be_sent_again {
        schedule::by_hash(world, service.list(), hash.first())
    } else {
        let [client, vip] = [key.client, key.vip].map(u32::from_be_bytes);
        schedule::pick(world, index, client, vip, u16::from_be_bytes(key.client_port))
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

/// A claimed place of the table, or why there is none, in one number.
struct Place;

impl Place {
    const NO_ROOM: u64 = 1 << 63;

    #[inline(always)]
    fn packed<C: Cells>(claimed: Result<Claim<C>, NoRoom>) -> u64 {
        match claimed {
            Ok(claim) => claim.place(),
            Err(NoRoom::HalfOpen) => Self::NO_ROOM,
            Err(NoRoom::Full) => Self::NO_ROOM | 1,
        }
    }

    #[inline(always)]
    fn unpacked<W: World>(world: &W, packed: u64) -> Result<Result<Claim<W::Bucket>, NoRoom>, Reason> {
        match packed {
            Self::NO_ROOM => Ok(Err(NoRoom::HalfOpen)),
            packed if packed & Self::NO_ROOM != 0 => Ok(Err(NoRoom::Full)),
            place => Claim::of_place(world, place).map(Ok).ok_or(Reason::NotReady),
        }
    }
}

/// Claims a place for a new connection, and takes the connection that had to make room off its server's counts. A function
/// of its own in the kernel, so that scheduler and claim do not share the stack.
#[inline(never)]
fn claim<W: World>(world: &W, hash: Hash, now: Ticks) -> u64 {
    let Some(settings) = world.settings().map(SettingsView) else {
        return Place::NO_ROOM;
    };
    let claimed = table::claim(world, settings.shape().home_of(hash), Wish::Share, now);
    if let Ok(Claim { replaced: Some(replaced), .. }) = claimed
        && let Some(protocol) = replaced.key.protocol()
    {
        uncount(world, protocol, replaced.word);
    }
    Place::packed(claimed)
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
