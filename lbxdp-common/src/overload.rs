//! Thresholds: a server with as many connections as its upper one is overloaded and gets no new ones, until it has
//! fewer than its lower one (or than three quarters of the upper one).
//!
//! The rule is Linux 6.1's (`ip_vs_bind_dest`, `ip_vs_unbind_dest`): the model of all of lbxdp. Kernels from 6.12.107 on
//! judge at the same counts, but only when a count passes the threshold, and at an edit by the count of that moment.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::cells::Cells;
use crate::server::Load;

/// How often a judgement is tried again after another CPU changed the counts. One that comes or goes judges by itself, so the
/// last one's stands.
const MAX_ATTEMPTS: u32 = 4;
/// Cells of a [`LoadRow`].
const LOAD: usize = 0;
const THRESHOLDS: usize = 1;
/// The cell of [`LoadRow::templates`].
pub const TEMPLATES: usize = 2;

/// How many connections a server may have; 0: any number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Thresholds {
    /// With so many it is overloaded.
    pub upper: u32,
    /// With fewer it is no more; 0: three quarters of `upper`.
    pub lower: u32,
}

impl Thresholds {
    #[inline(always)]
    const fn is_reached_by(self, total: u64) -> bool {
        self.upper != 0 && total >= self.upper as u64
    }

    #[inline(always)]
    const fn has_room_beside(self, total: u64) -> bool {
        if self.lower != 0 { total < self.lower as u64 } else { 4 * total < 3 * self.upper as u64 }
    }
}

/// The row that counts a server's connections.
///
/// ```text
/// cell 0   [`Load`]: active and other connections, and whether it is overloaded
/// cell 1   [`Thresholds`]
/// cell 2   templates
/// ```
#[derive(Clone, Copy)]
pub struct LoadRow<C>(pub C);

impl<C: Cells> LoadRow<C> {
    /// Its connections.
    #[inline(always)]
    pub fn load(self) -> Load {
        Load(self.0.load(LOAD))
    }

    /// How many templates lead to it.
    #[inline(always)]
    pub fn templates(self) -> u64 {
        self.0.load(TEMPLATES)
    }

    /// See there.
    #[inline(always)]
    pub fn thresholds(self) -> Thresholds {
        zerocopy::transmute!(self.0.load(THRESHOLDS))
    }

    /// A connection more.
    #[inline(always)]
    pub fn gain(self, is_active: bool) {
        self.0.add(LOAD, Load::gained(is_active));
        let thresholds = self.thresholds();
        if thresholds.upper != 0 {
            self.judge(|load| {
                (!load.is_overloaded() && thresholds.is_reached_by(load.total())).then(|| load.overloaded())
            });
        }
    }

    /// A connection less.
    #[inline(always)]
    pub fn lose(self, is_active: bool) {
        self.0.add(LOAD, Load::lost(is_active));
        self.relieve();
    }

    /// A connection of the other kind.
    #[inline(always)]
    pub fn change(self, to_active: bool) {
        self.0.add(LOAD, Load::moved(to_active));
    }

    /// A template more.
    #[inline(always)]
    pub fn gain_template(self) {
        self.0.add(TEMPLATES, 1);
    }

    /// A template less.
    #[inline(always)]
    pub fn lose_template(self) {
        self.0.add(TEMPLATES, 1_u64.wrapping_neg());
        self.relieve();
    }

    /// Sets the thresholds, as an edit does: who was overloaded stays so unless there is more room than before.
    pub fn set_thresholds(self, thresholds: Thresholds) {
        let is_relieved = thresholds.upper == 0 || thresholds.upper > self.thresholds().upper;
        if is_relieved {
            // First: a daemon that is killed in between has not left a mark behind that nobody takes off.
            self.unmark();
        }
        self.0.store(THRESHOLDS, zerocopy::transmute!(thresholds));
        if is_relieved {
            self.unmark();
        }
    }

    fn unmark(self) {
        while self.load().is_overloaded() {
            self.judge(|load| load.is_overloaded().then(|| load.without_overload()));
        }
    }

    #[inline(always)]
    fn relieve(self) {
        let thresholds = self.thresholds();
        // Without an upper threshold there is no mark: what looks like one is the borrow of a connection that is taken off
        // before it was added, and goes when it is.
        if thresholds.upper != 0 && self.load().is_overloaded() {
            self.judge(|load| {
                (load.is_overloaded() && thresholds.has_room_beside(load.total()))
                    .then(|| load.without_overload())
            });
        }
    }

