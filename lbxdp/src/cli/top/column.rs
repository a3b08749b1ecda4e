//! The columns of services and servers: what stands there, how wide, and what is sorted by it.

use super::scene::{Health, Numbers, Pace, ServerScene, ServiceScene};

/// A column that can be sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Column {
    /// The order of listings.
    #[default]
    Name,
    State,
    Weight,
    Active,
    Inactive,
    Persistent,
    Connections,
    Packets,
    Bytes,
}

impl Column {
    pub(super) const ALL: [Self; 9] = [
        Self::Name,
        Self::State,
        Self::Weight,
        Self::Active,
        Self::Inactive,
        Self::Persistent,
        Self::Connections,
        Self::Packets,
        Self::Bytes,
    ];

    /// What stands above it.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Name => "SERVICE, SERVERS",
            Self::State => "STATE",
            Self::Weight => "WEIGHT",
            Self::Active => "ACTIVE",
            Self::Inactive => "INACT",
            Self::Persistent => "PERS",
            Self::Connections => "CONN/S",
            Self::Packets => "PKT/S",
            Self::Bytes => "BYTE/S",
        }
    }

    /// Places, with the blank before it; a name has what is left.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::Name => 0,
            Self::State => 8,
            Self::Weight | Self::Active | Self::Connections | Self::Bytes => 7,
            Self::Inactive | Self::Persistent | Self::Packets => 6,
        }
    }

    /// The next one, and the one before.
    pub(super) fn next(self) -> Self {
        self.moved(1)
    }

    pub(super) fn previous(self) -> Self {
        self.moved(Self::ALL.len() - 1)
    }

    fn moved(self, by: usize) -> Self {
        let at = Self::ALL.iter().position(|column| *column == self).unwrap_or(0);
        Self::ALL.get((at + by) % Self::ALL.len()).copied().unwrap_or_default()
    }

    /// The number of services and servers; `None` where there is none, or none yet.
    pub(super) fn value(self, numbers: &Numbers, pace: Pace) -> Option<u64> {
        let rates = numbers.paces.of(pace);
        match self {
            Self::Name | Self::State => None,
            Self::Weight => Some(numbers.weight),
            Self::Active => Some(numbers.active),
            Self::Inactive => Some(numbers.inactive),
            Self::Persistent => Some(numbers.persistent),
            Self::Connections => rates.map(|rates| rates.connections),
            Self::Packets => rates.map(|rates| rates.in_packets.saturating_add(rates.out_packets)),
            Self::Bytes => rates.map(|rates| rates.in_bytes.saturating_add(rates.out_bytes)),
        }
    }

    /// Whether there is most to be seen with the largest first.
    pub(super) fn is_largest_first(self) -> bool {
        self != Self::Name
    }

    /// By what a service is sorted: of the state, how many servers are out.
    pub(super) fn rank_of_service(self, service: &ServiceScene, pace: Pace) -> u64 {
        match self {
            Self::State => (service.servers.len() - service.usable) as u64,
            _ => self.value(&service.numbers, pace).unwrap_or(0),
        }
    }

    /// By what a server is sorted.
    pub(super) fn rank_of_server(self, server: &ServerScene, pace: Pace) -> u64 {
        match self {
            Self::State => u64::from(!server.is_usable()) + u64::from(server.health == Health::Unknown),
            _ => self.value(&server.numbers, pace).unwrap_or(0),
        }
    }

    /// What bars show the shares of: what is sorted by, else packets.
    pub(super) fn of_bars(self) -> Self {
        match self {
            Self::Name | Self::State | Self::Weight => Self::Packets,
            other => other,
        }
    }
}
