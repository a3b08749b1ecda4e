//! The settings of IPVS's `net.ipv4.vs.*`, under IPVS's names, and those of our own: one table, a row a setting.
//!
//! A [`Setting`] is checked when it is made. Its text, `NAME=VALUE`, is the same on the command line, on the socket and
//! in a saved file.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The values of all settings. Numbers as in IPVS: of a setting that is on or off, anything but 0 is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sysctls {
    pub conn_reuse_mode: i32,
    pub expire_nodest_conn: i32,
    pub expire_quiescent_template: i32,
    pub lblc_expiration: i32,
    pub lblcr_expiration: i32,
    pub pmtu_disc: i32,
    pub secure_tcp: i32,
    pub sloppy_sctp: i32,
    pub sloppy_tcp: i32,
    pub tunnel_spread: i32,
}

/// A setting that can be changed.
pub struct Sysctl {
    /// IPVS's name, without `net.ipv4.vs.`; or ours.
    pub name: &'static str,
    /// IPVS's default; of ours, what makes it as IPVS has it.
    pub default: i32,
    /// What IPVS takes; all else is refused.
    pub allowed: RangeInclusive<i32>,
    /// One line for the operator.
    pub meaning: &'static str,
    field: fn(&mut Sysctls) -> &mut i32,
}

/// IPVS takes any number for most settings.
const ANY: RangeInclusive<i32> = i32::MIN..=i32::MAX;

/// What IPVS takes for a time, on a kernel of 250 ticks a second (Debian's): it keeps ticks in an `int`.
const SECONDS: RangeInclusive<i32> = -(i32::MAX / 250)..=i32::MAX / 250;
const DAY_S: i32 = 86_400;

/// The most bits of a tunnel's source address that may follow the connection: what an IPv4 network leaves, and enough for any
/// number of receive queues.
const MAX_SPREAD_BITS: i32 = 24;

/// All of them, by name.
pub static SYSCTLS: [Sysctl; 10] = [
    Sysctl {
        name: "conn_reuse_mode",
        default: 1,
        allowed: ANY,
        meaning: "a SYN on a finished connection is scheduled anew: 0 never, 1 in TIME_WAIT or CLOSE, 2 in FIN_WAIT too",
        field: |values| &mut values.conn_reuse_mode,
    },
    Sysctl {
        name: "expire_nodest_conn",
        default: 0,
        allowed: ANY,
        meaning: "1: connections of a deleted server end at once instead of waiting for it; a SYN leaves a server of weight 0",
        field: |values| &mut values.expire_nodest_conn,
    },
    Sysctl {
        name: "expire_quiescent_template",
        default: 0,
        allowed: ANY,
        meaning: "1: templates of servers of weight 0 do not count",
        field: |values| &mut values.expire_quiescent_template,
    },
    Sysctl {
        name: "lblc_expiration",
        default: DAY_S,
        allowed: SECONDS,
        meaning: "seconds after which the scheduler lblc forgets an address that nobody wants any more",
        field: |values| &mut values.lblc_expiration,
    },
    Sysctl {
        name: "lblcr_expiration",
        default: DAY_S,
        allowed: SECONDS,
        meaning: "the same of lblcr; and seconds after which a server leaves a set that has not changed",
        field: |values| &mut values.lblcr_expiration,
    },
    Sysctl {
        name: "pmtu_disc",
        default: 1,
        allowed: ANY,
        meaning: "0: packets of tunnels are fragmented on their way, also if what is inside must not be",
        field: |values| &mut values.pmtu_disc,
    },
    Sysctl {
        name: "secure_tcp",
        default: 0,
        allowed: 0..=3,
        meaning: "state tables for times of attack: 0 off, 3 on, 1 automatic and now off, 2 automatic and now on",
        field: |values| &mut values.secure_tcp,
    },
    Sysctl {
        name: "sloppy_sctp",
        default: 0,
        allowed: ANY,
        meaning: "1: an SCTP association may begin with any chunk but ABORT",
        field: |values| &mut values.sloppy_sctp,
    },
    Sysctl {
        name: "sloppy_tcp",
        default: 0,
        allowed: ANY,
        meaning: "1: a TCP connection may begin with any packet but RST",
        field: |values| &mut values.sloppy_tcp,
    },
    Sysctl {
        name: "tunnel_spread",
        default: 0,
        allowed: 0..=MAX_SPREAD_BITS,
        meaning: "so many bits at the end of a tunnel's source address follow the connection: these addresses must be nobody else's; not IPVS's",
        field: |values| &mut values.tunnel_spread,
    },
];

