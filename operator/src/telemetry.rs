//! Logs: one JSON object per line on standard output.

use tracing_subscriber::EnvFilter;

/// Starts logging. An example of `filter` is `info,mcphub_operator=debug`.
pub fn init(filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(true)
        .with_env_filter(EnvFilter::try_new(filter)?)
        .init();
    Ok(())
}
