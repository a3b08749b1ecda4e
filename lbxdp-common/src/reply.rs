//! How the replies of a connection by VS/NAT are told: a second entry in the connection table, by what a server's packet
//! carries.
//!
//! It leads to the connection by the hash of its key, its bond. Whatever is to be known of the connection stands in the
//! connection's own entry; this one lives as long and is half open as long. It is in nobody's counts.
//!
//! The two entries are written one after the other, and nothing holds them together. That is enough: an entry that
//! outlives its connection leads nowhere, for whoever follows it compares what it finds there; a connection without one
//! gets it by its next packet that opens it or moves its due time. Where two connections want the same one (a client
//! reaches one server by two VIPs, from the same port), the newer has it, as in IPVS, which finds the newest first.

use core::ops::ControlFlow;

use crate::address::Address;
use crate::cells::Cells;
use crate::connection::{Course, Key, Word, kind};
use crate::server::{Method, Server, ServerId};
use crate::settings::SettingsView;
use crate::state::State;
use crate::steer::{Desk, Ways};
use crate::table::{self, Buckets, Claim, Entry, Found, Hash, Pair, Shape, Slot, WAYS};
use crate::verdict::Reason;
use crate::walk::Step;

/// The port that a connection's packets are sent to: the server's own, if it has one, and the packets go to the service's.
/// Those that a persistent service gets at other ports (FTP's data, a service for all ports) keep theirs.
#[inline(always)]
pub fn port_of<A: Address, C: Cells>(server: Server<C>, key: Key<A>) -> [u8; 2] {
    let port = server.change().port_number;
    let keeps = u16::from_ne_bytes(port) == 0 || !server.serves(key.vip_port);
    if keeps { key.vip_port } else { port }
}

/// The key of a connection's reply entry.
#[inline(always)]
pub fn key_of<A: Address, C: Cells>(key: Key<A>, server: Server<C>) -> Key<A> {
    Key { vip: A::of_wide(server.address()), vip_port: port_of(server, key), kind: kind::REPLY, ..key }
}

/// The cells of the key of the reply entry by which a packet from a server is told. `key` has been read from the packet as
/// if a client had sent it. All in cells: a key of IPv6 takes more stack than there is.
#[inline(always)]
pub fn cells_from<A: Address>(key: A::Cells) -> A::Cells {
    let rest = last::<A>(key);
    let [from, to, protocol_and_kind, pad]: [u16; 4] = zerocopy::transmute!(rest);
    let [protocol, _]: [u8; 2] = zerocopy::transmute!(protocol_and_kind);
    let turned = [to, from, u16::from_ne_bytes([protocol, kind::REPLY]), pad];
    A::turned(key, zerocopy::transmute!(turned))
}

/// A key's last cell.
#[inline(always)]
fn last<A: Address>(key: A::Cells) -> u64 {
    key.as_ref().last().copied().unwrap_or_default()
}

/// The key and the word that the reply entry of the connection on the desk should have.
#[inline(always)]
fn wanted<A: Address, W: Ways<A>>(world: &W) -> Result<(A::Cells, Word), Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let word = desk.word();
    let server = Server(world.server_row(word.server()).ok_or(Reason::ServerGone)?);
    if server.identity().0 != word.server() {
        return Err(Reason::ServerGone);
    }
    let key = key_of(desk.key::<A>(), server).cells();
    let word = Word::live(word.server(), State::NONE, word.due()).by(Method::MASQUERADE).half_open_as(word);
    Ok((key, word))
}

/// Makes the reply entry of the connection on the desk live as long as it; false if there is none, and the hash of its key is
/// on the desk. See [`Ways::expect_reply`].
#[inline(always)]
pub fn expect<A: Address, W: Ways<A>>(world: &W, begins: u32) -> Result<bool, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let (key, word) = wanted::<A, W>(world)?;
    let (bond, hash) = (desk.hash().0, Hash::of_cells::<A>(key, settings.seed()));
    desk.set_reply_hash(hash);
    match table::find_cells::<A, _>(world, settings.shape_of::<A>(), hash, key) {
        Some(Found::Here(slot, old)) => {
            if slot.bond() != bond {
                // An older one gets it back when the newer one has ended.
                if begins == 0 && !table::is_overdue(old, desk.now()) {
                    return Ok(true);
                }
                slot.set_bond(bond);
            }
            if old != word {
                // Should another CPU be faster, it has written the same, or nearly.
                slot.change(old, word);
            }
            Ok(true)
        }
        Some(Found::OnItsWay(_)) => Ok(true),
        None => Ok(false),
    }
}

