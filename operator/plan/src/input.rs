//! The input of a plan: the snapshot, parsed once, and then the results of the probes.
//!
//! [`PlanInput::read`] parses the runtime ConfigMap, the ControllerRevisions, the spec and the
//! pods. [`PlanInput::probes`] says what else must be asked, and [`crate::plan`] takes the input
//! together with the results.

pub(crate) mod pod_facts;
mod probe_selection;
mod runtime;
mod server_pods;

use std::collections::BTreeMap;

use mcphub_crds::McpHubSpec;
use mcphub_crds::expose::Expose;
use mcphub_crds::pods::Router;
use mcphub_crds::rollout::Rollout;
use mcphub_hub_wire::dataplane::Revision;
use serde::Deserialize;
use serde_json::Value;

use self::runtime::Runtime;
use crate::api::labels::Owner;
use crate::api::{Object, drift};
use crate::probes::{ProbeResults, Probes, PrometheusAnswers};
use crate::revisions::{RevisionRecord, StoredRevision, revision_record, stored_revision};
use crate::rollout::intent::{self, Intent};
use crate::rollout::state::EngineState;
use crate::rollout::{EngineInput, RevisionFacts, RouterFacts};
use crate::snapshot::Snapshot;
use crate::spec::accept;
use crate::spec::problem::Problem;
use crate::spec::revision_content::RevisionContent;
use crate::spec::valid::{ValidHub, ValidLive, ValidRevision};

/// Everything that a plan is made from.
#[derive(Debug, Clone)]
pub struct PlanInput<'a> {
    pub(crate) snapshot: &'a Snapshot,
    /// Empty until the probes have been answered.
    pub(crate) results: &'a ProbeResults,
    pub(crate) owner: Owner<'a>,
    pub(crate) runtime: Runtime,
    pub(crate) acceptance: Acceptance,
    /// What is applied at once: from the accepted spec, else from the last accepted one.
    pub(crate) live: Option<ValidLive>,
    /// The revision that the spec asks for, if the spec is accepted.
    pub(crate) desired: Option<Revision>,
    /// The desired revision as this operator renders it, if no ControllerRevision records it yet.
    rendered: Option<StoredRevision>,
    /// Revisions that the cluster knows.
    stored: BTreeMap<Revision, StoredRevision>,
    pub(crate) facts: BTreeMap<Revision, RevisionFacts>,
    pub(crate) routers: RouterFacts,
}

/// Whether the spec can be carried out.
#[derive(Debug, Clone)]
pub(crate) enum Acceptance {
    Accepted(Box<ValidHub>),
    /// Everything that is wrong with it.
    Refused(Vec<Problem>),
    /// Nobody can say yet; the message says why. The spec waits, and what lives goes on.
    Unknown(&'static str),
}

impl Acceptance {
    pub(crate) fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }

    pub(crate) fn problems(&self) -> &[Problem] {
        match self {
            Self::Refused(problems) => problems,
            Self::Accepted(_) | Self::Unknown(_) => &[],
        }
    }
}

/// The revision that the spec asks for, and that revision rendered if it is not recorded yet.
type Desired = (Revision, Option<StoredRevision>);

impl<'a> PlanInput<'a> {
    /// Parses a snapshot. Total: what cannot be parsed counts as missing.
    pub fn read(snapshot: &'a Snapshot) -> Self {
        let meta = &snapshot.hub.metadata;
        let owner = Owner {
            hub: meta.name.as_deref().unwrap_or_default(),
            namespace: meta.namespace.as_deref().unwrap_or_default(),
            uid: meta.uid.as_deref().unwrap_or_default(),
        };
        let stored = stored_revision::stored_revisions(owner.hub, &snapshot.objects);
        let runtime = Runtime::read(snapshot, owner);
        if !snapshot.unread_config_maps.is_empty() {
            let unread = Acceptance::Unknown("a ConfigMap that the spec refers to cannot be read");
            return Self::new(snapshot, owner, runtime, stored, unread, None);
        }
        let accepted = accept::accept(snapshot).and_then(|hub| {
            let desired = desired(snapshot, owner, &hub.revision, &stored)?;
            Ok((hub, desired))
        });
        match accepted {
            Ok((hub, desired)) => {
                let accepted = Acceptance::Accepted(Box::new(hub));
                Self::new(snapshot, owner, runtime, stored, accepted, Some(desired))
            }
            Err(problems) => {
                let refused = Acceptance::Refused(problems);
                Self::new(snapshot, owner, runtime, stored, refused, None)
            }
        }
    }

