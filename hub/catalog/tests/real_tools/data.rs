//! Reads the tool definitions of real servers.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;

pub(crate) struct Server {
    pub(crate) name: String,
    /// Definitions with unique names.
    pub(crate) tools: Vec<Value>,
}

/// The folder with the data. Without one, prints how to set it and returns `None`.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder =
        std::env::var_os("MCPHUB_DATA").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        println!("not there: set MCPHUB_DATA to the folder with the catalogs of real servers");
    }
    folder
}

/// The servers in the data, with the tools that they list.
pub(crate) fn servers(folder: &Path) -> Vec<Server> {
    let mut servers = Vec::new();
    if let Ok(file) = File::open(folder.join("toucan_mcp_servers_full.jsonl.gz")) {
        for line in BufReader::new(GzDecoder::new(file)).lines() {
            servers.push(server(&serde_json::from_str(&line.unwrap()).unwrap()));
        }
    }
    if let Ok(file) = File::open(folder.join("docker_mcp_registry_tools.json.gz")) {
        let mut text = String::new();
        GzDecoder::new(file).read_to_string(&mut text).unwrap();
        let all: Vec<Value> = serde_json::from_str(&text).unwrap();
        servers.extend(all.iter().map(server));
    }
    servers
}

fn server(entry: &Value) -> Server {
    let mut seen = HashSet::new();
    let tools = entry["tools"].as_array().into_iter().flatten();
    let tools =
        tools.filter(|tool| tool["name"].as_str().is_some_and(|name| seen.insert(name.to_owned())));
    Server {
        name: entry["server"].as_str().unwrap_or_default().to_owned(),
        tools: tools.cloned().collect(),
    }
}
