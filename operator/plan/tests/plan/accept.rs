//! What is rejected, and with which message.

use std::time::Duration;

use super::cluster::{Cluster, config_map};
use mcphub_operator_plan::snapshot::PrometheusTiming;
use mcphub_operator_plan::spec::accept::accept;
use mcphub_operator_plan::spec::problem::Reason;
use rstest::rstest;

const SERVER: &str = "servers: [{name: a, remote: {url: 'https://a.example/mcp'}}]";

fn problems(cluster: &Cluster) -> Vec<(Reason, String)> {
    let problems = accept(&cluster.snapshot).err().unwrap_or_default();
    problems.into_iter().map(|problem| (problem.reason, problem.message)).collect()
}

fn container(fields: &str) -> String {
    format!("servers: [{{name: files, container: {{image: 'a:1', command: [a], {fields}}}}}]")
}

#[rstest]
#[case(
    &format!("{SERVER}\npodTemplate: {{affinity: {{nodeAfinity: \
              {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: []}}}}}}}}"),
    "podTemplate.affinity.nodeAfinity: Kubernetes has no such field"
)]
#[case(
    &format!("{SERVER}\npodTemplate: {{labels: {{app.kubernetes.io/name: x}}}}"),
    "podTemplate.labels[\"app.kubernetes.io/name\"] is set by the operator; remove it"
)]
#[case(
    &format!("{SERVER}\nexpose: {{service: {{annotations: {{prometheus.io/scrape: 'true'}}}}}}"),
    "expose.service.annotations[\"prometheus.io/scrape\"] is set by the operator; remove it"
)]
#[case(
    "servers: [{name: a, remote: {url: 'https://a.example/mcp'}, tools: {allow: ['^get_.+$']}}]",
    "servers[0] \"a\".tools.allow: \"^get_.+$\" looks like a regular expression; patterns support \
     only * and ?"
)]
#[case(
    &container("volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]"),
    "servers[0] \"files\".container.strategy is not set, but the server writes to the \
     claim \"data\"; write Recreate if the claim is ReadWriteOnce, RollingUpdate if it is \
     ReadWriteMany"
)]
#[case(
    &container("volumes: [{name: mcphub-tmp, emptyDir: {}}]"),
    "servers[0] \"files\".container.volumes: \"mcphub-tmp\" starts with \"mcphub-\", which is \
     reserved for the operator; rename it"
)]
#[case(
    &container("volumes: [{name: x, emptyDir: {}}], volumeMounts: [{name: x, mountPath: /mcphub}]"),
    "servers[0] \"files\".container.volumeMounts: \"x\" is mounted at /mcphub, where the bridge \
     is; choose another path"
)]
#[case(
    "servers: [{name: a, remote: {url: 'https://a.example/mcp'}, container: {image: 'a:1'}}]",
    "servers[0] \"a\": both remote and container are set; keep one"
)]
fn an_invalid_value_is_rejected_with_what_to_write(#[case] spec: &str, #[case] message: &str) {
    assert_eq!(problems(&Cluster::new(spec)), [(Reason::InvalidSpec, message.to_owned())]);
}

#[rstest]
#[case(
    "auth: {mode: Jwt}",
    "auth.mode is not supported yet; put an authenticating proxy in front, and set it to None"
)]
#[case(
    "networkPolicy: {enabled: true}",
    "networkPolicy.enabled is not supported yet; create your own NetworkPolicies"
)]
fn unsupported_auth_is_rejected_even_with_an_older_crd(#[case] field: &str, #[case] message: &str) {
    let cluster = Cluster::new(&format!("{SERVER}\n{field}"));
    assert_eq!(problems(&cluster), [(Reason::NotSupported, message.to_owned())]);
}

#[test]
fn a_wrongly_shaped_pod_field_is_named_with_its_type() {
    let cluster = Cluster::new(&format!("{SERVER}\npodTemplate: {{tolerations: [{{key: 1}}]}}"));
    let [(reason, message)] = &problems(&cluster)[..] else { panic!("one problem") };
    assert_eq!(*reason, Reason::InvalidSpec);
    assert!(
        message.starts_with("podTemplate.tolerations[0]: not a Kubernetes Toleration: "),
        "{message}"
    );
}

