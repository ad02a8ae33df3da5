//! Decides who leads, from what the Lease says and how long it has said so.
//!
//! The decision uses no IO and no wall clock. Only the time that *we* have observed a record
//! unchanged counts, so replicas whose clocks disagree never elect two leaders.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

/// The periods of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A follower may take over when nobody has renewed the Lease for this long. Whole seconds.
    pub lease_duration: Duration,
    /// A leader stops acting when it has not renewed the Lease for this long. Shorter than
    /// `lease_duration`, so that it stops before another replica may start.
    pub renew_deadline: Duration,
    /// How often a leader renews the Lease and a follower checks it.
    pub retry_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// A term and how long its leader may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// Rises at each takeover, also when a replica takes over its own expired Lease.
    pub(crate) term: u64,
    /// Nothing may be written after this instant. A renewal moves it.
    pub(crate) until: Instant,
}

impl Leadership {
    pub(super) fn is_valid(&self) -> bool {
        Instant::now() < self.until
    }
}

/// What to do with the Lease now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// Another replica holds it.
    Wait,
    /// There is no Lease.
    Create(Box<Lease>),
    /// Renew it or take it over. Its resourceVersion decides between replicas.
    Replace(Box<Lease>),
}

/// One participant of the election.
#[derive(Debug)]
pub(super) struct Elector {
    identity: String,
    timing: Timing,
    observed: Option<ObservedLease>,
    leadership: Option<Leadership>,
    /// The next term is higher than this one, which another leader has used.
    min_term: u64,
    /// Takes no part before this instant.
    not_before: Option<Instant>,
}

#[derive(Debug)]
struct ObservedLease {
    lease: Lease,
    /// When its spec was first observed.
    since: Instant,
}

impl Elector {
    /// `identity` must be unique to this process, because a restarted process is another
    /// participant.
    pub(super) fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, observed: None, leadership: None, min_term: 0, not_before: None }
    }

    /// The leadership that is valid at `now`.
    pub(super) fn leadership(&self, now: Instant) -> Option<Leadership> {
        self.leadership.filter(|leadership| now < leadership.until)
    }

    /// Records the Lease as it was read; `None` if there is no such object.
    pub(super) fn observe(&mut self, lease: Option<Lease>, now: Instant) {
        let unchanged = match (&self.observed, &lease) {
            (Some(observed), Some(lease)) => observed.lease.spec == lease.spec,
            _ => false,
        };
        match lease {
            Some(lease) if unchanged => {
                if let Some(observed) = &mut self.observed {
                    // Labels may have changed, and the resourceVersion with them.
                    observed.lease = lease;
                }
            }
            Some(lease) => {
                if holder(&lease) != Some(&self.identity)
                    || transitions(&lease) != self.leadership.map(|leadership| leadership.term)
                {
                    self.leadership = None;
                }
                self.observed = Some(ObservedLease { lease, since: now });
            }
            None => {
                self.observed = None;
                self.leadership = None;
            }
        }
    }

    /// What to do at `now`. `wall` goes into the Lease for people to read. No replica decides by
    /// it.
    pub(super) fn next_action(&self, now: Instant, wall: Timestamp) -> Action {
        if self.not_before.is_some_and(|instant| now < instant) {
            return Action::Wait;
        }
        let Some(observed) = &self.observed else {
            return Action::Create(Box::new(self.lease(None, self.min_term + 1, wall)));
        };
        if let Some(leadership) = self.leadership(now) {
            let lease = self.lease(Some(&observed.lease), leadership.term, wall);
            return Action::Replace(Box::new(lease));
        }
        if holder(&observed.lease).is_some_and(|holder| *holder != self.identity)
            && now < observed.since + self.duration(&observed.lease)
        {
            return Action::Wait;
        }
        let term = transitions(&observed.lease).unwrap_or(0).max(self.min_term) + 1;
        Action::Replace(Box::new(self.lease(Some(&observed.lease), term, wall)))
    }

    /// The API server accepted our Lease.
    ///
    /// `sent_at` is the instant *before* the request was sent, because other replicas count from
    /// its arrival or later.
    pub(super) fn acquire(&mut self, lease: Lease, sent_at: Instant) {
        let term = transitions(&lease).unwrap_or(1);
        self.leadership = Some(Leadership { term, until: sent_at + self.timing.renew_deadline });
        self.observed = Some(ObservedLease { lease, since: sent_at });
    }

    /// Ends the leadership and takes no part for one `lease_duration`.
    ///
    /// `min_term` is a term that another leader has used. Returns the Lease to write, so that
    /// others need not wait until it expires, or `None` if we do not hold it.
    pub(super) fn resign(&mut self, min_term: Option<u64>, now: Instant) -> Option<Lease> {
        if let Some(min_term) = min_term {
            self.min_term = self.min_term.max(min_term);
        }
        self.not_before = Some(now + self.timing.lease_duration);
        let observed = self.observed.as_ref();
        let mut lease = self.leadership(now).and(observed).map(|observed| observed.lease.clone());
        self.leadership = None;
        if let Some(spec) = lease.as_mut().and_then(|lease| lease.spec.as_mut()) {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        lease
    }

    /// How long the holder of `lease` may stay silent.
    fn duration(&self, lease: &Lease) -> Duration {
        let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        seconds
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.timing.lease_duration, Duration::from_secs)
    }

    fn lease(&self, base: Option<&Lease>, term: u64, wall: Timestamp) -> Lease {
        let mut lease = base.cloned().unwrap_or_default();
        let is_renewal = self.leadership.is_some_and(|leadership| leadership.term == term);
        let acquired =
            lease.spec.as_ref().and_then(|spec| spec.acquire_time.clone()).filter(|_| is_renewal);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.lease_duration.as_secs()).ok(),
            acquire_time: acquired.or(Some(MicroTime(wall))),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: i32::try_from(term).ok(),
            ..LeaseSpec::default()
        });
        lease
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref().filter(|holder| !holder.is_empty())
}

fn transitions(lease: &Lease) -> Option<u64> {
    lease.spec.as_ref()?.lease_transitions.and_then(|count| u64::try_from(count).ok())
}

#[cfg(test)]
mod tests;
