//! A family of metrics, and the text that is made of them.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Names;
use super::scene::Scene;

/// What the text is, for HTTP: the format that every Prometheus reads.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics of one name.
#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One sentence, without anything that would have to be escaped.
    pub help: &'static str,
    /// Adds all of its samples.
    pub(super) samples: fn(&Scene, &mut Samples<'_>) -> fmt::Result,
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, but for beginning anew.
    Counter,
    Gauge,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// Where a family's samples go.
pub(super) struct Samples<'a> {
    labels: &'static [&'static str],
    encoder: MetricEncoder<'a>,
}

impl Samples<'_> {
    /// Adds a sample, with a value for each label.
    pub(super) fn add(&mut self, values: &[&str], value: impl EncodeGaugeValue + Copy) -> fmt::Result {
        debug_assert_eq!(values.len(), self.labels.len(), "a value for each of {:?}", self.labels);
        // Not as a counter, whose name the encoder would give another `_total`: that is OpenMetrics's way.
        if values.is_empty() {
            return self.encoder.encode_gauge(&value);
        }
        self.encoder.encode_family(&Labels { names: self.labels, values })?.encode_gauge(&value)
    }
}

struct Labels<'a> {
    names: &'static [&'static str],
    values: &'a [&'a str],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.names
            .iter()
            .zip(self.values)
            .try_for_each(|label| (*label.0, *label.1).encode(encoder.encode_label()))
    }
}

/// A page, as the encoder wants it.
#[derive(Debug)]
struct Page {
    names: Names,
    scene: Scene,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.names.families() {
            let kind = match family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let encoder = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            (family.samples)(&self.scene, &mut Samples { labels: family.labels, encoder })?;
        }
        Ok(())
    }
}

/// All metrics of a page.
pub fn text(names: Names, scene: Scene) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page { names, scene }));
    let mut written = String::new();
    text::encode_registry(&mut written, &registry)?;
    Ok(written)
}
