//! A ControllerRevision can be written more than once.

use anyhow::{Context as _, Result};
use mcphub_tests::wait::{PATIENCE, until};
use serde_json::json;

use crate::api_operator::settled;
use crate::api_replica::Installation;
use crate::plane;

// The data of a ControllerRevision is immutable, byte for byte, and JSON serializers escape these
// characters differently.
#[tokio::test]
async fn a_revision_whose_command_has_shell_operators_is_written_more_than_once() -> Result<()> {
    let installed = Installation::new(plane().await?, "shell").await?;
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
    until("the attempt is written again", PATIENCE, written)
        .await
        .with_context(|| replica.tail())?;
    assert!(!replica.log().contains("refused by the API server"), "{}", replica.tail());
    Ok(())
}
