//! What of the past is held against an attempt: nothing that was before it.

use std::collections::BTreeMap;
use std::time::Duration;

use mcphub_crds::status::Phase;
use proptest::prelude::*;

use super::story::{MINUTE, NEXT, Story, policy_scraped_every, revision};
use super::world::World;
use crate::rollout::queries;
use crate::rollout::state::{EngineState, before};
use crate::snapshot::Span;

/// A rule as impatient as scrapes every 5 s allow, and a canary that is looked at soon.
const IMPATIENT: &str = "interval: 5s\nwarmup: 5s\n\
     rules: [{name: errors, metric: HubErrorRate, minSamples: 20, rollbackWhen: {above: '0.10', for: 20s}}]\n";

// The failed revision's last errors are in every window of its metrics for a minute more.
#[test]
fn errors_of_the_attempt_before_are_not_held_against_a_retry() {
    let mut story = Story::canary("");
    story.world.policy = policy_scraped_every(5, IMPATIENT);
    let story = story.errors(NEXT, [(5 * MINUTE, 0.9)]).until(5 * MINUTE + 35);
    assert_eq!(story.phase(), Phase::RolledBack, "{}", story.message());
    let out_of_the_window = story.event("RolledBack").unwrap() + MINUTE;
    let story = story.errors(NEXT, [(out_of_the_window, 0.0)]).intent("retry/bbbbbbbb/1").until(10 * MINUTE);
    assert_eq!(story.weights(), "aaaaaaaa 90, bbbbbbbb 10", "{}", story.message());
    assert_eq!(story.report().canary.as_ref().unwrap().attempt, 2);
}

#[test]
fn errors_of_a_retry_itself_roll_it_back() {
    let mut story = Story::canary("").broken(NEXT).until(5 * MINUTE);
    story.world.policy = policy_scraped_every(5, IMPATIENT);
    story.truth(NEXT).broken.clear();
    let story = story.errors(NEXT, [(5 * MINUTE, 0.9)]).intent("retry/bbbbbbbb/1").until(7 * MINUTE);
    assert_eq!((story.phase(), story.weights()), (Phase::RolledBack, "aaaaaaaa 100".into()), "{}", story.message());
    assert!(story.reason(NEXT).contains("rule errors"), "{}", story.reason(NEXT));
}

/// The earliest instant that a trigger's query of now looks back to.
fn looks_back_to(world: &World) -> Option<jiff::Timestamp> {
    let (nothing, none) = (EngineState::default(), BTreeMap::new());
    let asked = queries(world.state.as_ref().unwrap_or(&nothing), &world.seen(&none));
    let window = world.policy.prometheus.as_ref().unwrap().window();
    let starts = asked.iter().filter(|query| query.id.contains("/trigger/")).map(|query| match &query.span {
        Span::At(at) => *at,
        Span::Range { start, .. } => *start,
    });
    starts.min().map(|start| before(start, window))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn no_trigger_of_a_retry_looks_back_to_before_it(scrape in 1_u64..40, warmup in 0_u64..200, pause in 0_i64..200) {
        let interval = scrape.max(5);
        let mut story = Story::canary("").broken(NEXT).until(5 * MINUTE);
        story.world.policy = policy_scraped_every(scrape, &format!(
            "interval: {interval}s\nwarmup: {warmup}s\nrules: [{{name: errors, metric: HubErrorRate, rollbackWhen: {{above: '0.10', for: {}s}}}}]\n",
            scrape * 4,
        ));
        story.truth(NEXT).broken.clear();
        let mut story = story.until(5 * MINUTE + pause).intent("retry/bbbbbbbb/1").until(5 * MINUTE + pause + 5);
        let mut asked = 0;
        for _ in 0..(400 / interval) {
            story.world.wait(Duration::from_secs(interval)); // then it is due
            let canary = story.world.state.as_ref().and_then(|state| state.canary.as_ref());
            let canary = canary.filter(|canary| canary.revision == revision(NEXT) && canary.attempt == 2).unwrap();
            if let Some(back) = looks_back_to(&story.world) {
                asked += 1;
                prop_assert!(back >= canary.started, "{back} is before {}", canary.started);
            }
            story.run_to(story.world.second());
        }
        prop_assert!(asked > 0, "no trigger was ever asked for");
    }
}
