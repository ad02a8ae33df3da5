//! One provider: its address, its key, and one exchange with it.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use mcphub_hub_select::llm::answer::{Failure, Said};
use mcphub_hub_select::llm::providers::{self, Problem, Style, Usage};
use mcphub_hub_select::llm::question::Question;
use mcphub_hub_wire::config::{self, Provider};
use mcphub_hub_wire::paths::SECRETS_DIR;
use reqwest::redirect::Policy;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use url::Url;

use super::error::Error;

/// Longest answer that is read. The longest useful one has some kilobytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// One provider. Its key is read for every question, so that a rotated one is used at once.
pub(super) struct Endpoint {
    client: reqwest::Client,
    url: Url,
    provider: Provider,
    model: String,
    key: config::HeaderValue,
    /// Position of the style that the model takes.
    style: AtomicUsize,
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
    pub(super) fn of(llm: &config::Llm) -> Result<Self, Error> {
        let url = address(llm)?;
        let builder = reqwest::Client::builder()
            .no_proxy() // outgoing connections go to configured servers only
            .redirect(Policy::none()) // a redirect would carry the key to another host
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("mcp-hub/", env!("CARGO_PKG_VERSION")));
        // The image may have no system certificates, which are an error to load and needless for plain HTTP.
        let builder = if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
        Ok(Self {
            client: builder
                .build()
                .map_err(|error| Error::Unaskable(format!("no HTTP client: {error}")))?,
            url,
            provider: llm.provider,
            model: llm.model.clone(),
            key: llm.api_key.clone(),
            style: AtomicUsize::new(0),
            accepted: Mutex::default(),
        })
    }

    /// Asks once. Models that refuse one style of structured output are asked in the next.
    pub(super) async fn ask(
        &self,
        question: &Question,
        spent: &impl Fn(Usage),
    ) -> Result<Said, Error> {
        let styles = providers::styles(self.provider);
        let first = self.style.load(Ordering::Relaxed);
        let mut refused = None;
        for (position, style) in styles.iter().enumerate().skip(first) {
            match self.exchange(question, *style, spent).await {
                Err(error @ Error::Rejected { status: 400 | 422, .. }) => {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
                Ok(said) => {
                    self.style.fetch_max(position, Ordering::Relaxed);
                    return said.map_err(Error::Answer);
                }
            }
        }
        // The first says most: what follows asks for less.
        Err(refused.unwrap_or(Error::Answer(Failure::Malformed)))
    }

    /// Whether the key that is in force now was accepted so recently.
    pub(super) async fn accepted_within(&self, time: Duration) -> Result<bool, Error> {
        let now = digest(&self.key().await?);
        let accepted = *self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(accepted.is_some_and(|(when, key)| key == now && when.elapsed() < time))
    }

    async fn exchange(
        &self,
        question: &Question,
        style: Style,
        spent: &impl Fn(Usage),
    ) -> Result<Result<Said, Failure>, Error> {
        let key = self.key().await?;
        let body = providers::body(self.provider, &self.model, style, question).to_string();
        let request = self.client.post(self.url.clone()).headers(self.headers(&key)?).body(body);
        let mut response = request.send().await.map_err(Error::of_request)?;
        let status = response.status();
        let headers = response.headers().clone();
        let answer = whole(&mut response).await;
        if status != StatusCode::OK {
            // Of a broken error the status is enough.
            let problem = providers::problem(
                self.provider,
                status.as_u16(),
                &answer.unwrap_or_default(),
                &key,
            );
            return Err(refusal(status, &headers, problem, &self.key));
        }
        let response = providers::response(self.provider, &answer?);
        spent(response.usage);
        *self.accepted.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Instant::now(), digest(&key)));
        Ok(response.said)
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
                    Error::Unaskable(format!(
                        "the key of filtering.llm, which is {}, cannot be read: {error}",
                        place(&self.key)
                    ))
                };
                read.map_err(unreadable)?.trim().to_owned()
            }
        };
        // Models on one's own machines often want none.
        if key.is_empty() && self.provider != Provider::OpenAICompatible {
            let place = place(&self.key);
            return Err(Error::Unaskable(format!(
                "the key of filtering.llm, which is {place}, is empty; put the provider's API key there"
            )));
        }
        Ok(key)
    }
}

