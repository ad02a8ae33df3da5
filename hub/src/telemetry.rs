//! Logs: JSON lines, or plain text on a terminal. They never contain payloads or secrets.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// Starts to log to stderr, at level `info` or as `RUST_LOG` says. Also installs the TLS
/// implementation, which rustls wants once per process.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        builder.with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
    // Tests call this more than once. The first logger stays.
    drop(started);
    drop(rustls::crypto::ring::default_provider().install_default());
}
