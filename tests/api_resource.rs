//! The resource `McpHub` on a real API server: what is accepted, what is refused, and with which
//! message.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use mcphub_crds::crd::all_rules;
use mcphub_crds::{McpHub, McpHubStatus};
use serde_json::{Value, json};

use crate::api_resource_tables::{self as tables, Answer, Row};
use crate::{CRD, plane};

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/samples");
const PAGES: [(&str, &str); 2] = [
    ("README.md", include_str!("../README.md")),
    ("docs/guide.md", include_str!("../docs/guide.md")),
];

async fn hubs() -> Result<Api<McpHub>> {
    Ok(Api::namespaced(plane().await?.client().await?, "default"))
}

#[tokio::test]
async fn a_second_client_side_apply_of_the_crd_changes_nothing() -> Result<()> {
    let answer = plane().await?.kubectl(["apply", "-f", CRD]).await?;
    assert_eq!(
        answer.trim(),
        "customresourcedefinition.apiextensions.k8s.io/mcphubs.mcphub.dev unchanged"
    );
    Ok(())
}

// A sample that does not apply would be the first thing that a newcomer sees.
#[tokio::test]
async fn every_sample_applies() -> Result<()> {
    let files = samples()?;
    plane().await?.kubectl(["create", "namespace", "samples"]).await?;
    assert!(files.len() >= 4, "only {files:?} in {SAMPLES}");
    for file in files {
        let file = file.to_string_lossy();
        plane()
            .await?
            .kubectl(["-n", "samples", "apply", "--validate=strict", "-f", &file])
            .await
            .with_context(|| file.to_string())?;
    }
    Ok(())
}