/// Where the key is, in the words of who put it there.
fn place(key: &config::HeaderValue) -> String {
    let config::HeaderValue::File(path) = key else { return "apiKey in the config".into() };
    let mounted =
        path.strip_prefix(SECRETS_DIR).and_then(|rest| rest.strip_prefix('/')?.split_once('/'));
    mounted.map_or_else(
        || format!("in {path}"),
        |(secret, key)| format!("key {key} of Secret {secret}"),
    )
}

fn unsendable() -> Error {
    Error::Unaskable(
        "the key of filtering.llm has characters that no header can carry; put the bare key there"
            .into(),
    )
}

fn digest(key: &str) -> KeyDigest {
    Sha256::digest(key).into()
}

async fn whole(response: &mut reqwest::Response) -> Result<Vec<u8>, Error> {
    let mut whole = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Error::of_request)? {
        if whole.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Error::TooLong(MAX_ANSWER_BYTES));
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole)
}

fn refusal(
    status: StatusCode,
    headers: &HeaderMap,
    problem: Problem,
    asked_with: &config::HeaderValue,
) -> Error {
    let Problem { code, key, spent, wait } = problem;
    let wait = retry_after(headers).or(wait);
    let status_code = status.as_u16();
    match status_code {
        _ if key => Error::KeyRefused { place: place(asked_with), status: status_code, code },
        _ if spent => Error::Spent { status: status_code, code },
        429 => Error::RateLimited { wait },
        408 | 425 | 500.. => Error::Http { status: status_code, code, wait },
        300..400 => Error::Redirected(status_code),
        _ => Error::Rejected { status: status_code, code },
    }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
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

/// Where questions go.
fn address(llm: &config::Llm) -> Result<Url, Error> {
    let wrong = |what: &str| Error::Unaskable(format!("baseUrl of filtering.llm {what}"));
    let base = llm.base_url.as_deref().or_else(|| providers::address(llm.provider));
    let base = base.ok_or_else(|| {
        wrong("is missing; OpenAICompatible needs it, like https://llm.example.com/v1")
    })?;
    let mut url = Url::parse(base).map_err(|error| wrong(&format!("is no address: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has a name or password in it; the key belongs into apiKey"));
    }
    url.set_fragment(None);
    let (version, path) = providers::path(llm.provider, &llm.model);
    let last =
        url.path_segments().and_then(|mut segments| segments.rfind(|segment| !segment.is_empty()));
    let versioned = last.is_some_and(|last| {
        last.starts_with('v') && last.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
    });
    // As in the vendors' own libraries: OpenAI's want the version in the address, the others add it.
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
    fn where_questions_go(
        #[case] provider: Provider,
        #[case] base: Option<&str>,
        #[case] expected: &str,
    ) {
        assert_eq!(address(&llm(provider, base)).unwrap().as_str(), expected);
    }

    // Whoever reads the status of a hub knows Secrets, and not where they are mounted.
    #[test]
    fn the_key_is_named_by_its_secret() {
        let file = |path: &str| place(&config::HeaderValue::File(path.into()));
        assert_eq!(file("/etc/mcp-hub/secrets/llm/api-key"), "key api-key of Secret llm");
        assert_eq!(file("/run/key"), "in /run/key");
        assert_eq!(place(&config::HeaderValue::Value("sk-1".into())), "apiKey in the config");
    }

    #[rstest]
    #[case(None, "is missing")]
    #[case(Some("llm.example.com"), "is no address")]
    #[case(Some("ftp://llm.example.com"), "must begin with https://")]
    #[case(Some("https://user:secret@llm.example.com"), "the key belongs into apiKey")]
    fn an_address_that_cannot_be_asked_is_refused(#[case] base: Option<&str>, #[case] says: &str) {
        let error = address(&llm(Provider::OpenAICompatible, base)).unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("secret"), "{error}");
    }
}