/// Makes a reply entry of the connection on the desk in a place that was claimed for it; see [`Ways::publish_reply`].
#[inline(always)]
pub fn publish<A: Address, W: Ways<A>>(world: &W, place: u64) -> Result<(), Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let claim = Claim::<_, A>::of_place(world, place).ok_or(Reason::NotReady)?;
    match wanted::<A, W>(world) {
        Ok((cells, word)) => {
            let entry = Entry { key: Key::from_cells(cells), word, bond: desk.hash().0 };
            claim.publish(world, settings.shape_of::<A>(), desk.reply_hash(), entry);
            Ok(())
        }
        Err(reason) => {
            claim.give_back();
            Err(reason)
        }
    }
}

/// Bond and server of a live reply entry; bond 0 if there is none.
#[inline(always)]
pub fn find<A: Address, W: Ways<A>>(
    world: &W,
    settings: SettingsView<W::Row>,
    key: A::Cells,
) -> (u64, ServerId) {
    let (shape, hash) = (settings.shape_of::<A>(), Hash::of_cells::<A>(key, settings.seed()));
    if let Some((slot, word)) = table::find_at_home(world, shape, hash, key) {
        return (slot.bond(), word.server());
    }
    if !shape.is_steady()
        && let Some(Found::Here(slot, word)) = table::find_cells::<A, _>(world, shape, hash, key)
    {
        return (slot.bond(), word.server());
    }
    (0, ServerId::NONE)
}

/// A connection that a reply belongs to.
pub struct Owner<C, A: Address> {
    /// Where it is.
    pub slot: Slot<C, A>,
    /// The cells of its key.
    pub key: A::Cells,
    /// Its word, which may be [moving](Word::is_moving).
    pub word: Word,
}

/// What is known of a connection by its reply entry.
struct Search<A: Address> {
    /// Its key, but for VIP and port.
    rest: A::Cells,
    hash: u64,
    server: u32,
    home: Pair,
    elsewhere: Pair,
    /// The step at which it was seen, and 1 if it was.
    step: u32,
    is_found: u32,
}

/// The cells of a connection's key without what its replies do not tell: VIP and port; of a reply entry's key as well.
#[inline(always)]
pub fn told<A: Address>(key: A::Cells) -> A::Cells {
    let [client_port, _, protocol_and_kind, pad]: [u16; 4] = zerocopy::transmute!(last::<A>(key));
    let [protocol, _]: [u8; 2] = zerocopy::transmute!(protocol_and_kind);
    let rest = [client_port, 0, u16::from_ne_bytes([protocol, kind::CONNECTION]), pad];
    A::without_vip(key, zerocopy::transmute!(rest))
}

/// Whether it is a connection's key.
#[inline(always)]
fn is_connection<A: Address>(key: A::Cells) -> bool {
    let [.., found, _, _]: [u8; 8] = zerocopy::transmute!(last::<A>(key));
    found == kind::CONNECTION
}

impl<A: Address> Search<A> {
    /// Bucket and way of a step: home, elsewhere, and home again, for it may have been carried there between the two looks.
    #[inline(always)]
    fn place(&self, step: u32) -> (u32, usize) {
        let pair = if step / (2 * WAYS as u32) % 2 == 1 { self.elsewhere } else { self.home };
        let bucket = if (step / WAYS as u32).is_multiple_of(2) { pair.first } else { pair.second };
        (bucket, step as usize % WAYS)
    }
}

