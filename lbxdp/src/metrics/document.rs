//! `docs/metrics.md`: what stands above it is written by hand, the tables are made from the families.

use std::fmt::Write;

use super::Names;

const INTRODUCTION: &str = include_str!("document/introduction.md");
const NODE_IPVS: &str = include_str!("document/node_ipvs.md");

/// The whole document.
pub fn document() -> String {
    let mut text = String::from(INTRODUCTION);
    add(&mut text, Names::Own);
    text.push_str(NODE_IPVS);
    add(&mut text, Names::NodeIpvs);
    text
}

/// Writing into a string cannot fail.
fn add(text: &mut String, names: Names) {
    text.push_str("\n| name | labels | |\n| --- | --- | --- |\n");
    for family in names.families() {
        let labels: Vec<_> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {}: {} |",
            family.name,
            labels.join(", "),
            family.kind.name(),
            family.help
        );
    }
}