// Readers copy these examples and do not check them first.
#[tokio::test]
async fn every_hub_in_readme_and_guide_applies() -> Result<()> {
    let client = plane().await?.client().await?;
    for (page, text) in PAGES {
        let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
        let hubs: Vec<_> = blocks.filter(|block| block.contains("kind: McpHub")).collect();
        assert!(!hubs.is_empty(), "{page} has no example of a hub");
        for hub in hubs {
            let resource: Value =
                serde_yaml_ng::from_str(hub).with_context(|| format!("{page}: {hub}"))?;
            if let Answer::Refused(message) = tables::post(&client, &resource).await? {
                bail!("{page}: {message}\n{hub}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_row_of_the_refused_tables_is_refused_with_what_to_write_instead() -> Result<()> {
    let client = plane().await?.client().await?;
    let mut wrong = Vec::new();
    for row in tables::refused()? {
        let answer = tables::create(&client, &row).await?;
        wrong.extend(row.mistake(&answer).map(|mistake| format!("{}: {mistake}", row.title())));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

// A rule that no test triggers may refuse nothing, or everything.
#[test]
fn every_rule_of_the_crd_is_triggered_by_a_row() -> Result<()> {
    let rows = tables::refused()?;
    let triggered: BTreeSet<String> =
        rows.iter().filter_map(Row::rule).map(|rule| rule.message).collect();
    let all: BTreeSet<String> = all_rules().into_iter().map(|rule| rule.message).collect();
    assert_eq!(all.difference(&triggered).collect::<Vec<_>>(), Vec::<&String>::new());
    for row in rows.iter().filter(|row| row.schema.is_none()) {
        assert!(
            row.rule().is_some(),
            "{}: \"{}\" must be part of the message of exactly one rule",
            row.title(),
            row.says()
        );
    }
    Ok(())
}

// The hash of a revision is taken over the spec that the operator reads, so that must be what the
// user wrote.
#[tokio::test]
async fn an_accepted_spec_is_read_and_written_again_without_a_change() -> Result<()> {
    let client = plane().await?.client().await?;
    for row in tables::accepted()? {
        let stored = match tables::create(&client, &row).await? {
            Answer::Accepted(stored) => stored,
            Answer::Refused(message) => bail!("{}: {message}", row.title()),
        };
        let read: McpHub = serde_json::from_value(stored.clone()).with_context(|| row.title())?;
        assert_eq!(serde_json::to_value(&read)?["spec"], stored["spec"], "{}", row.title());
        let mut written = row.resource();
        if written["spec"].get("replicas").is_none() {
            written["spec"]["replicas"] = json!(2);
        }
        assert_eq!(stored["spec"], written["spec"], "{}", row.title());
    }
    Ok(())
}

// `null` and an empty list are other ways to omit a field; they must not make another revision.
#[tokio::test]
async fn null_and_an_empty_list_are_the_same_as_an_omitted_field() -> Result<()> {
    let mut resource = Row::named("nothing").resource();
    resource["spec"]["image"] = Value::Null;
    resource["spec"]["allowedOrigins"] = json!([]);
    resource["spec"]["rollout"] = json!({"guard": null, "steps": []});
    let Answer::Accepted(stored) = tables::post(&plane().await?.client().await?, &resource).await?
    else {
        bail!("null or an empty list was refused");
    };
    let read: McpHub = serde_json::from_value(stored)?;
    let servers = resource["spec"]["servers"].clone();
    assert_eq!(
        serde_json::to_value(read.spec)?,
        json!({"replicas": 2, "servers": servers, "rollout": {}})
    );
    Ok(())
}

#[tokio::test]
async fn the_whole_status_survives_the_api_server() -> Result<()> {
    let hubs = hubs().await?;
    let hub: McpHub = serde_json::from_value(Row::named("status").resource())?;
    hubs.create(&PostParams::default(), &hub).await?;
    let written: Value = serde_yaml_ng::from_str(include_str!("api_resource/status.yaml"))?;
    let patch = Patch::Merge(json!({"status": written}));
    let stored = hubs.patch_status("status", &PatchParams::default(), &patch).await?;
    assert_eq!(serde_json::to_value(stored.status)?, written);
    let columns = plane().await?.kubectl(["get", "hub", "status"]).await?;
    let lines: Vec<Vec<&str>> =
        columns.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[0],
        ["NAME", "PHASE", "STABLE", "CANARY", "WEIGHT", "STEP", "SERVERS", "TOOLS", "AGE"]
    );
    assert_eq!(
        lines[1][..8],
        ["status", "Progressing", "0a1b2c3d", "4e5f6071", "10", "1", "2/3", "41"]
    );
    let columns = plane().await?.kubectl(["get", "hub", "status", "-o", "wide"]).await?;
    let wide = ["READY", "REASON", "ENDPOINT", "IMAGE"];
    assert!(wide.iter().all(|name| columns.contains(name)), "{columns}");
    let endpoint = written["endpoint"].as_str().context("an endpoint")?;
    assert!(columns.contains(endpoint), "{columns}");
    Ok(())
}

// An operator that is older than the CRD must still be able to read the status that a newer
// operator wrote.
#[test]
fn a_phase_of_a_newer_operator_is_read_as_unknown() -> Result<()> {
    let status: McpHubStatus = serde_json::from_value(json!({"phase": "Levitating"}))?;
    assert_eq!(status.phase, Some(mcphub_crds::status::Phase::Unknown));
    Ok(())
}

#[tokio::test]
async fn an_autoscaler_reads_and_writes_replicas_through_the_scale_subresource() -> Result<()> {
    let hubs = hubs().await?;
    let hub: McpHub = serde_json::from_value(Row::named("scaled").resource())?;
    hubs.create(&PostParams::default(), &hub).await?;
    let status = json!({"status": {"replicas": 2, "selector": "mcphub.dev/hub=scaled"}});
    hubs.patch_status("scaled", &PatchParams::default(), &Patch::Merge(status)).await?;
    plane().await?.kubectl(["scale", "hub", "scaled", "--replicas=5"]).await?;
    assert_eq!(hubs.get("scaled").await?.spec.replicas, 5);
    let scale = hubs.get_scale("scaled").await?.status.context("no status in the scale")?;
    assert_eq!((scale.replicas, scale.selector.as_deref()), (2, Some("mcphub.dev/hub=scaled")));
    Ok(())
}

fn samples() -> Result<Vec<PathBuf>> {
    let files = Path::new(SAMPLES).read_dir().context(SAMPLES)?.map(|entry| Ok(entry?.path()));
    files.collect::<Result<Vec<_>>>().map(|mut files| {
        files.sort();
        files
    })
}
