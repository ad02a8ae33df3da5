//! Every sample in `manifests/samples`, with the images and addresses of this cluster.

use anyhow::{Context as _, Result, bail};
use mcphub_crds::McpHub;
use mcphub_tests::cluster::{Cluster, Image};
use serde_json::json;

use crate::system_hub::{Hub, spec};
use crate::system_scenario::{Scenario, run_shared};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/samples");

/// A hub that takes the place of remote servers: a hub is an MCP server as well.
const REMOTE: &str = "remote";

#[tokio::test]
async fn every_sample_becomes_healthy() {
    run_shared("samples", async |scenario| {
        Hub::new(scenario, REMOTE).deploy(&spec(scenario.cluster, &["everything"])?).await?;
        // The comment in the sample tells people to create it.
        let secret =
            ["create", "secret", "generic", "github", "--from-literal=authorization=Bearer none"];
        scenario.kubectl(&secret).await?;
        let mut samples = std::fs::read_dir(FOLDER)?.collect::<Result<Vec<_>, _>>()?;
        samples.sort_by_key(std::fs::DirEntry::file_name);
        anyhow::ensure!(samples.len() >= 4, "{samples:?}");
        for sample in samples {
            becomes_healthy(scenario, &sample.path())
                .await
                .with_context(|| sample.path().display().to_string())?;
        }
        Ok(())
    })
    .await;
}

async fn becomes_healthy(scenario: &Scenario, path: &std::path::Path) -> Result<()> {
    let sample: McpHub = serde_yaml_ng::from_str(&std::fs::read_to_string(path)?)?;
    let name = sample.metadata.name.clone().context("a sample has a name")?;
    let spec = with_local_servers(scenario, sample)?;
    Hub::new(scenario, &name).deploy(&spec).await?;
    // All samples at once would be more pods than two cores start in time.
    scenario.kubectl(&["delete", "mcphub", &name, "--wait=false"]).await.map(drop)
}

/// The spec with servers that this cluster can reach.
fn with_local_servers(scenario: &Scenario, sample: McpHub) -> Result<serde_json::Value> {
    let mut spec = sample.spec;
    for server in &mut spec.servers {
        if let Some(remote) = &mut server.remote {
            remote.url = serde_json::from_value(json!(format!(
                "http://{REMOTE}.{}.svc:7000/mcp",
                scenario.namespace
            )))?;
        }
        if let Some(container) = &mut server.container {
            let words: Vec<_> = container.command.iter().map(String::as_str).collect();
            let (image, program) = image_with(scenario.cluster, &words)?;
            container.image = image;
            container.command = vec![program.to_owned()];
        }
    }
    Ok(serde_json::to_value(spec)?)
}

/// The image that contains the package which a command would fetch, and its program.
fn image_with(cluster: &Cluster, command: &[&str]) -> Result<(String, &'static str)> {
    let package = command.last().copied().unwrap_or_default();
    for (prefix, image, program) in [
        ("@modelcontextprotocol/server-everything", Image::ServersNode, "mcp-server-everything"),
        ("@modelcontextprotocol/server-memory", Image::ServersNode, "mcp-server-memory"),
        ("mcp-server-time", Image::ServersPython, "mcp-server-time"),
    ] {
        if package.starts_with(prefix) {
            return Ok((cluster.image(image)?, program));
        }
    }
    bail!("no test image contains {command:?}; add it to tests/cluster/images and to this table")
}
