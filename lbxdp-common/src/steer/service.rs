//! Which service a packet without a connection asks for.
//!
//! In IPVS's order (`ip_vs_service_find`): by its mark, by its port, as a data connection of FTP, for all ports.

use super::Ways;
use crate::address::Address;
use crate::connection::Key;
use crate::mark;
use crate::protocol::Protocol;
use crate::settings::{Rules, SettingsView};
use crate::template::FTP_PORT;

/// The first port that is no well-known one (`PROT_SOCK`).
const FIRST_UNPRIVILEGED: u16 = 1024;
/// Where a server of FTP opens its data connections from.
const FTP_DATA: u16 = 20;

/// A service, and whether it has another port than the packet: then it can only be had with a template.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Index of its row.
    pub(super) index: u32,
    pub(super) is_of_another_port: bool,
}

/// The service that a packet asks for.
#[inline(always)]
pub(super) fn asked<A: Address, W: Ways<A>>(
    world: &W,
    settings: SettingsView<W::Row>,
    key: Key<A>,
) -> Option<Asked> {
    let rules = settings.rules();
    if rules.has(Rules::MARKS) {
        let mark = mark::mark_of::<A, _>(world, key);
        if mark != 0
            && let Some(index) = world.service(A::marked(mark))
        {
            return Some(Asked { index, is_of_another_port: false });
        }
    }
    if let Some(index) = world.service(key.vip.service(key.vip_port, key.protocol)) {
        return Some(Asked { index, is_of_another_port: false });
    }
    let port = u16::from_be_bytes(key.vip_port);
    let may_be_ftp = key.protocol == Protocol::Tcp.raw() && (port == FTP_DATA || port >= FIRST_UNPRIVILEGED);
    if rules.has(Rules::FTP)
        && may_be_ftp
        && let Some(index) = world.service(key.vip.service(FTP_PORT, key.protocol))
    {
        return Some(Asked { index, is_of_another_port: true });
    }
    if rules.has(Rules::ALL_PORTS)
        && let Some(index) = world.service(key.vip.service([0; 2], key.protocol))
    {
        return Some(Asked { index, is_of_another_port: true });
    }
    None
}
