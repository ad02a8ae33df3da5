//! A snapshot, understood: what both questions and plan start from.

use std::collections::BTreeMap;

use mcphub_crds::McpHubSpec;
use mcphub_crds::expose::Expose;
use mcphub_crds::pods::Router;
use mcphub_crds::rollout::Rollout;
use mcphub_hub_wire::dataplane::Revision;
use serde::Deserialize;
use serde_json::Value;

use crate::accept::{self, Problem, ValidHub, ValidLive, ValidRevision};
use crate::children::runtime::Runtime;
use crate::drift;
use crate::facts;
use crate::labels::Owner;
use crate::plan::Child;
use crate::record::{self, Kept, Recorded};
use crate::rollout::intent::{self, Intent};
use crate::rollout::state::EngineState;
use crate::rollout::{Desired, Observation};
use crate::snapshot::Snapshot;

/// A snapshot, understood.
pub(crate) struct Scene<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) owner: Owner<'a>,
    pub(crate) runtime: Runtime,
    /// The hub as it can be built, or all that is wrong with it.
    pub(crate) accepted: Result<ValidHub, Vec<Problem>>,
    /// What is applied at once: of the accepted spec, or of the last accepted one.
    pub(crate) live: Option<ValidLive>,
    /// Revisions that are there, and the desired one.
    pub(crate) kept: BTreeMap<Revision, Kept>,
    /// What the spec asks for, if it is accepted.
    pub(crate) desired: Option<Revision>,
}

impl<'a> Scene<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        let meta = &snapshot.hub.metadata;
        let owner = Owner {
            hub: meta.name.as_deref().unwrap_or_default(),
            namespace: meta.namespace.as_deref().unwrap_or_default(),
            uid: meta.uid.as_deref().unwrap_or_default(),
        };
        let runtime = Runtime::read(snapshot);
        let mut kept = record::kept(owner.hub, &snapshot.children);
        let mut accepted = accept::accept(snapshot);
        let desired = match &accepted {
            Ok(hub) => match desired(snapshot, owner, &hub.revision, &mut kept) {
                Ok(revision) => Some(revision),
                Err(problems) => {
                    accepted = Err(problems);
                    None
                }
            },
            Err(_) => None,
        };
        let live = match &accepted {
            Ok(hub) => Some(hub.live.clone()),
            Err(_) => last_accepted(snapshot, runtime.accepted.as_ref()),
        };
        Self { snapshot, owner, runtime, accepted, live, kept, desired }
    }

    /// What the engine is told; `None` if nothing was ever accepted.
    pub(crate) fn observation(&'a self) -> Option<Observation<'a>> {
        Some(Observation {
            now: self.snapshot.now,
            term: self.snapshot.operator.term,
            dataplane: self.runtime.dataplane.as_ref(),
            namespace: self.owner.namespace,
            hub: self.owner.hub,
            policy: &self.live.as_ref()?.policy,
            desired: self.desired.clone().map(|revision| Desired { revision }),
            replicas: self.snapshot.hub.spec.replicas,
            intent: self.intent(),
            revisions: facts::revisions(self.snapshot, &self.kept, self.engine()),
            routers: facts::routers(self.snapshot),
            answers: &self.snapshot.answers.queries,
        })
    }

    /// What a person asks for; not while the spec is refused, which may be what it is about.
    fn intent(&self) -> Option<Result<Intent, String>> {
        let annotations =
            self.snapshot.hub.metadata.annotations.as_ref().filter(|_| self.accepted.is_ok());
        let text = annotations?.get(intent::ANNOTATION)?;
        let name = intent::ANNOTATION;
        Some(text.parse().map_err(|error| format!("metadata.annotations[\"{name}\"]: {error}")))
    }

    /// Something of this hub runs, or may be made.
    pub(crate) fn has_begun(&self) -> bool {
        self.accepted.is_ok() || self.runtime.live.is_some() || !self.kept.is_empty()
    }

    /// The engine's memory, as it was seen.
    pub(crate) fn engine(&self) -> Option<&EngineState> {
        self.runtime.engine.as_ref()
    }
}

/// Name of the revision that the spec asks for; it is among `kept` afterwards.
fn desired(
    snapshot: &Snapshot,
    owner: Owner<'_>,
    valid: &ValidRevision,
    kept: &mut BTreeMap<Revision, Kept>,
) -> Result<Revision, Vec<Problem>> {
    let digests = valid.content.digests();
    let same = |kept: &&Kept| {
        let recorded = kept.recorded.as_ref();
        recorded.is_some_and(|recorded| {
            recorded.fields == valid.content.fields && recorded.config_maps == digests
        })
    };
    let render = kept
        .values()
        .filter(same)
        .filter_map(|kept| kept.recorded.as_ref())
        .map(|r| r.render)
        .max();
    let render = render.unwrap_or_default();
    let revision = valid.content.revision(render);
    let made = kept.get(&revision).is_some_and(|kept| kept.created.is_some());
    if made {
        return Ok(revision);
    }
    let recorded = Recorded {
        render,
        ..record::render(owner.hub, owner.namespace, &revision, valid, &snapshot.operator)
    };
    // Its ControllerRevision is gone, or not in the cache yet; pods run what this operator would not render any more:
    // what was copied back from them stands.
    let runs_something_else = kept.contains_key(&revision) && !runs(snapshot, &recorded);
    if runs_something_else {
        return Ok(revision);
    }
    let problems = accept::refused_by_hubs(recorded.config_text());
    if !problems.is_empty() {
        return Err(problems);
    }
    let number = kept.get(&revision).map(|kept| kept.number);
    let number = number
        .unwrap_or_else(|| kept.values().map(|kept| kept.number).max().unwrap_or_default() + 1);
    let fresh = Kept::new(recorded, number);
    let object = Child::ControllerRevision(fresh.object(owner.hub, &revision, None));
    if let Some(problem) = accept::size(&object) {
        return Err(vec![problem]);
    }
    kept.insert(revision.clone(), fresh);
    Ok(revision)
}

fn runs(snapshot: &Snapshot, recorded: &Recorded) -> bool {
    let name = recorded.deployment.metadata.name.as_deref().unwrap_or_default();
    let live = snapshot.children.deployments.get(name);
    live.is_some_and(|live| {
        !drift::differs(
            &Child::Deployment(live.clone()),
            &Child::Deployment(recorded.deployment.clone()),
        )
    })
}

/// What the last accepted spec said outside of its revision; what a spec that says nothing would, where even that is
/// lost.
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
        // Flags that rollback.flags names must be known, and what rules measure.
        feature_flags: snapshot.hub.spec.feature_flags.clone(),
        filtering: snapshot.hub.spec.filtering.clone(),
        ..McpHubSpec::default()
    };
    let nothing = McpHubSpec::default();
    let first = accept::live_part(&spec, &snapshot.operator);
    first.or_else(|_| accept::live_part(&nothing, &snapshot.operator)).ok()
}
