//! A packet that is not simply the next one of its connection: it begins or ends one, or there is none, or it stands
//! elsewhere because the table grows.

use super::answer::Answer;
use super::follow::{counted, way_to};
use super::fragment::{remember_course, remember_refusal};
use super::open::open;
use super::{Desk, Stage, Stages, Task, Ways};
use crate::address::Address;
use crate::connection::Word;
use crate::server::Method;
use crate::verdict::{Reason, Verdict};
use crate::wire::Frame;

/// Sends the packet on the desk where its connection goes, which may have to be opened first.
#[inline(always)]
pub(super) fn depart<A: Address, F: Frame, W: Stages<F> + Ways<A>>(
    world: &W,
    frame: &mut F,
) -> Result<Verdict, Reason> {
    let desk = Desk(world.desk().ok_or(Reason::NotReady)?);
    // What is found or made of it says what it is.
    desk.set_word(Word(0));
    let mut answer = Answer::STRANGER;
    if desk.may_be_known() {
        answer = Ways::<A>::meet(world);
    }
    if answer == Answer::STRANGER {
        answer = open::<A, _>(world);
    }
    let (course, connections) = match Answer::unpacked(answer) {
        Ok(decided) => decided,
        Err(reason) => {
            remember_refusal::<A, _>(world, reason);
            return Err(reason);
        }
    };
    remember_course::<A, _>(world, course, desk.ip_bytes());
    way_to(world, course, desk.ip_bytes(), desk.hash())?;
    world.count(course.server(), counted(desk.ip_bytes(), connections));
    desk.set_course(course, desk.hash());
    if course.method() == Method::MASQUERADE {
        desk.set_task(if connections == 0 { Task::Require } else { Task::Begin });
        return world.enter(if A::IS_V6 { Stage::RequestV6 } else { Stage::RequestV4 }, frame);
    }
    world.enter(Stage::Carry, frame)
}
