//! What a host is like, to be compared with what it was like.

use anyhow::Result;

use super::Site;

/// Sysctls, addresses and routes of a host.
pub fn snapshot(site: &Site) -> Result<String> {
    let host = &site.namespace;
    let mut text = host.ip("address show")?;
    for words in ["-4 route show table all", "-6 route show table all", "-4 rule", "-6 rule"] {
        text += &host.ip(words)?;
    }
    // Without what counts or is drawn anew.
    let sysctls = host.run("sysctl -a --pattern ^net")?;
    let is_steady = |line: &&str| {
        !["_count", "_key", "stable_secret", "nf_conntrack"].iter().any(|word| line.contains(word))
    };
    for line in sysctls.lines().filter(is_steady) {
        text += line;
        text.push('\n');
    }
    Ok(text)
}

/// The lines in which two snapshots differ.
pub fn differences(before: &str, now: &str) -> String {
    let differs = |one: &str, other: &str| -> Vec<String> {
        let lines = one.lines().filter(|line| !other.lines().any(|found| found == *line));
        lines.map(str::to_owned).collect()
    };
    format!("gone {:?}, new {:?}", differs(before, now), differs(now, before))
}
