//! A packet of no connection: it opens one, follows a hash for want of room, or is nobody's.

use super::answer::Answer;
use super::arrival::{Arrival, Desk};
use super::kind::{Kind, OPENING, UNCONFIRMED};
use super::service::{Asked, asked};
use super::{Ways, World};
use crate::address::Address;
use crate::connection::{Course, Key, Word};
use crate::overflow::Overflow;
use crate::overload::LoadRow;
use crate::pressure;
use crate::protocol::Protocol;
use crate::schedule;
use crate::server::{Method, Server, ServerId};
use crate::service::{Service, ServiceFlags};
use crate::settings::SettingsView;
use crate::state::{State, View};
use crate::table::{self, Claim, Entry, Hash, NoRoom, Published, Wish};
use crate::template::{self, FTP_PORT, Wanted};
use crate::tend::forget;
use crate::time::Ticks;
use crate::verdict::Reason;

/// Active FTP's data connections come from here (RFC 959, 3.2).
pub(super) const FTP_DATA_PORT: [u8; 2] = 20u16.to_be_bytes();

/// Opens a new connection for the packet on the desk, by its service's scheduler; or, for want of room, sends the packet
/// where its hash leads.
///
/// It only says in which order things are done: each is a function of its own in the kernel, so that none shares its stack,
/// and the verifier looks at each once ([`Ways::plan`] and those below it).
#[inline(always)]
pub(super) fn open<A: Address, W: Ways<A>>(world: &W) -> u64 {
    let plan = Plan(world.plan());
    if let Some(refusal) = plan.refusal() {
        return refusal;
    }
    let place = if plan.has(Plan::WANTS_ENTRY) { world.claim(hash_of(world)) } else { Place::NONE };
    let mut choice = Choice::NONE;
    let is_persistent = plan.has(Plan::PERSISTENT);
    if is_persistent {
        choice = Choice::of_template(world.consult(plan.index(), plan.is_datagram()));
    }
    if choice == Choice::NONE {
        let has_no_room = plan.has(Plan::WANTS_ENTRY) && Place::is_none(place);
        choice = if plan.has(Plan::BY_HASH) || has_no_room {
            // Of one client all connections go to one server, also without a template.
            let hash = if is_persistent { Hash(world.template(plan.index())) } else { hash_of(world) };
            Choice(world.by_hash(plan.index(), hash))
        } else {
            scheduled::<A, _>(world, plan.index())
        };
        if plan.has(Plan::REMEMBERS) && !has_no_room && choice != Choice::NONE {
            let place = world.claim(Hash(world.template(plan.index())));
            choice = Choice(world.remember(place, plan.index(), plan.is_datagram(), choice.0));
        }
    }
    world.finish(place, plan.0, choice.0)
}

#[inline(always)]
fn hash_of<W: World>(world: &W) -> Hash {
    world.desk().map_or(Hash(0), |desk| Desk(desk).hash())
}

#[inline(always)]
fn now_of<W: World>(world: &W) -> Ticks {
    world.desk().map_or(Ticks(0), |desk| Desk(desk).now())
}

/// What is to be done for a packet that belongs to no connection, in one number.
///
/// ```text
///  63        62     40 39   36 35   32 31              0
/// | refused | flags   | zero  | state | service's index |     if refused: the refusal, as an answer
/// ```
#[derive(Clone, Copy)]
struct Plan(u64);

impl Plan {
    /// The connection gets an entry, if there is room.
    const WANTS_ENTRY: u64 = 1 << 40;
    /// No scheduler is asked: the packet may belong to a connection that has gone by hash before.
    const BY_HASH: u64 = 1 << 41;
    /// It does belong to one, if to any.
    const FOLLOWS_HASH: u64 = 1 << 42;
    /// The client's template is asked first.
    const PERSISTENT: u64 = 1 << 43;
    /// If there is none, one is made.
    const REMEMBERS: u64 = 1 << 46;
    /// It is the first packet of a connection.
    const BEGINS: u64 = 1 << 44;
    /// It goes to a port that FTP's data connections go to.
    const FTP_DATA: u64 = 1 << 45;
    /// It is a datagram of UDP.
    const DATAGRAM: u64 = 1 << 47;
    const STATE_SHIFT: u32 = 32;

    #[inline(always)]
    const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    #[inline(always)]
    const fn index(self) -> u32 {
        self.0 as u32
    }

    /// As a number, for functions in the kernel.
    #[inline(always)]
    const fn is_datagram(self) -> u32 {
        (self.0 & Self::DATAGRAM != 0) as u32
    }

