//! Prometheus: an [`Overview`](crate::snapshot::Overview) as text. What is exported stands in families, one table a subject,
//! and nowhere else: the text and `docs/metrics.md` are both made from these.

mod document;
mod family;
mod node_ipvs;
mod scene;
mod servers;
mod subjects;
#[cfg(test)]
pub(crate) mod tests;

pub use document::document;
pub use family::{CONTENT_TYPE, Family, Kind, text};
pub use scene::{Others, Scene};
pub use servers::{BadServerLimit, ServerLimit};

/// The families of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// lbxdp's own.
    Own,
    /// Those of `node_exporter`'s collector `ipvs`.
    NodeIpvs,
}

impl Names {
    /// All families, in the order in which they are written.
    pub fn families(self) -> impl Iterator<Item = &'static Family> {
        let subjects: &[&[Family]] = match self {
            Self::Own => &[
                subjects::services::FAMILIES,
                subjects::servers::FAMILIES,
                subjects::packets::FAMILIES,
                subjects::table::FAMILIES,
                subjects::director::FAMILIES,
            ],
            Self::NodeIpvs => &[node_ipvs::FAMILIES],
        };
        subjects.iter().flat_map(|families| families.iter())
    }
}
