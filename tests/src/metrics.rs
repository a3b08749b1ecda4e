//! Prometheus's text format, as far as tests read it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};

/// A page of metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// Values, by their names and labels.
    pub samples: BTreeMap<Sample, f64>,
    /// The lines that say what a metric is.
    pub comments: BTreeSet<String>,
}

/// A name with labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

impl Page {
    /// Reads a page. Label values with escapes are not understood.
    pub fn read(text: &str) -> Result<Self> {
        let mut page = Self::default();
        for line in text.lines() {
            if line.starts_with('#') {
                page.comments.insert(line.into());
            } else {
                let (sample, value) = line.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
                let value = value.parse().with_context(|| format!("no number: {line}"))?;
                let before = page.samples.insert(Sample::read(sample)?, value);
                ensure!(before.is_none(), "twice: {line}");
            }
        }
        Ok(page)
    }

    /// The same, without what has other names.
    #[must_use]
    pub fn only(mut self, prefix: &str) -> Self {
        self.samples.retain(|sample, _| sample.name.starts_with(prefix));
        self.comments.retain(|line| line.split(' ').nth(2).is_some_and(|name| name.starts_with(prefix)));
        self
    }

    /// The value of a name with just these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Result<f64> {
        let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let sample = Sample { name: name.into(), labels: labels.iter().map(label).collect() };
        self.samples.get(&sample).copied().with_context(|| format!("there is no {sample:?}"))
    }

    /// The sum of all values of a name that have this label.
    pub fn sum(&self, name: &str, label: (&str, &str)) -> f64 {
        let has = |sample: &Sample| sample.labels.get(label.0).is_some_and(|value| value == label.1);
        let of_it = self.samples.iter().filter(|(sample, _)| sample.name == name && has(sample));
        of_it.map(|(_, value)| value).sum()
    }
}

impl Sample {
    fn read(text: &str) -> Result<Self> {
        let Some((name, labels)) = text.split_once('{') else {
            return Ok(Self { name: text.into(), labels: BTreeMap::new() });
        };
        let labels = labels.strip_suffix("\"}").with_context(|| format!("no end: {text}"))?;
        let label = |label: &str| {
            let (name, value) = label.split_once("=\"").with_context(|| format!("no label: {text}"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        Ok(Self { name: name.into(), labels: labels.split("\",").map(label).collect::<Result<_>>()? })
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "they are read, not computed")]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_by_its_lines() {
        let page =
            Page::read("# HELP a_total What.\n# TYPE a_total counter\na_total{b=\"c\",d=\"\"} 1\nb 2.5\n");
        let page = page.unwrap();
        assert_eq!(page.value("a_total", &[("d", ""), ("b", "c")]).unwrap(), 1.0);
        assert_eq!(page.sum("a_total", ("b", "c")), 1.0);
        assert!(page.value("a_total", &[("b", "c")]).is_err());
        let only = page.only("a_");
        assert_eq!((only.samples.len(), only.comments.len()), (1, 2));
        assert!(Page::read("a 1\na 2\n").is_err());
    }
}
