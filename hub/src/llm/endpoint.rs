//! The HTTP client for one provider.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use mcphub_hub_select::llm::answer::{AnswerError, ModelOutput};
use mcphub_hub_select::llm::providers::{self, ErrorBody, OutputMode, Usage};
use mcphub_hub_select::llm::question::Question;
use mcphub_hub_wire::config::{self, Provider};
use mcphub_hub_wire::paths::SECRETS_DIR;
use reqwest::redirect::Policy;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use url::Url;

use super::error::Error;

/// The longest response that is read. The longest useful one has some kilobytes.
const MAX_RESPONSE_BYTES: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One provider. The API key is read for every question, so that a rotated key is used at once.
pub(super) struct Endpoint {
    client: reqwest::Client,
    url: Url,
    provider: Provider,
    model: String,
    key: config::HeaderValue,
    /// The position of the output mode that the model accepts.
    mode: AtomicUsize,
    /// When the provider last accepted a key, and which.
    accepted: Mutex<Option<(Instant, KeyDigest)>>,
}

type KeyDigest = [u8; 32];

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("provider", &self.provider)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(super) fn new(llm: &config::Llm) -> Result<Self, Error> {
        let url = request_url(llm)?;
        let builder = reqwest::Client::builder()
            .no_proxy() // outgoing connections go to configured servers only
            .redirect(Policy::none()) // a redirect would carry the key to another host
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("mcp-hub/", env!("CARGO_PKG_VERSION")));
        // The image may have no system certificates. Loading them would fail, and plain HTTP does
        // not need them.
        let builder = if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
        Ok(Self {
            client: builder.build().map_err(|error| {
                Error::Misconfigured(format!("failed to create an HTTP client: {error}"))
            })?,
            url,
            provider: llm.provider,
            model: llm.model.clone(),
            key: llm.api_key.clone(),
            mode: AtomicUsize::new(0),
            accepted: Mutex::default(),
        })
    }

    /// Asks once. If the model rejects an output mode, the next one is tried. `count_usage` is
    /// called for every response.
    pub(super) async fn ask(
        &self,
        question: &Question,
        count_usage: &impl Fn(Usage),
    ) -> Result<ModelOutput, Error> {
        let modes = providers::output_modes(self.provider);
        let first = self.mode.load(Ordering::Relaxed);
        let mut rejection = None;
        for (position, mode) in modes.iter().enumerate().skip(first) {
            match self.exchange(question, *mode, count_usage).await {
                Err(error @ Error::Rejected { status: 400 | 422, .. }) => {
                    rejection.get_or_insert(error);
                }
                Err(error) => return Err(error),
                Ok(output) => {
                    self.mode.fetch_max(position, Ordering::Relaxed);
                    return output.map_err(Error::Answer);
                }
            }
        }
        // The first error tells most, because later modes ask for less.
        Err(rejection.unwrap_or(Error::Answer(AnswerError::Malformed)))
    }

    /// Whether the provider accepted the current key within this time.
    pub(super) async fn accepted_within(&self, time: Duration) -> Result<bool, Error> {
        let current = digest(&self.key().await?);
        let accepted = *self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(accepted.is_some_and(|(when, key)| key == current && when.elapsed() < time))
    }

    async fn exchange(
        &self,
        question: &Question,
        mode: OutputMode,
        count_usage: &impl Fn(Usage),
    ) -> Result<Result<ModelOutput, AnswerError>, Error> {
        let key = self.key().await?;
        let body = providers::request_body(self.provider, &self.model, mode, question).to_string();
        let request = self.client.post(self.url.clone()).headers(self.headers(&key)?).body(body);
        let mut response = request.send().await.map_err(Error::from_request)?;
        let status = response.status();
        let headers = response.headers().clone();
        let body = read_body(&mut response).await;
        if status != StatusCode::OK {
            // If the body of an error cannot be read, the status must do.
            let body = body.unwrap_or_default();
            let error = providers::parse_error_body(self.provider, status.as_u16(), &body, &key);
            return Err(status_error(status, &headers, error, &self.key));
        }
        let response = providers::parse_response(self.provider, &body?);
        count_usage(response.usage);
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), digest(&key)));
        Ok(response.output)
    }

    fn headers(&self, key: &str) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in providers::headers(self.provider) {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        if !key.is_empty() {
            let (name, prefix) = providers::key_header(self.provider);
            let mut value =
                HeaderValue::from_str(&format!("{prefix}{key}")).map_err(|_| unsendable())?;
            value.set_sensitive(true);
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }

    async fn key(&self) -> Result<String, Error> {
        let key = match &self.key {
            config::HeaderValue::Value(value) => value.trim().to_owned(),
            config::HeaderValue::File(path) => {
                let read = tokio::fs::read_to_string(path).await;
                let unreadable = |error| {
                    Error::Misconfigured(format!(
                        "the key of filtering.llm, which is {}, cannot be read: {error}",
                        key_location(&self.key)
                    ))
                };
                read.map_err(unreadable)?.trim().to_owned()
            }
        };
        // Self-hosted models often need no key.
        if key.is_empty() && self.provider != Provider::OpenAICompatible {
            let location = key_location(&self.key);
            return Err(Error::Misconfigured(format!(
                "the key of filtering.llm, which is {location}, is empty; put the provider's API \
                 key there"
            )));
        }
        Ok(key)
    }
}

