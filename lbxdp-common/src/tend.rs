//! Tending the table: whatever should not stand where it stands goes, one place at a time.
//!
//! The daemon decides which places are worth a look, but the work is done by a program in the kernel, as a packet's is: it
//! cannot be interrupted between taking a connection off the table and taking it off its server's counts, whatever
//! happens to the daemon.

use core::ops::ControlFlow;

use crate::cells::Cells;
use crate::connection::Word;
use crate::overflow::Overflow;
use crate::pressure::Pressure;
use crate::protocol::Protocol;
use crate::server::{Load, Server, ServerFlags};
use crate::settings::{Rules, SettingsView};
use crate::steer::World;
use crate::table::{self, Carried, Hash, Replaced, Slot, Stray, WAYS};
use crate::walk::Step;

/// The most buckets in one errand: what takes the kernel some 50 µs at most, in which no packet is served on this CPU.
pub const MAX_ERRANDS: u32 = 256;

/// Looks at entry `way` of bucket `index`: an overdue connection is taken out, so is one whose server has been deleted
/// (if the rules say so), and one that belongs elsewhere by the table's shape is carried there.
#[inline(always)]
pub fn tend<W: World>(world: &W, index: u32, way: usize) {
    let (Some(settings), Some(bucket)) = (world.settings(), world.bucket(index)) else {
        return;
    };
    let (settings, now) = (SettingsView(settings), world.now());
    let slot = Slot::new(bucket, way);
    let Some((key, word)) = slot.read() else {
        return;
    };
    let has_had_its_time = table::is_overdue(word, now)
        || settings.rules().has(Rules::EXPIRE_NODEST_CONN) && !is_served(world, word);
    if has_had_its_time {
        if slot.retire(word)
            && let Some(protocol) = key.protocol()
        {
            uncount(world, protocol, word);
        }
        return;
    }
    let (shape, hash) = (settings.shape(), Hash::of(key, settings.seed()));
    if shape.home_of(hash).has(index) {
        return;
    }
    let carried =
        table::carry(world, shape, Stray { key, hash, slot, word }, now, |Replaced { key, word }| {
            if let Some(protocol) = key.protocol() {
                uncount(world, protocol, word);
            }
            if word.is_half_open() {
                world.note(Overflow::HalfOpenReplaced);
                if let Some(row) = world.pressure() {
                    Pressure(row).is_felt(now);
                }
            }
        });
    if carried == Carried::Full {
        world.note(Overflow::StayedBehind);
    }
}

/// Does an errand: tends each entry of the buckets that the daemon has listed, [`WAYS`] steps a bucket.
pub struct Errand;

impl<W: World> Step<W> for Errand {
    #[inline(always)]
    fn step(&mut self, world: &W, index: u32) -> ControlFlow<()> {
        if let Some(bucket) = world.errand(index / WAYS as u32) {
            tend(world, bucket, index as usize % WAYS);
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

/// Takes a connection that has left the table off its server's counts.
#[inline(always)]
pub(crate) fn uncount<W: World>(world: &W, protocol: Protocol, word: Word) {
    if let Some(load) = world.load_row(word.server()) {
        load.add(0, Load::lost(word.state().is_active(protocol)));
    }
}
