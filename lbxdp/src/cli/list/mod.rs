//! Listings: from plain numbers to ipvsadm's exact text. Nothing here asks anybody anything but names.

mod connections;
mod daemons;
mod number;
mod order;
mod services;
#[cfg(test)]
mod tests;
mod timeouts;

pub(super) use connections::{connections, title as connections_title};
pub(super) use daemons::daemons;
pub(super) use services::services;
pub(super) use timeouts::timeouts;

pub(super) use order::{servers as sort_servers, services as sort_services};
pub(super) use services::addresses;
