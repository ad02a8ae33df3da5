//! The administrator's configuration, from the ConfigMap that the chart creates. Tenants refer to
//! its entries by name and cannot add to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use mcphub_operator_plan::snapshot;
use serde::Deserialize;
use url::Url;

use crate::stores::Scope;

/// The validated configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// Image of hubs whose spec has none, and of all routers and bridges.
    pub(crate) hub_image: String,
    /// Pull policy of `hub_image`.
    pub(crate) image_pull_policy: Option<String>,
    pub(crate) scopes: Vec<Scope>,
    /// Prometheus servers by the name that specs refer to.
    pub(crate) prometheus: BTreeMap<String, PrometheusServer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrometheusServer {
    /// The base URL, including a path prefix if there is one.
    pub(crate) url: Url,
    /// The part that plans need.
    pub(crate) timing: snapshot::PrometheusTiming,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read the configuration file")]
    Unreadable(#[source] std::io::Error),
    #[error("failed to parse the configuration file: {0}")]
    Malformed(String),
    #[error("{field}: {advice}")]
    Invalid {
        field: String,
        /// What to write instead.
        advice: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    hub_image: String,
    #[serde(default)]
    image_pull_policy: Option<String>,
    #[serde(default)]
    watch_namespaces: BTreeSet<String>,
    #[serde(default)]
    prometheus: Vec<PrometheusEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PrometheusEntry {
    name: String,
    url: String,
    scrape_interval: SignedDuration,
    #[serde(default)]
    ingest_delay: Option<SignedDuration>,
}

impl Config {
    pub(crate) fn read(file: &Path) -> Result<Self, Error> {
        Self::parse(&std::fs::read_to_string(file).map_err(Error::Unreadable)?)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let file: File =
            serde_yaml_ng::from_str(text).map_err(|error| Error::Malformed(error.to_string()))?;
        if file.hub_image.is_empty() {
            return Err(invalid("hubImage", "set the image of hubs, with its tag"));
        }
        let mut prometheus = BTreeMap::new();
        for (index, entry) in file.prometheus.into_iter().enumerate() {
            let (name, server) = entry.validate(index)?;
            if prometheus.insert(name, server).is_some() {
                return Err(invalid(
                    &format!("prometheus[{index}].name"),
                    "another entry has the same name; rename one",
                ));
            }
        }
        let scopes = if file.watch_namespaces.is_empty() {
            vec![Scope::Cluster]
        } else {
            file.watch_namespaces.into_iter().map(Scope::Namespace).collect()
        };
        Ok(Self {
            hub_image: file.hub_image,
            image_pull_policy: file.image_pull_policy,
            scopes,
            prometheus,
        })
    }
}

impl PrometheusEntry {
    fn validate(self, index: usize) -> Result<(String, PrometheusServer), Error> {
        let field = |name: &str| format!("prometheus[{index}].{name}");
        let url = Url::parse(&self.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url
            .ok_or_else(|| invalid(&field("url"), "write http://host:port or https://host:port"))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(invalid(
                &field("url"),
                "credentials and a query are not supported; remove them",
            ));
        }
        let scrape_interval = positive(self.scrape_interval).ok_or_else(|| {
            invalid(&field("scrapeInterval"), "write how often it scrapes hubs, for example 30s")
        })?;
        let ingest_delay = match self.ingest_delay {
            Some(delay) => Duration::try_from(delay)
                .map_err(|_| invalid(&field("ingestDelay"), "must not be negative"))?,
            None => scrape_interval,
        };
        Ok((
            self.name,
            PrometheusServer {
                url,
                timing: snapshot::PrometheusTiming { scrape_interval, ingest_delay },
            },
        ))
    }
}

fn positive(duration: SignedDuration) -> Option<Duration> {
    Duration::try_from(duration).ok().filter(|duration| !duration.is_zero())
}

fn invalid(field: &str, advice: &str) -> Error {
    Error::Invalid { field: field.into(), advice: advice.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ingest_delay_that_is_not_set_is_one_scrape_interval() {
        let config = Config::parse(
            "{hubImage: hub:1, prometheus: [{name: main, url: 'http://prometheus:9090/', \
             scrapeInterval: 30s}]}",
        )
        .unwrap();
        let interval = Duration::from_secs(30);
        assert_eq!(
            config.prometheus["main"].timing,
            snapshot::PrometheusTiming { scrape_interval: interval, ingest_delay: interval }
        );
        assert_eq!(config.scopes, [Scope::Cluster]);
    }

    #[test]
    fn an_invalid_value_is_rejected_with_its_field_and_what_to_write() {
        for (text, expected) in [
            ("{hubImage: ''}", "hubImage: set the image"),
            ("{hubImage: hub:1, hubimage: x}", "unknown field `hubimage`"),
            (
                "{hubImage: h, prometheus: [{name: a, url: 'file:///etc/passwd', scrapeInterval: \
                 1s}]}",
                "prometheus[0].url",
            ),
            (
                "{hubImage: h, prometheus: [{name: a, url: 'http://p:9090', scrapeInterval: 0s}]}",
                "scrapeInterval: write",
            ),
            (
                "{hubImage: h, prometheus: [{name: a, url: 'http://u:p@p:9090', scrapeInterval: \
                 1s}]}",
                "credentials",
            ),
        ] {
            let message = Config::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
