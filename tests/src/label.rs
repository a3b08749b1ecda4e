//! What a lab's namespaces and instances are called: the name carries the process, so that what a dead one left is known.

use std::fmt;
use std::fs;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "lbxdp";

/// The name of a lab: `lbxdp-<process>-<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    process: u32,
    number: u32,
}

impl Label {
    /// A label that nothing else on this machine has.
    pub fn unique() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self { process: process::id(), number: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// The label in a name that begins with one, such as a namespace's.
    pub fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.strip_prefix('-')?.split(['-', '.']);
        Some(Self { process: parts.next()?.parse().ok()?, number: parts.next()?.parse().ok()? })
    }

    /// The process whose lab it is.
    pub fn process(&self) -> u32 {
        self.process
    }

    /// Whether that process has ended. One that has ended and was not yet reaped still has a number, but no command line.
    pub fn is_orphaned(&self) -> bool {
        fs::read(format!("/proc/{}/cmdline", self.process)).unwrap_or_default().is_empty()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}-{}-{}", self.process, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::Label;

    #[test]
    fn a_label_is_found_in_the_names_made_of_it() {
        let label = Label::unique();
        assert_eq!(Label::of(&format!("{label}-client")), Some(label));
        assert_eq!(Label::of(&format!("{label}.sock")), Some(label));
        assert_ne!(Label::unique(), label);
        assert!(!label.is_orphaned());
    }

    #[test]
    fn names_of_others_have_no_label() {
        for name in ["default", "lbxdp", "lbxdp-", "lbxdp-office-1-client", "docker-12-3"] {
            assert_eq!(Label::of(name), None, "{name}");
        }
    }
}
