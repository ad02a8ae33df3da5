//! Client of the admin port of hub and router pods.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};
use mcphub_hub_wire::admin::{GENERATION_PATH, Generation, SELF_CHECK_PATH, SelfCheck};
use mcphub_hub_wire::paths::ADMIN_PORT;
use reqwest::{Client, redirect};
use serde::de::DeserializeOwned;

use super::body;

/// The self-check asks the language model too, for at most twice the default `llm.timeout` of 5 s.
const TIMEOUT: Duration = Duration::from_secs(12);
const LIMIT: usize = 1 << 20;
/// Concurrent requests for one hub.
const CONCURRENT: usize = 16;

/// Client of the admin endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Pods {
    client: Client,
    port: u16,
}

impl Pods {
    /// A client for [`ADMIN_PORT`].
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self { client, port: ADMIN_PORT })
    }

    /// Runs the self-check in each of these pods (name to IP).
    pub(crate) async fn self_checks(
        &self,
        pods: &BTreeMap<String, String>,
        token: &str,
    ) -> BTreeMap<String, Result<SelfCheck, String>> {
        self.each(pods, SELF_CHECK_PATH, token).await
    }

    /// Asks each of these router pods (name to IP) for the generation that it obeys.
    pub(crate) async fn generations(
        &self,
        pods: &BTreeMap<String, String>,
        token: &str,
    ) -> BTreeMap<String, Result<u64, String>> {
        let answers = self.each::<Generation>(pods, GENERATION_PATH, token).await;
        answers
            .into_iter()
            .map(|(pod, answer)| (pod, answer.map(|answer| answer.generation)))
            .collect()
    }

    async fn each<T: DeserializeOwned + Send>(
        &self,
        pods: &BTreeMap<String, String>,
        path: &str,
        token: &str,
    ) -> BTreeMap<String, Result<T, String>> {
        let ask = |(pod, ip): (&String, &String)| {
            let (pod, ip) = (pod.clone(), ip.clone());
            async move { (pod, self.ask(&ip, path, token).await) }.boxed()
        };
        stream::iter(pods.iter().map(ask).collect::<Vec<_>>())
            .buffer_unordered(CONCURRENT)
            .collect()
            .await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        ip: &str,
        path: &str,
        token: &str,
    ) -> Result<T, String> {
        let ip: IpAddr = ip.parse().map_err(|_| format!("\"{ip}\" is not an IP address"))?;
        let url = format!("http://{}{path}", SocketAddr::new(ip, self.port));
        let response = self
            .client
            .get(url)
            .bearer_auth(token)
            .send()
            .await
            .map_err(|error| body::message(&error))?;
        if !response.status().is_success() {
            return Err(format!("HTTP status {}", response.status()));
        }
        body::json(response, LIMIT).await
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    async fn pod() -> Pods {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let generation = |headers: HeaderMap| async move {
            let known = headers.get("authorization").is_some_and(|value| value == "Bearer secret");
            if known {
                Ok(r#"{"generation":7,"newer":true}"#)
            } else {
                Err(StatusCode::UNAUTHORIZED)
            }
        };
        let routes = Router::new().route(GENERATION_PATH, get(generation));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Pods { port, ..Pods::new().unwrap() }
    }

    #[tokio::test]
    async fn each_pod_has_a_result_or_a_reason() {
        let pods =
            [("a".to_owned(), "127.0.0.1".to_owned()), ("b".to_owned(), "nowhere".to_owned())]
                .into();
        let answers = pod().await.generations(&pods, "secret").await;
        assert_eq!(answers["a"], Ok(7));
        assert_eq!(answers["b"], Err("\"nowhere\" is not an IP address".into()));
    }

    #[tokio::test]
    async fn a_wrong_token_is_reported_as_an_http_status() {
        let pods = [("a".to_owned(), "127.0.0.1".to_owned())].into();
        let answers = pod().await.generations(&pods, "old").await;
        assert_eq!(answers["a"], Err("HTTP status 401 Unauthorized".into()));
    }
}