const DEFENCE: &str = "lbxdp's own defence is always on: half-open connections get a bounded share of the table, new ones \
                       beyond it go by hash, and no established one is dropped";
const SYNCHRONIZATION: &str = "connection synchronization is not supported yet";
const ESTIMATORS: &str = "there are no estimator threads: the daemon estimates the rates";

/// IPVS's other settings, and why they cannot be changed here.
const REFUSED: [(&str, &str); 23] = [
    ("am_droprate", DEFENCE),
    ("amemthresh", DEFENCE),
    ("backup_only", SYNCHRONIZATION),
    ("cache_bypass", "what finds no server is refused, and never sent on to its destination without one"),
    ("conntrack", "lbxdp works before netfilter, so there are no conntrack entries to keep"),
    ("debug_level", "LBXDP_LOG sets how much the daemon logs"),
    ("drop_entry", DEFENCE),
    ("drop_packet", DEFENCE),
    ("est_cpulist", ESTIMATORS),
    ("est_nice", ESTIMATORS),
    ("ignore_tunneled", "lbxdp sees a packet before it is decapsulated, never behind that"),
    ("nat_icmp_send", "what comes from a server and belongs to no connection is the director's stack's"),
    ("run_estimation", "the rates are always estimated, which costs no packet anything"),
    ("schedule_icmp", "ICMP errors open no connections: those about a connection go to its server"),
    ("snat_reroute", "replies by VS/NAT are always routed as what they become: packets from the VIP"),
    ("sync_persist_mode", SYNCHRONIZATION),
    ("sync_ports", SYNCHRONIZATION),
    ("sync_qlen_max", SYNCHRONIZATION),
    ("sync_refresh_period", SYNCHRONIZATION),
    ("sync_retries", SYNCHRONIZATION),
    ("sync_sock_size", SYNCHRONIZATION),
    ("sync_threshold", SYNCHRONIZATION),
    ("sync_version", SYNCHRONIZATION),
];

/// Why words are no setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    #[error("NAME=VALUE is wanted, as in sloppy_tcp=1")]
    NoValue,
    #[error("there is no setting `{0}`; there are {names}", names = names())]
    Unknown(String),
    #[error("{0} is no setting of lbxdp: {1}")]
    Refused(&'static str, &'static str),
    #[error("{name} takes whole numbers from {least} to {most}")]
    Value { name: &'static str, least: i32, most: i32 },
}

fn names() -> String {
    SYSCTLS.each_ref().map(|sysctl| sysctl.name).join(", ")
}

impl Sysctl {
    /// The setting of a name, which may stand as sysctl(8) takes it: `net.ipv4.vs.NAME` or `net/ipv4/vs/NAME`.
    pub fn named(words: &str) -> Result<&'static Self, SettingError> {
        let words = words.trim();
        let name = words.strip_prefix("net.ipv4.vs.").or_else(|| words.strip_prefix("net/ipv4/vs/"));
        let name = name.unwrap_or(words);
        if let Some(sysctl) = SYSCTLS.iter().find(|sysctl| sysctl.name == name) {
            return Ok(sysctl);
        }
        let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
        Err(refused.map_or_else(
            || SettingError::Unknown(name.to_owned()),
            |(name, why)| SettingError::Refused(name, why),
        ))
    }

    /// Its value.
    pub fn of(&self, mut values: Sysctls) -> i32 {
        *(self.field)(&mut values)
    }
}

