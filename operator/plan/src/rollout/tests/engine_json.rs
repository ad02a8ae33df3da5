//! The text of `engine.json`. Operators of several releases read it, so a key that is renamed by
//! accident loses the rollout state of every hub.

use std::collections::BTreeMap;

use mcphub_hub_wire::dataplane::Weight;

use super::at;
use super::story::{GOOD, NEXT, OTHER, revision};
use crate::api::{Event, canonical};
use crate::rollout::outbox::Outbox;
use crate::rollout::rules::bake::Bake;
use crate::rollout::rules::judgment::{FailingTool, Judgment, RuleJudgment, Verdict};
use crate::rollout::state::{
    Canary, EngineState, FailedRevision, Hold, HoldReason, IntentRecord, Pin, Previous,
    RollbackCause, RuleBreach, SelfCheckTries, SkipReason, SpecRevision, Stable, StepState,
    Withdrawal,
};
use crate::rollout::{AttemptRecord, AttemptResult};

/// This is written without `..`, so that a new field must be added here and to the file.
fn full() -> EngineState {
    EngineState {
        schema: 1,
        term: 7,
        generation: 42,
        key_serial: 3,
        spec_revision: Some(SpecRevision { revision: revision(NEXT), fresh: true }),
        stable: Some(Stable {
            revision: revision(GOOD),
            since: at(0),
            epoch: Some(at(1)),
            forced: true,
            flags_tried: true,
            connected: true,
        }),
        canary: Some(canary()),
        previous: Some(Previous {
            revision: revision(OTHER),
            since: at(0),
            guard_until: at(1800),
            drained_at: at(300),
            guard_over: true,
        }),
        failed: Some(FailedRevision { revision: revision("dddddddd"), since: at(5), replicas: 2 }),
        pin: Some(Pin { revision: revision(GOOD), instead_of: revision(NEXT) }),
        last_judgment: Some(at(90)),
        judgment: Some(judgment()),
        restarts: [("pod-1/hub".to_owned(), 3)].into(),
        flags_rolled_back: [(revision(NEXT), [("beta".to_owned(), false)].into())].into(),
        records: [(
            revision(GOOD),
            AttemptRecord {
                attempt: 1,
                result: Some(AttemptResult::Promoted),
                reason: "all steps passed".into(),
                at: at(2),
            },
        )]
        .into(),
        rollback: Some(cause()),
        intents: vec![IntentRecord {
            intent: "advance/bbbbbbbb/2/1".parse().unwrap(),
            at: at(80),
            outcome: "outcome".into(),
            waits: true,
            withdrawn: true,
        }],
        invalid_intent: Some("misread".into()),
        outbox: outbox(),
    }
}

fn outbox() -> Outbox {
    let mut outbox = Outbox::default();
    let event = Event { warning: true, reason: "RolledBack".into(), message: "message".into() };
    outbox.push(at(85), &event);
    outbox
}

fn canary() -> Canary {
    Canary {
        revision: revision(NEXT),
        attempt: 2,
        started: at(60),
        base_replicas: 4,
        weight: Weight::try_from(10).unwrap(),
        connected: true,
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
            resumed_at_ms: 60_000,
        }),
        progress_since: at(60),
        first_ready: Some(at(61)),
        self_check: SelfCheckTries { failed: 1, last: Some(at(61)), message: "failed".into() },
        skip_steps: Some(SkipReason::FastRollback),
        paused: Some("paused".into()),
        hold: Some(Hold { reason: HoldReason::NoData, since: at(70), message: "held".into() }),
        withdrawal: Some(Withdrawal {
            result: AttemptResult::Replaced,
            reason: "left".into(),
            harmful: true,
            since: at(75),
        }),
        never_worked: Some("never".into()),
        exceptions: vec!["exception".into()],
    }
}

fn judgment() -> Judgment {
    Judgment {
        revision: revision(NEXT),
        at: at(90),
        presence: Verdict::Good,
        rules: vec![RuleJudgment {
            name: "errors".into(),
            dry_run: true,
            value: Some(0.25),
            stable_value: Some(0.125),
            samples: Some(100.0),
            trigger: Some(Verdict::Breach { since: at(80) }),
            firing: true,
            gate: Some(Verdict::TooFew { have: 7, need: 20 }),
            gate_value: Some(0.5),
            breach_start: Some(at(80)),
            evaluated_until: Some(at(85)),
            failing_tools: vec![FailingTool { server: "files".into(), tool: "files__read".into() }],
        }],
    }
}

fn cause() -> RollbackCause {
    RollbackCause {
        revision: revision(NEXT),
        attempt: 1,
        at: at(50),
        reason: "reason".into(),
        rule: Some(RuleBreach {
            name: "errors".into(),
            value: Some(0.25),
            threshold: "above 0.1".into(),
            lasting_ms: 120_000,
            since: at(40),
            samples: Some(100.0),
        }),
        flags: BTreeMap::from([("beta".into(), false)]),
        step: 1,
        observed_ms: 1000,
        bake_ms: 2000,
        judgment: Some(judgment()),
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
        SkipReason::FirstDeployment,
        SkipReason::FastRollback,
        SkipReason::Promote,
        SkipReason::PromoteForce,
        SkipReason::HoldTimeout,
    ];
    assert_eq!(
        json(serde_json::to_value(all).unwrap()),
        r#"["FirstDeployment","FastRollback","Promote","PromoteForce","HoldTimeout"]"#
    );
    let all = [
        AttemptResult::Promoted,
        AttemptResult::RolledBack,
        AttemptResult::Replaced,
        AttemptResult::Aborted,
        AttemptResult::Failed,
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
