//! The words of `lbxdp doctor`.

use std::io::Write;
use std::net::IpAddr;

use super::DoctorError;
use super::facts::{Forwarding, Role};
use super::findings::{Finding, Severity, findings};
use super::gather::gather;
use super::report;
use crate::cli::arguments::InstanceArgument;

/// What is known of the machine that it does not know itself.
#[derive(clap::Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    pub instance: InstanceArgument,
    /// What the machine is; without it a director if the instance's packet path, its saved services or what `lbxdp director` has started
    /// are here, else a real server.
    #[arg(long, value_enum)]
    pub role: Option<Role>,
    /// A VIP; may be given several times. Without it: a director's are those of its services, a real server's those of `lbxdp realserver`,
    /// else the single addresses on lo.
    #[arg(long = "vip", value_name = "ADDR")]
    pub vips: Vec<IpAddr>,
    /// A real server: how the director forwards to it; without it by tunnel if something opens them here, else direct.
    #[arg(long, value_enum, value_name = "METHOD")]
    pub forwarding: Option<Forwarding>,
    /// A real server: an address of the director on the server's network; may be given several times.
    #[arg(long = "director", value_name = "ADDR")]
    pub directors: Vec<IpAddr>,
    /// A real server by VS/NAT: a client whose answers must go by the director; without it all (the default route).
    #[arg(long = "client", value_name = "ADDR")]
    pub clients: Vec<IpAddr>,
    /// A real server: a TCP port that is to be served on the VIPs; may be given several times.
    #[arg(long = "port", value_name = "N")]
    pub ports: Vec<u16>,
    /// As JSON: docs/json.md says what stands where, and what may change.
    #[arg(long)]
    pub json: bool,
}

/// Examines the machine and says what is wrong; the exit code: 0 nothing, 1 a warning or something that could not be looked at, 2 an
/// error.
pub fn run(arguments: &DoctorArguments) -> Result<u8, DoctorError> {
    let (facts, unchecked) = gather(arguments)?;
    let findings = findings(&facts);
    let text = if arguments.json {
        report::json(&arguments.instance.name, facts.role, &findings, &unchecked)
    } else {
        report::text(facts.role, &findings, &unchecked)
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(DoctorError::Output)?;
    Ok(code(&findings, &unchecked))
}

/// What could not be looked at is not well.
fn code(findings: &[Finding], unchecked: &[String]) -> u8 {
    match findings.iter().map(|finding| finding.severity).max() {
        None => u8::from(!unchecked.is_empty()),
        Some(Severity::Warning) => 1,
        Some(Severity::Error) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_zero_only_if_all_was_looked_at() {
        let finding = |severity| Finding {
            id: "",
            severity,
            symptom: String::new(),
            reason: String::new(),
            remedy: String::new(),
        };
        let (warning, error) = (finding(Severity::Warning), finding(Severity::Error));
        assert_eq!(code(&[], &[]), 0);
        assert_eq!(code(&[], &["eth0".to_owned()]), 1);
        assert_eq!(code(std::slice::from_ref(&warning), &["eth0".to_owned()]), 1);
        assert_eq!(code(&[warning, error], &[]), 2);
    }
}
