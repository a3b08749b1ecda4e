//! `lbxdp realserver`, `lbxdp director`, `lbxdp doctor`: machines set up by these commands alone, and taken back.

mod doctor;
mod lab;
mod lore;
mod neighbours;
