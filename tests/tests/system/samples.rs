//! Every sample in `manifests/samples`, with the images and addresses of this cluster.

use anyhow::{Context as _, Result, bail};
use mcphub_crds::McpHub;
use mcphub_tests::cluster::{Cluster, Image};
use serde_json::json;

use crate::hub::{Hub, spec};
use crate::scene::{Scene, beside_others};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/samples");

/// The hub that stands in for servers elsewhere: a hub is an MCP server as well.
const ELSEWHERE: &str = "elsewhere";

#[tokio::test]
async fn every_sample_becomes_healthy() {
    beside_others("samples", async |scene| {
        Hub::new(scene, ELSEWHERE).deploy(&spec(scene.cluster, &["everything"])?).await?;
        // What the comment in the sample tells people to do before.
        let secret =
            ["create", "secret", "generic", "github", "--from-literal=authorization=Bearer none"];
        scene.kubectl(&secret).await?;
        let mut samples = std::fs::read_dir(FOLDER)?.collect::<Result<Vec<_>, _>>()?;
        samples.sort_by_key(std::fs::DirEntry::file_name);
        anyhow::ensure!(samples.len() >= 4, "{samples:?}");
        for sample in samples {
            becomes_healthy(scene, &sample.path())
                .await
                .with_context(|| sample.path().display().to_string())?;
        }
        Ok(())
    })
    .await;
}

async fn becomes_healthy(scene: &Scene, path: &std::path::Path) -> Result<()> {
    let sample: McpHub = serde_yaml_ng::from_str(&std::fs::read_to_string(path)?)?;
    let name = sample.metadata.name.clone().context("a sample has a name")?;
    let spec = here(scene, sample)?;
    Hub::new(scene, &name).deploy(&spec).await?;
    // Their pods all at once would be more than two cores start in time.
    scene.kubectl(&["delete", "mcphub", &name, "--wait=false"]).await.map(drop)
}

/// The spec with what can be reached from here.
fn here(scene: &Scene, sample: McpHub) -> Result<serde_json::Value> {
    let mut spec = sample.spec;
    for server in &mut spec.servers {
        if let Some(remote) = &mut server.remote {
            remote.url = serde_json::from_value(json!(format!(
                "http://{ELSEWHERE}.{}.svc:7000/mcp",
                scene.namespace
            )))?;
        }
        if let Some(container) = &mut server.container {
            let words: Vec<_> = container.command.iter().map(String::as_str).collect();
            let (image, program) = inside(scene.cluster, &words)?;
            container.image = image;
            container.command = vec![program.to_owned()];
        }
    }
    Ok(serde_json::to_value(spec)?)
}

/// The image that has inside what a command would fetch.
fn inside(cluster: &Cluster, command: &[&str]) -> Result<(String, &'static str)> {
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
    bail!("no test image has {command:?} inside; add it to tests/cluster/images, or to this table")
}