    #[inline(always)]
    const fn state(self) -> State {
        State::from_raw((self.0 >> Self::STATE_SHIFT) as u8)
    }

    /// What becomes of the packet if there is no server (`ip_vs_leave`).
    #[inline(always)]
    const fn without_server(self) -> Reason {
        if self.has(Self::FTP_DATA) { Reason::FtpData } else { Reason::NoServer }
    }

    #[inline(always)]
    const fn refusal(self) -> Option<u64> {
        if Answer::is_refusal(self.0) { Some(self.0) } else { None }
    }

    /// The plan with a flag if a condition holds.
    #[inline(always)]
    const fn with_if(self, flag: u64, condition: bool) -> Self {
        // No branch: the verifier would follow both ways for each flag.
        Self(self.0 | (flag * condition as u64))
    }
}

/// A server, and whether a template leads to it, in one number: the server's id (0 for none), and above it the template.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Choice(u64);

impl Choice {
    const NONE: Self = Self(0);
    const TEMPLATE: u64 = 1 << 31;

    #[inline(always)]
    const fn of_template(server: u64) -> Self {
        Self(if server == 0 { 0 } else { server | Self::TEMPLATE })
    }

    #[inline(always)]
    const fn server(self) -> ServerId {
        ServerId(self.0 as u32 & ServerId::MASK)
    }

    #[inline(always)]
    const fn has_template(self) -> bool {
        self.0 & Self::TEMPLATE != 0
    }
}

/// See [`Ways::plan`].
#[inline(always)]
pub fn plan<A: Address, W: Ways<A>>(world: &W) -> u64 {
    planned(world).map_or_else(|reason| Answer::packed(Err(reason)), |plan| plan.0)
}

#[inline(always)]
fn planned<A: Address, W: Ways<A>>(world: &W) -> Result<Plan, Reason> {
    let Arrival { cells, event, hash, now, .. } = Desk(world.desk().ok_or(Reason::NotReady)?).arrival::<A>();
    let key = Key::<A>::from_cells(cells);
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let kind = Kind { protocol: key.protocol().ok_or(Reason::OtherProtocol)?, event };
    let Asked { index, is_of_another_port } = asked(world, settings, key).ok_or(Reason::NoService)?;
    let state = kind.first_state(View::ClientOnly, settings.rules());
    let may_have_been_felt =
        |hash, ticks| pressure::may_have_been_felt::<A, _>(world, hash, now, ticks).ok_or(Reason::NotReady);
    // It may belong to a connection that got no entry. Such packets have followed the hash, and go on to.
    let follows_hash = !kind.begins() && may_have_been_felt(hash, settings.timeout(kind.longest()))?;
    if !kind.opens(settings.rules()) && !follows_hash {
        return Err(Reason::NoConnection);
    }
    if key.client_port == FTP_DATA_PORT {
        return Err(Reason::FtpData);
    }
    let service = Service(world.service_row(index).ok_or(Reason::NotReady)?);
    let flags = service.flags();
    let is_ftp_data =
        is_of_another_port && u16::from_ne_bytes(service.key().port) == u16::from_ne_bytes(FTP_PORT);
    if is_of_another_port && !flags.has(ServiceFlags::PERSISTENT) {
        return Err(if is_ftp_data { Reason::FtpData } else { Reason::NoServer });
    }
    let is_by_itself = flags.has(ServiceFlags::ONE_PACKET) && matches!(kind.protocol, Protocol::Udp);
    // It ends its connection, if there is one.
    let is_last = follows_hash && !kind.is_worth_an_entry(state);
    let is_persistent = flags.has(ServiceFlags::PERSISTENT);
    // An opening packet that is sent again (within 3 s, RFC 6298) may have gone by hash the first time. And a client may
    // have connections that did: a template that leads elsewhere would take them along.
    let may_have_gone_by_hash = if is_persistent {
        may_have_been_felt(Hash(world.template(index)), settings.timeout(kind.longest()))?
    } else {
        may_have_been_felt(hash, settings.timeout(OPENING) / 16)?
    };
    Ok(Plan(u64::from(index) | u64::from(state.raw()) << Plan::STATE_SHIFT)
        .with_if(Plan::WANTS_ENTRY, !is_by_itself && !is_last)
        .with_if(Plan::BY_HASH, !is_by_itself && (follows_hash || may_have_gone_by_hash))
        .with_if(Plan::FOLLOWS_HASH, !is_by_itself && follows_hash)
        .with_if(Plan::PERSISTENT, is_persistent)
        .with_if(Plan::DATAGRAM, matches!(kind.protocol, Protocol::Udp))
        .with_if(Plan::REMEMBERS, is_persistent && (is_by_itself || !follows_hash))
        .with_if(Plan::BEGINS, kind.begins() || is_by_itself)
        .with_if(Plan::FTP_DATA, is_ftp_data))
}

