//! Frames put on a link as they are, by a packet socket: past the sender's own stack, so they may claim anything.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket,
};

/// A packet socket on an interface.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
}

impl Sender {
    /// On an interface of the namespace of this thread.
    pub fn open(interface: &str) -> Result<Self> {
        let link = link(interface)?;
        // Protocol 0: nothing is ever received.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        bind(socket.as_raw_fd(), &link).with_context(|| format!("binding to {interface}"))?;
        Ok(Self { socket })
    }

    /// Sends all of them, in as few system calls as the kernel likes.
    pub fn send(&self, frames: &[impl AsRef<[u8]>]) -> Result<()> {
        let slices: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|f| [IoSlice::new(f.as_ref())]).collect();
        let mut headers = MultiHeaders::<LinkAddr>::preallocate(slices.len(), None);
        let mut sent = 0;
        while let Some(left) = slices.get(sent..).filter(|left| !left.is_empty()) {
            let nowhere_else = vec![None; left.len()];
            match sendmmsg(self.socket.as_raw_fd(), &mut headers, left, nowhere_else, [], MsgFlags::empty()) {
                Ok(results) => sent += results.count(),
                // The link is full for the moment: nothing of this has been sent.
                Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => std::thread::yield_now(),
                Err(error) => return Err(error).context("sending frames"),
            }
        }
        Ok(())
    }
}

/// The address of an interface of this thread's namespace: the one with its index and hardware address.
pub(crate) fn link(interface: &str) -> Result<LinkAddr> {
    let mut links = getifaddrs()?.filter(|found| found.interface_name == interface);
    let link = links.find_map(|found| found.address?.as_link_addr().copied());
    link.with_context(|| format!("there is no interface {interface}"))
}
