//! Elections as stories: one Lease, several electors and a clock.

use super::*;

/// What an API server does with a Lease: it compares and swaps by resourceVersion.
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

    /// The elector reads the Lease and does what it decides. Returns whether it leads afterwards.
    fn step(&mut self, who: &mut Elector, seconds: u64) -> bool {
        let now = self.at(seconds);
        who.observe(self.lease.clone(), now);
        let wall = Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
        if let Action::Create(lease) | Action::Replace(lease) = who.next_action(now, wall) {
            let lease = self.write(*lease).unwrap();
            who.acquire(lease, now);
        }
        who.leadership(now).is_some()
    }

    /// `None` means that another elector wrote first.
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

    fn term(&self, who: &Elector, seconds: u64) -> Option<u64> {
        who.leadership(self.at(seconds)).map(|leadership| leadership.term)
    }
}

fn elector(name: &str) -> Elector {
    Elector::new(name.into(), Timing::default())
}

#[tokio::test(start_paused = true)]
async fn the_first_elector_leads_with_term_1_and_the_second_waits() {
    let (mut story, mut a, mut b) = (Story::new(), elector("a"), elector("b"));
    assert!(story.step(&mut a, 0));
    assert!(!story.step(&mut b, 0));
    assert_eq!(story.term(&a, 0), Some(1));
}

// Two leaders at once would both write weights.
#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops_before_another_may_start() {
    let (mut story, mut a, mut b) = (Story::new(), elector("a"), elector("b"));
    assert!(story.step(&mut a, 0));
    assert!(!story.step(&mut b, 1));
    assert_eq!(story.term(&a, 9), Some(1));
    assert_eq!(story.term(&a, 10), None, "it stops 10 s after it sent the last renewal");
    assert!(
        !story.step(&mut b, 15),
        "15 s after the leader's renewal, but 14 s after b observed it"
    );
    assert!(story.step(&mut b, 16));
    assert_eq!(story.term(&b, 16), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_renews_keeps_its_term_and_the_followers_wait() {
    let (mut story, mut a, mut b) = (Story::new(), elector("a"), elector("b"));
    for seconds in (0..60).step_by(2) {
        assert!(story.step(&mut a, seconds));
        assert!(!story.step(&mut b, seconds + 1));
    }
    assert_eq!(story.term(&a, 59), Some(1));
}

// Its old writes may still be on their way, so a term must never be used twice.
#[tokio::test(start_paused = true)]
async fn a_leader_that_takes_over_its_own_expired_lease_gets_a_new_term() {
    let (mut story, mut a) = (Story::new(), elector("a"));
    story.step(&mut a, 0);
    assert!(story.step(&mut a, 11));
    assert_eq!(story.term(&a, 11), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_over_at_once_with_a_higher_term() {
    let (mut story, mut a, mut b) = (Story::new(), elector("a"), elector("b"));
    story.step(&mut a, 0);
    story.step(&mut b, 0);
    let released = a.resign(None, story.at(1)).unwrap();
    story.write(released).unwrap();
    assert_eq!(story.term(&a, 1), None);
    assert!(story.step(&mut b, 2));
    assert_eq!(story.term(&b, 2), Some(2));
}

#[tokio::test(start_paused = true)]
async fn an_elector_whose_write_came_second_does_not_lead() {
    let (mut story, mut a, mut b) = (Story::new(), elector("a"), elector("b"));
    let first = story.at(0);
    a.observe(None, first);
    b.observe(None, first);
    let (Action::Create(from_a), Action::Create(from_b)) =
        (a.next_action(first, Timestamp::UNIX_EPOCH), b.next_action(first, Timestamp::UNIX_EPOCH))
    else {
        panic!("both must try to create the Lease")
    };
    let lease = story.write(*from_a).unwrap();
    a.acquire(lease, first);
    assert_eq!(story.write(*from_b), None);
    assert!(!story.step(&mut b, 1));
}

// After somebody deletes the Lease its terms start over, but hubs remember the earlier ones.
#[tokio::test(start_paused = true)]
async fn a_deleted_lease_does_not_bring_back_a_term_that_a_hub_has_recorded() {
    let (mut story, mut a) = (Story::new(), elector("a"));
    story.step(&mut a, 0);
    story.lease = None;
    assert_eq!(a.resign(Some(7), story.at(1)).and_then(|lease| story.write(lease)), None);
    assert!(!story.step(&mut a, 2), "takes no part for one lease duration");
    assert!(story.step(&mut a, 17));
    assert_eq!(story.term(&a, 17), Some(8));
}

// A `kubectl edit` must not make a dead leader's record look alive.
#[tokio::test(start_paused = true)]
async fn a_label_that_is_added_to_the_lease_does_not_renew_it() {
    let (mut story, mut a, mut b) = (Story::new(), elector("a"), elector("b"));
    story.step(&mut a, 0);
    story.step(&mut b, 0);
    let mut edited = story.lease.clone().unwrap();
    edited.metadata.labels = Some([("touched".to_owned(), "yes".to_owned())].into());
    story.write(edited).unwrap();
    assert!(!story.step(&mut b, 14));
    assert!(story.step(&mut b, 15));
}
