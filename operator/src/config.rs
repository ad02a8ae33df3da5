//! Settings of the administrator, from the ConfigMap that the chart makes. Tenants refer to what is in here by name
//! and can't add to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use mcphub_operator_plan::snapshot;
use serde::Deserialize;
use url::Url;

use crate::stores::Scope;

/// The file, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Image of hubs whose spec names none; also of routers and bridges.
    pub hub_image: String,
    /// Pull policy that goes with it.
    pub image_pull_policy: Option<String>,
    /// Which namespaces are looked after.
    pub scopes: Vec<Scope>,
    /// Prometheus servers by the name that specs refer to.
    pub prometheus: BTreeMap<String, Prometheus>,
}

/// One Prometheus server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prometheus {
    /// Its base URL, with a path prefix where it has one.
    pub url: Url,
    /// What plans have to know of it.
    pub facts: snapshot::Prometheus,
}

/// Why the settings can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there.
    #[error("the settings cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// It is no YAML of this shape.
    #[error("the settings are not understood: {0}")]
    Malformed(String),
    /// A value makes no sense.
    #[error("{field}: {advice}")]
    Invalid {
        /// Which.
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
    prometheus: Vec<Server>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Server {
    name: String,
    url: String,
    scrape_interval: SignedDuration,
    #[serde(default)]
    ingest_delay: Option<SignedDuration>,
}

impl Config {
    /// Reads the file.
    pub fn read(file: &Path) -> Result<Self, Error> {
        Self::parse(&std::fs::read_to_string(file).map_err(Error::Unreadable)?)
    }

    /// Understands the text of the file.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let file: File =
            serde_yaml_ng::from_str(text).map_err(|error| Error::Malformed(error.to_string()))?;
        if file.hub_image.is_empty() {
            return Err(invalid("hubImage", "name the image of hubs, with its tag"));
        }
        let mut prometheus = BTreeMap::new();
        for (at, server) in file.prometheus.into_iter().enumerate() {
            let (name, server) = server.understood(at)?;
            if prometheus.insert(name, server).is_some() {
                return Err(invalid(
                    &format!("prometheus[{at}].name"),
                    "there is another one of this name",
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

impl Server {
    fn understood(self, at: usize) -> Result<(String, Prometheus), Error> {
        let field = |name: &str| format!("prometheus[{at}].{name}");
        let url = Url::parse(&self.url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url
            .ok_or_else(|| invalid(&field("url"), "write http://host:port or https://host:port"))?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(invalid(&field("url"), "credentials and a query are not supported in it"));
        }
        let scrape_interval = positive(self.scrape_interval).ok_or_else(|| {
            invalid(&field("scrapeInterval"), "write how often it scrapes hubs, as 30s")
        })?;
        let ingest_delay = match self.ingest_delay {
            Some(delay) => Duration::try_from(delay)
                .map_err(|_| invalid(&field("ingestDelay"), "it cannot be negative"))?,
            None => scrape_interval,
        };
        Ok((
            self.name,
            Prometheus { url, facts: snapshot::Prometheus { scrape_interval, ingest_delay } },
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
    fn a_prometheus_without_ingest_delay_has_one_scrape_interval_of_it() {
        let config = Config::parse(
            "{hubImage: hub:1, prometheus: [{name: main, url: 'http://prometheus:9090/', scrapeInterval: 30s}]}",
        )
        .unwrap();
        let half = Duration::from_secs(30);
        assert_eq!(
            config.prometheus["main"].facts,
            snapshot::Prometheus { scrape_interval: half, ingest_delay: half }
        );
        assert_eq!(config.scopes, [Scope::Cluster]);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_with_the_field_and_what_to_write() {
        for (text, said) in [
            ("{hubImage: ''}", "hubImage: name the image"),
            ("{hubImage: hub:1, hubimage: x}", "unknown field `hubimage`"),
            (
                "{hubImage: h, prometheus: [{name: a, url: 'file:///etc/passwd', scrapeInterval: 1s}]}",
                "prometheus[0].url",
            ),
            (
                "{hubImage: h, prometheus: [{name: a, url: 'http://p:9090', scrapeInterval: 0s}]}",
                "scrapeInterval: write",
            ),
            (
                "{hubImage: h, prometheus: [{name: a, url: 'http://u:p@p:9090', scrapeInterval: 1s}]}",
                "credentials",
            ),
        ] {
            let refused = Config::parse(text).unwrap_err().to_string();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }
}
