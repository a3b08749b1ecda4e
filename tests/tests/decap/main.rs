//! The decapsulator: on the host, in the kernel, and at work between hosts.

mod cases;
mod host;
mod kernel;
mod lab;
mod runner;
mod traffic;
