//! A cluster in memory. It applies plans, runs pods and answers probes. It has no clock but its
//! own.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use mcphub_crds::{McpHub, McpHubStatus};
use mcphub_hub_wire::admin::{SelfCheck, ServerState};
use mcphub_hub_wire::dataplane::{Dataplane, Revision};
use mcphub_hub_wire::keys::MasterKey;
use mcphub_operator_plan::api::drift;
use mcphub_operator_plan::api::{
    Acknowledged, Applied, Event, Failure, Object, ObjectName, ObjectWrite, Prepared, WriteMode,
};
use mcphub_operator_plan::plan::{Plan, Unwritten};
use mcphub_operator_plan::probes::{ProbeResults, Probes};
use mcphub_operator_plan::snapshot::{HubObjects, Operator, Snapshot};
use mcphub_operator_plan::{PlanInput, check, plan, status};
use serde_json::{Value, json};

pub(super) const UID: &str = "0d9f6a52-0000-4000-8000-000000000001";

/// Two servers, one of each kind.
pub(super) const SPEC: &str = "
replicas: 2
servers:
- name: github
  remote:
    url: https://mcp.example.com/mcp
    headers: [{name: Authorization, valueFrom: {secretKeyRef: {name: github, key: token}}}]
- name: files
  container: {image: 'registry.example/files:1', command: [mcp-files, /data]}
";

pub(super) fn hub(spec: &str) -> McpHub {
    let spec: Value = serde_yaml_ng::from_str(spec).expect("yaml");
    let meta = json!({"name": "team", "namespace": "ai", "uid": UID, "generation": 1});
    let all = json!({"apiVersion": "mcphub.dev/v1alpha1", "kind": "McpHub", "metadata": meta,
        "spec": spec});
    serde_json::from_value(all).expect("an McpHub")
}

pub(super) fn config_map(name: &str, data: &[(&str, &str)]) -> ConfigMap {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "ai"},
        "data": data.iter().copied().collect::<BTreeMap<_, _>>(),
    }))
    .expect("a ConfigMap")
}

pub(super) fn operator() -> Operator {
    Operator {
        version: "1.0.0".into(),
        hub_image: "registry.example/mcp-hub:1.0.0".into(),
        image_pull_policy: None,
        term: 1,
        prometheus: BTreeMap::new(),
        master_key: MasterKey::new([7; 32]),
        namespace: "mcphub-system".into(),
    }
}

#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) snapshot: Snapshot,
    /// The results of the last probes.
    pub(super) results: ProbeResults,
    /// Whether self-checks pass.
    pub(super) healthy: bool,
    /// Tools that clients see.
    pub(super) visible_tools: u32,
    /// What hub pods warn about.
    pub(super) warnings: Vec<&'static str>,
    /// Servers that hub pods are not connected to, with what the pods say.
    pub(super) disconnected: BTreeMap<&'static str, &'static str>,
    /// Kubernetes Events that were sent from an outbox, by name.
    pub(super) events: BTreeMap<String, Event>,
    versions: u64,
}

impl Cluster {
    pub(super) fn new(spec: &str) -> Self {
        let snapshot = Snapshot {
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
            hub: hub(spec),
            operator: operator(),
            objects: HubObjects::default(),
            config_maps: BTreeMap::new(),
            unread_config_maps: BTreeSet::new(),
            sent_events: BTreeSet::new(),
        };
        Self {
            snapshot,
            results: ProbeResults::default(),
            healthy: true,
            visible_tools: 6,
            warnings: Vec::new(),
            disconnected: BTreeMap::new(),
            events: BTreeMap::new(),
            versions: 0,
        }
    }

    /// A cluster whose hub has settled.
    pub(super) fn settled(spec: &str) -> Self {
        let mut cluster = Self::new(spec);
        cluster.settle();
        cluster
    }

    pub(super) fn set_spec(&mut self, spec: &str) {
        self.snapshot.hub.spec = hub(spec).spec;
        *self.snapshot.hub.metadata.generation.get_or_insert_default() += 1;
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.snapshot.now += SignedDuration::from_secs(seconds);
    }

