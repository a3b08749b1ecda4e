//! What is decided about a packet becomes an XDP action.

use aya_ebpf::bindings::xdp_action;
use lbxdp_common::{Fate, Reason, Verdict};

use crate::maps;

/// What the kernel is to do with a packet. What is not forwarded is counted.
#[inline(always)]
pub(crate) fn act(decided: Result<Verdict, Reason>) -> u32 {
    decided.map_or_else(stay, leave)
}

/// What it is to do with one that leaves.
#[inline(always)]
pub(crate) fn leave(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Transmit => xdp_action::XDP_TX,
        Verdict::Redirect(port) => maps::redirect(port),
        Verdict::Leave(ifindex) => maps::leave(ifindex),
        Verdict::Local => xdp_action::XDP_PASS,
        Verdict::Answered(reason) => {
            maps::count_reason(reason);
            xdp_action::XDP_TX
        }
    }
}

/// What it is to do with one that is not forwarded.
#[inline(always)]
pub(crate) fn stay(reason: Reason) -> u32 {
    if reason == Reason::NotOurs {
        return xdp_action::XDP_PASS;
    }
    maps::count_reason(reason);
    match reason.fate() {
        Fate::Pass => xdp_action::XDP_PASS,
        // The daemon has a copy of what it holds.
        Fate::Drop | Fate::Hold => xdp_action::XDP_DROP,
    }
}