impl<A: Address, W: Ways<A>> Step<W> for Search<A> {
    #[inline(always)]
    fn step(&mut self, world: &W, step: u32) -> ControlFlow<()> {
        let (bucket, way) = self.place(step);
        let Some(bucket) = world.bucket(bucket) else {
            return ControlFlow::Break(());
        };
        let slot = Slot::<_, A>::new(bucket, way);
        let (Some((key, word)), Some(settings)) = (slot.read_cells(), world.settings().map(SettingsView))
        else {
            return ControlFlow::Continue(());
        };
        if word.server().0 != self.server
            || word.method() != Method::MASQUERADE
            || !is_connection::<A>(key)
            || !A::are_same(told::<A>(key), self.rest)
            || Hash::of_cells::<A>(key, settings.seed()).0 != self.hash
        {
            return ControlFlow::Continue(());
        }
        (self.step, self.is_found) = (step, 1);
        // One that is being carried is as good as any for translating, but one that stays can be moved on too.
        if word.is_moving() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// The connection that a reply entry leads to by its bond, of which is known what is [told]. One that goes another way than
/// VS/NAT by now is none: its server answers past the director.
#[inline(always)]
pub fn owner<A: Address, W: Ways<A>>(
    world: &W,
    shape: Shape,
    rest: A::Cells,
    bond: u64,
    server: ServerId,
) -> Option<Owner<<W as Buckets<A>>::Bucket, A>> {
    let (hash, zero) = (Hash(bond), world.zero());
    let mut search = Search::<A> {
        rest,
        hash: bond,
        server: server.0,
        home: shape.home_of(hash),
        elsewhere: shape.elsewhere_of(hash),
        step: zero,
        is_found: zero,
    };
    let steps = if shape.is_steady() { 2 * WAYS as u32 } else { 6 * WAYS as u32 };
    world.repeat(steps, &mut search);
    if search.is_found == 0 {
        return None;
    }
    let (bucket, way) = search.place(search.step);
    let slot = Slot::new(world.bucket(bucket)?, way);
    // Another connection may have its place by now.
    let (key, word) = slot.read_cells()?;
    let is_the_same = A::are_same(told::<A>(key), search.rest)
        && (word.server(), word.method()) == (server, Method::MASQUERADE)
        && is_connection::<A>(key);
    is_the_same.then_some(Owner { slot, key, word })
}

/// The same, looked for only where it nearly always is, and found only if it is not being carried.
#[inline(always)]
pub fn owner_at_home<A: Address, W: Ways<A>>(
    world: &W,
    settings: SettingsView<W::Row>,
    rest: A::Cells,
    bond: u64,
    server: ServerId,
) -> Option<Owner<<W as Buckets<A>>::Bucket, A>> {
    let home = settings.shape_of::<A>().home_of(Hash(bond));
    let course = Course::new(server, Method::MASQUERADE);
    let slot = match candidate_in::<A, _>(world.bucket(home.first)?, rest, course) {
        Some(slot) => slot,
        None => candidate_in::<A, _>(world.bucket(home.second)?, rest, course)?,
    };
    let (key, word) = slot.read_cells()?;
    let is_owner = word.course() == course
        && !word.is_moving()
        && is_connection::<A>(key)
        && A::are_same(told::<A>(key), rest)
        && Hash::of_cells::<A>(key, settings.seed()).0 == bond;
    is_owner.then_some(Owner { slot, key, word })
}

/// The first entry of a bucket that may be such a connection's. Written out, as in [`table::find_at_home`].
#[inline(always)]
fn candidate_in<A: Address, C: Cells>(bucket: C, rest: A::Cells, course: Course) -> Option<Slot<C, A>> {
    if is_candidate(Slot::<C, A>::new(bucket, 0), rest, course) {
        return Some(Slot::new(bucket, 0));
    }
    if is_candidate(Slot::<C, A>::new(bucket, 1), rest, course) {
        return Some(Slot::new(bucket, 1));
    }
    if is_candidate(Slot::<C, A>::new(bucket, 2), rest, course) {
        return Some(Slot::new(bucket, 2));
    }
    if is_candidate(Slot::<C, A>::new(bucket, 3), rest, course) {
        return Some(Slot::new(bucket, 3));
    }
    None
}

#[inline(always)]
fn is_candidate<A: Address, C: Cells>(slot: Slot<C, A>, rest: A::Cells, course: Course) -> bool {
    slot.word().course() == course && A::are_same(told::<A>(slot.key_cells()), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_told_by_what_the_server_sends() {
        let connection = Key::<crate::V4> {
            client: [192, 0, 2, 77],
            vip: [10, 0, 0, 100],
            client_port: 40_000u16.to_be_bytes(),
            vip_port: 80u16.to_be_bytes(),
            protocol: 6,
            kind: kind::CONNECTION,
            pad: [0; 2],
        };
        let row = crate::server::ServerRow {
            address: crate::service::widened([10, 1, 0, 1]),
            port_number: 8080u16.to_be_bytes(),
            service: crate::service::ServiceKey::address(connection.vip, connection.vip_port, 6),
            ..Default::default()
        };
        let cells = row.cells().map(core::sync::atomic::AtomicU64::new);
        // As a parser that takes every packet for a client's reads the server's.
        let packet = Key {
            client: [10, 1, 0, 1],
            vip: [192, 0, 2, 77],
            client_port: 8080u16.to_be_bytes(),
            vip_port: 40_000u16.to_be_bytes(),
            ..connection
        };
        let reply = cells_from::<crate::V4>(packet.cells());
        assert_eq!(key_of(connection, Server(&cells[..])).cells(), reply);
        let other_port = Key { vip_port: 9u16.to_be_bytes(), ..connection };
        assert_eq!(key_of(other_port, Server(&cells[..])).vip_port, other_port.vip_port);
        let told = told::<crate::V4>;
        assert_ne!(told(connection.cells()), reply);
        assert_eq!(told(connection.cells()), told(reply));
        assert!(is_connection::<crate::V4>(connection.cells()) && !is_connection::<crate::V4>(reply));
    }
}