impl Default for Sysctls {
    /// IPVS's.
    fn default() -> Self {
        let mut values = Self {
            conn_reuse_mode: 0,
            expire_nodest_conn: 0,
            expire_quiescent_template: 0,
            lblc_expiration: 0,
            lblcr_expiration: 0,
            pmtu_disc: 0,
            secure_tcp: 0,
            sloppy_sctp: 0,
            sloppy_tcp: 0,
            tunnel_spread: 0,
        };
        for sysctl in &SYSCTLS {
            *(sysctl.field)(&mut values) = sysctl.default;
        }
        values
    }
}

impl Sysctls {
    /// The settings that make these values of the defaults.
    pub fn changed(self) -> impl Iterator<Item = Setting> {
        let all = SYSCTLS.iter().map(move |sysctl| Setting { sysctl, value: sysctl.of(self) });
        all.filter(|setting| setting.value != setting.sysctl.default)
    }
}

/// A setting and a value that it takes.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Setting {
    sysctl: &'static Sysctl,
    value: i32,
}

impl Setting {
    /// Makes it so.
    pub fn apply(self, values: &mut Sysctls) {
        *(self.sysctl.field)(values) = self.value;
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.sysctl.name, self.value)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        (self.sysctl.name, self.value) == (other.sysctl.name, other.value)
    }
}

impl FromStr for Setting {
    type Err = SettingError;

    fn from_str(words: &str) -> Result<Self, SettingError> {
        let (name, value) = words.split_once('=').ok_or(SettingError::NoValue)?;
        let sysctl = Sysctl::named(name)?;
        let value = number(value.trim()).filter(|value| sysctl.allowed.contains(value));
        let refusal = || {
            let (least, most) = (*sysctl.allowed.start(), *sysctl.allowed.end());
            SettingError::Value { name: sysctl.name, least, most }
        };
        Ok(Self { sysctl, value: value.ok_or_else(refusal)? })
    }
}

impl TryFrom<String> for Setting {
    type Error = SettingError;

    fn try_from(words: String) -> Result<Self, SettingError> {
        words.parse()
    }
}

impl From<Setting> for String {
    fn from(setting: Setting) -> Self {
        setting.to_string()
    }
}

