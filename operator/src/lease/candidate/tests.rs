//! Elections told as stories: one Lease, several candidates, seconds that pass.

use super::*;

/// The API server as far as a Lease is concerned: compare-and-swap on the resourceVersion.
struct Story {
    start: Instant,
    lease: Option<Lease>,
    version: u64,
}

impl Story {
    fn new() -> Self {
        Self { start: Instant::now(), lease: None, version: 0 }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    /// The candidate looks and does what it decides to; true if it leads afterwards.
    fn turn(&mut self, who: &mut Candidate, seconds: u64) -> bool {
        let now = self.at(seconds);
        who.see(self.lease.clone(), now);
        let wall = Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
        if let Move::Create(lease) | Move::Replace(lease) = who.next(now, wall) {
            let lease = self.write(*lease).unwrap();
            who.won(lease, now);
        }
        who.leadership(now).is_some()
    }

    /// `None`: somebody else was faster.
    fn write(&mut self, mut lease: Lease) -> Option<Lease> {
        let current = self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        if lease.metadata.resource_version != current {
            return None;
        }
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(lease.clone());
        Some(lease)
    }

    fn term(&self, who: &Candidate, seconds: u64) -> Option<u64> {
        who.leadership(self.at(seconds)).map(|held| held.term)
    }
}

fn candidate(name: &str) -> Candidate {
    Candidate::new(name.into(), Timing::default())
}

#[tokio::test(start_paused = true)]
async fn the_first_candidate_leads_with_term_1_and_the_second_waits() {
    let (mut story, mut a, mut b) = (Story::new(), candidate("a"), candidate("b"));
    assert!(story.turn(&mut a, 0));
    assert!(!story.turn(&mut b, 0));
    assert_eq!(story.term(&a, 0), Some(1));
}

// Two leaders at once would be two writers of weights.
#[tokio::test(start_paused = true)]
async fn a_leader_that_can_not_renew_stops_before_another_may_start() {
    let (mut story, mut a, mut b) = (Story::new(), candidate("a"), candidate("b"));
    assert!(story.turn(&mut a, 0));
    assert!(!story.turn(&mut b, 1));
    assert_eq!(story.term(&a, 9), Some(1));
    assert_eq!(story.term(&a, 10), None, "10 s after the last renewal was sent it has stopped");
    assert!(!story.turn(&mut b, 15), "15 s after the leader's renewal, but 14 s after b saw it");
    assert!(story.turn(&mut b, 16));
    assert_eq!(story.term(&b, 16), Some(2));
}

#[tokio::test(start_paused = true)]
async fn renewals_keep_the_term_and_the_followers_waiting() {
    let (mut story, mut a, mut b) = (Story::new(), candidate("a"), candidate("b"));
    for seconds in (0..60).step_by(2) {
        assert!(story.turn(&mut a, seconds));
        assert!(!story.turn(&mut b, seconds + 1));
    }
    assert_eq!(story.term(&a, 59), Some(1));
}

// Its old writes may still be on their way: a term must never be used twice.
#[tokio::test(start_paused = true)]
async fn a_leader_that_takes_its_own_expired_lease_over_has_a_new_term() {
    let (mut story, mut a) = (Story::new(), candidate("a"));
    story.turn(&mut a, 0);
    assert!(story.turn(&mut a, 11));
    assert_eq!(story.term(&a, 11), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_once_with_a_higher_term() {
    let (mut story, mut a, mut b) = (Story::new(), candidate("a"), candidate("b"));
    story.turn(&mut a, 0);
    story.turn(&mut b, 0);
    let released = a.resign(None, story.at(1)).unwrap();
    story.write(released).unwrap();
    assert_eq!(story.term(&a, 1), None);
    assert!(story.turn(&mut b, 2));
    assert_eq!(story.term(&b, 2), Some(2));
}

#[tokio::test(start_paused = true)]
async fn one_who_was_overtaken_in_a_write_does_not_lead() {
    let (mut story, mut a, mut b) = (Story::new(), candidate("a"), candidate("b"));
    let first = story.at(0);
    a.see(None, first);
    b.see(None, first);
    let (Move::Create(of_a), Move::Create(of_b)) =
        (a.next(first, Timestamp::UNIX_EPOCH), b.next(first, Timestamp::UNIX_EPOCH))
    else {
        panic!("both must stand")
    };
    let won = story.write(*of_a).unwrap();
    a.won(won, first);
    assert_eq!(story.write(*of_b), None);
    assert!(!story.turn(&mut b, 1));
}

// A Lease that was deleted by hand starts its count anew; hubs remember the terms that were.
#[tokio::test(start_paused = true)]
async fn a_deleted_lease_does_not_bring_a_term_back_that_a_hub_has_seen() {
    let (mut story, mut a) = (Story::new(), candidate("a"));
    story.turn(&mut a, 0);
    story.lease = None;
    assert_eq!(a.resign(Some(7), story.at(1)).and_then(|lease| story.write(lease)), None);
    assert!(!story.turn(&mut a, 2), "stands back for one lease period");
    assert!(story.turn(&mut a, 17));
    assert_eq!(story.term(&a, 17), Some(8));
}

// Somebody's `kubectl edit` must not make a dead leader's record look alive.
#[tokio::test(start_paused = true)]
async fn a_label_put_on_the_lease_renews_nothing() {
    let (mut story, mut a, mut b) = (Story::new(), candidate("a"), candidate("b"));
    story.turn(&mut a, 0);
    story.turn(&mut b, 0);
    let mut edited = story.lease.clone().unwrap();
    edited.metadata.labels = Some([("touched".to_owned(), "yes".to_owned())].into());
    story.write(edited).unwrap();
    assert!(!story.turn(&mut b, 14));
    assert!(story.turn(&mut b, 15));
}