#[test]
fn a_config_map_that_is_missing_or_lacks_a_key_is_named_and_an_optional_one_is_not() {
    let env = |optional| {
        container(&format!(
            "env: [{{name: A, valueFrom: {{configMapKeyRef: {{name: settings, key: A, optional: \
             {optional}}}}}}}]"
        ))
    };
    let mut cluster = Cluster::new(&env(false));
    let missing = "servers[0] \"files\": there is no ConfigMap \"settings\" in this namespace; \
                   create it, or mark the reference as optional";
    assert_eq!(problems(&cluster), [(Reason::ConfigMapMissing, missing.to_owned())]);
    cluster
        .snapshot
        .config_maps
        .insert("settings".into(), Some(config_map("settings", &[("B", "1")])));
    let key = "servers[0] \"files\": the ConfigMap \"settings\" has no key \"A\"; add it, or mark \
               the reference as optional";
    assert_eq!(problems(&cluster), [(Reason::ConfigMapMissing, key.to_owned())]);
    assert_eq!(problems(&Cluster::new(&env(true))), []);
}

#[test]
fn a_prometheus_that_is_not_in_the_settings_is_rejected_with_those_that_are() {
    let mut cluster = Cluster::new(&format!("{SERVER}\nrollout: {{prometheus: team-b}}"));
    let message = |known| {
        format!(
            "rollout.prometheus is \"team-b\", but the operator's settings name {known}; use one \
             of these"
        )
    };
    assert_eq!(problems(&cluster), [(Reason::UnknownPrometheus, message("none"))]);
    let server = PrometheusTiming {
        scrape_interval: Duration::from_secs(30),
        ingest_delay: Duration::from_secs(30),
    };
    cluster.snapshot.operator.prometheus.insert("main".into(), server);
    assert_eq!(problems(&cluster), [(Reason::UnknownPrometheus, message("main"))]);
}

#[test]
fn a_rule_shorter_than_the_scrape_interval_allows_is_refused() {
    let rule = "{name: e, metric: HubErrorRate, rollbackWhen: {above: '0.1', for: 10s}}";
    let mut cluster = Cluster::new(&format!("{SERVER}\nrollout: {{rules: [{rule}]}}"));
    let server = PrometheusTiming {
        scrape_interval: Duration::from_secs(30),
        ingest_delay: Duration::from_secs(30),
    };
    cluster.snapshot.operator.prometheus.insert("main".into(), server);
    let message = "rollout.rules[0].rollbackWhen.for is 10s, but Prometheus \"main\" is scraped \
                   every 30s; use at least 2m";
    assert_eq!(problems(&cluster), [(Reason::InvalidSpec, message.to_owned())]);
}

// Pods would reject such a config at start and crash, and nobody would know why.
#[rstest]
#[case("access: [{when: 'caller.sub == '}]", "access[0].when: ")]
#[case(
    "access: [{when: 'true', servers: [b]}]",
    "access[0].servers: \"b\" is not a server of this hub; the servers are a"
)]
#[case(
    "filtering: {mode: ServerAllowlist, servers: {allow: [b]}}",
    "filtering.servers.allow: \"b\" is not a server of this hub; the servers are a"
)]
#[case(
    "filtering: {mode: Static}",
    "filtering.static.tools: is empty, so mode Static shows nothing; write patterns such as \
     files__*"
)]
#[case(
    "filtering: {views: [{name: v}, {name: v}]}",
    "filtering.views[1].name: \"v\" is used twice; rename one of the views"
)]
#[case(
    "filtering: {selector: {backend: Llm}}",
    "filtering.selector: is Llm, but filtering.llm is missing"
)]
#[case(
    "filtering: {toolBudget: {maxTools: 2}}",
    "filtering.toolBudget.maxTools: is 2, but the hub's own tools"
)]
fn what_hubs_would_reject_is_rejected_before_a_pod_starts(
    #[case] field: &str,
    #[case] message: &str,
) {
    let mut cluster = Cluster::new(&format!("{SERVER}\n{field}"));
    let plan = cluster.plan();
    assert_eq!(plan.objects, []);
    cluster.apply(&plan);
    let (_, reason, said) = cluster.condition("Accepted");
    assert_eq!(reason, "InvalidSpec");
    assert!(said.contains(message), "{said}");
}