/// Where the key is, for an error. A mounted file is named by its Secret, which is what a user of
/// Kubernetes knows.
fn key_location(key: &config::HeaderValue) -> String {
    let config::HeaderValue::File(path) = key else { return "apiKey in the config".into() };
    let mounted =
        path.strip_prefix(SECRETS_DIR).and_then(|rest| rest.strip_prefix('/')?.split_once('/'));
    mounted.map_or_else(
        || format!("in {path}"),
        |(secret, key)| format!("key {key} of Secret {secret}"),
    )
}

fn unsendable() -> Error {
    Error::Misconfigured(
        "the key of filtering.llm has characters that a header cannot contain; put only the key \
         there"
            .into(),
    )
}

fn digest(key: &str) -> KeyDigest {
    Sha256::digest(key).into()
}

async fn read_body(response: &mut reqwest::Response) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Error::from_request)? {
        if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
            return Err(Error::TooLong(MAX_RESPONSE_BYTES));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error for a status other than 200. `key` is the configured key.
fn status_error(
    status: StatusCode,
    headers: &HeaderMap,
    body: ErrorBody,
    key: &config::HeaderValue,
) -> Error {
    let ErrorBody { code, key_rejected, quota_exhausted, retry_after } = body;
    let retry_after = retry_after_header(headers).or(retry_after);
    let status = status.as_u16();
    match status {
        _ if key_rejected => Error::KeyRejected { location: key_location(key), status, code },
        _ if quota_exhausted => Error::QuotaExhausted { status, code },
        429 => Error::RateLimited { retry_after },
        408 | 425 | 500.. => Error::Http { status, code, retry_after },
        300..400 => Error::Redirected(status),
        _ => Error::Rejected { status, code },
    }
}

/// Parses `Retry-After`, which has seconds or a date, or `retry-after-ms`.
fn retry_after_header(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(milliseconds) = text("retry-after-ms").and_then(|text| text.parse().ok()) {
        return Some(Duration::from_millis(milliseconds));
    }
    let text = text(RETRY_AFTER.as_str())?;
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The URL that questions are sent to.
fn request_url(llm: &config::Llm) -> Result<Url, Error> {
    let wrong = |what: &str| Error::Misconfigured(format!("baseUrl of filtering.llm {what}"));
    let base = llm.base_url.as_deref().or_else(|| providers::default_base_url(llm.provider));
    let base = base.ok_or_else(|| {
        wrong("is missing; OpenAICompatible needs it, for example https://llm.example.com/v1")
    })?;
    let mut url =
        Url::parse(base).map_err(|error| wrong(&format!("is not a valid URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("must start with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("contains a user name or password; put the key into apiKey"));
    }
    url.set_fragment(None);
    let (version, path) = providers::url_path(llm.provider, &llm.model);
    let last =
        url.path_segments().and_then(|mut segments| segments.rfind(|segment| !segment.is_empty()));
    let versioned = last.is_some_and(|last| {
        last.starts_with('v') && last.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
    });
    // As in the vendors' own libraries: OpenAI's expect the version in the base URL, and the others
    // add it.
    let unversioned = match llm.provider {
        Provider::OpenAI | Provider::OpenAICompatible => last.is_none(),
        Provider::Anthropic | Provider::Gemini => !versioned,
    };
    let cannot = || wrong("cannot have a path");
    let mut segments = url.path_segments_mut().map_err(|()| cannot())?;
    segments.pop_if_empty().extend(unversioned.then_some(version)).extend(path);
    drop(segments);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn llm(provider: Provider, base_url: Option<&str>) -> config::Llm {
        config::Llm {
            provider,
            model: "m".into(),
            base_url: base_url.map(str::to_owned),
            api_key: config::HeaderValue::Value("k".into()),
            timeout_ms: 1,
            retry: config::Retry::default(),
            circuit_breaker: config::CircuitBreaker::default(),
            cache: config::Cache::default(),
            max_concurrent: 1,
        }
    }

    #[rstest]
    #[case(Provider::OpenAI, None, "https://api.openai.com/v1/chat/completions")]
    #[case(
        Provider::OpenAI,
        Some("https://eu.api.openai.com/v1/"),
        "https://eu.api.openai.com/v1/chat/completions"
    )]
    #[case(
        Provider::OpenAICompatible,
        Some("http://ollama:11434"),
        "http://ollama:11434/v1/chat/completions"
    )]
    #[case(
        Provider::OpenAICompatible,
        Some("https://a/openai?x=1"),
        "https://a/openai/chat/completions?x=1"
    )]
    #[case(Provider::Anthropic, None, "https://api.anthropic.com/v1/messages")]
    #[case(
        Provider::Anthropic,
        Some("https://gateway/anthropic"),
        "https://gateway/anthropic/v1/messages"
    )]
    #[case(
        Provider::Gemini,
        None,
        "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent"
    )]
    #[case(Provider::Gemini, Some("https://g/v1"), "https://g/v1/models/m:generateContent")]
    fn the_version_and_the_path_are_added_to_the_base_url(
        #[case] provider: Provider,
        #[case] base: Option<&str>,
        #[case] expected: &str,
    ) {
        assert_eq!(request_url(&llm(provider, base)).unwrap().as_str(), expected);
    }

    // Whoever reads the status of a hub knows its Secrets, but not where they are mounted.
    #[test]
    fn an_error_names_the_secret_of_a_mounted_key() {
        let file = |path: &str| key_location(&config::HeaderValue::File(path.into()));
        assert_eq!(file("/etc/mcp-hub/secrets/llm/api-key"), "key api-key of Secret llm");
        assert_eq!(file("/run/key"), "in /run/key");
        let inline = config::HeaderValue::Value("sk-1".into());
        assert_eq!(key_location(&inline), "apiKey in the config");
    }

    #[rstest]
    #[case(None, "is missing")]
    #[case(Some("llm.example.com"), "is not a valid URL")]
    #[case(Some("ftp://llm.example.com"), "must start with https://")]
    #[case(Some("https://user:secret@llm.example.com"), "put the key into apiKey")]
    fn an_invalid_base_url_is_an_error(#[case] base: Option<&str>, #[case] says: &str) {
        let error = request_url(&llm(Provider::OpenAICompatible, base)).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("secret"), "{error}");
    }
}
