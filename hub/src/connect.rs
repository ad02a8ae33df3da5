//! `mcp-hub connect` and `mcp-hub serve --stdio`: a stdio client reaches a Streamable HTTP server.
//!
//! Messages pass unchanged. [`front`] reads the client's messages and sends each to the [`peer`],
//! [`session`] is the session with it, and [`call`] is one request with its response. [`link`] is
//! what they share.

mod call;
mod front;
mod link;
mod peer;
mod session;
mod tool_headers;

use std::str::FromStr as _;

use anyhow::Context as _;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use url::Url;

pub(crate) use self::front::serve_stdio;
pub(crate) use self::peer::Peer;
use crate::args;

/// Serves stdin and stdout until stdin is closed.
pub async fn run(args: args::Connect) -> anyhow::Result<()> {
    let url = Url::parse(&args.url).with_context(|| format!("{}: not a URL", args.url))?;
    anyhow::ensure!(
        matches!(url.scheme(), "http" | "https"),
        "{}: not an http or https URL; write https://host/mcp",
        args.url
    );
    let mut headers = HeaderMap::new();
    for header in &args.header {
        let (name, value) = parse_header(header)?;
        headers.append(name, value);
    }
    let builder = reqwest::Client::builder()
        .redirect(Policy::none()) // a redirect would carry credentials to another host
        .tcp_nodelay(true)
        .user_agent(concat!("mcp-hub/", env!("CARGO_PKG_VERSION")));
    let builder = if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder };
    let client = builder.build().context("failed to build an HTTP client")?;
    serve_stdio(Peer::Remote { client, url, headers }).await;
    Ok(())
}

/// A header as curl takes it: `Name: value`. The value may have `${NAME}`, so that a credential
/// need not be in the arguments, which every user of the machine can read.
fn parse_header(text: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let (name, value) = text
        .split_once(':')
        .context("--header has no colon; write --header \"Authorization: Bearer ${TOKEN}\"")?;
    let name = HeaderName::from_str(name.trim())
        .with_context(|| format!("--header: \"{}\" is not a header name", name.trim()))?;
    let value = crate::config_file::expand(value.trim())
        .map_err(|message| anyhow::anyhow!("--header {name}: {message}"))?;
    let mut value = HeaderValue::from_str(&value).with_context(|| {
        format!("--header {name}: the value has characters that are not allowed")
    })?;
    value.set_sensitive(true);
    Ok((name, value))
}