    fn new(
        snapshot: &'a Snapshot,
        owner: Owner<'a>,
        runtime: Runtime,
        stored: BTreeMap<Revision, StoredRevision>,
        acceptance: Acceptance,
        desired: Option<Desired>,
    ) -> Self {
        let (desired, rendered) = desired.unzip();
        let live = match &acceptance {
            Acceptance::Accepted(hub) => Some(hub.live.clone()),
            Acceptance::Refused(_) | Acceptance::Unknown(_) => {
                last_accepted(snapshot, runtime.accepted.as_ref())
            }
        };
        let mut input = Self {
            snapshot,
            results: ProbeResults::EMPTY,
            owner,
            runtime,
            acceptance,
            live,
            desired,
            rendered: rendered.flatten(),
            stored,
            facts: BTreeMap::new(),
            routers: pod_facts::routers(snapshot),
        };
        let mut facts = pod_facts::revisions(snapshot, input.revisions(), input.engine());
        server_pods::add(snapshot, input.revisions(), &mut facts);
        input.facts = facts;
        input
    }

    /// What must be asked before a plan can be made from this.
    pub fn probes(&self) -> Probes {
        probe_selection::probes(self)
    }

    /// Whether a plan can be made with these answers of Prometheus.
    pub fn fits(&self, answers: &PrometheusAnswers) -> bool {
        probe_selection::fits(self, answers)
    }

    /// What the pods of each revision do.
    pub fn revision_facts(&self) -> &BTreeMap<Revision, RevisionFacts> {
        &self.facts
    }

    /// Bearer token for the admin ports of the hub's pods.
    pub fn admin_token(&self) -> String {
        let master_key = &self.snapshot.operator.master_key;
        master_key.hub_key(self.owner.uid, self.runtime.key_serial).admin_token()
    }

    /// Takes in the results of the probes.
    #[must_use]
    pub fn with_results(self, results: &'a ProbeResults) -> Self {
        let refusals = accept::refusals(self.owner.hub, results);
        let unanswered = !results.unknown_names.is_empty() || !results.untried.is_empty();
        let mut input = if !refusals.is_empty() {
            self.refused(refusals)
        } else if self.rendered.is_some() && unanswered {
            // A revision that is recorded was checked before.
            self.not_accepted(Acceptance::Unknown(
                "the API server does not say whether it accepts the objects of the new revision",
            ))
        } else {
            self
        };
        input.results = results;
        let stable = input.runtime.engine.as_ref().and_then(|engine| engine.stable.as_ref());
        let stable = stable.map(|stable| stable.revision.clone());
        pod_facts::add_self_checks(input.snapshot, results, stable.as_ref(), &mut input.facts);
        input.routers.obeyed = pod_facts::obeyed_generation(input.snapshot, results);
        input
    }

    /// The same input with a spec that is not accepted.
    fn refused(self, mut problems: Vec<Problem>) -> Self {
        problems.extend_from_slice(self.acceptance.problems());
        self.not_accepted(Acceptance::Refused(problems))
    }

    fn not_accepted(self, acceptance: Acceptance) -> Self {
        Self::new(self.snapshot, self.owner, self.runtime, self.stored, acceptance, None)
    }

    /// Revisions that are stored, and the desired one.
    pub(crate) fn revisions(&self) -> impl Iterator<Item = (&Revision, &StoredRevision)> {
        let rendered = self.desired.as_ref().zip(self.rendered.as_ref());
        let stored = self.stored.iter();
        stored
            .filter(move |(revision, _)| rendered.is_none_or(|(name, _)| name != *revision))
            .chain(rendered)
    }

    /// One of [`Self::revisions`].
    pub(crate) fn revision(&self, revision: &Revision) -> Option<&StoredRevision> {
        let rendered = self.rendered.as_ref().filter(|_| self.desired.as_ref() == Some(revision));
        rendered.or_else(|| self.stored.get(revision))
    }

    /// Input of the rollout engine; `None` if no spec was ever accepted.
    pub(crate) fn engine_input(&'a self) -> Option<EngineInput<'a>> {
        Some(EngineInput {
            now: self.snapshot.now,
            term: self.snapshot.operator.term,
            dataplane: self.runtime.dataplane.as_ref(),
            dataplane_signed: self.runtime.dataplane_signed,
            namespace: self.owner.namespace,
            hub: self.owner.hub,
            policy: &self.live.as_ref()?.policy,
            desired: self.desired.as_ref(),
            replicas: self.snapshot.hub.spec.replicas,
            intent: self.intent(),
            intent_removed: self.annotation().is_none(),
            revisions: &self.facts,
            routers: self.routers,
            answers: self.results.prometheus.as_ref(),
        })
    }

    /// Like [`Self::engine_input`], but with nothing but the answers of Prometheus: a revision that
    /// is not recorded waits.
    pub(crate) fn engine_input_unasked(
        &'a self,
        answers: Option<&'a PrometheusAnswers>,
    ) -> Option<EngineInput<'a>> {
        let desired = self.desired.as_ref().filter(|_| self.rendered.is_none());
        Some(EngineInput { desired, answers, ..self.engine_input()? })
    }

    /// What a person asks for. Ignored while the spec is refused, because the intent may be about
    /// that spec.
    fn intent(&self) -> Option<Result<Intent, String>> {
        let refused = matches!(self.acceptance, Acceptance::Refused(_));
        let text = self.annotation().filter(|_| !refused)?;
        let name = intent::ANNOTATION;
        Some(text.parse().map_err(|error| format!("metadata.annotations[\"{name}\"]: {error}")))
    }

