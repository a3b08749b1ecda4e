//! Figures of lbxdp and of IPVS, of the same work, in one line.

use std::fmt::Write as _;

use anyhow::Result;

use crate::against::{Contender, Ipvs, Ours, PREFIX};
use crate::figure::{Figure, Spread};
use crate::report::number;

/// Writes a table of all that both have done, by medians.
pub(super) fn table(text: &mut String, figures: &[&Figure]) -> Result<()> {
    writeln!(text, "| | IPVS | lbxdp | IPVS by lbxdp | forwarding | null program |")?;
    writeln!(text, "| --- | --: | --: | --: | --: | --: |")?;
    for theirs in figures {
        let work = theirs.name.strip_prefix(PREFIX).and_then(|name| name.strip_suffix(Ipvs::NAME));
        let Some(work) = work else { continue };
        let name = format!("{PREFIX}{work}{}", Ours::NAME);
        let Some(ours) = figures.iter().find(|figure| figure.name == name) else { continue };
        let shown = |spread: Option<Spread>| {
            spread.map_or(String::new(), |spread| number(spread.median, theirs.unit))
        };
        writeln!(
            text,
            "| {} | {} | **{}** | {:.1} | {} | {} |",
            work.trim_end_matches('/'),
            shown(Some(theirs.spread)),
            shown(Some(ours.spread)),
            theirs.spread.median / ours.spread.median,
            shown(theirs.null),
            shown(ours.null)
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Unit;

    #[test]
    fn both_stand_in_a_line_and_what_one_alone_has_done_does_not() {
        let figure = |name: &str, value, null| {
            Figure::new(format!("{PREFIX}{name}"), Unit::Instructions, Spread::exactly(value))
                .with_null(Spread::exactly(null))
        };
        let figures = [
            figure("dr/v4/tcp/new/ipvs", 6000.0, 4000.0),
            figure("tun-ipip/v4/tcp/new/ipvs", 7000.0, 4000.0),
            figure("dr/v4/tcp/new/lbxdp", 1500.0, 350.0),
        ];
        let mut text = String::new();
        table(&mut text, &figures.iter().collect::<Vec<_>>()).unwrap();
        assert!(text.contains("| dr/v4/tcp/new | 6000 | **1500** | 4.0 | 4000 | 350 |"), "{text}");
        assert!(!text.contains("tun-ipip"), "{text}");
    }
}
