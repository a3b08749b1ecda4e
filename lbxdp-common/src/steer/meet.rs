//! A packet and a connection that is not simply going on: one that begins anew, has ended, waits for its server, or
//! stands elsewhere because the table grows.

use super::answer::Answer;
use super::arrival::{Arrival, Desk};
use super::follow::{Advanced, Known, Sender, advance};
use super::kind::Kind;
use super::{Ways, World};
use crate::address::Address;
use crate::connection::{Course, Word};
use crate::server::{Server, ServerFlags};
use crate::settings::{Rules, SettingsView};
use crate::table::{self, Found};
use crate::tend::{is_served, uncount};
use crate::time::Ticks;
use crate::verdict::Reason;

/// How often the table is looked into again after another CPU changed the connection that was found.
const MAX_LOOKS: u32 = 2;

/// The packet's server by its connection, or `Answer::STRANGER` if it has none, or none any more; see [`Ways::meet`].
#[inline(always)]
pub fn meet<A: Address, W: Ways<A>>(world: &W) -> u64 {
    match course_of(world) {
        Ok(None) => Answer::STRANGER,
        Ok(Some(course)) => Answer::packed(Ok((course, false))),
        Err(reason) => Answer::packed(Err(reason)),
    }
}

#[inline(always)]
fn course_of<A: Address, W: Ways<A>>(world: &W) -> Result<Option<Course>, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    let Arrival { cells, event, hash, now, .. } = desk.arrival::<A>();
    let settings = SettingsView(world.settings().ok_or(Reason::NotReady)?);
    let kind = Kind { protocol: desk.protocol::<A>().ok_or(Reason::OtherProtocol)?, event };
    for _ in 0..MAX_LOOKS {
        let (slot, word) = match table::find_cells::<A, _>(world, settings.shape_of::<A>(), hash, cells) {
            None => break,
            Some(Found::OnItsWay(word)) => return Ok(Some(word.course())),
            Some(Found::Here(slot, word)) => (slot, word),
        };
        if is_over(world, settings, kind, word, slot.bond() != 0, now) {
            if slot.retire(word) {
                uncount(world, kind.protocol, word);
                break;
            }
        } else if !is_served(world, word) {
            return Err(Reason::ServerGone);
        } else {
            let known = Known { key: cells, slot, word };
            if advance(world, settings, kind, Sender::Client, known, now) != Advanced::Gone {
                desk.set_word(slot.word());
                return Ok(Some(word.course()));
            }
        }
    }
    Ok(None)
}

/// Whether a connection is none any more for this packet: its place is given back, and the packet is a stranger's.
///
/// That a new connection never has to wait for an old one with the same ports is where this departs from IPVS, which
/// drops packets of a deleted server's connection even if they open a new one. A connection with a template goes on with
/// its server, which the template would lead to anyway, as in IPVS.
#[inline(always)]
fn is_over<W: World>(
    world: &W,
    settings: SettingsView<W::Row>,
    kind: Kind,
    word: Word,
    has_template: bool,
    now: Ticks,
) -> bool {
    if table::is_overdue(word, now) {
        return true;
    }
    let expires_nodest = settings.rules().has(Rules::EXPIRE_NODEST_CONN);
    if !is_served(world, word) {
        return expires_nodest || kind.begins() && settings.reuses(kind.protocol);
    }
    kind.begins()
        && (!has_template && settings.is_reusable(kind.protocol, word.state(), word.method())
            || expires_nodest && is_quiescent(world, word))
}

#[inline(always)]
fn is_quiescent<W: World>(world: &W, word: Word) -> bool {
    world.server_row(word.server()).is_some_and(|row| Server(row).hop().flags.has(ServerFlags::QUIESCENT))
}
