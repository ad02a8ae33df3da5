//! A server with HTTP: what is sent with every request.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use mcphub_hub_wire::config::{self, ConnectionPool, Server};
use mcphub_hub_wire::paths::SECRETS_DIR;
use reqwest::redirect::Policy;
use tokio::time::Instant;
use url::Url;

use super::error::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often header files are checked for changes.
const RECHECK_INTERVAL: Duration = Duration::from_secs(1);

/// An HTTP server, and what is sent with every request.
#[derive(Debug)]
pub(super) struct HttpEndpoint {
    client: reqwest::Client,
    url: Url,
    fixed: HeaderMap,
    files: Vec<FileHeader>,
}

/// A header whose value is read from a file.
#[derive(Debug)]
struct FileHeader {
    name: HeaderName,
    path: PathBuf,
    cached: Mutex<Option<Cached>>,
}

#[derive(Debug, Clone)]
struct Cached {
    checked: Instant,
    modified: Option<SystemTime>,
    value: HeaderValue,
}

impl HttpEndpoint {
    pub(super) fn new(server: &Server, pool: &ConnectionPool) -> Result<Self, Error> {
        let unusable = |what: &str| Error::Unusable(what.to_owned());
        let url =
            Url::parse(&server.url).map_err(|error| unusable(&format!("invalid url: {error}")))?;
        let mut fixed = HeaderMap::new();
        fixed.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fixed.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let mut files = Vec::new();
        for header in &server.headers {
            let name: HeaderName =
                header.name.parse().map_err(|_| unusable("a header has an invalid name"))?;
            match &header.value {
                config::HeaderValue::Value(value) => {
                    fixed.insert(name.clone(), secret(value, &name)?);
                }
                config::HeaderValue::File(path) => {
                    files.push(FileHeader { name, path: path.into(), cached: Mutex::default() });
                }
            }
        }
        Ok(Self { client: client(server, pool)?, url, fixed, files })
    }

    /// What to check if the server does not let the hub in; empty for any other error.
    pub(super) fn advice(&self, error: &Error) -> String {
        let (Error::Http(status) | Error::SessionGone(status)) = error else {
            return String::new();
        };
        if !matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return String::new();
        }
        let secrets: Vec<_> = self
            .files
            .iter()
            .filter_map(FileHeader::secret)
            .map(|(name, key)| format!("the Secret {name}, key {key}"))
            .collect();
        match secrets.as_slice() {
            [] if self.files.is_empty() => {
                "; if it needs a credential, send it as a header from a Secret".into()
            }
            [] => "; check the files of its headers".into(),
            _ => format!("; check {}", secrets.join(" and ")),
        }
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a message to another address of the server.
    pub(super) async fn send_to(
        &self,
        url: Url,
        method: Method,
        body: String,
        extra: &HeaderMap,
        timeout: Duration,
    ) -> Result<reqwest::Response, Error> {
        let mut headers = self.fixed.clone();
        for file in &self.files {
            headers.insert(file.name.clone(), file.value()?);
        }
        for (name, value) in extra {
            headers.insert(name.clone(), value.clone());
        }
        let request = self.client.request(method, url).headers(headers);
        let request = if body.is_empty() { request } else { request.body(body) };
        let sent = tokio::time::timeout(timeout, request.send())
            .await
            .map_err(|_| Error::TimedOut(timeout))?;
        sent.map_err(Error::from_request)
    }
}

impl FileHeader {
    /// The Secret and the key that the file is mounted from.
    fn secret(&self) -> Option<(&str, &str)> {
        self.path.strip_prefix(SECRETS_DIR).ok()?.to_str()?.split_once('/')
    }