    /// Asks what the planner must know. A name that was taken before is still taken.
    pub(super) fn ask(&mut self) -> Probes {
        let probes = PlanInput::read(&self.snapshot).probes();
        let generation = self.dataplane().map_or(0, |dataplane| dataplane.generation);
        let check = |pod: &String| (pod.clone(), Ok(self.self_check()));
        let generations = probes.router_generations.keys();
        self.results = ProbeResults {
            taken: self.results.taken.clone(),
            self_checks: probes.self_checks.keys().map(check).collect(),
            router_generations: generations.map(|pod| (pod.clone(), Ok(generation))).collect(),
            ..ProbeResults::default()
        };
        probes
    }

    fn self_check(&self) -> SelfCheck {
        let server = |server: &mcphub_crds::servers::Server| {
            let problem = self.disconnected.get(server.name.as_str());
            ServerState {
                name: server.name.clone(),
                connected: problem.is_none(),
                tools: if problem.is_none() { 3 } else { 0 },
                message: problem.map(ToString::to_string).unwrap_or_default(),
            }
        };
        let servers = self.snapshot.hub.spec.servers.iter().map(server).collect();
        SelfCheck {
            passed: self.healthy,
            checks: Vec::new(),
            servers,
            visible_tools: Some(self.visible_tools),
            warnings: self.warnings.iter().map(ToString::to_string).collect(),
        }
    }

    /// Asks, plans, and checks the plan.
    pub(super) fn plan(&mut self) -> Plan {
        let probes = self.ask();
        let plan = self.plan_with_results();
        check(&plan, &self.snapshot, &self.results).expect("a plan without violations");
        self.assert_names_were_probed(&probes, &plan);
        plan
    }

    /// Plans with the current results.
    pub(super) fn plan_with_results(&self) -> Plan {
        plan(PlanInput::read(&self.snapshot), &self.results)
    }

    // An object whose name nobody looked up could belong to somebody else, and the apply would
    // overwrite it.
    fn assert_names_were_probed(&self, probes: &Probes, plan: &Plan) {
        let names = plan.objects.iter().map(|write| write.object.object_name());
        let new =
            names.filter(|name| name.kind != "Secret" && !self.snapshot.objects.contains(name));
        let unprobed: Vec<_> = new.filter(|name| !probes.names.contains(name)).collect();
        assert!(unprobed.is_empty(), "created without a look at who has the name: {unprobed:?}");
    }

    /// Applies the plan's first `writes` writes and deletes, like an operator that is then killed.
    pub(super) fn apply_some(&mut self, plan: &Plan, writes: usize) -> Acknowledged {
        let mut left = writes;
        let mut acknowledged = Acknowledged::default();
        for write in &plan.objects {
            let there = self.snapshot.objects.get(&write.object);
            if there.as_ref().is_some_and(|there| !drift::differs(there, &write.object)) {
                acknowledged.objects.push(write.clone().applied(there.expect("just seen")));
                continue;
            }
            if left == 0 {
                return acknowledged;
            }
            left -= 1;
            acknowledged.objects.push(self.write(write));
        }
        for delete in plan.deletes.iter().take(left) {
            self.remove(delete.object.kind, &delete.object.name);
        }
        acknowledged
    }

    pub(super) fn apply(&mut self, plan: &Plan) -> McpHubStatus {
        let acknowledged = self.apply_some(plan, usize::MAX);
        self.send(plan);
        let status = status(&plan.status, &acknowledged);
        self.snapshot.hub.status = Some(status.clone());
        status
    }

    /// Sends the events of a plan whose state is written. An Event that exists is not stored twice.
    pub(super) fn send(&mut self, plan: &Plan) {
        let Some(outbox) = &plan.outbox else { return };
        for pending in outbox {
            let name = pending.name("team", UID);
            self.events.entry(name.clone()).or_insert_with(|| pending.event());
            self.snapshot.sent_events.insert(name);
        }
    }

    /// Applies the plan to an API server that does not answer some writes.
    pub(super) fn apply_without(
        &mut self,
        plan: &Plan,
        fails: impl Fn(&ObjectName) -> bool,
    ) -> McpHubStatus {
        let (mut acknowledged, mut unwritten) = (Acknowledged::default(), Unwritten::default());
        for write in &plan.objects {
            let object = write.object.object_name();
            let there = self.snapshot.objects.get(&write.object);
            if unwritten.blocks(write) {
                unwritten.add(object);
            } else if there.as_ref().is_some_and(|there| !drift::differs(there, &write.object)) {
                acknowledged.objects.push(write.clone().applied(there.expect("just seen")));
            } else if fails(&object) {
                unwritten.add(object.clone());
                let message = "failed calling webhook".into();
                acknowledged.failures.push(Failure { verb: "write", object, message });
            } else {
                acknowledged.objects.push(self.write(write));
            }
        }
        if !unwritten.blocks_deletes(plan) {
            for delete in &plan.deletes {
                self.remove(delete.object.kind, &delete.object.name);
            }
        }
        let status = status(&plan.status, &acknowledged);
        self.snapshot.hub.status = Some(status.clone());
        status
    }

