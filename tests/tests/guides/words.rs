//! What the manual says of lbxdp's words: every command line is one that lbxdp takes, every name is one that there is.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use clap::CommandFactory;
use lbxdp::cli::arguments::Arguments;
use lbxdp_common::verdict::Reason;

use crate::book::manual;

const FILES: [&str; 7] = [
    "guide-dr.md",
    "guide-tun.md",
    "guide-nat.md",
    "troubleshooting.md",
    "doctor.md",
    "hosts.md",
    "decap.md",
];

/// What stands for something that the reader knows.
const STANDS_FOR: [(&str, &str); 8] = [
    ("VIP", "10.0.0.100"),
    ("RIP", "10.0.0.11"),
    ("DIP", "10.0.0.10"),
    ("ADDR", "10.0.0.100"),
    ("FILE", "/etc/lbxdp.rules"),
    ("IF", "eth0"),
    ("N", "100000"),
    ("NAME", "web"),
];

fn read(name: &str) -> Result<String> {
    std::fs::read_to_string(manual(name)).with_context(|| format!("reading {name}"))
}

/// Everything that is written as code: spans, and lines of blocks.
fn code(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_block = false;
    for line in text.lines() {
        if line.starts_with("```") {
            is_block = line == "```sh";
        } else if is_block || line.starts_with("    ") {
            found.push(line.trim().to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The words of a command of lbxdp's own, without comment; `None` if it is none, or is not told in full.
fn words(line: &str) -> Option<Vec<String>> {
    let line = line.split("  #").next()?.split(" # ").next()?;
    let line = line.split(['&', ';', '|', '>']).next()?.trim();
    let line = line.strip_prefix("LBXDP_INSTANCE=NAME ").unwrap_or(line);
    let rest = line.strip_prefix("lbxdp ")?;
    if rest.starts_with('-') || line.contains('…') || line.contains('[') {
        return None;
    }
    let known = |word: &str| {
        let stands = STANDS_FOR.iter().find(|(name, _)| *name == word);
        stands.map_or(word, |(_, value)| value).to_owned()
    };
    Some(line.split_whitespace().map(known).collect())
}

#[test]
fn every_command_line_is_one() -> Result<()> {
    let mut wrong = Vec::new();
    for name in FILES {
        for words in code(&read(name)?).iter().filter_map(|line| words(line)) {
            if words.len() == 2 && Arguments::command().find_subcommand(&words[1]).is_some() {
                // Named, not typed.
                continue;
            }
            if let Err(error) = Arguments::command().try_get_matches_from(&words) {
                wrong.push(format!("{name}: {}: {error}", words.join(" ")));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Whoever looks for a finding's or a reason's name finds it, and all that looks like one is one.
#[test]
fn symptoms_lead_to_findings_and_reasons() -> Result<()> {
    let symptoms = read("troubleshooting.md")?;
    let named: BTreeSet<String> = code(&symptoms).into_iter().collect();
    let doctor = read("doctor.md")?;
    let findings: BTreeSet<&str> =
        doctor.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    ensure!(findings.len() > 15, "{findings:?}");
    let missing: Vec<&&str> = findings.iter().filter(|finding| !named.contains(**finding)).collect();
    ensure!(missing.is_empty(), "no symptom leads to {missing:?}");
    // What is not ours is not counted.
    for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::NotOurs) {
        ensure!(named.contains(reason.name()), "no symptom leads to {}", reason.name());
    }
    Ok(())
}

/// The name that a heading has in links.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() -> Result<()> {
    for name in FILES {
        let text = read(name)?;
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { name } else { file };
            ensure!(manual(file).exists(), "{name}: {target}");
            if !heading.is_empty() {
                let there = std::fs::read_to_string(manual(file))?;
                let mut headings = there.lines().filter_map(|line| line.strip_prefix("## "));
                ensure!(headings.any(|found| anchor(found) == heading), "{name}: {target}");
            }
        }
    }
    Ok(())
}
