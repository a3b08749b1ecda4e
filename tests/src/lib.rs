//! The proving ground: whole networks of hosts in network namespaces of their own, with real servers and a real director.
//!
//! A [`Lab`] is the classic topology; a [`Daemon`] is lbxdp at work in it; a [`Client`] asks the servers through both. All
//! of it is gone when it is dropped, also by a test that fails. What a killed process left is removed by the next lab.

pub mod background;
pub mod body;
pub mod browser;
#[expect(clippy::missing_panics_doc, reason = "a case that does not hold panics: that is what it is for")]
pub mod cases;
pub mod client;
pub mod command;
pub mod daemon;
pub mod fill;
pub mod greeter;
pub mod http;
pub mod ipvsadm;
pub mod label;
pub mod leftovers;
pub mod link;
pub mod metrics;
pub mod namespace;
pub mod network;
#[expect(unsafe_code, reason = "bpf(2) has no other way in for two raw instructions")]
pub mod pass;
pub mod programs;
pub mod recorded;
pub mod scale;
pub mod service;
pub mod table;
pub mod terminal;
pub mod topology;
pub mod traffic;
#[expect(clippy::missing_panics_doc, reason = "a packet that cannot be built is a mistake of the test's")]
pub mod tunnel;
pub mod wait;
pub mod watcher;

pub use client::{Client, Connection};
pub use daemon::{Answer, Daemon};
pub use http::Host;
pub use ipvsadm::Ipvsadm;
pub use label::Label;
pub use namespace::Namespace;
pub use terminal::Terminal;
pub use topology::{Lab, Legs, Plan, Server};
pub use watcher::Watcher;
