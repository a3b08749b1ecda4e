//! What a decapsulator was told at its start.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Tables;
use crate::wire::Frame;

/// How many UDP ports of GUE there may be.
pub const MAX_GUE_PORTS: usize = 8;

/// The one row of settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Settings {
    /// MAC address of the interface ([`wire::ethernet::number`](crate::wire::ethernet::number)).
    pub mac: u64,
    /// UDP ports of GUE, in host order; 0: none.
    pub gue_ports: [u16; MAX_GUE_PORTS],
    /// 1 if the program is attached in generic mode. For those who look; the program does not.
    pub is_generic: u32,
    /// Always zero, but not for the verifier to know ([`Walker::zero`](crate::walk::Walker::zero)).
    pub zero: u32,
}

impl Settings {
    /// Whether GUE is spoken on this UDP port (host order).
    #[inline(always)]
    pub fn has_gue_port(&self, port: u16) -> bool {
        port != 0 && self.gue_ports.contains(&port)
    }
}

/// Not 0 if the settings name this port.
#[inline(always)]
pub fn is_gue_port<F: Frame, T: Tables<F>>(tables: &T, port: u32) -> u64 {
    tables.settings().is_some_and(|settings| settings.has_gue_port(port as u16)).into()
}
