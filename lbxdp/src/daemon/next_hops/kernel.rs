//! The kernel's routing, asked and listened to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::RouteMessage;
use rtnetlink::packet_core::NetlinkMessage;
use rtnetlink::sys::{AsyncSocket, SocketAddr};
use rtnetlink::{Handle, RouteMessageBuilder};

/// Multicast groups of rtnetlink, as bits (`linux/rtnetlink.h`): links, neighbours; of IPv4 and IPv6 addresses, routes,
/// and rules (`RTNLGRP_IPV4_RULE` 8, `RTNLGRP_IPV6_RULE` 19).
const GROUPS: u32 = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400 | 1 << 7 | 1 << 18;

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The kernel's routing could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    #[error("cannot open a netlink socket")]
    Socket(#[from] std::io::Error),
    #[error("the kernel does not answer")]
    Silent,
    #[error("the connection to the kernel's routing has ended")]
    Closed,
    #[error("the kernel refuses to tell about {0}")]
    Ask(&'static str, #[source] rtnetlink::Error),
}

/// What came in, still to be looked at.
pub(in crate::daemon) type Event = NetlinkMessage<RouteNetlinkMessage>;

/// What is asked.
pub(super) struct Kernel(Handle);

/// A connection for questions, and the events. Must be called within the runtime.
pub(super) fn connect() -> Result<(Kernel, BoxStream<'static, Event>), NetlinkError> {
    // Answers come by a connection of their own, which no burst of events can fill.
    let (asking, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(asking);
    let (mut connection, _, messages) = rtnetlink::new_connection()?;
    connection.socket_mut().socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
    tokio::spawn(connection);
    Ok((Kernel(handle), messages.map(|(message, _)| message).boxed()))
}

impl Kernel {
    /// All links.
    pub(super) async fn links(&self) -> Result<Vec<LinkMessage>, NetlinkError> {
        let links = self.0.link().get().execute().try_collect();
        in_time(links).await?.map_err(|error| NetlinkError::Ask("links", error))
    }

    /// All neighbours of both families.
    pub(super) async fn neighbours(&self) -> Result<Vec<NeighbourMessage>, NetlinkError> {
        let neighbours = self.0.neighbours().get().execute().try_collect();
        in_time(neighbours).await?.map_err(|error| NetlinkError::Ask("neighbours", error))
    }

    /// How the kernel would send to an address, as `ip route get` shows it; `None` if there is no way there.
    pub(super) async fn route(&self, address: IpAddr) -> Result<Option<RouteMessage>, NetlinkError> {
        let question = match address {
            IpAddr::V4(address) => {
                RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build()
            }
            IpAddr::V6(address) => {
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, 128).build()
            }
        };
        let answer = self.0.route().get(question).execute();
        futures_util::pin_mut!(answer);
        match in_time(answer.try_next()).await? {
            Ok(answer) => Ok(answer),
            // No route is an answer too.
            Err(rtnetlink::Error::NetlinkError(refusal)) if is_no_route(refusal.raw_code()) => Ok(None),
            Err(error) => Err(NetlinkError::Ask("a route", error)),
        }
    }

    /// Makes the kernel check a neighbour that it has not heard of for a while, and look for one it does not know.
    pub(super) async fn use_neighbour(&self, ifindex: u32, neighbour: IpAddr) {
        let request = self.0.neighbours().add(ifindex, neighbour);
        let request = request.state(NeighbourState::None).flags(NeighbourFlags::Use).replace();
        if let Ok(Err(error)) = in_time(request.execute()).await {
            tracing::debug!(%neighbour, %error, "the kernel does not look for the next hop");
        }
    }
}

/// The kernel's answer, if it comes: a reply that was lost must not stop the director for ever.
async fn in_time<T>(answer: impl Future<Output = T>) -> Result<T, NetlinkError> {
    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| NetlinkError::Silent)
}

/// The errors by which the kernel says that there is no way to an address (negative error numbers).
fn is_no_route(code: i32) -> bool {
    [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL].contains(&-code)
}
