//! dh: the servers one after the other, whatever their weights.

use lbxdp_common::schedule::dh::SLOTS;

pub(super) fn table(servers: usize) -> Vec<u16> {
    super::indices(servers).cycle().take(SLOTS as usize).collect()
}