/// The server by the scheduler, for the packet on the desk.
#[inline(always)]
fn scheduled<A: Address, W: Ways<A>>(world: &W, index: u32) -> Choice {
    let Some(desk) = world.desk().map(Desk) else {
        return Choice::NONE;
    };
    Choice(by_scheduler_of::<A, _>(world, index, desk.key::<A>()))
}

/// The server by the scheduler of a service, for a packet with this key; 0: none.
#[inline(always)]
pub(super) fn by_scheduler_of<A: Address, W: World>(world: &W, index: u32, key: Key<A>) -> u64 {
    world.by_scheduler(index, key.client.folded(), key.vip.folded(), u16::from_be_bytes(key.client_port))
}

/// See [`World::by_scheduler`].
#[inline(always)]
pub fn by_scheduler<W: World>(world: &W, index: u32, client: u32, vip: u32, client_port: u16) -> u64 {
    schedule::pick(world, index, client, vip, client_port).map_or(0, |server| server.0.into())
}

/// See [`World::by_hash`].
#[inline(always)]
pub fn by_hash<W: World>(world: &W, index: u32, hash: Hash) -> u64 {
    let Some(service) = world.service_row(index).map(Service) else {
        return 0;
    };
    schedule::by_hash(world, service.list(), hash.first()).map_or(0, |server| server.0.into())
}

/// See [`Ways::template`].
#[inline(always)]
pub fn template<A: Address, W: Ways<A>>(world: &W, index: u32) -> u64 {
    let (Some(key), Some(settings)) = (template_key::<A, _>(world, index), world.settings()) else {
        return 0;
    };
    Hash::of(key, SettingsView(settings).seed()).0
}

/// See [`Ways::consult`].
#[inline(always)]
pub fn consult<A: Address, W: Ways<A>>(world: &W, index: u32, is_datagram: u32) -> u64 {
    let (Some(key), Some(settings)) = (template_key::<A, _>(world, index), world.settings()) else {
        return 0;
    };
    template::consult(world, SettingsView(settings), key, is_datagram != 0, now_of(world))
        .map_or(0, |server| server.0.into())
}

/// See [`Ways::remember`].
#[inline(always)]
pub fn remember<A: Address, W: Ways<A>>(
    world: &W,
    place: u64,
    index: u32,
    is_datagram: u32,
    choice: u64,
) -> u64 {
    let (Some(key), Some(settings)) = (template_key::<A, _>(world, index), world.settings()) else {
        return 0;
    };
    let (choice, now) = (Choice(choice), now_of(world));
    let (settings, claim) = (SettingsView(settings), Claim::<_, A>::of_place(world, place));
    let claim = if Place::is_none(place) { None } else { claim };
    let seconds = world.service_row(index).map_or(0, |row| Service(row).persistence().seconds);
    let lifetime = settings.ticks_of(seconds);
    let wanted = Wanted { server: choice.server(), lifetime, is_datagram: is_datagram != 0 };
    let server = template::remember(world, settings, key, claim, wanted, now);
    if server != ServerId::NONE {
        return Choice::of_template(server.0.into()).0;
    }
    if Place::is_none(place) {
        // Without a template too, all connections of a client go to one server; the next ones as well, when there is room.
        let hash = Hash::of(key, settings.seed());
        if pressure::feel::<A, _>(world, hash, now).is_none() {
            return 0;
        }
        return world.by_hash(index, hash);
    }
    choice.0
}

#[inline(always)]
fn template_key<A: Address, W: Ways<A>>(world: &W, index: u32) -> Option<Key<A>> {
    let service = world.service_row(index).map(Service)?;
    let key = Desk(world.desk()?).key::<A>();
    Some(template::key_of(service.key(), service.persistence(), key.client))
}

/// See [`Ways::finish`].
#[inline(always)]
pub fn finish<A: Address, W: Ways<A>>(world: &W, place: u64, plan: u64, choice: u64) -> u64 {
    Answer::packed(finished(world, place, Plan(plan), Choice(choice)))
}

