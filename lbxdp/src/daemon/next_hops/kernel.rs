//! The kernel's routing, asked and listened to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::RouteMessage;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::proto::ConnectionHandle;
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{AsyncSocket, SocketAddr};

use super::message::Message;

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
    Ask(&'static str, #[source] std::io::Error),
    #[error("what the kernel tells about {0} cannot be read")]
    Unreadable(&'static str),
}

/// What came in, still to be looked at.
pub(in crate::daemon) type Event = NetlinkMessage<Message>;

/// What is asked.
pub(super) struct Kernel(ConnectionHandle<Message>);

/// What the kernel answers, message by message.
enum Answer {
    Says(Message),
    Refuses(ErrorMessage),
}

/// A connection for questions, and the events. Must be called within the runtime.
pub(super) fn connect() -> Result<(Kernel, BoxStream<'static, Event>), NetlinkError> {
    // Answers come by a connection of their own, which no burst of events can fill.
    let (asking, handle, _) = rtnetlink::proto::new_connection(NETLINK_ROUTE)?;
    tokio::spawn(asking);
    let (mut connection, _, messages) = rtnetlink::proto::new_connection(NETLINK_ROUTE)?;
    connection.socket_mut().socket_mut().bind(&SocketAddr::new(0, GROUPS))?;
    tokio::spawn(connection);
    Ok((Kernel(handle), messages.map(|(message, _)| message).boxed()))
}

impl Kernel {
    /// All links.
    pub(super) async fn links(&self) -> Result<Vec<LinkMessage>, NetlinkError> {
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        self.all("links", question, |message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        })
        .await
    }

    /// All neighbours of both families.
    pub(super) async fn neighbours(&self) -> Result<Vec<NeighbourMessage>, NetlinkError> {
        let question = RouteNetlinkMessage::GetNeighbour(NeighbourMessage::default());
        self.all("neighbours", question, |message| match message {
            RouteNetlinkMessage::NewNeighbour(neighbour) => Some(neighbour),
            _ => None,
        })
        .await
    }

    /// How the kernel would send to an address, as `ip route get` shows it; `None` if there is no way there.
    pub(super) async fn route(&self, address: IpAddr) -> Result<Option<RouteMessage>, NetlinkError> {
        const ABOUT: &str = "a route";
        let question = match address {
            IpAddr::V4(address) => {
                RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(address, 32).build()
            }
            IpAddr::V6(address) => {
                RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(address, 128).build()
            }
        };
        let mut answers = self.ask(RouteNetlinkMessage::GetRoute(question), NLM_F_REQUEST)?;
        match in_time(answers.next()).await? {
            Some(Answer::Says(Message::Readable(RouteNetlinkMessage::NewRoute(route)))) => Ok(Some(route)),
            Some(Answer::Says(_)) => Err(NetlinkError::Unreadable(ABOUT)),
            // No route is an answer too.
            Some(Answer::Refuses(error)) if is_no_route(error.raw_code()) => Ok(None),
            Some(Answer::Refuses(error)) => Err(NetlinkError::Ask(ABOUT, error.to_io())),
            None => Err(NetlinkError::Closed),
        }
    }

    /// Makes the kernel check a neighbour that it has not heard of for a while, and look for one it does not know.
    pub(super) async fn use_neighbour(&self, ifindex: u32, neighbour: IpAddr) {
        let mut message = NeighbourMessage::default();
        message.header.family = match neighbour {
            IpAddr::V4(_) => AddressFamily::Inet,
            IpAddr::V6(_) => AddressFamily::Inet6,
        };
        message.header.ifindex = ifindex;
        message.header.state = NeighbourState::None;
        message.header.flags = NeighbourFlags::Use;
        message.attributes.push(NeighbourAttribute::Destination(match neighbour {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }));
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE | NLM_F_CREATE;
        let Ok(mut answers) = self.ask(RouteNetlinkMessage::NewNeighbour(message), flags) else {
            return;
        };
        if let Ok(Some(Answer::Refuses(error))) = in_time(answers.next()).await {
            tracing::debug!(%neighbour, %error, "the kernel does not look for the next hop");
        }
    }

    /// All of a kind.
    async fn all<T>(
        &self,
        about: &'static str,
        question: RouteNetlinkMessage,
        pick: impl Fn(RouteNetlinkMessage) -> Option<T>,
    ) -> Result<Vec<T>, NetlinkError> {
        let mut answers = self.ask(question, NLM_F_REQUEST | NLM_F_DUMP)?;
        let listing = async {
            let mut all = Vec::new();
            while let Some(answer) = answers.next().await {
                match answer {
                    Answer::Says(Message::Readable(message)) => all.extend(pick(message)),
                    // Of the others all is known.
                    Answer::Says(Message::Unreadable) => {}
                    Answer::Refuses(error) => return Err(NetlinkError::Ask(about, error.to_io())),
                }
            }
            Ok(all)
        };
        in_time(listing).await?
    }

    fn ask(
        &self,
        question: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<impl Stream<Item = Answer> + Unpin, NetlinkError> {
        let mut message = NetlinkMessage::from(Message::Readable(question));
        message.header.flags = flags;
        let answers = self.0.request(message, SocketAddr::new(0, 0)).map_err(|_| NetlinkError::Closed)?;
        Ok(answers.filter_map(|answer| {
            std::future::ready(match answer.payload {
                NetlinkPayload::InnerMessage(message) => Some(Answer::Says(message)),
                NetlinkPayload::Error(error) if error.code.is_some() => Some(Answer::Refuses(error)),
                _ => None,
            })
        }))
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
