//! `cargo xtask demo`: the classic topology in namespaces, set up and balanced before your eyes by ipvsadm's own words.

mod interrupt;
mod keep;
mod paint;
mod story;

use std::io::{IsTerminal, stdout};

use anyhow::Result;
use lbxdp_tests::Legs;

use crate::{build, machine};
use interrupt::Interrupt;
use paint::Paint;
use story::Story;

pub(crate) use keep::{HostOptions, host};

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Options {
    /// Leave the network standing afterwards, and say how to enter and remove it
    #[arg(long)]
    keep: bool,
    /// The director has one interface and sends packets out where they came in (the default)
    #[arg(long, conflicts_with = "two_legs")]
    one_leg: bool,
    /// The director has one interface towards the clients and another towards the servers
    #[arg(long)]
    two_legs: bool,
    /// Remove every demo that was left standing
    #[arg(long, conflicts_with_all = ["keep", "one_leg", "two_legs"])]
    remove: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.remove {
        machine::require_root("demo --remove")?;
        return keep::remove();
    }
    machine::require_lab("demo")?;
    let binary = build::build()?.binary;
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let paint = Paint::new(stdout().is_terminal() && !is_plain);
    let legs = if options.two_legs { Legs::Two } else { Legs::One };
    if options.keep {
        return keep::start(&binary, legs, paint);
    }
    // All of it is dropped, and so removed, however the telling ends.
    Story::begin(&binary, legs, paint, Interrupt::catch()?)?.tell()?;
    paint.say("The network is removed. `cargo xtask demo --keep` leaves it standing.");
    Ok(())
}