    /// The current value of the file, so that a rotated Secret is used without a restart.
    fn value(&self) -> Result<HeaderValue, Error> {
        let now = Instant::now();
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(cached) =
            cached.as_ref().filter(|cached| now.duration_since(cached.checked) < RECHECK_INTERVAL)
        {
            return Ok(cached.value.clone());
        }
        let unreadable = |error: std::io::Error| {
            tracing::warn!(header = %self.name, path = %self.path.display(), %error,
                "failed to read the value of a header");
            let name = &self.name;
            Error::Unusable(match self.secret() {
                Some((secret, key)) if error.kind() == ErrorKind::NotFound => format!(
                    "header {name} needs the Secret {secret} with the key {key}, which is not in \
                     this namespace or not mounted yet"
                ),
                Some((secret, key)) => format!(
                    "failed to read the value of header {name} from the Secret {secret}, key \
                     {key}: {error}"
                ),
                None => format!(
                    "failed to read the file with the value of header {name}: {error}; the log \
                     has its path"
                ),
            })
        };
        let modified = std::fs::metadata(&self.path).and_then(|data| data.modified()).ok();
        let value = match cached.filter(|cached| cached.modified == modified && modified.is_some())
        {
            Some(cached) => cached.value,
            None => {
                secret(std::fs::read_to_string(&self.path).map_err(unreadable)?.trim(), &self.name)?
            }
        };
        let fresh = Cached { checked: now, modified, value: value.clone() };
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
        Ok(value)
    }
}

fn secret(value: &str, name: &HeaderName) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(value).map_err(|_| {
        Error::Unusable(format!(
            "the value of header {name} has characters that are not allowed in a header"
        ))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn client(server: &Server, pool: &ConnectionPool) -> Result<reqwest::Client, Error> {
    let builder = reqwest::Client::builder()
        .no_proxy() // outgoing connections go to configured servers only
        .redirect(Policy::none()) // a redirect would carry credentials to another host
        .tcp_nodelay(true)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(Duration::from_millis(pool.keep_alive_ms))
        .pool_max_idle_per_host(pool.max_connections as usize)
        .user_agent(concat!("mcp-hub/", env!("CARGO_PKG_VERSION")))
        .tls_danger_accept_invalid_certs(server.insecure_skip_verify);
    let builder = match &server.ca_file {
        Some(path) => {
            let unreadable = |error: String| {
                tracing::warn!(path, error, "failed to read a CA bundle");
                Error::Unusable(format!("failed to read its CA bundle: {error}"))
            };
            let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
            let bundle = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| unreadable(error.to_string()))?;
            builder.tls_certs_only(bundle)
        }
        // The image may have no system certificates. Loading them would fail, and plain HTTP does
        // not need them.
        None if server.url.starts_with("http://") => builder.tls_certs_only([]),
        None => builder,
    };
    builder
        .build()
        .map_err(|error| Error::Unusable(format!("failed to build an HTTP client: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(path: &str) -> FileHeader {
        let name = HeaderName::from_static("authorization");
        FileHeader { name, path: path.into(), cached: Mutex::default() }
    }

    // The path of a mounted Secret looks like a file that somebody forgot in the image.
    #[test]
    // Models and everybody who may ask for the status read it, so it has no paths.
    fn a_missing_file_of_a_secret_is_named_as_a_secret_and_any_other_by_its_header() {
        let of = |path: &str| header(path).value().unwrap_err().to_string();
        assert_eq!(
            of("/etc/mcp-hub/secrets/github/token"),
            "cannot be used: header authorization needs the Secret github with the key token, \
             which is not in this namespace or not mounted yet"
        );
        let other = of("/nowhere/token");
        assert!(other.contains("the value of header authorization: No such file"), "{other}");
        assert!(!other.contains("/nowhere"), "{other}");
        let folder = tempfile::tempdir().unwrap(); // a file that exists and cannot be read
        let other = of(folder.path().to_str().unwrap());
        assert!(!other.contains(folder.path().to_str().unwrap()), "{other}");
    }

    fn endpoint(files: &[&str]) -> HttpEndpoint {
        HttpEndpoint {
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            url: Url::parse("http://mcp.example.com/mcp").unwrap(),
            fixed: HeaderMap::new(),
            files: files.iter().map(|path| header(path)).collect(),
        }
    }

    #[test]
    fn a_refused_credential_is_reported_with_its_secret() {
        rustls::crypto::ring::default_provider().install_default().ok();
        let secret = endpoint(&["/etc/mcp-hub/secrets/github/token"]);
        for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
            let advice = secret.advice(&Error::Http(status));
            assert_eq!(advice, "; check the Secret github, key token");
        }
        assert_eq!(secret.advice(&Error::Http(StatusCode::BAD_GATEWAY)), "");
        let none = endpoint(&[]).advice(&Error::Http(StatusCode::UNAUTHORIZED));
        assert_eq!(none, "; if it needs a credential, send it as a header from a Secret");
    }
}
