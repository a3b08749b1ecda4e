//! Findings as text or as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::facts::Role;
use super::findings::{Finding, Severity};
use crate::tables::pins::Instance;

/// `docs/json.md` is the contract.
#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    instance: String,
    role: Role,
    findings: &'a [Finding],
    unchecked: &'a [String],
}

pub(super) fn json(instance: &Instance, role: Role, findings: &[Finding], unchecked: &[String]) -> String {
    let document = Document { version: 1, instance: instance.to_string(), role, findings, unchecked };
    // Strings alone cannot fail to be JSON.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

pub(super) fn text(role: Role, findings: &[Finding], unchecked: &[String]) -> String {
    let mut text = String::new();
    for Finding { id, severity, symptom, reason, remedy } in findings {
        let severity = match severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{severity} {id}: {symptom}\n  why it matters: {reason}\n  mend: {remedy}");
    }
    if findings.is_empty() {
        let machine = match role {
            Role::Director => "director",
            Role::Server => "real server",
        };
        let as_far = if unchecked.is_empty() { "" } else { ", but not all could be looked at" };
        let _ = writeln!(text, "{machine}: nothing wrong was found{as_far}");
    }
    for words in unchecked {
        let _ = writeln!(text, "not checked: {words}");
    }
    text
}
