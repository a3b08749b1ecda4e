//! Tending the table: whatever should not stand where it stands goes, one place at a time.
//!
//! The daemon decides which places are worth a look, but the work is done by a program in the kernel, as a packet's is: it
//! cannot be interrupted between taking a connection off the table and taking it off its server's counts, whatever
//! happens to the daemon.

use core::ops::ControlFlow;

use crate::address::{Address, V4, V6};
use crate::connection::{Key, Word, kind};
use crate::overflow::Overflow;
use crate::overload::LoadRow;
use crate::pressure;
use crate::protocol::Protocol;
use crate::server::{Server, ServerFlags};
use crate::settings::{Rules, SettingsView};
use crate::steer::{Ways, World};
use crate::table::{self, Buckets, Carried, Hash, Replaced, Slot, Stray, WAYS};
use crate::template;
use crate::walk::Step;

/// The most buckets in one errand: what takes the kernel some 50 µs at most, in which no packet is served on this CPU.
pub const MAX_ERRANDS: u32 = 256;

/// An errand: a bucket that the daemon wants tended, and what it alone can know of its entries.
///
/// ```text
///  63     37 36          35              32 31     0
/// | zero    | IPv6's table | one a way        | bucket |
/// ```
///
/// The bit of a way is set if no connection of the template there lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Errand(pub u64);

impl Errand {
    /// Of this bucket; all of its templates are held by connections.
    pub const fn of(bucket: u32) -> Self {
        Self(bucket as u64)
    }

    /// The same, with the template in a way held by no connection.
    #[must_use]
    pub const fn with_idle_template(self, way: usize) -> Self {
        Self(self.0 | 1 << (32 + way))
    }

    const IN_V6: u64 = 1 << 36;

    /// The same, of the table of IPv6 connections.
    #[must_use]
    pub const fn in_v6(self) -> Self {
        Self(self.0 | Self::IN_V6)
    }

    #[inline(always)]
    const fn is_in_v6(self) -> bool {
        self.0 & Self::IN_V6 != 0
    }

    #[inline(always)]
    const fn bucket(self) -> u32 {
        self.0 as u32
    }

    #[inline(always)]
    const fn is_template_idle(self, way: usize) -> bool {
        self.0 >> (32 + way as u32) & 1 == 1
    }
}

/// Looks at entry `way` of an errand's bucket: an overdue connection is taken out, so is one whose server has been deleted
/// (if the rules say so), and one that belongs elsewhere by the table's shape is carried there.
#[inline(always)]
pub fn tend<A: Address, W: Ways<A>>(world: &W, errand: Errand, way: usize) {
    let index = errand.bucket();
    let (Some(settings), Some(bucket)) = (world.settings(), Buckets::<A>::bucket(world, index)) else {
        return;
    };
    let (settings, now) = (SettingsView(settings), world.now());
    let slot = Slot::<_, A>::new(bucket, way);
    let Some((cells, word)) = slot.read_cells() else {
        return;
    };
    let is_at_end = if word.is_template() {
        table::is_overdue(word, now) && errand.is_template_idle(way)
    } else {
        table::has_expired(word, now)
    };
    if is_at_end || settings.rules().has(Rules::EXPIRE_NODEST_CONN) && !is_served(world, word) {
        if slot.retire(word) {
            forget::<A, _>(world, cells, word);
        }
        return;
    }
    if word.is_template() && table::is_overdue(word, now) {
        // It waits for its connections, as `ip_vs_conn_expire` has it wait.
        let wait = settings.ticks_of(template::WAITING_S);
        if slot.change(word, word.renewed(word.state(), now + wait)) {
            slot.set_bond(wait.into());
        }
        return;
    }
    let (shape, hash) = (settings.shape_of::<A>(), Hash::of_cells::<A>(cells, settings.seed()));
    if shape.home_of(hash).has(index) {
        return;
    }
    let carried = table::carry(
        world,
        shape,
        Stray { key: Key::from_cells(cells), hash, slot, word },
        now,
        |Replaced { key, word }| {
            forget::<A, _>(world, key, word);
            if word.is_half_open() {
                world.note(Overflow::HalfOpenReplaced);
                let hash = Hash::of_cells::<A>(key, settings.seed());
                // Without its rows there is nothing to be written to.
                let _ = pressure::feel::<A, _>(world, hash, now);
            }
        },
    );
    if carried == Carried::Full {
        world.note(Overflow::StayedBehind);
    }
}

/// Does all errands: tends each entry of the buckets that the daemon has listed, [`WAYS`] steps a bucket.
pub struct Errands;

impl<W: Ways<V4> + Ways<V6>> Step<W> for Errands {
    #[inline(always)]
    fn step(&mut self, world: &W, index: u32) -> ControlFlow<()> {
        if let Some(errand) = world.errand(index / WAYS as u32) {
            let way = index as usize % WAYS;
            if errand.is_in_v6() {
                tend::<V6, _>(world, errand, way);
            } else {
                tend::<V4, _>(world, errand, way);
            }
        }
        ControlFlow::Continue(())
    }
}

/// Whether the connection's server is configured.
#[inline(always)]
pub fn is_served<W: World>(world: &W, word: Word) -> bool {
    world.server_row(word.server()).is_some_and(|row| {
        let server = Server(row);
        server.identity().0 == word.server() && server.hop().flags.has(ServerFlags::AVAILABLE)
    })
}

/// Takes an entry that has left the table off its server's counts. A reply entry is in none.
#[inline(always)]
pub(crate) fn forget<A: Address, W: World>(world: &W, key: A::Cells, word: Word) {
    if Key::<A>::kind_of(key) == kind::REPLY {
        return;
    }
    if let Some(row) = world.load_row(word.server())
        && word.is_template()
    {
        LoadRow(row).lose_template();
    } else if let Some(protocol) = Key::<A>::protocol_of(key) {
        uncount(world, protocol, word);
    }
}

/// Takes a connection that has left the table off its server's counts.
#[inline(always)]
pub(crate) fn uncount<W: World>(world: &W, protocol: Protocol, word: Word) {
    if let Some(row) = world.load_row(word.server()) {
        LoadRow(row).lose(word.state().is_active(protocol));
    }
}
