//! `lbxdp set` and `lbxdp settings`: IPVS's sysctls.

use std::fmt::Write;

use super::client::{Client, ClientError, Director};
use crate::command::Command;
use crate::message::{Request, Response};
use crate::sysctl::{SYSCTLS, Setting, Sysctl, Sysctls};
use crate::tables::pins::Instance;

/// Changes settings, all of them or none.
pub fn set(instance: &Instance, settings: Vec<Setting>) -> Result<(), ClientError> {
    let command = Command::Set { settings };
    match Client::new(instance.clone()).ask(&Request::Change(command))? {
        Response::Done => Ok(()),
        other => Err(ClientError::unexpected(&other)),
    }
}

/// Prints settings, all if none is named.
pub fn print(instance: &Instance, named: &[&'static Sysctl], is_long: bool) -> Result<(), ClientError> {
    match Client::new(instance.clone()).ask(&Request::Settings)? {
        Response::Settings(values) => {
            let mut output = std::io::stdout().lock();
            std::io::Write::write_all(&mut output, text(values, named, is_long).as_bytes())
                .map_err(ClientError::Output)
        }
        other => Err(ClientError::unexpected(&other)),
    }
}

/// A line a setting, in the form of sysctl(8); the long form tells what it means.
fn text(values: Sysctls, named: &[&'static Sysctl], is_long: bool) -> String {
    let all: Vec<&Sysctl> = SYSCTLS.iter().collect();
    let mut text = String::new();
    for sysctl in if named.is_empty() { &all } else { named } {
        let short = format!("{} = {}", sysctl.name, sysctl.of(values));
        // Writing into a string cannot fail.
        let _ = if is_long {
            writeln!(text, "{short:<30} default {}. {}", sysctl.default, sysctl.meaning)
        } else {
            writeln!(text, "{short}")
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stand_one_a_line_by_name() {
        let values = Sysctls { sloppy_tcp: 1, ..Sysctls::default() };
        assert_eq!(
            text(values, &[], false),
            "conn_reuse_mode = 1
expire_nodest_conn = 0
expire_quiescent_template = 0
lblc_expiration = 86400
lblcr_expiration = 86400
pmtu_disc = 1
secure_tcp = 0
sloppy_sctp = 0
sloppy_tcp = 1
tunnel_spread = 0
"
        );
    }

    #[test]
    fn named_settings_stand_as_they_were_asked_for() {
        let named = ["sloppy_tcp", "conn_reuse_mode"].map(|name| Sysctl::named(name).unwrap());
        assert_eq!(text(Sysctls::default(), &named, false), "sloppy_tcp = 0\nconn_reuse_mode = 1\n");
    }

    #[test]
    fn the_long_form_tells_what_a_setting_means() {
        let text = text(Sysctls { secure_tcp: 2, ..Sysctls::default() }, &[], true);
        let line = text.lines().find(|line| line.starts_with("secure_tcp = 2  ")).unwrap();
        assert!(line.contains(" default 0. state tables for times of attack"), "{line}");
        assert!(text.lines().all(|line| line.contains(" default ")), "{text}");
    }

    /// What is printed can be set.
    #[test]
    fn a_printed_line_is_a_setting() {
        let values = Sysctls { conn_reuse_mode: 3, sloppy_sctp: -1, ..Sysctls::default() };
        let mut read = Sysctls::default();
        for line in text(values, &[], false).lines() {
            line.parse::<Setting>().unwrap().apply(&mut read);
        }
        assert_eq!(read, values);
    }
}
