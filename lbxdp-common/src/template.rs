//! Persistence: a template says to which server the connections of a client go.
//!
//! A template is an entry of the connection table, told from connections by its key's kind and its state. It lasts a time
//! of its own after the last new connection, and never goes while one of its connections lives: only the daemon takes
//! it out, which sees all of the table ([`tend`](crate::tend)); to packets it is there until then. Its connections know it by
//! the hash of its key, their bond.
//!
//! Sources: Linux `ip_vs_sched_persist`, `ip_vs_check_template`, `ip_vs_conn_expire`.

use core::marker::PhantomData;
use core::ops::ControlFlow;

use crate::address::Address;
use crate::cells::Cells;
use crate::connection::{Key, Word, kind};
use crate::overload::LoadRow;
use crate::server::{Server, ServerFlags, ServerId};
use crate::service::{Persistence, ServiceKey};
use crate::settings::{Rules, SettingsView};
use crate::state::{State, Timer};
use crate::steer::World;
use crate::table::{self, Buckets, Claim, Entry, Found, Hash, Pair, Published, Slot, WAYS};
use crate::time::Ticks;
use crate::walk::Step;

/// The control connection of FTP (RFC 959): its template is that of the data connections too, whatever their port.
pub const FTP_PORT: [u8; 2] = 21u16.to_be_bytes();
/// How long a template lasts once it had to wait for its connections, in seconds: for the rest of its life.
pub const WAITING_S: u32 = 60;
/// How often a change is tried again after another CPU changed the template.
const MAX_ATTEMPTS: u32 = 2;
/// How often it is looked for again after it left its place.
const MAX_LOOKS: u32 = 2;

/// The key of a client's template.
#[inline(always)]
pub fn key_of<A: Address>(service: ServiceKey, persistence: Persistence, client: A) -> Key<A> {
    let is_ftp = u16::from_ne_bytes(service.port) == u16::from_ne_bytes(FTP_PORT);
    Key {
        client: client.masked(persistence.netmask),
        vip: A::of_wide(service.vip),
        client_port: [0; 2],
        vip_port: if is_ftp { [0; 2] } else { service.port },
        protocol: service.protocol,
        kind: kind::TEMPLATE,
        pad: [0; 2],
    }
}

/// Where the template leads, if there is one whose server can be used; its time begins anew.
#[inline(always)]
pub fn consult<A: Address, W: World + Buckets<A>>(
    world: &W,
    settings: SettingsView<W::Row>,
    key: Key<A>,
    is_datagram: bool,
    now: Ticks,
) -> Option<ServerId> {
    let hash = Hash::of(key, settings.seed());
    for _ in 0..MAX_LOOKS {
        let (slot, word) = match table::find(world, settings.shape_of::<A>(), hash, key) {
            None => return None,
            Some(Found::OnItsWay(word)) => return Some(word.server()),
            Some(Found::Here(slot, word)) => (slot, word),
        };
        if !is_usable(world, settings, word) {
            return None;
        }
        let server = renew(settings, slot, key, word, is_datagram, now);
        if server.is_some() {
            return server;
        }
    }
    None
}

/// How long a template lasts at most of which only a first packet has been seen: as long as that one's connection. So a flood
/// of forged clients does not leave templates behind for longer than it leaves connections.
#[inline(always)]
fn opening<S: Cells>(settings: SettingsView<S>, is_datagram: bool) -> u32 {
    settings.timeout(if is_datagram { Timer::UDP } else { Timer::OPENING })
}

