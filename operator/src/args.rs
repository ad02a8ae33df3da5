//! The command line. The environment is read here and nowhere else.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::lease::Timing;

/// Makes `McpHub` resources come true.
#[derive(Debug, Clone, Parser)]
#[command(name = "mcphub-operator", version)]
pub struct Args {
    /// Settings of the administrator: Prometheus servers, hub image, namespaces.
    #[arg(long, value_name = "FILE", default_value = "/etc/mcphub-operator/config.yaml")]
    pub config: PathBuf,

    /// Namespace that the operator runs in: of its Lease and its master key.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", default_value = "mcphub-system")]
    pub namespace: String,

    /// Name of this replica in the Lease.
    #[arg(long, env = "POD_NAME", value_name = "NAME", default_value = "mcphub-operator")]
    pub pod: String,

    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,

    /// Name of the Lease that replicas compete for.
    #[arg(long, value_name = "NAME", default_value = "mcphub-operator")]
    pub lease: String,

    /// A leader that was not heard of for so long is replaced. Whole seconds.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub lease_duration: Duration,

    /// A leader that could not renew for so long stops acting. Less than --lease-duration.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub renew_deadline: Duration,

    /// How often the Lease is renewed and looked at. Less than --renew-deadline.
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub retry_period: Duration,

    /// Hubs that are brought up to date at the same time.
    #[arg(long, value_name = "N", default_value = "32")]
    pub concurrency: u16,

    /// Log filter, as in `info,mcphub_operator=debug`.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
}

/// Periods that would elect two leaders or none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "--retry-period ({retry:?}) must be less than --renew-deadline ({renew_deadline:?}), and that less than \
         --lease-duration ({lease:?}), which must be whole seconds"
)]
pub struct BadTiming {
    lease: Duration,
    renew_deadline: Duration,
    retry: Duration,
}

impl Args {
    /// The periods of the election.
    pub fn timing(&self) -> Result<Timing, BadTiming> {
        let (lease, renew_deadline, retry) =
            (self.lease_duration, self.renew_deadline, self.retry_period);
        if retry.is_zero()
            || retry >= renew_deadline
            || renew_deadline >= lease
            || lease.subsec_nanos() != 0
        {
            return Err(BadTiming { lease, renew_deadline, retry });
        }
        Ok(Timing { lease, renew_deadline, retry })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .trim_end_matches('s')
        .parse()
        .map_err(|_| "seconds are a number, as 15 or 0.5".to_owned())?;
    Duration::try_from_secs_f64(number).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Args {
        Args::try_parse_from([&["mcphub-operator"], args].concat()).unwrap()
    }

    #[test]
    fn a_deadline_that_is_not_before_the_leases_end_is_refused_by_name() {
        assert_eq!(parsed(&[]).timing(), Ok(Timing::default()));
        let refused = parsed(&["--renew-deadline", "15"]).timing().unwrap_err().to_string();
        assert!(
            refused.contains("--renew-deadline (15s)")
                && refused.contains("--lease-duration (15s)"),
            "{refused}"
        );
        assert!(
            parsed(&["--lease-duration", "2.5", "--renew-deadline", "1", "--retry-period", "0.2"])
                .timing()
                .is_err()
        );
    }
}
