//! The forwarding methods.

use crate::named_enum;

named_enum! {
    /// How a packet gets to its server; numbers as `IP_VS_CONN_F_FWD_MASK` has them, words as ipvsadm prints them.
    pub enum Forward: u8 {
        /// VS/DR: only the MAC addresses change; the server has the VIP on its loopback.
        Direct = 3 => "Route",
    }
}
