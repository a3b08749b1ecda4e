//! `lbxdp realserver`, `lbxdp director`, `lbxdp doctor`: machines set up by these commands alone, and taken back.

mod doctor;
mod kernel_tunnels;
mod lab;
mod lore;
mod neighbours;