    fn write(&mut self, write: &ObjectWrite<Prepared>) -> ObjectWrite<Applied> {
        let there = self.snapshot.objects.get(&write.object);
        let mut object = write.object.clone();
        if write.mode() == WriteMode::Create {
            assert!(there.is_none(), "409 AlreadyExists: {}", object.name());
        }
        let seen = there.as_ref().map(|there| there.meta().clone()).unwrap_or_default();
        let wanted = object.meta().resource_version.clone();
        assert!(
            wanted.is_none() || wanted == seen.resource_version,
            "409 Conflict: {}",
            object.name()
        );
        self.versions += 1;
        let meta = object.meta_mut();
        meta.resource_version = Some(self.versions.to_string());
        meta.uid = seen.uid.or_else(|| Some(format!("uid-{}", self.versions)));
        meta.creation_timestamp = seen.creation_timestamp.or(Some(Time(self.snapshot.now)));
        self.put(object.clone());
        write.clone().applied(object)
    }

    pub(super) fn put(&mut self, object: Object) {
        let children = &mut self.snapshot.objects;
        let name = object.name().to_owned();
        match object {
            Object::ServiceAccount(o) => drop(children.service_accounts.insert(name, o)),
            Object::Role(o) => drop(children.roles.insert(name, o)),
            Object::RoleBinding(o) => drop(children.role_bindings.insert(name, o)),
            Object::Secret(_) => {}
            Object::ControllerRevision(o) => drop(children.controller_revisions.insert(name, o)),
            Object::ConfigMap(o) => drop(children.config_maps.insert(name, o)),
            Object::Service(o) => drop(children.services.insert(name, o)),
            Object::Deployment(o) => drop(children.deployments.insert(name, o)),
            Object::PodDisruptionBudget(o) => drop(children.disruption_budgets.insert(name, o)),
        }
    }

    pub(super) fn remove(&mut self, kind: &str, name: &str) {
        let children = &mut self.snapshot.objects;
        match kind {
            "ServiceAccount" => drop(children.service_accounts.remove(name)),
            "Role" => drop(children.roles.remove(name)),
            "RoleBinding" => drop(children.role_bindings.remove(name)),
            "ControllerRevision" => drop(children.controller_revisions.remove(name)),
            "ConfigMap" => drop(children.config_maps.remove(name)),
            "Service" => drop(children.services.remove(name)),
            "Deployment" => drop(children.deployments.remove(name)),
            "PodDisruptionBudget" => drop(children.disruption_budgets.remove(name)),
            other => panic!("no {other} here"),
        }
    }

    /// Gives every Deployment the pods that it asks for, all of them Ready.
    pub(super) fn run_pods(&mut self) {
        let mut pods = BTreeMap::new();
        for (name, deployment) in &self.snapshot.objects.deployments {
            let spec = deployment.spec.as_ref().expect("a spec");
            for number in 0..spec.replicas.unwrap_or(1) {
                let name = format!("{name}-{number}");
                let old = self.snapshot.objects.pods.get(&name).cloned();
                pods.insert(
                    name.clone(),
                    old.unwrap_or_else(|| pod(&name, &spec.template, self.snapshot.now)),
                );
            }
        }
        self.snapshot.objects.pods = pods;
    }

    /// Plans and applies until nothing changes any more.
    pub(super) fn settle(&mut self) {
        for _ in 0..200 {
            self.run_pods();
            let plan = self.plan();
            let busy = self.changes(&plan);
            self.apply(&plan);
            if plan.outbox.iter().flatten().next().is_some() {
                let plan = self.plan(); // it drops what was sent, at once
                self.apply(&plan);
            }
            if !busy {
                return;
            }
            self.pass(2);
        }
        panic!("never comes to rest: {:?}", self.snapshot.hub.status);
    }

    /// Whether applying the plan would change anything.
    pub(super) fn changes(&self, plan: &Plan) -> bool {
        !plan.deletes.is_empty() || plan.objects.iter().any(|write| self.would_write(write))
    }

