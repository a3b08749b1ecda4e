//! The first packet of a connection, where nothing is out of the ordinary: its service is the one of its address and port, has
//! no templates, and the table has an empty place. All of it in one go, and nothing laid down in between; what is decided is
//! what [`open`](super::open) decides. Whatever is not so simple leaves untouched, to be looked at in full.

use super::arrival::{Desk, Task};
use super::follow::{counted, way_by, way_to};
use super::forward;
use super::kind::{OPENING, clients_view};
use super::open::{FTP_DATA_PORT, by_scheduler_of};
use super::settled::Plain;
use super::{Stage, Stages, Ways};
use crate::address::{Address, V4, V6};
use crate::connection::{Key, Word};
use crate::hint;
use crate::overload::LoadRow;
use crate::pressure;
use crate::server::{Method, Server, ServerId};
use crate::service::ServiceFlags;
use crate::settings::{Rules, SettingsView};
use crate::table::{Entry, Home, Published, Wish};
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;

/// The stage of IPv4.
#[inline(always)]
pub(super) fn arrive_v4<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    if let Some(plain) = Plain::<V4>::of(frame)
        && let Some(decided) = open(frame, world, settings, plain)
    {
        return decided;
    }
    world.enter(Stage::V4, frame)
}

/// That of IPv6.
#[inline(always)]
pub(super) fn arrive_v6<F: Frame, W: Stages<F>>(world: &W, frame: &mut F) -> Result<Verdict, Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    if let Some(plain) = Plain::<V6>::of(frame)
        && let Some(decided) = open(frame, world, settings, plain)
    {
        return decided;
    }
    world.enter(Stage::V6, frame)
}

/// Opens the connection of a packet that has none, and sends the packet to its server.
#[inline(always)]
fn open<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
    frame: &mut F,
    world: &W,
    settings: SettingsView<W::Row>,
    plain: Plain<A>,
) -> Option<Result<Verdict, Reason>> {
    let (kind, rules) = (plain.kind(), settings.rules());
    let (now, shape, hash) = (world.now(), settings.shape_of::<A>(), plain.hash(settings));
    if !shape.is_steady() || !kind.opens(rules) || rules.has(Rules::MARKS) {
        return None;
    }
    // Another one of its packets may have gone by hash. Asked first: in a flood nothing is done here in vain.
    let opening = settings.timeout(OPENING) / 16;
    let concern = if kind.begins() { opening } else { opening.max(settings.timeout(kind.longest())) };
    if pressure::may_have_been_felt::<A, _>(world, hash, now, concern)? {
        return None;
    }
    let home = Home::of::<A, _>(world, shape.home_of(hash))?;
    if home.find::<A>(plain.key).is_some() {
        return None;
    }
    let key = Key::<A>::from_cells(plain.key);
    if key.client_port == FTP_DATA_PORT {
        return None;
    }
    let (index, service) = hint::find(world, key.vip.service(key.vip_port, key.protocol))?;
    let flags = service.flags();
    if flags.has(ServiceFlags::PERSISTENT) || flags.has(ServiceFlags::ONE_PACKET) {
        return None;
    }
    let claim = home.claim_empty::<A>(Wish::Share)?;
    let server = ServerId(by_scheduler_of(world, index, key) as u32);
    if server == ServerId::NONE {
        claim.give_back();
        return Some(Err(Reason::NoServer));
    }
    let Some(row) = world.server_row(server).map(Server) else {
        claim.give_back();
        return Some(Err(Reason::ServerGone));
    };
    let method = row.hop().flags.method();
    let state = kind.first_state(clients_view(method), rules);
    let due = now + settings.timeout(state.timer(kind.protocol));
    let word = Word::live(server, state, due).by(method).half_open();
    let (word, is_new) = match claim.publish_at(world, &home, shape, hash, Entry::new(key, word)) {
        Published::Existing(theirs) => (theirs, false),
        Published::New => (word, true),
    };
    let course = word.course();
    if is_new && let Some(row) = world.load_row(server) {
        LoadRow(row).gain(state.is_active(kind.protocol));
    }
    if course.method() == Method::MASQUERADE {
        let Some(desk) = world.desk().map(Desk) else {
            return Some(Err(Reason::NotReady));
        };
        desk.put_connection::<A>(plain.key, hash, now);
        desk.set_word(word);
        desk.set_task(if is_new { Task::Begin } else { Task::Require });
    }
    let way = if is_new {
        way_by(row, course, plain.ip_bytes, hash)
    } else {
        way_to(world, course, plain.ip_bytes, hash)
    };
    let way = match way {
        Ok(way) => way,
        Err(reason) => return Some(Err(reason)),
    };
    world.count(course.server(), counted(plain.ip_bytes, is_new.into()));
    Some(forward::forward::<A, _, _>(frame, world, &way))
}
