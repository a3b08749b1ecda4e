//! What a director says that it has done: `/proc/net/ip_vs_stats_percpu`, which lbxdp can print too.

use anyhow::{Context, Result, ensure};

/// Counts of all services, or how much they have grown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(super) connections: u64,
    pub(super) incoming: u64,
    pub(super) outgoing: u64,
    /// Packets that did not go the way that is meant, if the director knows of such.
    pub(super) mishaps: u64,
}

impl Counted {
    /// The sum of all processors' lines. The line of totals is only made anew every other second.
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut sum = Self::default();
        let mut processors = 0;
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [processor, connections, incoming, outgoing, _, _] = words[..] else { continue };
            if u32::from_str_radix(processor, 16).is_err() {
                continue;
            }
            let number =
                |word| u64::from_str_radix(word, 16).with_context(|| format!("what is this: {line}"));
            sum.connections += number(connections)?;
            sum.incoming += number(incoming)?;
            sum.outgoing += number(outgoing)?;
            processors += 1;
        }
        ensure!(processors > 0, "there are no counts of any processor in:\n{text}");
        Ok(sum)
    }

    /// How much it is more than before.
    pub(super) const fn since(self, before: Self) -> Self {
        Self {
            connections: self.connections.wrapping_sub(before.connections),
            incoming: self.incoming.wrapping_sub(before.incoming),
            outgoing: self.outgoing.wrapping_sub(before.outgoing),
            mishaps: self.mishaps.wrapping_sub(before.mishaps),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Linux 6.1 writes it.
    const TEXT: &str = "\
       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0      400     1400        A            10000              190
  A        1        2        3                4                5
  ~      100      200        0             2000                0

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           0        0        0                0                0
";

    #[test]
    fn the_lines_of_all_processors_are_summed_and_no_other() {
        let counted = Counted { connections: 0x401, incoming: 0x1402, outgoing: 13, mishaps: 0 };
        assert_eq!(Counted::read(TEXT).unwrap(), counted);
        assert!(Counted::read("").is_err());
        assert!(Counted::read("  0 x y z 0 0").is_err());
    }

    #[test]
    fn only_what_has_come_since_counts() {
        let before = Counted { connections: 1, incoming: 20, outgoing: 3, mishaps: 4 };
        let after = Counted { connections: 1, incoming: 70, outgoing: 3, mishaps: 5 };
        let since = Counted { incoming: 50, mishaps: 1, ..Counted::default() };
        assert_eq!(after.since(before), since);
    }
}