    /// Changes the mark if `change` wants another one for the counts as they are at that moment.
    #[inline(always)]
    fn judge(self, change: impl Fn(Load) -> Option<Load>) {
        for _ in 0..MAX_ATTEMPTS {
            let seen = self.load();
            match change(seen) {
                Some(judged) if !self.0.replace(LOAD, seen.0, judged.0) => {}
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicU64;
    use proptest::prelude::*;

    /// The rule as `ip_vs_bind_dest` and `ip_vs_unbind_dest` have it.
    #[derive(Default)]
    struct Model {
        total: u64,
        is_overloaded: bool,
    }

    impl Model {
        fn bind(&mut self, thresholds: Thresholds) {
            self.total += 1;
            if thresholds.upper != 0 && self.total >= thresholds.upper.into() {
                self.is_overloaded = true;
            }
        }

        fn unbind(&mut self, thresholds: Thresholds) {
            self.total -= 1;
            let Thresholds { upper, lower } = thresholds;
            let has_room = match (lower, upper) {
                (0, 0) => true,
                (0, upper) => self.total * 4 < u64::from(upper) * 3,
                (lower, _) => self.total < lower.into(),
            };
            self.is_overloaded &= !has_room;
        }
    }

    fn row() -> [AtomicU64; 8] {
        core::array::from_fn(|_| AtomicU64::new(0))
    }

    #[test]
    fn exactly_as_many_as_the_upper_threshold_are_taken_and_none_until_there_are_fewer_than_the_lower() {
        let cells = row();
        let load = LoadRow(&cells[..]);
        load.set_thresholds(Thresholds { upper: 4, lower: 2 });
        let overloaded: std::vec::Vec<bool> = (0..4)
            .map(|_| {
                load.gain(true);
                load.load().is_overloaded()
            })
            .collect();
        assert_eq!(overloaded, [false, false, false, true]);
        let still: std::vec::Vec<bool> = (0..4)
            .map(|_| {
                load.lose(true);
                load.load().is_overloaded()
            })
            .collect();
        assert_eq!(still, [true, true, false, false]);
    }

    #[test]
    fn a_connection_that_is_taken_off_before_it_was_added_leaves_no_mark() {
        for thresholds in [Thresholds::default(), Thresholds { upper: 4, lower: 2 }] {
            let cells = row();
            let load = LoadRow(&cells[..]);
            load.set_thresholds(thresholds);
            load.lose(false);
            load.gain(false);
            assert_eq!(load.load(), Load(0), "{thresholds:?}");
        }
    }

    #[test]
    fn an_edit_relieves_only_by_more_room() {
        let cells = row();
        let load = LoadRow(&cells[..]);
        load.set_thresholds(Thresholds { upper: 1, lower: 0 });
        load.gain(false);
        load.set_thresholds(Thresholds { upper: 1, lower: 1 });
        assert!(load.load().is_overloaded());
        load.set_thresholds(Thresholds { upper: 2, lower: 0 });
        assert!(!load.load().is_overloaded());
        load.gain(false);
        assert!(load.load().is_overloaded());
        load.set_thresholds(Thresholds::default());
        assert!(!load.load().is_overloaded());
        assert_eq!((load.load().active(), load.load().inactive()), (0, 2));
    }

    proptest! {
        #[test]
        fn any_history_of_one_cpu_is_the_kernels(
            upper in 0..6u32,
            lower in 0..6u32,
            steps in proptest::collection::vec(any::<bool>(), 0..60),
        ) {
            let thresholds = Thresholds { upper, lower: lower.min(upper) };
            let (cells, mut model) = (row(), Model::default());
            let load = LoadRow(&cells[..]);
            load.set_thresholds(thresholds);
            for is_more in steps {
                if is_more {
                    load.gain(model.total.is_multiple_of(2));
                    model.bind(thresholds);
                } else if model.total > 0 {
                    model.unbind(thresholds);
                    load.lose(model.total.is_multiple_of(2));
                }
                prop_assert_eq!(load.load().is_overloaded(), model.is_overloaded);
                prop_assert_eq!(load.load().total(), model.total);
            }
        }
    }

    #[test]
    fn whatever_cpus_do_at_once_the_end_is_what_the_counts_say() {
        let cells = row();
        let load = LoadRow(&cells[..]);
        load.set_thresholds(Thresholds { upper: 3, lower: 2 });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        LoadRow(&cells[..]).gain(true);
                        LoadRow(&cells[..]).lose(true);
                    }
                });
            }
        });
        assert_eq!(load.load(), Load(0));
    }
}
