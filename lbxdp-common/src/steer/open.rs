//! A packet of no connection: it opens one, follows a hash for want of room, or is nobody's.

use super::World;
use super::answer::Answer;
use super::kind::{Kind, OPENING, UNCONFIRMED};
use super::service::{Asked, asked};
use crate::connection::{Key, Word};
use crate::overflow::Overflow;
use crate::overload::LoadRow;
use crate::pressure::Pressure;
use crate::protocol::Protocol;
use crate::schedule;
use crate::server::ServerId;
use crate::service::{Service, ServiceFlags};
use crate::settings::SettingsView;
use crate::state::{Event, State};
use crate::table::{self, Claim, Entry, Hash, NoRoom, Published, Wish};
use crate::template::{self, FTP_PORT, Wanted};
use crate::tend::uncount;
use crate::time::Ticks;
use crate::verdict::Reason;

/// Active FTP's data connections come from here (RFC 959, 3.2).
const FTP_DATA_PORT: [u8; 2] = 20u16.to_be_bytes();

/// Opens a new connection, by its service's scheduler; or, for want of room, sends the packet where its hash leads.
///
/// It only says in which order things are done: each is a function of its own in the kernel, so that none shares its stack,
/// and the verifier looks at each once ([`World::plan`] and those below it).
#[inline(always)]
pub(super) fn open<W: World>(
    world: &W,
    first: u64,
    second: u64,
    event: Event,
    hash: Hash,
    now: Ticks,
) -> u64 {
    let plan = Plan(world.plan(first, second, event, now));
    if let Some(refusal) = plan.refusal() {
        return refusal;
    }
    let place = if plan.has(Plan::WANTS_ENTRY) { world.claim(hash, now) } else { Place::NONE };
    let (mut choice, mut template) = (Choice::NONE, hash);
    let client = Key::from_cells([first, second]).client_number();
    if plan.has(Plan::PERSISTENT) {
        template = Hash(world.template(plan.index(), client));
        choice = Choice::of_template(world.consult(plan.index(), client, plan.is_datagram(), now));
    }
    if choice == Choice::NONE {
        let has_no_room = plan.has(Plan::WANTS_ENTRY) && Place::is_none(place);
        choice = if plan.has(Plan::BY_HASH) || has_no_room {
            // Of one client all connections go to one server, also without a template.
            Choice(world.by_hash(plan.index(), template))
        } else {
            Choice(world.by_scheduler(plan.index(), first, second))
        };
        if plan.has(Plan::REMEMBERS) && !has_no_room && choice != Choice::NONE {
            let place = world.claim(template, now);
            choice = Choice(world.remember(place, plan.index(), client, plan.is_datagram(), choice.and(now)));
        }
    }
    world.finish(place, first, second, plan.0, choice.and(now))
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

    /// What binds the connection of this key to its template.
    #[inline(always)]
    fn bond<W: World>(self, world: &W, key: Key) -> u64 {
        world.template(self.index(), key.client_number())
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

    /// With the time in the upper half.
    #[inline(always)]
    const fn and(self, now: Ticks) -> u64 {
        (now.0 as u64) << 32 | self.0
    }

    /// Takes them apart.
    #[inline(always)]
    const fn and_now(choice_and_now: u64) -> (Self, Ticks) {
        (Self(choice_and_now & 0xffff_ffff), Ticks((choice_and_now >> 32) as u32))
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

/// See [`World::plan`].
#[inline(always)]
pub fn plan<W: World>(world: &W, first: u64, second: u64, event: Event, now: Ticks) -> u64 {
    planned(world, Key::from_cells([first, second]), event, now)
        .map_or_else(|reason| Answer::packed(Err(reason)), |plan| plan.0)
}

#[inline(always)]
fn planned<W: World>(world: &W, key: Key, event: Event, now: Ticks) -> Result<Plan, Reason> {
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let kind = Kind { protocol: key.protocol().ok_or(Reason::OtherProtocol)?, event };
    let Asked { index, is_of_another_port } = asked(world, settings, key).ok_or(Reason::NoService)?;
    let state = kind.first_state(settings.rules());
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
    let may_concern =
        if is_persistent { settings.timeout(kind.longest()) } else { settings.timeout(OPENING) / 16 };
    let may_have_gone_by_hash = pressure.is_recent(now, may_concern);
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

/// See [`World::by_scheduler`].
#[inline(always)]
pub fn by_scheduler<W: World>(world: &W, index: u32, first: u64, second: u64) -> u64 {
    let key = Key::from_cells([first, second]);
    let [client, vip] = [key.client, key.vip].map(u32::from_be_bytes);
    let port = u16::from_be_bytes(key.client_port);
    schedule::pick(world, index, client, vip, port).map_or(0, |server| server.0.into())
}

/// See [`World::by_hash`].
#[inline(always)]
pub fn by_hash<W: World>(world: &W, index: u32, hash: Hash) -> u64 {
    let Some(service) = world.service_row(index).map(Service) else {
        return 0;
    };
    schedule::by_hash(world, service.list(), hash.first()).map_or(0, |server| server.0.into())
}

/// See [`World::template`].
#[inline(always)]
pub fn template<W: World>(world: &W, index: u32, client: u32) -> u64 {
    let (Some(key), Some(settings)) = (template_key(world, index, client), world.settings()) else {
        return 0;
    };
    Hash::of(key, SettingsView(settings).seed()).0
}

/// See [`World::consult`].
#[inline(always)]
pub fn consult<W: World>(world: &W, index: u32, client: u32, is_datagram: u32, now: Ticks) -> u64 {
    let (Some(key), Some(settings)) = (template_key(world, index, client), world.settings()) else {
        return 0;
    };
    template::consult(world, SettingsView(settings), key, is_datagram != 0, now)
        .map_or(0, |server| server.0.into())
}

/// See [`World::remember`].
#[inline(always)]
pub fn remember<W: World>(
    world: &W,
    place: u64,
    index: u32,
    client: u32,
    is_datagram: u32,
    choice_and_now: u64,
) -> u64 {
    let (Some(key), Some(settings)) = (template_key(world, index, client), world.settings()) else {
        return 0;
    };
    let (choice, now) = Choice::and_now(choice_and_now);
    let (settings, claim) = (SettingsView(settings), Claim::of_place(world, place));
    let claim = if Place::is_none(place) { None } else { claim };
    let seconds = world.service_row(index).map_or(0, |row| Service(row).persistence().seconds);
    let lifetime = settings.ticks_of(seconds);
    let wanted = Wanted { server: choice.server(), lifetime, is_datagram: is_datagram != 0 };
    let server = template::remember(world, settings, key, claim, wanted, now);
    if server != ServerId::NONE {
        return Choice::of_template(server.0.into()).0;
    }
    if Place::is_none(place) {
        // Without a template too, all connections of a client go to one server.
        return world.by_hash(index, Hash::of(key, settings.seed()));
    }
    choice.0
}

#[inline(always)]
fn template_key<W: World>(world: &W, index: u32, client: u32) -> Option<Key> {
    let service = world.service_row(index).map(Service)?;
    Some(template::key_of(service.key(), service.persistence(), client.to_ne_bytes()))
}

/// See [`World::finish`].
#[inline(always)]
pub fn finish<W: World>(
    world: &W,
    place: u64,
    first: u64,
    second: u64,
    plan: u64,
    choice_and_now: u64,
) -> u64 {
    let (choice, now) = Choice::and_now(choice_and_now);
    let key = Key::from_cells([first, second]);
    Answer::packed(finished(world, place, key, Plan(plan), choice, now))
}

/// The packet's server, and whether a connection is to be counted for it.
#[inline(always)]
fn finished<W: World>(
    world: &W,
    place: u64,
    key: Key,
    plan: Plan,
    choice: Choice,
    now: Ticks,
) -> Result<(ServerId, bool), Reason> {
    let server = choice.server();
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let protocol = key.protocol().ok_or(Reason::OtherProtocol)?;
    let follows_hash = plan.has(Plan::FOLLOWS_HASH);
    if Place::is_none(place) {
        if server == ServerId::NONE {
            return Err(plan.without_server());
        }
        if plan.has(Plan::WANTS_ENTRY) {
            let row = world.pressure().ok_or(Reason::NotReady)?;
            Pressure(row).is_felt(now);
        }
        if follows_hash {
            world.note(Overflow::HashedOn);
        } else if plan.has(Plan::WANTS_ENTRY) {
            let is_share = place == Place::HALF_OPEN;
            world.note(if is_share { Overflow::HashedHalfOpen } else { Overflow::HashedFull });
        }
        return Ok((server, plan.has(Plan::BEGINS)));
    }
    let claim = Claim::of_place(world, place).ok_or(Reason::NotReady)?;
    if server == ServerId::NONE {
        claim.give_back();
        return Err(plan.without_server());
    }
    let (state, hash) = (plan.state(), Hash::of(key, settings.seed()));
    let lifetime = settings.timeout(state.timer(protocol));
    let due = now + if follows_hash { lifetime.min(settings.timeout(UNCONFIRMED)) } else { lifetime };
    let word = Word::live(server, state, due).half_open();
    let bond = if choice.has_template() { plan.bond(world, key) } else { 0 };
    match claim.publish(world, settings.shape(), hash, Entry { key, word, bond }) {
        Published::Existing(theirs) => Ok((theirs.server(), false)),
        Published::New => {
            if let Some(row) = world.load_row(server) {
                LoadRow(row).gain(state.is_active(protocol));
            }
            if follows_hash {
                world.note(Overflow::TakenUp);
            }
            Ok((server, !follows_hash || matches!(protocol, Protocol::Udp)))
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

/// See [`World::claim`].
#[inline(always)]
pub fn claim<W: World>(world: &W, hash: Hash, now: Ticks) -> u64 {
    let Some(settings) = world.settings().map(SettingsView) else {
        return Place::NONE;
    };
    match table::claim(world, settings.shape().home_of(hash), Wish::Share, now) {
        Ok(claim) => {
            if let Some(replaced) = claim.replaced
                && let Some(protocol) = replaced.key.protocol()
            {
                uncount(world, protocol, replaced.word);
            }
            claim.place()
        }
        Err(NoRoom::HalfOpen) => Place::HALF_OPEN,
        Err(NoRoom::Full) => Place::NONE,
    }
}
