//! `spec.rollout` with every default filled in, or what is wrong with it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mcphub_crds::rollout::{
    FlagChanges, OnHoldTimeout, OnTooFew, Rollback, RollbackOrder, Rollout, TrafficProvider,
};
use mcphub_hub_wire::dataplane::Weight;

use crate::rollout::text::plain;
use crate::snapshot;

mod rules;
pub use rules::{Gate, RulePolicy, Threshold, Trigger};

/// Default interval of evaluations, if no scrape interval is longer.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_mins(1);

/// How changes of one hub are rolled out, evaluated and rolled back. Only [`Policy::from_spec`]
/// makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Never empty. The traffic increases, and the last step has 100%.
    pub steps: Vec<StepPolicy>,
    /// Time after 100% in which the old revision is kept warm.
    pub guard: Duration,
    /// Interval of evaluations.
    pub interval: Duration,
    /// Time from the canary's first Ready pod to its epoch.
    pub warmup: Duration,
    /// In the order of the resource.
    pub rules: Vec<RulePolicy>,
    /// `None` if the operator's settings name none. Then only Kubernetes is watched.
    pub prometheus: Option<PrometheusSource>,
    pub rollback: RollbackPolicy,
    /// `spec.rollout.paused`.
    pub paused: bool,
    /// A canary that is not Available within this time is rolled back.
    pub progress_deadline: Duration,
    /// Longest observed time for which a gate may be unmet.
    pub gate_timeout: Duration,
    /// Observed time at one step after which too few samples are enough; `None` means three times
    /// the bake.
    pub max_bake: Option<Duration>,
    pub on_too_few: OnTooFew,
    /// Longest Hold for missing data or an unreachable Prometheus.
    pub hold_timeout: Duration,
    pub on_hold_timeout: OnHoldTimeout,
    /// How long a terminating pod keeps its sessions.
    pub drain_timeout: Duration,
    /// Minimum number of canary pods.
    pub min_canary_replicas: u32,
    /// A rollback to one of this many last promoted revisions skips the steps.
    pub fast_rollback: u32,
    /// Number of ControllerRevisions that are kept.
    pub history_limit: u32,
}

/// Features of a hub that decide which rules apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HubFeatures {
    /// Prompts ask a language model.
    pub llm: bool,
    /// The spec has golden questions.
    pub golden_questions: bool,
}

/// One step of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepPolicy {
    /// Weight of the canary.
    pub traffic: Weight,
    /// Observed time that the step takes.
    pub bake: Duration,
    /// The step waits for a person after its bake.
    pub pause: bool,
}

/// The Prometheus that evaluates a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusSource {
    /// Name in the operator's settings.
    pub name: String,
    /// Interval at which it scrapes hubs.
    pub scrape_interval: Duration,
    /// Longest time until a new sample can be queried.
    pub ingest_delay: Duration,
}

impl PrometheusSource {
    /// `{{window}}` of a query. With fewer than four scrapes in it, a rate would jump with every
    /// late scrape.
    pub fn window(&self) -> Duration {
        (self.scrape_interval * 4).max(MINUTE)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollbackPolicy {
    /// `None` means Together while there is a canary, else `FlagsFirst`.
    pub order: Option<RollbackOrder>,
    /// Flags by name with their safe value. Empty means the flags that differ between canary and
    /// stable.
    pub flags: BTreeMap<String, Option<bool>>,
    /// How long rolled-back flags may take to help.
    pub flag_grace: Duration,
    /// Time that calls in flight get.
    pub abort_grace: Duration,
    /// How long the pods of a failed revision are kept.
    pub keep_for: Duration,
}

/// An invalid field, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct PolicyProblem {
    /// Path below `spec`, such as `rollout.rules[0].rollbackWhen.for`.
    pub field: String,
    /// A predicate, such as "is 10s, but …; use at least 2m".
    pub message: String,
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.message)
    }
}