/// The packet's course, and whether a connection is to be counted for it.
#[inline(always)]
fn finished<A: Address, W: Ways<A>>(
    world: &W,
    place: u64,
    plan: Plan,
    choice: Choice,
) -> Result<(Course, bool), Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let Arrival { cells, event, hash, now, .. } = desk.arrival::<A>();
    let key = Key::<A>::from_cells(cells);
    let method =
        world.server_row(choice.server()).map_or(Method::DIRECT, |row| Server(row).hop().flags.method());
    let course = Course::new(choice.server(), method);
    let server = choice.server();
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let protocol = key.protocol().ok_or(Reason::OtherProtocol)?;
    let follows_hash = plan.has(Plan::FOLLOWS_HASH);
    let kind = Kind { protocol, event };
    // Such a connection never goes by hash: without an entry nobody could tell its replies.
    let is_masqueraded = method == Method::MASQUERADE;
    let is_nobodys = is_masqueraded && follows_hash && !kind.opens(settings.rules());
    if Place::is_none(place) {
        if server == ServerId::NONE {
            return Err(plan.without_server());
        }
        if is_nobodys {
            return Err(Reason::NoConnection);
        }
        if is_masqueraded && plan.has(Plan::WANTS_ENTRY) {
            return Err(Reason::TableFull);
        }
        if plan.has(Plan::WANTS_ENTRY) {
            pressure::feel::<A, _>(world, hash, now).ok_or(Reason::NotReady)?;
            if plan.has(Plan::PERSISTENT) {
                let template = Hash(world.template(plan.index()));
                pressure::feel::<A, _>(world, template, now).ok_or(Reason::NotReady)?;
            }
        }
        if follows_hash {
            world.note(Overflow::HashedOn);
        } else if plan.has(Plan::WANTS_ENTRY) {
            let is_share = place == Place::HALF_OPEN;
            world.note(if is_share { Overflow::HashedHalfOpen } else { Overflow::HashedFull });
        }
        return Ok((course, plan.has(Plan::BEGINS)));
    }
    let claim = Claim::<_, A>::of_place(world, place).ok_or(Reason::NotReady)?;
    if server == ServerId::NONE {
        claim.give_back();
        return Err(plan.without_server());
    }
    if is_nobodys {
        claim.give_back();
        return Err(Reason::NoConnection);
    }
    let state = if is_masqueraded { kind.first_state(View::Client, settings.rules()) } else { plan.state() };
    let lifetime = settings.timeout(state.timer(protocol));
    let due = now + if follows_hash { lifetime.min(settings.timeout(UNCONFIRMED)) } else { lifetime };
    let word = Word::live(server, state, due).by(method).half_open();
    let bond = if choice.has_template() { world.template(plan.index()) } else { 0 };
    match claim.publish(world, settings.shape_of::<A>(), hash, Entry { key, word, bond }) {
        Published::Existing(theirs) => {
            desk.set_word(theirs);
            Ok((theirs.course(), false))
        }
        Published::New => {
            desk.set_word(word);
            if let Some(row) = world.load_row(server) {
                LoadRow(row).gain(state.is_active(protocol));
            }
            if follows_hash {
                world.note(Overflow::TakenUp);
            }
            Ok((course, !follows_hash || matches!(protocol, Protocol::Udp)))
        }
    }
}

/// A claimed place of the table ([`Claim::place`]), or why there is none, in one number.
struct Place;

impl Place {
    const NONE: u64 = 1 << 63;
    /// There is none for half-open connections.
    const HALF_OPEN: u64 = Self::NONE | 1;

    #[inline(always)]
    const fn is_none(place: u64) -> bool {
        place & Self::NONE != 0
    }
}

/// Whether [`Ways::claim`] has found none.
#[inline(always)]
pub(super) const fn is_no_place(place: u64) -> bool {
    Place::is_none(place)
}

/// See [`Ways::claim`].
#[inline(always)]
pub fn claim<A: Address, W: Ways<A>>(world: &W, hash: Hash) -> u64 {
    let now = now_of(world);
    let Some(settings) = world.settings().map(SettingsView) else {
        return Place::NONE;
    };
    match table::claim::<A, _>(world, settings.shape_of::<A>().home_of(hash), Wish::Share, now) {
        Ok(claim) => {
            if let Some(replaced) = claim.replaced {
                forget::<A, _>(world, replaced.key, replaced.word);
            }
            claim.place()
        }
        Err(NoRoom::HalfOpen) => Place::HALF_OPEN,
        Err(NoRoom::Full) => Place::NONE,
    }
}
