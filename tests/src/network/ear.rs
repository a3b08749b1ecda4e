//! Somebody who hears all frames that pass an interface, from the moment it begins to listen.

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::link::End;
use crate::traffic::sender::link;

/// How long one look may take: the deadline is kept to this.
const LOOK_MS: i64 = 20;

/// A packet socket that hears every protocol.
#[derive(Debug)]
pub struct Ear {
    socket: OwnedFd,
    /// Until a packet socket is bound it hears all interfaces.
    ifindex: usize,
}

impl Ear {
    /// Begins to listen: what passes from now on is heard, what is sent out as well as what comes in.
    pub fn open(end: End<'_>) -> Result<Self> {
        let interface = end.interface;
        end.namespace.inside(|| Self::open_here(interface))?
    }

    /// As [`Ear::open`], in the namespace of this thread.
    pub fn open_here(interface: &str) -> Result<Self> {
        let address = link(interface)?;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(LOOK_MS))?;
        setsockopt(&socket, sockopt::RcvBuf, &(4 << 20))?;
        bind(socket.as_raw_fd(), &address).with_context(|| format!("listening at {interface}"))?;
        Ok(Self { socket, ifindex: address.ifindex() })
    }

    /// The next frame, its tags included; `None` if none has come for a moment.
    pub fn next(&self, frame: &mut [u8]) -> Result<Option<(usize, Heard)>> {
        match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), frame) {
            Ok((_, Some(address))) if address.ifindex() != self.ifindex => Ok(None),
            Ok((length, address)) => {
                let is_own = address.is_some_and(|address| address.pkttype() == libc::PACKET_OUTGOING);
                Ok(Some((length, if is_own { Heard::Sent } else { Heard::Received })))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(error) => Err(error).context("listening"),
        }
    }

    /// Waits for a frame that has come in and means something to `understand`. `what` completes "nothing was heard of …".
    pub fn hear<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut understand: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + deadline;
        let mut frame = vec![0; 1 << 16];
        while Instant::now() < end {
            if let Some((length, Heard::Received)) = self.next(&mut frame)?
                && let Some(found) = frame.get(..length).and_then(&mut understand)
            {
                return Ok(found);
            }
        }
        bail!("nothing was heard of {what} within {deadline:?}")
    }

    /// All that has come in and means something to `understand`, until `is_over` says that nothing more will come.
    pub fn hear_until<T>(
        &self,
        mut is_over: impl FnMut() -> Result<bool>,
        mut understand: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>> {
        let (mut frame, mut heard) = (vec![0; 1 << 16], Vec::new());
        loop {
            // Asked first: what had been sent by then is still heard.
            let is_last_look = is_over()?;
            while let Some((length, how)) = self.next(&mut frame)? {
                let understood = frame.get(..length).and_then(&mut understand);
                heard.extend(understood.filter(|_| how == Heard::Received));
            }
            if is_last_look {
                return Ok(heard);
            }
        }
    }

    pub(super) fn send(&self, frame: &[u8]) -> Result<()> {
        match nix::sys::socket::send(self.socket.as_raw_fd(), frame, MsgFlags::empty()) {
            // The link is full, or gone: what is not sent is lost, as on any wire.
            Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::ENETDOWN | Errno::EMSGSIZE) => Ok(()),
            Err(error) => Err(error).context("sending a frame"),
        }
    }
}

/// Whether a frame came to this interface, or went out by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Received,
    Sent,
}
