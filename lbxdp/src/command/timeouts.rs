//! The three timeouts of `--set`.

use super::CommandError;
use crate::state::State;

/// 31 days, the longest timeout ipvsadm and IPVS take.
pub(crate) const MAX_TIMEOUT_S: u32 = 31 * 24 * 60 * 60;

/// A 0 leaves the old value.
pub(super) fn set(state: &mut State, tcp: u32, tcp_fin: u32, udp: u32) -> Result<(), CommandError> {
    if [tcp, tcp_fin, udp].iter().any(|&timeout| timeout > MAX_TIMEOUT_S) {
        return Err(CommandError::OutOfRange);
    }
    let timeouts = &mut state.timeouts;
    for (old, new) in [(&mut timeouts.tcp, tcp), (&mut timeouts.tcp_fin, tcp_fin), (&mut timeouts.udp, udp)] {
        if new != 0 {
            *old = new;
        }
    }
    Ok(())
}