    fn would_write(&self, write: &ObjectWrite<Prepared>) -> bool {
        let secret = matches!(write.object, Object::Secret(_));
        !secret
            && self
                .snapshot
                .objects
                .get(&write.object)
                .is_none_or(|there| drift::differs(&there, &write.object))
    }

    pub(super) fn dataplane(&self) -> Option<Dataplane> {
        serde_json::from_str(
            self.snapshot
                .objects
                .config_maps
                .get("team-runtime")?
                .data
                .as_ref()?
                .get("dataplane.json")?,
        )
        .ok()
    }

    /// Edits `engine.json` as the operator would: the signature fits.
    pub(super) fn edit_engine(&mut self, change: impl FnOnce(&mut Value)) {
        self.edit_runtime_unsigned(change);
        let text = self.runtime_file("engine.json");
        let mut signatures: Value =
            serde_json::from_str(&self.runtime_file("signatures.json")).expect("json");
        let key = &self.snapshot.operator.master_key;
        signatures["engine.json"] = key.signature("ai/team/engine.json", &text).into();
        self.set_runtime_file("signatures.json", Some(&signatures.to_string()));
    }

    /// Edits `engine.json` as anybody else would.
    pub(super) fn edit_runtime_unsigned(&mut self, change: impl FnOnce(&mut Value)) {
        let mut engine = serde_json::from_str(&self.runtime_file("engine.json")).expect("json");
        change(&mut engine);
        self.set_runtime_file("engine.json", Some(&engine.to_string()));
    }

    /// A file of the runtime ConfigMap.
    pub(super) fn runtime_file(&self, file: &str) -> String {
        let runtime = &self.snapshot.objects.config_maps["team-runtime"];
        runtime.data.as_ref().expect("data")[file].clone()
    }

    pub(super) fn set_runtime_file(&mut self, file: &str, text: Option<&str>) {
        let runtime = self.snapshot.objects.config_maps.get_mut("team-runtime").expect("made");
        let data = runtime.data.get_or_insert_default();
        match text {
            Some(text) => drop(data.insert(file.into(), text.into())),
            None => drop(data.remove(file)),
        }
    }

    /// Whether the dataplane that is there is one that the operator wrote.
    pub(super) fn dataplane_is_signed(&self) -> bool {
        let signatures: Value =
            serde_json::from_str(&self.runtime_file("signatures.json")).unwrap_or_default();
        let text = self.runtime_file("dataplane.json");
        let key = &self.snapshot.operator.master_key;
        signatures["dataplane.json"] == json!(key.signature("ai/team/dataplane.json", &text))
    }

    /// Sets the annotation.
    pub(super) fn intent(&mut self, text: &str) {
        let annotations = self.snapshot.hub.metadata.annotations.get_or_insert_default();
        annotations.insert("mcphub.dev/intent".into(), text.into());
    }

    /// The only revision that has weight.
    pub(super) fn serving(&self) -> Revision {
        let dataplane = self.dataplane().expect("a dataplane");
        dataplane
            .revisions
            .iter()
            .find(|(_, state)| state.weight.percent() == 100)
            .expect("one that serves")
            .0
            .clone()
    }

    /// All objects except pods, as `Kind name`.
    pub(super) fn inventory(&self) -> Vec<String> {
        let mut all: Vec<_> = self
            .snapshot
            .objects
            .all()
            .map(|object| format!("{} {}", object.kind(), object.name()))
            .collect();
        all.sort();
        all
    }

    pub(super) fn status(&self) -> &McpHubStatus {
        self.snapshot.hub.status.as_ref().expect("a status")
    }

    pub(super) fn condition(&self, kind: &str) -> (String, String, String) {
        let all = &self.status().conditions;
        let found = all.iter().find(|condition| condition.type_ == kind).expect("the condition");
        (found.status.clone(), found.reason.clone(), found.message.clone())
    }
}

fn pod(name: &str, template: &k8s_openapi::api::core::v1::PodTemplateSpec, now: Timestamp) -> Pod {
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now.to_string()});
    serde_json::from_value(json!({
        "metadata": {"name": name,
            "labels": template.metadata.as_ref().and_then(|meta| meta.labels.clone())},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [condition("PodScheduled"), condition("ContainersReady"),
                condition("Ready")],
        },
    }))
    .expect("a Pod")
}
