//! What a packet means to its connection.

use crate::protocol::Protocol;
use crate::settings::Rules;
use crate::state::{self, State, TcpState, Timer};
use crate::wire::tcp::Flags;

/// How long a connection lives that was taken up in its midst, until its next packet.
pub(super) const UNCONFIRMED: Timer = State::tcp(TcpState::SynReceived).timer(Protocol::Tcp);

/// The kind of a packet: all that a state machine asks.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) protocol: Protocol,
    /// TCP's control bits; none for UDP.
    pub(super) flags: Flags,
}

impl Kind {
    /// Whether it says that it is the first one of a connection.
    #[inline(always)]
    pub(super) fn begins(self) -> bool {
        matches!(self.protocol, Protocol::Tcp) && self.flags.has(Flags::SYN)
    }

    /// Whether it may open a connection.
    #[inline(always)]
    pub(super) fn opens(self, rules: Rules) -> bool {
        match self.protocol {
            Protocol::Tcp => {
                (self.flags.has(Flags::SYN) || rules.has(Rules::SLOPPY_TCP)) && !self.flags.has(Flags::RST)
            }
            Protocol::Udp => true,
        }
    }

    /// The connection's state after it.
    #[inline(always)]
    pub(super) fn state_after(self, state: State, _: Rules) -> State {
        match self.protocol {
            Protocol::Tcp => state::after_client_packet(state, self.flags),
            Protocol::Udp => State::UDP,
        }
    }

    /// The state of a connection of which it is the first packet seen.
    #[inline(always)]
    pub(super) fn first_state(self, rules: Rules) -> State {
        self.state_after(State::from_raw(0), rules)
    }

    /// Whether a connection in its midst that it leaves in `state` goes on: one that ends needs no entry any more.
    #[inline(always)]
    pub(super) fn is_worth_an_entry(self, state: State) -> bool {
        state.is_active(self.protocol) || matches!(self.protocol, Protocol::Udp)
    }
}
