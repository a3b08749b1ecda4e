//! What a network is to be like: data, nothing is built here.

/// An Ethernet, with one net of each family on it. All its hosts are on a switch of its own.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    /// At most 8 characters.
    pub name: &'static str,
    /// Its number in addresses ([`Family::address`](super::Family::address)).
    pub number: u8,
    /// Of the switch and of all interfaces on it, in bytes.
    pub mtu: u32,
}

/// A host's place on a net.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub net: &'static str,
    /// Its number in addresses.
    pub host: u8,
}

/// A place on a net.
pub const fn at(net: &'static str, host: u8) -> Spot {
    Spot { net, host }
}

/// What a host is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Asks.
    Client,
    /// Forwards.
    Router,
    /// Has the VIPs, and lbxdp. What it serves itself it serves at its own addresses, the VIPs and its loopback.
    Director(Director),
    /// A real server: has the programs, and the VIPs on its loopback, as for direct routing and tunnels.
    Server,
}

/// What a director is like, beside its VIPs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Director {
    /// Whether it forwards what is no service's, as the gateway of servers does.
    pub is_router: bool,
    /// Whether it is a real server too.
    pub serves: bool,
    pub source_check: SourceCheck,
}

/// `rp_filter` of the director.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceCheck {
    #[default]
    Off,
    Strict,
    Loose,
}

/// Where a route leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    Everywhere,
    Net(&'static str),
    Host(Spot),
}

/// A route, by a host that is a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub to: To,
    pub via: Spot,
}

/// A route.
pub const fn route(to: To, via: Spot) -> Route {
    Route { to, via }
}

/// A host and all that is its own. Its interfaces are `eth0`, `eth1` and so on, one a spot, in order.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// At most 8 characters.
    pub name: &'static str,
    pub role: Role,
    pub spots: Vec<Spot>,
    pub routes: Vec<Route>,
}

/// A whole network. Its first client is the one that waits for all servers.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nets: Vec<Net>,
    pub hosts: Vec<HostPlan>,
    /// Where the VIPs are; [`Plan::VIPS`] of them, with numbers from here on.
    pub vip: Spot,
}

impl Plan {
    /// How many VIPs there are of each family.
    pub const VIPS: u8 = 2;

    /// The same with another MTU of a net, in bytes.
    ///
    /// # Panics
    ///
    /// If there is no such net.
    #[must_use]
    pub fn with_mtu(mut self, net: &str, mtu: u32) -> Self {
        let net = self.nets.iter_mut().find(|found| found.name == net).expect("the net is in the plan");
        net.mtu = mtu;
        self
    }

    /// The same with a director that is like this.
    #[must_use]
    pub fn with_director(mut self, director: impl Fn(&mut Director)) -> Self {
        for host in &mut self.hosts {
            if let Role::Director(found) = &mut host.role {
                director(found);
            }
        }
        self
    }

    pub(super) fn net(&self, name: &str) -> Net {
        *self.nets.iter().find(|net| net.name == name).expect("the net is in the plan")
    }
}
