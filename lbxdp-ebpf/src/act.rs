//! What is decided about a packet becomes an XDP action.

use aya_ebpf::bindings::xdp_action;
use lbxdp_common::{Fate, Reason, Verdict};

use crate::maps;

/// What the kernel is to do with a packet. What is not forwarded is counted.
#[inline(always)]
pub(crate) fn act(decided: Result<Verdict, Reason>) -> u32 {
    match decided {
        Ok(Verdict::Transmit) => xdp_action::XDP_TX,
        Ok(Verdict::Redirect(port)) => maps::redirect(port),
        Ok(Verdict::Leave(ifindex)) => maps::leave(ifindex),
        Ok(Verdict::Local) => xdp_action::XDP_PASS,
        Ok(Verdict::Answered(reason)) => {
            maps::count_reason(reason);
            xdp_action::XDP_TX
        }
        Err(Reason::NotOurs) => xdp_action::XDP_PASS,
        Err(reason) => {
            maps::count_reason(reason);
            match reason.fate() {
                Fate::Pass => xdp_action::XDP_PASS,
                Fate::Drop => xdp_action::XDP_DROP,
            }
        }
    }
}
