//! Who leads, decided from what the Lease says and how long it has said so. No IO and no wall clock in the decision:
//! only how long *we* have seen a record unchanged counts, so clocks that disagree elect nobody twice.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use tokio::time::Instant;

/// The periods of an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A record that nobody renewed for so long is free. Whole seconds.
    pub lease: Duration,
    /// A leader that could not renew for so long stops acting. Shorter than `lease`: it stops before others may start.
    pub renew_deadline: Duration,
    /// How often a leader renews and a follower looks.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// A leadership: its number, and until when it may be acted upon unless it is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// Rises at each take-over, also of one's own expired lease.
    pub term: u64,
    /// After this instant nothing may be written.
    pub until: Instant,
}

/// What to do about the Lease now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Move {
    /// Somebody else holds it.
    Wait,
    /// There is none: create this one.
    Create(Box<Lease>),
    /// Replace it by this one; its resourceVersion decides between candidates.
    Replace(Box<Lease>),
}

/// One who takes part in the election.
#[derive(Debug)]
pub(super) struct Candidate {
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
    held: Option<Leadership>,
    floor: u64,
    stands_from: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    lease: Lease,
    since: Instant,
}

impl Candidate {
    /// One that has seen nothing yet. `identity` must be this process's own: a restarted one is somebody else.
    pub(super) fn new(identity: String, timing: Timing) -> Self {
        Self { identity, timing, seen: None, held: None, floor: 0, stands_from: None }
    }

    /// The leadership that is held at `now`, if any.
    pub(super) fn leadership(&self, now: Instant) -> Option<Leadership> {
        self.held.filter(|held| now < held.until)
    }

    /// Takes note of the Lease as it is (`None`: there is no such object).
    pub(super) fn see(&mut self, lease: Option<Lease>, now: Instant) {
        let unchanged = match (&self.seen, &lease) {
            (Some(seen), Some(lease)) => seen.lease.spec == lease.spec,
            _ => false,
        };
        match lease {
            Some(lease) if unchanged => {
                if let Some(seen) = &mut self.seen {
                    seen.lease = lease; // labels may have changed, and with them the resourceVersion
                }
            }
            Some(lease) => {
                if holder(&lease) != Some(&self.identity)
                    || transitions(&lease) != self.held.map(|held| held.term)
                {
                    self.held = None;
                }
                self.seen = Some(Seen { lease, since: now });
            }
            None => {
                self.seen = None;
                self.held = None;
            }
        }
    }

    /// What to do at `now`. `wall` is written into the Lease for people to read; nobody decides by it.
    pub(super) fn next(&self, now: Instant, wall: Timestamp) -> Move {
        if self.stands_from.is_some_and(|from| now < from) {
            return Move::Wait;
        }
        let Some(seen) = &self.seen else {
            return Move::Create(Box::new(self.lease(None, self.floor + 1, wall)));
        };
        if let Some(held) = self.leadership(now) {
            return Move::Replace(Box::new(self.lease(Some(&seen.lease), held.term, wall)));
        }
        if holder(&seen.lease).is_some_and(|holder| *holder != self.identity)
            && now < seen.since + self.life(&seen.lease)
        {
            return Move::Wait;
        }
        let term = transitions(&seen.lease).unwrap_or(0).max(self.floor) + 1;
        Move::Replace(Box::new(self.lease(Some(&seen.lease), term, wall)))
    }

    /// The server took our Lease; `asked` is the instant *before* the request was sent, since others count from no
    /// later than its arrival.
    pub(super) fn won(&mut self, lease: Lease, asked: Instant) {
        let term = transitions(&lease).unwrap_or(1);
        self.held = Some(Leadership { term, until: asked + self.timing.renew_deadline });
        self.seen = Some(Seen { lease, since: asked });
    }

    /// The Lease that gives leadership up, so that others need not wait; `None` if there is nothing to give.
    /// `floor`: a term that was seen elsewhere; the next of ours will be higher. Also stands back for one lease period.
    pub(super) fn resign(&mut self, floor: Option<u64>, now: Instant) -> Option<Lease> {
        if let Some(floor) = floor {
            self.floor = self.floor.max(floor);
        }
        self.stands_from = Some(now + self.timing.lease);
        let mut lease = self.leadership(now).and(self.seen.as_ref()).map(|seen| seen.lease.clone());
        self.held = None;
        if let Some(spec) = lease.as_mut().and_then(|lease| lease.spec.as_mut()) {
            spec.holder_identity = None;
            spec.lease_duration_seconds = Some(1);
        }
        lease
    }

    fn life(&self, lease: &Lease) -> Duration {
        let said = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        said.and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(self.timing.lease, Duration::from_secs)
    }

    fn lease(&self, base: Option<&Lease>, term: u64, wall: Timestamp) -> Lease {
        let mut lease = base.cloned().unwrap_or_default();
        let renewed = self.held.is_some_and(|held| held.term == term);
        let acquired =
            lease.spec.as_ref().and_then(|spec| spec.acquire_time.clone()).filter(|_| renewed);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.lease.as_secs()).ok(),
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
