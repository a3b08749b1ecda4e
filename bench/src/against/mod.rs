//! The same work by lbxdp and by the kernel's IPVS, in instructions a packet: in a virtual machine whose clock counts them.
//!
//! ```text
//!   far: far0 ──── veth ──── eth0: director     what is measured: IPVS behind a program that passes, or lbxdp
//!        far1 ──── veth ──── eth1               frames are dropped on arrival: what the generator costs
//!        far2 ──── veth ──── eth2               a null program
//! ```
//!
//! Frames are live, and come back to a sink. No figure without proof: each frame must have arrived, as long as it should be,
//! and the director must have counted it as what it was meant to be.

mod case;
mod counted;
mod course;
mod host;
mod ipvs;
mod lane;
mod ours;

use anyhow::Result;

use crate::driver::Object;
use crate::figure::{Figure, Spread, Unit};
pub(crate) use case::Case;
use counted::Counted;
use course::{Course, Null};
pub(crate) use host::measured;
pub(crate) use ipvs::Ipvs;
pub(crate) use ours::Ours;

/// What names of these figures begin with.
pub(crate) const PREFIX: &str = "against-ipvs/";

/// A director that is measured.
pub(crate) trait Contender {
    /// The last part of its figures' names.
    const NAME: &'static str;

    /// Starts it, in a network of its own, with services for all cases.
    fn start(object: &Object, rules: &str) -> Result<Self>
    where
        Self: Sized;

    fn network(&self) -> &crate::bed::Network;

    /// What it has counted so far.
    fn counted(&self) -> Result<Counted>;

    /// What a case is to be compared with.
    fn null(case: Case) -> Null;
}

/// Measures cases with both, and hands over each figure, or the reason why there is none, with its name.
pub(crate) fn measure(object: &Object, cases: &[Case], mut take: impl FnMut(&str, Result<Figure>)) {
    let theirs = of_contender::<Ipvs>(object, cases, &mut take, |_| None);
    of_contender::<Ours>(object, cases, &mut take, |case| {
        theirs.iter().find(|(other, _)| *other == case).map(|(_, spread)| *spread)
    });
}

/// Measures one of them; what each case needs. If another one's need is known, that is noted.
fn of_contender<C: Contender>(
    object: &Object,
    cases: &[Case],
    mut take: impl FnMut(&str, Result<Figure>),
    other: impl Fn(Case) -> Option<Spread>,
) -> Vec<(Case, Spread)> {
    let mut measured = Vec::new();
    let mut all = || -> Result<()> {
        let contender = C::start(object, &case::rules())?;
        let course = Course::new(object, contender.network())?;
        for &case in cases {
            let name = format!("{PREFIX}{case}/{}", C::NAME);
            let figure = course.measure(case, C::null(case), &|| contender.counted()).map(|[own, null]| {
                measured.push((case, own));
                let figure = Figure::new(&name, Unit::Instructions, own).with_null(null);
                other(case).map_or(figure.clone(), |other| figure.with_note(times(other, own)))
            });
            take(&name, figure);
        }
        Ok(())
    };
    if let Err(error) = all() {
        take(&format!("{PREFIX}{}", C::NAME), Err(error));
    }
    measured
}

/// How many times as much another one needs.
fn times(other: Spread, own: Spread) -> String {
    format!("IPVS needs {:.1} times as many", other.median / own.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_says_who_needs_more() {
        let times = times(Spread::exactly(5000.0), Spread::exactly(1000.0));
        assert_eq!(times, "IPVS needs 5.0 times as many");
    }
}
