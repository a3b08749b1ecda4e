//! A packet socket on an interface: whole frames, as they are.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::Mac;

/// How long one look for a frame may take.
const LOOK_MS: i64 = 20;

/// An interface, as its own frames see it.
pub(crate) struct Port {
    socket: OwnedFd,
    mac: Mac,
}

impl Port {
    /// Opens an interface of Ethernet.
    pub(crate) fn open(interface: &str) -> io::Result<Self> {
        let mut links = getifaddrs()?.filter(|link| link.interface_name == interface);
        let link = links.find_map(|link| link.address?.as_link_addr().copied());
        let link = link.ok_or_else(|| io::Error::other(format!("there is no interface {interface}")))?;
        let mac = link.addr().ok_or_else(|| io::Error::other(format!("{interface} is no Ethernet")))?;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(LOOK_MS))?;
        bind(socket.as_raw_fd(), &link)?;
        Ok(Self { socket, mac })
    }

    pub(crate) fn mac(&self) -> Mac {
        self.mac
    }

    /// Sends a frame.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        Ok(send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).map(drop)?)
    }

    /// The next frame, its beginning if it is longer than there is room; `None` if none comes in a moment.
    pub(crate) fn receive<'a>(&self, bytes: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match recv(self.socket.as_raw_fd(), bytes, MsgFlags::empty()) {
            Ok(length) => Ok(bytes.get(..length)),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
