//! The words of `lbxdp explain`.

use std::path::PathBuf;

use etherparse::VlanId;

use super::words::TcpFlags;
use crate::cli::arguments::InstanceArgument;
use crate::lan::Mac;

/// Which packet, and how it is told.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct ExplainArguments {
    #[command(flatten)]
    pub instance: InstanceArgument,
    /// The packet: `'tcp 10.0.0.5:4242 -> 10.0.0.100:80'` in quotes, or without them `tcp 10.0.0.5:4242 to 10.0.0.100:80`; tcp, udp, sctp, or
    /// `icmp 10.0.0.5 to 10.0.0.100` (an echo request). An IPv6 address before a port is in brackets.
    #[arg(required_unless_present = "pcap", conflicts_with = "pcap", value_name = "PACKET")]
    pub packet: Vec<String>,
    /// The interface that it comes in by; needed only if the instance has several.
    #[arg(short = 'i', long, value_name = "IF")]
    pub interface: Option<String>,
    /// TCP's flags, letters of SAFRPU, or `none`. Without it an ACK if there is such a connection, else a SYN.
    #[arg(long, value_name = "LETTERS", conflicts_with = "pcap")]
    pub flags: Option<TcpFlags>,
    /// Bytes of the packet, from the IP header on; without it as few as it takes.
    #[arg(long, value_name = "BYTES", conflicts_with = "pcap")]
    pub length: Option<u32>,
    /// Hops it has left.
    #[arg(long, value_name = "N", default_value_t = 64, conflicts_with = "pcap")]
    pub ttl: u8,
    /// IPv4: without "don't fragment".
    #[arg(long, conflicts_with = "pcap")]
    pub may_fragment: bool,
    /// A VLAN tag; given twice, the first one is the outer one.
    #[arg(long = "vlan", value_name = "ID", value_parser = vlan, conflicts_with = "pcap")]
    pub vlans: Vec<VlanId>,
    /// Who sends the frame.
    #[arg(long, value_name = "MAC", value_parser = mac, default_value = "02:00:00:00:00:01", conflicts_with = "pcap")]
    pub from_mac: Mac,
    /// Who is to get the frame; without it the interface. Also of a file's frames, which are then as if sent to it.
    #[arg(long, value_name = "MAC", value_parser = mac)]
    pub to_mac: Option<Mac>,
    /// A file of pcap or pcapng to take the frame from.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// Which frame of the file, from 1 on.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), requires = "pcap")]
    pub frame: u64,
    /// All frames of the file, one after the other: each finds what those before it would have left.
    #[arg(long, requires = "pcap", conflicts_with = "frame")]
    pub all: bool,
    /// With all bytes of the frames.
    #[arg(long)]
    pub hex: bool,
    /// As JSON: docs/json.md says what stands where, and what may change.
    #[arg(long)]
    pub json: bool,
}

fn vlan(text: &str) -> Result<VlanId, String> {
    let number = text.parse::<u16>().ok().filter(|number| (1..4095).contains(number));
    number
        .and_then(|number| VlanId::try_new(number).ok())
        .ok_or_else(|| "a VLAN is a number from 1 to 4094".into())
}

fn mac(text: &str) -> Result<Mac, String> {
    let bytes: Option<Vec<u8>> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| (1..=2).contains(&byte.len())))
        .collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| "a MAC address is six bytes, as 02:00:00:00:00:01".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_there_are() {
        assert_eq!(mac("02:0:a:ff:00:1"), Ok([2, 0, 10, 255, 0, 1]));
        for text in [
            "",
            "02:00:00:00:00",
            "02:00:00:00:00:01:02",
            "02:00:00:00:00:0g",
            "02:00:00:00:00:001",
            "::::: ",
        ] {
            assert!(mac(text).is_err(), "{text:?}");
        }
        assert_eq!(vlan("7").map(VlanId::value), Ok(7));
        for text in ["", "0", "4095", "-1", "x"] {
            assert!(vlan(text).is_err(), "{text:?}");
        }
    }
}
