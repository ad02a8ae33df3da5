//! The command line. No other module reads environment variables.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::lease::Timing;

/// Reconciles McpHub resources.
#[derive(Debug, Clone, Parser)]
#[command(name = "mcphub-operator", version)]
pub struct Args {
    /// Administrator's configuration: Prometheus servers, the hub image and the namespaces to
    /// watch.
    #[arg(long, value_name = "FILE", default_value = "/etc/mcphub-operator/config.yaml")]
    pub config: PathBuf,

    /// Namespace of the operator. The Lease and the master key are stored there.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "mcphub-system")]
    pub namespace: String,

    /// Name of this replica in the Lease and in Events.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "mcphub-operator")]
    pub pod: String,

    /// Listen address for /metrics, /healthz and /readyz.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,

    /// Name of the Lease for leader election.
    #[arg(long, value_name = "NAME", default_value = "mcphub-operator")]
    pub lease: String,

    /// How long followers wait for a renewal before they replace the leader. Whole seconds.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub lease_duration: Duration,

    /// How long a leader keeps acting without a successful renewal. Must be less than
    /// --lease-duration.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub renew_deadline: Duration,

    /// How often a replica renews or checks the Lease. Must be less than --renew-deadline.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub retry_period: Duration,

    /// Maximum concurrent reconciles, in all watched namespaces together.
    #[arg(long, value_name = "N", default_value = "32")]
    pub concurrency: u16,

    /// Log filter, for example `info,mcphub_operator=debug`.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// The election periods are in the wrong order and could elect two leaders or none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "--retry-period ({retry_period:?}) must be less than --renew-deadline ({renew_deadline:?}), \
     and --renew-deadline must be less than --lease-duration ({lease_duration:?}), \
     which must be in whole seconds"
)]
pub struct InvalidTiming {
    lease_duration: Duration,
    renew_deadline: Duration,
    retry_period: Duration,
}

impl Args {
    /// The periods of the leader election.
    pub fn timing(&self) -> Result<Timing, InvalidTiming> {
        let &Self { lease_duration, renew_deadline, retry_period, .. } = self;
        if retry_period.is_zero()
            || retry_period >= renew_deadline
            || renew_deadline >= lease_duration
            || lease_duration.subsec_nanos() != 0
        {
            return Err(InvalidTiming { lease_duration, renew_deadline, retry_period });
        }
        Ok(Timing { lease_duration, renew_deadline, retry_period })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .trim_end_matches('s')
        .parse()
        .map_err(|_| "expected a number of seconds, for example 15 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Args {
        Args::try_parse_from([&["mcphub-operator"], args].concat()).unwrap()
    }

    #[test]
    fn a_renew_deadline_that_is_not_below_the_lease_duration_is_rejected_with_both_flags_named() {
        assert_eq!(parse(&[]).timing(), Ok(Timing::default()));
        let message = parse(&["--renew-deadline", "15"]).timing().unwrap_err().to_string();
        assert!(
            message.contains("--renew-deadline (15s)")
                && message.contains("--lease-duration (15s)"),
            "{message}"
        );
        assert!(
            parse(&["--lease-duration", "2.5", "--renew-deadline", "1", "--retry-period", "0.2"])
                .timing()
                .is_err()
        );
    }
}
