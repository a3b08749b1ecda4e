//! The daemons of connection synchronization, as `--start-daemon` asks for them: kept and listed. The protocol that they
//! would speak is not there yet.

use std::net::{IpAddr, Ipv4Addr};

use lbxdp_common::named_enum;
use serde::{Deserialize, Serialize};

named_enum! {
    /// What a synchronization daemon does: tell others of connections, or listen.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Role: u8 {
        Master = 1 => "master",
        Backup = 2 => "backup",
    }
}

/// The daemons that were started, at most one of each role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncDaemons {
    pub master: Option<SyncDaemon>,
    pub backup: Option<SyncDaemon>,
}

/// One daemon. What was not asked for is 0, or `None`, until [`SyncDaemon::completed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncDaemon {
    /// The name of the interface that messages leave or come by.
    pub interface: String,
    pub sync_id: u8,
    /// The longest message, in bytes of UDP payload.
    pub max_length: u16,
    /// Where messages go: a multicast address.
    pub group: Option<IpAddr>,
    /// UDP port.
    pub port: u16,
    /// Hops that messages may make.
    pub ttl: u8,
}

/// Linux's: as it was registered for LVS.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 81);
const PORT: u16 = 8848;
/// A header of IPv4 or IPv6, and UDP's.
const HEADERS: u32 = 20 + 8;
const HEADERS_V6: u32 = 40 + 8;
/// A message fits into such a packet at least, and a master sends no longer ones unless it is told to.
const USUAL_MTU: u32 = 1500;
/// A backup takes messages of so many bytes at least.
const LEAST_OF_BACKUP: u32 = 1024;

impl SyncDaemons {
    pub fn of(&self, role: Role) -> Option<&SyncDaemon> {
        match role {
            Role::Master => self.master.as_ref(),
            Role::Backup => self.backup.as_ref(),
        }
    }

    pub fn of_mut(&mut self, role: Role) -> &mut Option<SyncDaemon> {
        match role {
            Role::Master => &mut self.master,
            Role::Backup => &mut self.backup,
        }
    }

    pub fn is_any(&self) -> bool {
        self.master.is_some() || self.backup.is_some()
    }

    /// Those that were started, the master first.
    pub fn all(&self) -> impl Iterator<Item = (Role, &SyncDaemon)> {
        Role::ALL.iter().filter_map(|&role| Some((role, self.of(role)?)))
    }
}

impl SyncDaemon {
    /// The same with all that was not asked for as Linux 6.1 fills it in; `mtu` is that of its interface, in bytes.
    #[must_use]
    pub fn completed(self, role: Role, mtu: u32) -> Self {
        let group = self.group.unwrap_or(GROUP.into());
        let headers = if group.is_ipv4() { HEADERS } else { HEADERS_V6 };
        let (least, usual) = match role {
            Role::Master => (1, USUAL_MTU),
            Role::Backup => (LEAST_OF_BACKUP, mtu.clamp(USUAL_MTU, u32::from(u16::MAX))),
        };
        let length = match self.max_length {
            0 => usual - headers,
            asked => u32::from(asked).clamp(least, u32::from(u16::MAX) - headers),
        };
        Self {
            max_length: u16::try_from(length).unwrap_or(u16::MAX),
            group: Some(group),
            port: if self.port == 0 { PORT } else { self.port },
            ttl: self.ttl.max(1),
            ..self
        }
    }
}
