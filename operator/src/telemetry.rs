//! Logs: one JSON object a line on standard output.

use tracing_subscriber::EnvFilter;

/// Starts logging. `filter` as in `info,mcphub_operator=debug`.
pub fn start(filter: &str) -> Result<(), tracing_subscriber::filter::ParseError> {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(true)
        .with_env_filter(EnvFilter::try_new(filter)?)
        .init();
    Ok(())
}
