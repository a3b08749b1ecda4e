//! A plan as text: commands, or what makes it last over reboots.

use std::fmt::Write;

use super::plan::Change;
use super::step::{Step, sysctl_name};
use super::surroundings::{Address, Scope, Surroundings};
use crate::tables::pins::Instance;

/// What is printed instead of being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Print {
    /// The very steps that would be taken now, as commands.
    Commands,
    /// All settings, as a file for /etc/sysctl.d.
    Sysctl,
    /// All addresses, as files for /etc/systemd/network.
    Networkd,
}

/// The steps, a line each, with the reason where it changes.
pub(super) fn commands(steps: &[Step], there: &Surroundings, instance: &Instance) -> String {
    let mut there = there.clone();
    let mut text = String::new();
    let mut said = "";
    for step in steps {
        let reason = step.reason();
        // Writing into a string cannot fail.
        if reason != said {
            let _ = writeln!(text, "# {reason}");
            said = reason;
        }
        let _ = writeln!(text, "{}", step.typed(&there, instance));
        step.apply(&mut there);
    }
    text
}

/// The settings of all changes, those that are so already too.
pub(super) fn sysctl(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        if let Step::Sysctl { name, value } = &change.step {
            let _ = writeln!(text, "{} = {value}", sysctl_name(name));
        }
    }
    text
}

/// The addresses, by interface. What networkd has no words for stands as a comment.
pub(super) fn networkd(changes: &[Change]) -> String {
    let mut text = String::new();
    let steps = || changes.iter().map(|change| &change.step);
    let mut interfaces: Vec<&str> = steps()
        .filter_map(|step| match step {
            Step::AddAddress(address) => Some(address.interface.as_str()),
            _ => None,
        })
        .collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    for interface in interfaces {
        let _ = writeln!(text, "# /etc/systemd/network/{interface}.network.d/vip.conf");
        let _ = writeln!(text, "# (needs an {interface}.network with [Match] Name={interface})");
        for step in steps() {
            if let Step::AddAddress(address) = step
                && address.interface == interface
            {
                section(&mut text, address);
            }
        }
    }
    if steps().any(|step| matches!(step, Step::Sysctl { .. })) {
        text.push_str("# Before it, and not networkd's: the settings of --print=sysctl\n");
    }
    let is_other =
        |step: &&Step| !matches!(step, Step::AddAddress(_) | Step::Announce { .. } | Step::Sysctl { .. });
    for step in steps().filter(is_other) {
        let _ = writeln!(text, "# Before it, and not networkd's: {step}");
    }
    text
}

fn section(text: &mut String, address: &Address) {
    let _ = writeln!(text, "[Address]\nAddress={}", address.address);
    if address.scope == Scope::Host && address.address.addr().is_ipv4() {
        text.push_str("Scope=host\n");
    }
    if address.is_deprecated {
        text.push_str("PreferredLifetime=0\n");
    }
    if address.address.addr().is_ipv6() {
        text.push_str("DuplicateAddressDetection=none\n");
    }
}