/// Begins its time anew; its server then, or `None` if it is not there any more: it has been carried elsewhere, or taken
/// out, and then it must be made again, or its client's next connection would go elsewhere.
#[inline(always)]
fn renew<A: Address, C: Cells, S: Cells>(
    settings: SettingsView<S>,
    slot: Slot<C, A>,
    key: Key<A>,
    mut word: Word,
    is_datagram: bool,
    now: Ticks,
) -> Option<ServerId> {
    for _ in 0..MAX_ATTEMPTS {
        let mut lifetime = slot.bond() as u32;
        if word.is_half_open() && !is_datagram {
            lifetime = lifetime.min(opening(settings, is_datagram));
        }
        let due = now + lifetime;
        let mut next = word.renewed(word.state(), due);
        if is_datagram {
            // A second datagram is as much as is asked of a connection of UDP.
            next = next.confirmed();
        }
        if next.is_like(word) && due.since(word.due()).unsigned_abs() < settings.refresh()
            || slot.change(word, next)
        {
            return Some(word.server());
        }
        word = slot.word_of(key)?;
        if word.is_moving() {
            break;
        }
    }
    Some(word.server())
}

/// What a template is to be.
#[derive(Clone, Copy)]
pub struct Wanted {
    /// Where it leads.
    pub server: ServerId,
    /// How long it lasts after its last new connection, in ticks.
    pub lifetime: u32,
    /// It is made for a datagram of UDP.
    pub is_datagram: bool,
}

/// Makes the template lead to the server that is wanted, a new one in `place` if there is none: to which server it leads
/// then, for another CPU may have been faster; [`ServerId::NONE`] if there is no template then. The place is used or given
/// back.
#[inline(always)]
pub fn remember<A: Address, W: World + Buckets<A>>(
    world: &W,
    settings: SettingsView<W::Row>,
    key: Key<A>,
    place: Option<Claim<W::Bucket, A>>,
    wanted: Wanted,
    now: Ticks,
) -> ServerId {
    let Wanted { server, lifetime, is_datagram } = wanted;
    let (shape, hash) = (settings.shape_of::<A>(), Hash::of(key, settings.seed()));
    // Until its first connection is more than a SYN, a template is half open: it is of no use to anybody else.
    let due = now + lifetime.min(opening(settings, is_datagram));
    let word = Word::live(server, State::TEMPLATE, due).half_open();
    let (slot, old) = match table::find(world, shape, hash, key) {
        Some(Found::Here(slot, old)) => (slot, old),
        found => {
            let Some(claim) = place else {
                return ServerId::NONE;
            };
            // By another key when it was claimed: the service was edited meanwhile.
            if found.is_some() || !claim.is_in(shape.home_of(hash)) {
                claim.give_back();
                return ServerId::NONE;
            }
            return match claim.publish(world, shape, hash, Entry { key, word, bond: lifetime.into() }) {
                Published::Existing(rival) => rival.server(),
                Published::New => {
                    gain(world, server);
                    server
                }
            };
        }
    };
    if let Some(claim) = place {
        claim.give_back();
    }
    if is_usable(world, settings, old) {
        return old.server();
    }
    // Its server cannot be used any more. IPVS hides such a template and makes a new one; here it changes its server.
    if !slot.change(old, word) {
        // Another CPU may have been faster with the very same.
        return match slot.word_of(key) {
            Some(newer) if newer.server() != old.server() => newer.server(),
            _ => ServerId::NONE,
        };
    }
    slot.set_bond(lifetime.into());
    if let Some(row) = world.load_row(old.server()) {
        LoadRow(row).lose_template();
    }
    gain(world, server);
    server
}

#[inline(always)]
fn gain<W: World>(world: &W, server: ServerId) {
    if let Some(row) = world.load_row(server) {
        LoadRow(row).gain_template();
    }
}

/// Whether new connections may go where it leads: its server is configured, whatever its weight, unless the rules say that
/// a quiescent one ends templates. Overload does not matter.
#[inline(always)]
fn is_usable<W: World>(world: &W, settings: SettingsView<W::Row>, word: Word) -> bool {
    world.server_row(word.server()).is_some_and(|row| {
        let server = Server(row);
        let flags = server.hop().flags;
        let must_be_busy = settings.rules().has(Rules::EXPIRE_QUIESCENT_TEMPLATE);
        server.identity().0 == word.server()
            && flags.has(ServerFlags::AVAILABLE)
            && !(must_be_busy && flags.has(ServerFlags::QUIESCENT))
    })
}

