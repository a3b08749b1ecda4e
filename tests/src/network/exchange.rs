//! What clients do with a service, all of it, and what they get compared with what they must get: small requests, eight megabytes
//! each way, datagrams of all sizes. No checksum may be wrong anywhere.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;

use super::build::Network;
use super::counters::Counters;
use super::family::Family;
use super::offer::Offer;
use crate::body;
use crate::client::Client;
use crate::http::{ECHO_PORT, HTTP_PORT, RECEIPT_PORT};

const EIGHT_MEGABYTES: usize = 8 << 20;

/// A segment that is lost is sent again; what takes longer than this is broken.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often a datagram is sent again that was too big for the way: each answer tells one MTU, of one link.
const TRIES: usize = 4;

/// A service, and who asks it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    network: &'a Network,
    vip: IpAddr,
    /// Between its ports and the programs' own.
    shift: u16,
}

impl<'a> Exchange<'a> {
    /// With a virtual service.
    pub fn with(network: &'a Network, offer: &Offer) -> Self {
        Self { network, vip: offer.vip, shift: offer.service(HTTP_PORT).port() - HTTP_PORT }
    }

    /// With a host itself, past the director's services: so one knows that the network is not to blame.
    pub fn past_services(network: &'a Network, address: IpAddr) -> Self {
        Self { network, vip: address, shift: 0 }
    }

    /// All of it.
    pub fn everything(&self) -> Result<()> {
        self.small_requests().context("small requests")?;
        self.downloads().context("a download")?;
        self.uploads().context("an upload")?;
        self.datagrams().context("datagrams")?;
        self.clean()
    }

    /// Requests on connections of their own, and several on one.
    pub fn small_requests(&self) -> Result<()> {
        for _ in 0..3 {
            self.asker().who(self.at(HTTP_PORT))?;
        }
        let mut held = self.asker().open(self.at(ECHO_PORT))?;
        for line in ["", "a", "ab", "abc", &"long ".repeat(100)] {
            let answer = held.echo(line)?;
            let name = answer.split(' ').next().unwrap_or_default();
            ensure!(answer == format!("{name} {line}").trim_end(), "`{line}` came back as `{answer}`");
        }
        Ok(())
    }

    /// Eight megabytes, and an odd number of bytes.
    pub fn downloads(&self) -> Result<()> {
        for bytes in [EIGHT_MEGABYTES, 12_345] {
            let got = self.asker().get(self.at(HTTP_PORT), &format!("/bytes/{bytes}"))?;
            ensure!(
                got == body::pattern(bytes),
                "{} bytes came that are not the {bytes} asked for",
                got.len()
            );
        }
        Ok(())
    }

    /// Eight megabytes, and an odd number of bytes.
    pub fn uploads(&self) -> Result<()> {
        for bytes in [EIGHT_MEGABYTES, 12_345] {
            let sent = body::pattern(bytes);
            let receipt = self.asker().post(self.at(HTTP_PORT), "/sink", &sent)?;
            let (receipt, wanted) = (String::from_utf8_lossy(&receipt), body::receipt(&sent));
            ensure!(receipt == wanted, "{wanted} was sent and {receipt} has arrived");
        }
        Ok(())
    }

    /// Of no byte, few bytes, odd and even, up to a full frame of the client's net each way.
    pub fn datagrams(&self) -> Result<()> {
        let family = Family::of(self.vip);
        let mtu = self.network.mtu(self.network.client().plan.spots[0].net);
        let full = usize::try_from(mtu)? - family.header_bytes() - 8;
        // The answer begins with the server's name and a blank.
        let name_bytes = 3;
        for (port, bytes) in [0, 1, 2, 3, 100, 101, full - name_bytes - 1, full - name_bytes]
            .map(|bytes| (ECHO_PORT, bytes))
            .into_iter()
            .chain([999, 1000, full - 1, full].map(|bytes| (RECEIPT_PORT, bytes)))
        {
            self.datagram(port, &body::pattern(bytes)).with_context(|| format!("one of {bytes} bytes"))?;
        }
        Ok(())
    }

    /// Sends one datagram, and compares the answer.
    pub fn datagram(&self, port: u16, datagram: &[u8]) -> Result<()> {
        let talk = self.asker().talk(self.at(port))?;
        let mut answer = talk.ask(datagram);
        for _ in 1..TRIES {
            // Somebody on the way has said that it is too big; now the client's stack knows, and sends fragments.
            if !answer.as_ref().is_err_and(is_too_big) {
                break;
            }
            answer = talk.ask(datagram);
        }
        let answer = answer?;
        let blank = answer.iter().position(|byte| *byte == b' ').context("an answer without a name")?;
        let told = answer.get(blank + 1..).unwrap_or_default();
        let is_right = match port {
            RECEIPT_PORT => told == body::receipt(datagram).as_bytes(),
            _ => told == datagram,
        };
        ensure!(is_right, "another answer came: {:?}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    /// No host has got a wrong checksum, and nobody who opened tunnels complains.
    pub fn clean(&self) -> Result<()> {
        for site in self.network.sites() {
            Counters::read(&site.namespace)?.must_be_clean(site.plan.name)?;
            let faults = site.faults();
            ensure!(faults.is_empty(), "{}: {} faults: {}", site.plan.name, faults.len(), faults[0]);
        }
        Ok(())
    }

    fn asker(&self) -> Client<'a> {
        self.network.asker().with_deadline(DEADLINE)
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.vip, port + self.shift)
    }
}

/// Whether the client's stack has said "message too long".
fn is_too_big(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let number = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        number == Some(Errno::EMSGSIZE as i32)
    })
}
