//! What a packet means to its connection.

use crate::protocol::Protocol;
use crate::server::Method;
use crate::settings::Rules;
use crate::state::{self, Event, SctpState, State, TcpState, Timer, View};

/// How long a connection lives that was taken up in its midst, until its next packet: longer than most keepalives.
pub(super) const UNCONFIRMED: Timer = Timer::UDP;
/// How long an opening one lives.
pub(super) const OPENING: Timer = Timer::OPENING;

/// How a client's packets are seen of connections that go by a method: with VS/NAT the server's come by too.
#[inline(always)]
pub(super) fn clients_view(method: Method) -> View {
    if method == Method::MASQUERADE { View::Client } else { View::ClientOnly }
}

/// The kind of a packet: all that a state machine asks.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) protocol: Protocol,
    pub(super) event: Event,
}

impl Kind {
    /// Whether it says that it is the first one of a connection.
    #[inline(always)]
    pub(super) fn begins(self) -> bool {
        state::begins(self.protocol, self.event)
    }

    /// Whether it shows that the client is there: it is neither an opening packet nor what a host that never opened
    /// anything answers with.
    #[inline(always)]
    pub(super) fn confirms(self) -> bool {
        state::confirms(self.protocol, self.event)
    }

    /// The timer of a connection that lives longest.
    #[inline(always)]
    pub(super) fn longest(self) -> Timer {
        match self.protocol {
            Protocol::Tcp => State::tcp(TcpState::Established).timer(Protocol::Tcp),
            Protocol::Udp => Timer::UDP,
            Protocol::Sctp => State::sctp(SctpState::Established).timer(Protocol::Sctp),
        }
    }

    /// Whether it may open a connection.
    #[inline(always)]
    pub(super) fn opens(self, rules: Rules) -> bool {
        let sloppy = match self.protocol {
            Protocol::Sctp => Rules::SLOPPY_SCTP,
            Protocol::Tcp | Protocol::Udp => Rules::SLOPPY_TCP,
        };
        state::opens(self.protocol, self.event, rules.has(sloppy))
    }

    /// The connection's state after it.
    #[inline(always)]
    pub(super) fn state_after(self, state: State, view: View, rules: Rules) -> State {
        state::after(self.protocol, view, rules.has(Rules::SECURE_TCP), state, self.event)
    }

    /// The state of a connection of which it is the first packet seen.
    #[inline(always)]
    pub(super) fn first_state(self, view: View, rules: Rules) -> State {
        self.state_after(State::NONE, view, rules)
    }

    /// Whether a connection in its midst that it leaves in `state` goes on: one that ends needs no entry any more.
    #[inline(always)]
    pub(super) fn is_worth_an_entry(self, state: State) -> bool {
        state.is_active(self.protocol) || matches!(self.protocol, Protocol::Udp)
    }
}
