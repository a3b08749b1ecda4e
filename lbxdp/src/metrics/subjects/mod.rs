//! What is exported, by subject: each family once, with its name, what it means, and where its values are.

pub(super) mod director;
pub(super) mod packets;
pub(super) mod servers;
pub(super) mod services;
pub(super) mod table;