// It would never be evaluated, but users would trust it.
#[test]
fn a_rule_on_recall_without_golden_questions_is_refused() {
    let rule = "{name: r, metric: SelectionRecall, rollbackWhen: {below: '0.8', for: 2m}}";
    let mut cluster = Cluster::new(&format!("{SERVER}\nrollout: {{rules: [{rule}]}}"));
    let server = PrometheusTiming {
        scrape_interval: Duration::from_secs(15),
        ingest_delay: Duration::from_secs(15),
    };
    cluster.snapshot.operator.prometheus.insert("main".into(), server);
    let message = "rollout.rules[0].metric is SelectionRecall, but there are no \
                   filtering.goldenQuestions; add some, or remove the rule";
    assert_eq!(problems(&cluster), [(Reason::InvalidSpec, message.to_owned())]);
}

// Such a model is asked about new tools alone, so a rollout would wait for samples at every step.
#[test]
fn a_language_model_that_only_says_what_categories_tools_have_is_not_judged() {
    let judged = |filtering: &str| {
        let llm = "llm: {provider: Gemini, model: m, apiKeySecretRef: {name: llm, key: key}}";
        let mut cluster = Cluster::new(&format!("{SERVER}\nfiltering: {{{filtering}, {llm}}}"));
        let server = PrometheusTiming {
            scrape_interval: Duration::from_secs(15),
            ingest_delay: Duration::from_secs(15),
        };
        cluster.snapshot.operator.prometheus.insert("main".into(), server);
        let Ok(hub) = accept(&cluster.snapshot) else { panic!("a good hub") };
        let rules = hub.live.policy.rules.iter().filter(|rule| rule.name == "llm-success-rate");
        rules.map(|rule| rule.applicable).collect::<Vec<_>>()
    };
    let categories = "mode: Category, categories: {expose: [web]}";
    assert_eq!(judged(categories), [false]);
    assert_eq!(judged(&format!("{categories}, selector: {{backend: Llm}}")), [true]);
}

// A typo in the annotation is no problem of the hub.
#[test]
fn an_annotation_that_is_not_an_intent_is_reported_once_and_changes_nothing() {
    let mut cluster = Cluster::settled(SERVER);
    let annotations = cluster.snapshot.hub.metadata.annotations.get_or_insert_default();
    annotations.insert("mcphub.dev/intent".into(), "promot".into());
    assert_eq!(problems(&cluster), []);
    let plan = cluster.plan();
    let [event] = &plan.events[..] else { panic!("one event: {:?}", plan.events) };
    assert_eq!((event.reason.as_str(), event.warning), ("IntentRefused", true));
    assert!(
        event.message.starts_with("metadata.annotations[\"mcphub.dev/intent\"]: \"promot\" is not"),
        "{event:?}"
    );
    cluster.apply(&plan);
    assert_eq!(cluster.plan().events, []);
    assert_eq!(cluster.condition("Accepted").0, "True");
}

// etcd rejects larger objects, so the revision could never be stored.
#[test]
fn a_revision_that_does_not_fit_in_one_object_is_refused_before_anything_is_made() {
    let mut cluster = Cluster::new(&container("envFrom: [{configMapRef: {name: big}}]"));
    cluster
        .snapshot
        .config_maps
        .insert("big".into(), Some(config_map("big", &[("A", &"x".repeat(1_000_000))])));
    let plan = cluster.plan();
    assert_eq!(plan.objects, []);
    cluster.apply(&plan);
    let (_, reason, message) = cluster.condition("Accepted");
    assert_eq!(reason, "TooLarge");
    assert!(message.contains("use smaller ConfigMaps"), "{message}");
}

#[test]
fn all_problems_are_reported_together() {
    let cluster = Cluster::new(&format!(
        "{SERVER}\nauth: {{mode: Jwt}}\npodTemplate: {{labels: {{mcphub.dev/x: y}}}}"
    ));
    assert_eq!(problems(&cluster).len(), 2);
}
