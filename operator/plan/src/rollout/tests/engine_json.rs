//! The text of `engine.json`. Operators of several releases read it, so a key that is renamed by accident is a loss of
//! every hub's rollout state.

use std::collections::BTreeMap;

use mcphub_hub_wire::dataplane::Weight;

use super::at;
use super::story::{GOOD, NEXT, OTHER, revision};
use crate::canonical;
use crate::rollout::bake::Bake;
use crate::rollout::state::{
    Asked, BrokenRule, Canary, Cause, Consumed, EngineState, Failed, Hold, HoldReason, Leave,
    Pinned, Previous, Stable, StepState, Straight, Tries,
};
use crate::rollout::verdict::{Judged, JudgedRule, Verdict};
use crate::rollout::{Record, RevisionResult};

/// Written without `..`, so that a new field has to be added here and to the text.
fn full() -> EngineState {
    EngineState {
        schema: 1,
        term: 7,
        generation: 42,
        key_serial: 3,
        asked: Some(Asked { revision: revision(NEXT), fresh: true }),
        stable: Some(Stable {
            revision: revision(GOOD),
            since: at(0),
            epoch: Some(at(1)),
            forced: true,
            flags_tried: true,
        }),
        canary: Some(canary()),
        previous: Some(Previous {
            revision: revision(OTHER),
            since: at(0),
            guard_until: at(1800),
            drained_at: at(300),
            guard_over: true,
        }),
        failed: Some(Failed { revision: revision("dddddddd"), since: at(5), replicas: 2 }),
        pinned: Some(Pinned { revision: revision(GOOD), instead_of: revision(NEXT) }),
        last_judged: Some(at(90)),
        judged: Some(judged()),
        restarts: [("pod-1/hub".to_owned(), 3)].into(),
        flags_rolled_back: [(revision(NEXT), [("beta".to_owned(), false)].into())].into(),
        records: [(
            revision(GOOD),
            Record {
                attempt: 1,
                result: Some(RevisionResult::Promoted),
                reason: "all steps passed".into(),
                at: at(2),
            },
        )]
        .into(),
        rollback: Some(cause()),
        intents: vec![Consumed {
            intent: "advance/bbbbbbbb/2/1".parse().unwrap(),
            at: at(80),
            outcome: "outcome".into(),
        }],
        misread: Some("misread".into()),
    }
}

fn canary() -> Canary {
    Canary {
        revision: revision(NEXT),
        attempt: 2,
        started: at(60),
        base_replicas: 4,
        weight: Weight::try_from(10).unwrap(),
        step: Some(StepState {
            number: 1,
            traffic: Weight::try_from(10).unwrap(),
            bake_ms: 1_800_000,
            pause: true,
            advanced: true,
            weight_since: Some(at(62)),
            bake: Some(Bake {
                began: at(63),
                observed_ms: 15_000,
                until: at(78),
                stretches: vec![(at(63), at(78))],
            }),
            unmet_from_ms: Some(10_000),
        }),
        progress_since: at(60),
        first_ready: Some(at(61)),
        self_check: Tries { failed: 1, last: Some(at(61)), message: "failed".into() },
        straight: Some(Straight::FastRollback),
        paused: Some("paused".into()),
        hold: Some(Hold { reason: HoldReason::NoData, since: at(70), message: "held".into() }),
        leave: Some(Leave {
            result: RevisionResult::Replaced,
            reason: "left".into(),
            harmful: true,
            since: at(75),
        }),
        never_worked: Some("never".into()),
        exceptions: vec!["exception".into()],
    }
}

fn judged() -> Judged {
    Judged {
        revision: revision(NEXT),
        at: at(90),
        presence: Verdict::Good,
        rules: vec![JudgedRule {
            name: "errors".into(),
            dry_run: true,
            value: Some(0.25),
            stable_value: Some(0.125),
            samples: Some(100.0),
            trigger: Some(Verdict::Breach { since: at(80) }),
            holds: true,
            gate: Some(Verdict::TooFew { have: 7, need: 20 }),
            gate_value: Some(0.5),
            open: Some(at(80)),
            seen_until: Some(at(85)),
        }],
    }
}

fn cause() -> Cause {
    Cause {
        revision: revision(NEXT),
        attempt: 1,
        at: at(50),
        reason: "reason".into(),
        rule: Some(BrokenRule {
            name: "errors".into(),
            value: Some(0.25),
            threshold: "above 0.1".into(),
            lasting_ms: 120_000,
            since: at(40),
            samples: Some(100.0),
        }),
        flags: BTreeMap::from([("beta".into(), false)]),
    }
}

#[test]
fn every_key_of_engine_json_keeps_its_name_and_its_spelling() {
    let state = full();
    let text = canonical::text(&serde_json::to_value(&state).unwrap());
    // Not an insta snapshot, because those are updated by a flag. This file must never change.
    assert_eq!(text, include_str!("engine.json").trim_end());
    assert_eq!(serde_json::from_str::<EngineState>(&text).unwrap(), state);
}

#[test]
fn every_enum_value_in_engine_json_keeps_its_spelling() {
    let json = |value: serde_json::Value| value.to_string();
    let all = [
        Straight::FirstDeployment,
        Straight::FastRollback,
        Straight::Promote,
        Straight::PromoteForce,
        Straight::HoldTimeout,
    ];
    assert_eq!(
        json(serde_json::to_value(all).unwrap()),
        r#"["FirstDeployment","FastRollback","Promote","PromoteForce","HoldTimeout"]"#
    );
    let all = [
        RevisionResult::Promoted,
        RevisionResult::RolledBack,
        RevisionResult::Replaced,
        RevisionResult::Aborted,
        RevisionResult::Failed,
    ];
    assert_eq!(
        json(serde_json::to_value(all).unwrap()),
        r#"["Promoted","RolledBack","Replaced","Aborted","Failed"]"#
    );
    let all = [
        Verdict::Good,
        Verdict::Breach { since: at(0) },
        Verdict::TooFew { have: 1, need: 2 },
        Verdict::NoData,
        Verdict::ProviderDown,
        Verdict::NotApplicable,
    ];
    assert_eq!(
        json(serde_json::to_value(all).unwrap()),
        r#"["Good",{"Breach":{"since":"2027-01-15T08:00:00Z"}},{"TooFew":{"have":1,"need":2}},"NoData","ProviderDown","NotApplicable"]"#
    );
    let all = [
        HoldReason::GateNotMet,
        HoldReason::TooFewSamples,
        HoldReason::NoData,
        HoldReason::ProviderDown,
        HoldReason::NodeLost,
        HoldReason::Unschedulable,
    ];
    assert_eq!(
        json(serde_json::to_value(all).unwrap()),
        r#"["GateNotMet","TooFewSamples","NoData","ProviderDown","NodeLost","Unschedulable"]"#
    );
}
