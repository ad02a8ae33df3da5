//! What a ControllerRevision holds can be written again.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::replica::{Installed, eventually};
use super::{LONG, plane, settled};

// Its data is immutable byte for byte, and JSON writers differ in how they write these characters.
#[tokio::test]
async fn a_revision_whose_command_has_shell_operators_is_written_more_than_once() -> Result<()> {
    let installed = Installed::new(plane().await?, "shell").await?;
    let replica = installed.start("operator-0").await?;
    let command = ["sh", "-c", "mkdir -p /tmp/a && server <in >out \u{2028} 2>&1"];
    let container = json!({"image": "clock:1", "command": command});
    let hub = json!({
        "apiVersion": "mcphub.dev/v1alpha1", "kind": "McpHub", "metadata": {"name": "team"},
        "spec": {"servers": [{"name": "clock", "container": container}]},
    });
    installed.apply(&hub).await?;
    let revision = settled(&installed, &replica)
        .await?
        .status
        .and_then(|status| status.canary)
        .context("no canary")?;
    let name = format!("controllerrevision/team-r-{}", revision.revision);
    installed
        .plane
        .kubectl([
            "-n",
            &installed.hubs,
            "annotate",
            &name,
            "mcphub.dev/attempt=edited",
            "--overwrite",
        ])
        .await?;
    let written = async || {
        let get =
            ["-n", &installed.hubs, "get", &name, "--output=jsonpath={.metadata.annotations}"];
        installed.plane.kubectl(get).await.is_ok_and(|annotations| !annotations.contains("edited"))
    };
    eventually("the attempt is written again", LONG, written)
        .await
        .with_context(|| replica.tail())?;
    assert!(!replica.log().contains("refused by the API server"), "{}", replica.tail());
    Ok(())
}