impl PolicyProblem {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl Policy {
    /// Reads the policy of a hub. `prometheus` is the one that `spec.rollout.prometheus` names
    /// (default `main`), or `None` if the operator's settings do not have it. `flags` are all known
    /// flags of the hub. `has` decides which rules apply.
    ///
    /// Without a Prometheus, a hub without steps and rules is still accepted. Its changes go to
    /// 100% after the self-check, only Kubernetes watches them, and the status says so.
    pub fn from_spec(
        spec: Option<&Rollout>,
        prometheus: Option<(&str, &snapshot::PrometheusTiming)>,
        flags: &BTreeMap<String, bool>,
        has: HubFeatures,
    ) -> Result<Self, Vec<PolicyProblem>> {
        let unset = Rollout::default();
        let spec = spec.unwrap_or(&unset);
        let prometheus = prometheus.map(|(name, server)| PrometheusSource {
            name: name.to_owned(),
            scrape_interval: server.scrape_interval,
            ingest_delay: server.ingest_delay,
        });
        let mut problems = unsupported(spec);
        let policy = Self {
            steps: steps(spec, prometheus.as_ref(), &mut problems),
            guard: length(spec.guard.as_ref(), 30 * MINUTE),
            interval: interval(spec, prometheus.as_ref(), &mut problems),
            warmup: length(spec.warmup.as_ref(), MINUTE),
            rules: rules::rules(spec, prometheus.as_ref(), has, &mut problems),
            rollback: rollback(spec.rollback.as_ref(), flags, &mut problems),
            paused: spec.paused.unwrap_or(false),
            progress_deadline: length(spec.progress_deadline.as_ref(), 10 * MINUTE),
            gate_timeout: length(spec.gate_timeout.as_ref(), 60 * MINUTE),
            max_bake: spec.max_bake.as_ref().map(mcphub_crds::values::Duration::get),
            on_too_few: spec.on_too_few.unwrap_or(OnTooFew::Proceed),
            hold_timeout: length(spec.hold_timeout.as_ref(), 120 * MINUTE),
            on_hold_timeout: spec.on_hold_timeout.unwrap_or(OnHoldTimeout::Pause),
            drain_timeout: length(spec.drain_timeout.as_ref(), 5 * MINUTE),
            min_canary_replicas: spec.min_canary_replicas.unwrap_or(1).max(1),
            fast_rollback: spec.fast_rollback.unwrap_or(3),
            history_limit: spec.history_limit.unwrap_or(10).max(4),
            prometheus,
        };
        if problems.is_empty() { Ok(policy) } else { Err(problems) }
    }
}

fn length(written: Option<&mcphub_crds::values::Duration>, default: Duration) -> Duration {
    written.map_or(default, mcphub_crds::values::Duration::get)
}

fn interval(
    spec: &Rollout,
    prometheus: Option<&PrometheusSource>,
    problems: &mut Vec<PolicyProblem>,
) -> Duration {
    let scrape = prometheus.map_or(Duration::ZERO, |prometheus| prometheus.scrape_interval);
    let Some(written) = &spec.interval else { return DEFAULT_INTERVAL.max(scrape) };
    if let Some(prometheus) = prometheus {
        problems.extend(too_short("rollout.interval", written.get(), 1, prometheus));
    }
    // A hub that is evaluated without pause would keep one worker of the operator busy forever.
    written.get().max(Duration::from_secs(1))
}

/// Reports a time that is shorter than `times` scrape intervals.
fn too_short(
    field: &str,
    written: Duration,
    times: u32,
    prometheus: &PrometheusSource,
) -> Option<PolicyProblem> {
    let least = prometheus.scrape_interval * times;
    let PrometheusSource { name, scrape_interval, .. } = prometheus;
    (written < least).then(|| {
        let (written, scrape, least) = (plain(written), plain(*scrape_interval), plain(least));
        PolicyProblem::new(
            field,
            format!(
                "is {written}, but Prometheus \"{name}\" is scraped every {scrape}; use at \
                     least {least}"
            ),
        )
    })
}

fn steps(
    spec: &Rollout,
    prometheus: Option<&PrometheusSource>,
    problems: &mut Vec<PolicyProblem>,
) -> Vec<StepPolicy> {
    let full = StepPolicy { traffic: Weight::FULL, bake: Duration::ZERO, pause: false };
    let Some(prometheus) = prometheus else {
        return steps_unobserved(spec, full, problems);
    };
    if spec.steps.is_empty() {
        let step = |percent, bake| StepPolicy { traffic: weight(percent), bake, pause: false };
        let least = prometheus.scrape_interval * 4;
        return vec![step(10, (30 * MINUTE).max(least)), step(50, (60 * MINUTE).max(least)), full];
    }
    let mut steps = Vec::new();
    for (at, written) in spec.steps.iter().enumerate() {
        let field = format!("rollout.steps[{at}]");
        let step = read_step(written);
        match &written.bake {
            Some(bake) => {
                problems.extend(too_short(&format!("{field}.bake"), bake.get(), 4, prometheus));
            }
            None if step.traffic == Weight::FULL || step.pause => {}
            None => problems.push(PolicyProblem::new(
                format!("{field}.bake"),
                format!(
                    "is missing; set for how long {}% is observed, such as 30m",
                    written.traffic
                ),
            )),
        }
        steps.push(step);
    }
    in_order(steps, full, problems)
}

/// Steps of a hub without a Prometheus. Only steps without bake are possible.
fn steps_unobserved(
    spec: &Rollout,
    full: StepPolicy,
    problems: &mut Vec<PolicyProblem>,
) -> Vec<StepPolicy> {
    if let Some(name) = &spec.prometheus {
        problems.push(PolicyProblem::new(
            "rollout.prometheus",
            format!(
                "is \"{name}\", but the operator has no Prometheus of that name; use one that \
                     its settings name"
            ),
        ));
        return vec![full];
    }
    let mut steps = Vec::new();
    for (at, written) in spec.steps.iter().enumerate() {
        let step = read_step(written);
        if step.traffic < Weight::FULL && !step.bake.is_zero() {
            problems.push(PolicyProblem::new(
                format!("rollout.steps[{at}].bake"),
                "needs a Prometheus, but the operator has none named \"main\"; configure one \
                 in the operator's settings, or use steps: [{traffic: 100}]",
            ));
        } else if step.traffic < Weight::FULL && !step.pause {
            problems.push(PolicyProblem::new(
                format!("rollout.steps[{at}]"),
                "has neither bake nor pause, so nothing ends it; add pause: true or use steps: \
                 [{traffic: 100}]",
            ));
        }
        steps.push(step);
    }
    in_order(steps, full, problems)
}

fn read_step(written: &mcphub_crds::rollout::Step) -> StepPolicy {
    StepPolicy {
        traffic: weight(written.traffic),
        bake: length(written.bake.as_ref(), Duration::ZERO),
        pause: written.pause.unwrap_or(false),
    }
}

fn weight(percent: u8) -> Weight {
    Weight::try_from(percent).unwrap_or(Weight::FULL)
}

/// Checks the order of the steps. The CRD checks it too, but a decreasing step or a rollout without
/// end would be an outage.
fn in_order(
    steps: Vec<StepPolicy>,
    full: StepPolicy,
    problems: &mut Vec<PolicyProblem>,
) -> Vec<StepPolicy> {
    let mut below = Weight::ZERO;
    for (at, step) in steps.iter().enumerate() {
        if step.traffic <= below {
            problems.push(PolicyProblem::new(
                format!("rollout.steps[{at}].traffic"),
                format!(
                    "is {}, but the step before it has {}; steps must increase",
                    step.traffic.percent(),
                    below.percent()
                ),
            ));
        }
        if step.traffic == Weight::FULL && (step.pause || !step.bake.is_zero()) {
            problems.push(PolicyProblem::new(
                format!("rollout.steps[{at}]"),
                "has a bake or a pause at 100%; remove it, because rollout.guard is the observed \
                 time at 100%",
            ));
        }
        below = step.traffic;
    }
    match steps.last() {
        None => vec![full],
        Some(last) if last.traffic < Weight::FULL => {
            problems.push(PolicyProblem::new(
                "rollout.steps",
                "does not end at 100; add {traffic: 100}",
            ));
            steps
        }
        Some(_) => steps,
    }
}

fn rollback(
    written: Option<&Rollback>,
    flags: &BTreeMap<String, bool>,
    problems: &mut Vec<PolicyProblem>,
) -> RollbackPolicy {
    let unset = Rollback::default();
    let Rollback { order, flags: safe, flag_grace, abort_grace, keep_for, revision } =
        written.unwrap_or(&unset);
    if *revision == Some(true) {
        problems.push(PolicyProblem::new(
            "rollout.rollback.revision",
            "is true, which is not supported yet; remove it",
        ));
    }
    for (at, flag) in safe.iter().enumerate().filter(|(_, flag)| !flags.contains_key(&flag.name)) {
        let known = flags.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        problems.push(PolicyProblem::new(
            format!("rollout.rollback.flags[{at}].name"),
            format!("is \"{}\", but this hub has no such flag; use one of {known}", flag.name),
        ));
    }
    RollbackPolicy {
        order: *order,
        flags: safe.iter().map(|flag| (flag.name.clone(), flag.value)).collect(),
        flag_grace: length(flag_grace.as_ref(), 2 * MINUTE),
        abort_grace: length(abort_grace.as_ref(), Duration::from_secs(10)),
        keep_for: length(keep_for.as_ref(), 30 * MINUTE),
    }
}

/// Reports fields that are not supported yet. The CRD rejects them first, but a field that slips
/// through must not be ignored silently.
fn unsupported(spec: &Rollout) -> Vec<PolicyProblem> {
    let provider = spec.traffic.as_ref().and_then(|traffic| traffic.provider);
    let found = [
        ("rollout.preview", spec.preview.is_some()),
        ("rollout.traffic.provider", !matches!(provider, None | Some(TrafficProvider::Router))),
        ("rollout.flagChanges", spec.flag_changes == Some(FlagChanges::Immediate)),
    ];
    let found = found.into_iter().filter(|(_, found)| *found);
    found.map(|(field, _)| PolicyProblem::new(field, "is not supported yet; remove it")).collect()
}