/// A number as the kernel reads it: decimal, hexadecimal behind `0x`, octal behind `0`.
fn number(digits: &str) -> Option<i32> {
    let (sign, digits) = digits.strip_prefix('-').map_or((1, digits), |digits| (-1, digits));
    let (base, digits) = if let Some(digits) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"))
    {
        (16, digits)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, &digits[1..])
    } else {
        (10, digits)
    };
    // What parses it would take a second sign.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i64::from_str_radix(digits, base).ok()?;
    i32::try_from(sign * number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(words: &str) -> Result<i32, SettingError> {
        words.parse().map(|setting: Setting| setting.value)
    }

    #[test]
    fn settings_stand_by_name_with_the_defaults_of_ipvs() {
        assert!(SYSCTLS.is_sorted_by_key(|sysctl| sysctl.name));
        let defaults: Vec<_> = SYSCTLS.iter().map(|s| (s.name, s.of(Sysctls::default()))).collect();
        assert_eq!(
            defaults,
            [
                ("conn_reuse_mode", 1),
                ("expire_nodest_conn", 0),
                ("expire_quiescent_template", 0),
                ("lblc_expiration", 86_400),
                ("lblcr_expiration", 86_400),
                ("pmtu_disc", 1),
                ("secure_tcp", 0),
                ("sloppy_sctp", 0),
                ("sloppy_tcp", 0),
                ("tunnel_spread", 0)
            ]
        );
    }

    #[test]
    fn each_setting_changes_itself_alone() {
        for sysctl in &SYSCTLS {
            let setting: Setting = format!("{}=3", sysctl.name).parse().unwrap();
            let mut values = Sysctls::default();
            setting.apply(&mut values);
            assert_eq!(values.changed().collect::<Vec<_>>(), [setting]);
            assert_eq!(sysctl.of(values), 3);
        }
    }

    /// The kernel's answers, Linux 6.1: it took the first line's values and refused the second's.
    #[test]
    fn numbers_are_read_as_the_kernel_reads_them() {
        for (words, read) in
            [("0", 0), (" 1 ", 1), ("0x1f", 31), ("010", 8), ("-1", -1), ("2147483647", i32::MAX)]
        {
            assert_eq!(value(&format!("sloppy_tcp={words}")), Ok(read), "{words}");
        }
        for words in ["", "x", "1x", "2147483648", "4294967295", "4294967296", "--1", "0x", "-", "0x-1", "08"]
        {
            let refusal = SettingError::Value { name: "sloppy_tcp", least: i32::MIN, most: i32::MAX };
            assert_eq!(value(&format!("sloppy_tcp={words}")), Err(refusal), "{words}");
        }
    }

    #[test]
    fn secure_tcp_has_four_values() {
        for mode in 0..=3 {
            assert_eq!(value(&format!("secure_tcp={mode}")), Ok(mode));
        }
        for words in ["secure_tcp=4", "secure_tcp=-1"] {
            let refusal = value(words).unwrap_err().to_string();
            assert_eq!(refusal, "secure_tcp takes whole numbers from 0 to 3");
        }
    }

    #[test]
    fn times_are_what_an_int_holds_in_ticks() {
        for (seconds, is_taken) in
            [(0, true), (-1, true), (8_589_934, true), (8_589_935, false), (-8_589_935, false)]
        {
            for name in ["lblc_expiration", "lblcr_expiration"] {
                assert_eq!(value(&format!("{name}={seconds}")).is_ok(), is_taken, "{name}={seconds}");
            }
        }
    }

    #[test]
    fn names_stand_as_sysctl_takes_them() {
        for words in
            ["sloppy_tcp=1", "net.ipv4.vs.sloppy_tcp=1", "net/ipv4/vs/sloppy_tcp=1", "sloppy_tcp = 1"]
        {
            let setting: Setting = words.parse().unwrap();
            assert_eq!(setting.to_string(), "sloppy_tcp=1");
        }
        assert_eq!(value("sloppy_tcp"), Err(SettingError::NoValue));
    }

    #[test]
    fn what_cannot_be_set_says_why() {
        let said = |words| value(words).unwrap_err().to_string();
        assert!(
            said("conntrack=1").starts_with("conntrack is no setting of lbxdp: lbxdp works before netfilter")
        );
        assert!(said("net.ipv4.vs.drop_entry=3").contains("lbxdp's own defence is always on"));
        assert_eq!(
            said("slopy_tcp=1"),
            "there is no setting `slopy_tcp`; there are conn_reuse_mode, expire_nodest_conn, \
             expire_quiescent_template, lblc_expiration, lblcr_expiration, pmtu_disc, secure_tcp, sloppy_sctp, \
             sloppy_tcp, tunnel_spread"
        );
    }

    /// The names in a network namespace of Linux 6.1, and those that modules, later kernels and builds add.
    #[test]
    fn every_name_of_ipvs_is_known() {
        let names = "am_droprate amemthresh backup_only cache_bypass conn_reuse_mode conntrack drop_entry drop_packet \
                     expire_nodest_conn expire_quiescent_template ignore_tunneled nat_icmp_send pmtu_disc \
                     run_estimation schedule_icmp secure_tcp sloppy_sctp sloppy_tcp snat_reroute sync_persist_mode \
                     sync_ports sync_qlen_max sync_refresh_period sync_retries sync_sock_size sync_threshold \
                     sync_version est_cpulist est_nice lblc_expiration lblcr_expiration debug_level";
        for name in names.split_whitespace() {
            assert!(!matches!(Sysctl::named(name), Err(SettingError::Unknown(_))), "{name}");
        }
    }

    #[test]
    fn on_the_socket_a_setting_is_its_text() {
        let setting: Setting = "secure_tcp=2".parse().unwrap();
        assert_eq!(serde_json::to_string(&setting).unwrap(), r#""secure_tcp=2""#);
        assert_eq!(serde_json::from_str::<Setting>(r#""secure_tcp=2""#).unwrap(), setting);
        assert!(serde_json::from_str::<Setting>(r#""secure_tcp=4""#).is_err());
    }
}