/// Tells the template of a connection that its client is a real one. As little as can be is kept here: this walk stands on the
/// deepest stack there is.
struct Confirm<A> {
    width: PhantomData<A>,
    bond: u64,
    home: Pair,
    elsewhere: Pair,
    /// Whether a connection has been established, as a number.
    is_established: u32,
}

impl<A: Address, W: World + Buckets<A>> Step<W> for Confirm<A> {
    #[inline(always)]
    fn step(&mut self, world: &W, step: u32) -> ControlFlow<()> {
        let pair = if step / (2 * WAYS as u32) == 0 { self.home } else { self.elsewhere };
        let bucket = if (step / WAYS as u32).is_multiple_of(2) { pair.first } else { pair.second };
        let Some(bucket) = world.bucket(bucket) else {
            return ControlFlow::Break(());
        };
        let slot = Slot::<_, A>::new(bucket, step as usize % WAYS);
        let Some(settings) = world.settings().map(SettingsView) else {
            return ControlFlow::Break(());
        };
        let Some(word) = slot.word_of_hash(Hash(self.bond), settings.seed()) else {
            return ControlFlow::Continue(());
        };
        if !word.is_template() || word.is_moving() {
            return ControlFlow::Continue(());
        }
        let state = if self.is_established == 0 { word.state() } else { State::TEMPLATE_ASSURED };
        let due = if word.is_half_open() { world.now() + slot.bond() as u32 } else { word.due() };
        let confirmed = word.renewed(state, due).confirmed();
        if confirmed != word {
            // Should another CPU be faster, the next connection confirms it.
            slot.change(word, confirmed);
        }
        ControlFlow::Break(())
    }
}

/// Tells the template that a connection of it has gone on: half open no more, and assured if the connection is
/// established.
#[inline(always)]
pub fn confirm<A: Address, W: World + Buckets<A>>(world: &W, bond: u64, is_established: u32) -> u64 {
    let Some(settings) = world.settings().map(SettingsView) else {
        return 0;
    };
    let (shape, hash, zero) = (settings.shape_of::<A>(), Hash(bond), world.zero());
    let mut confirm = Confirm::<A> {
        width: PhantomData,
        bond,
        home: shape.home_of(hash),
        elsewhere: shape.elsewhere_of(hash),
        is_established: is_established.wrapping_add(zero),
    };
    world.repeat(4 * WAYS as u32, &mut confirm);
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: Key = Key {
        client: [192, 0, 2, 77],
        vip: [10, 0, 0, 100],
        client_port: 40_000u16.to_be_bytes(),
        vip_port: 8080u16.to_be_bytes(),
        protocol: 6,
        kind: Key::CONNECTION,
        pad: [0; 2],
    };

    fn template(service: ServiceKey, netmask: [u8; 4]) -> Key {
        key_of(service, Persistence { seconds: 9, netmask }, CONNECTION.client)
    }

    #[test]
    fn a_template_is_a_clients_net_and_what_identifies_the_service() {
        let by_port =
            template(ServiceKey::address([10, 0, 0, 100], 8080u16.to_be_bytes(), 6), [255, 255, 255, 0]);
        let expected = Key { client: [192, 0, 2, 0], client_port: [0; 2], kind: Key::TEMPLATE, ..CONNECTION };
        assert_eq!(by_port, expected);
        for service in [
            ServiceKey::address([10, 0, 0, 100], [0; 2], 6),
            ServiceKey::address([10, 0, 0, 100], FTP_PORT, 6),
        ] {
            assert_eq!(template(service, [255, 255, 255, 0]), Key { vip_port: [0; 2], ..expected });
        }
        assert_eq!(
            template(ServiceKey::marked(5), [255; 4]),
            Key { client: [192, 0, 2, 77], vip: [0, 0, 0, 5], vip_port: [0; 2], protocol: 0, ..expected }
        );
    }
}
