//! `-L --timeout`.

use crate::state::Timeouts;

/// The one line.
pub(crate) fn timeouts(timeouts: Timeouts) -> String {
    let Timeouts { tcp, tcp_fin, udp } = timeouts;
    format!("Timeout (tcp tcpfin udp): {tcp} {tcp_fin} {udp}\n")
}