    fn annotation(&self) -> Option<&String> {
        self.snapshot.hub.metadata.annotations.as_ref()?.get(intent::ANNOTATION)
    }

    /// The term of a newer leader that has written to the runtime ConfigMap.
    pub(crate) fn newer_term(&self) -> Option<u64> {
        Some(self.runtime.term).filter(|term| *term > self.snapshot.operator.term)
    }

    /// An older leader wrote to the runtime ConfigMap last.
    pub(crate) fn must_take_over(&self) -> bool {
        self.runtime.live.is_some() && self.runtime.term < self.snapshot.operator.term
    }

    /// Some revision of this hub exists, or may be created.
    pub(crate) fn has_begun(&self) -> bool {
        self.acceptance.is_accepted() || self.runtime.live.is_some() || !self.stored.is_empty()
    }

    /// The engine's state as it was read.
    pub(crate) fn engine(&self) -> Option<&EngineState> {
        self.runtime.engine.as_ref()
    }
}

/// The revision that the spec asks for, and that revision rendered if no ControllerRevision records
/// it yet.
fn desired(
    snapshot: &Snapshot,
    owner: Owner<'_>,
    valid: &ValidRevision,
    stored: &BTreeMap<Revision, StoredRevision>,
) -> Result<(Revision, Option<StoredRevision>), Vec<Problem>> {
    let (render, revision) = free_name(&valid.content, stored);
    if stored.get(&revision).is_some_and(|stored| stored.created.is_some()) {
        return Ok((revision, None));
    }
    let record = RevisionRecord {
        render,
        ..revision_record::render(owner.hub, owner.namespace, &revision, valid, &snapshot.operator)
    };
    // The ControllerRevision is gone, or not in the cache yet, and this operator would no longer
    // render what the pods run. What was copied back from them stays: rendering again would restart
    // them.
    let runs_something_else = stored.contains_key(&revision) && !runs(snapshot, &record);
    if runs_something_else {
        return Ok((revision, None));
    }
    let problems = accept::refused_by_hubs(record.config_text());
    if !problems.is_empty() {
        return Err(problems);
    }
    let number = stored.get(&revision).map(|stored| stored.number);
    let last = stored.values().map(|stored| stored.number).max().unwrap_or_default();
    let rendered = StoredRevision::new(record, number.unwrap_or(last + 1));
    let object = Object::ControllerRevision(rendered.object(owner.hub, &revision, None));
    match accept::size(&object) {
        Some(problem) => Err(vec![problem]),
        None => Ok((revision, Some(rendered))),
    }
}

/// The render serial of the desired revision, and its name. Eight digits are not enough to tell
/// revisions apart for certain, so a name that another content already has is skipped: the new spec
/// would otherwise never be rolled out.
fn free_name(
    content: &RevisionContent,
    stored: &BTreeMap<Revision, StoredRevision>,
) -> (u32, Revision) {
    let digests = content.digests();
    let same =
        |record: &RevisionRecord| record.fields == content.fields && record.config_maps == digests;
    let records = stored.values().filter_map(|stored| stored.record.as_ref());
    let last = records.filter(|record| same(record)).map(|record| record.render).max();
    let mut render = last.unwrap_or_default();
    loop {
        let revision = content.revision(render);
        let record = stored.get(&revision).and_then(|stored| stored.record.as_ref());
        // A record that was copied back does not say what it stands for.
        let collides = record.is_some_and(|record| !record.fields.is_null() && !same(record));
        // Every turn needs another stored revision, so the loop ends.
        if !collides {
            return (render, revision);
        }
        render = render.saturating_add(1);
    }
}

fn runs(snapshot: &Snapshot, record: &RevisionRecord) -> bool {
    let name = record.deployment.metadata.name.as_deref().unwrap_or_default();
    let live = snapshot.objects.deployments.get(name);
    live.is_some_and(|live| {
        !drift::differs(
            &Object::Deployment(live.clone()),
            &Object::Deployment(record.deployment.clone()),
        )
    })
}

/// What the last accepted spec says outside of its revision. If even that is lost, the defaults.
fn last_accepted(snapshot: &Snapshot, accepted: Option<&Value>) -> Option<ValidLive> {
    #[derive(Deserialize, Default)]
    struct Fields {
        router: Option<Router>,
        expose: Option<Expose>,
        rollout: Option<Rollout>,
    }
    let fields =
        accepted.and_then(|accepted| serde_json::from_value::<Fields>(accepted.clone()).ok());
    let Fields { router, expose, rollout } = fields.unwrap_or_default();
    let spec = McpHubSpec {
        router,
        expose,
        rollout,
        // The rollback flags must be known flags, and these decide which rules apply.
        feature_flags: snapshot.hub.spec.feature_flags.clone(),
        filtering: snapshot.hub.spec.filtering.clone(),
        ..McpHubSpec::default()
    };
    let unset = McpHubSpec::default();
    let first = accept::live_part(&spec, &snapshot.operator);
    first.or_else(|_| accept::live_part(&unset, &snapshot.operator)).ok()
}
