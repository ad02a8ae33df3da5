//! The command of a stdio server that the hub runs itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// How the process of a stdio server is started.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    /// A path, or a name that is looked up in PATH.
    pub program: String,
    #[serde(default)]
    pub args: Vec<String>,
    /// Added to the environment of the hub. `None` removes a variable.
    #[serde(default)]
    pub env: BTreeMap<String, Option<String>>,
    /// A file with more variables, which `env` overrides. It is read at every start.
    #[serde(default)]
    pub env_file: Option<String>,
    /// The working directory. `None` is that of the hub.
    #[serde(default)]
    pub cwd: Option<String>,
    /// A process without calls is stopped after this time. The next call starts it again.
    #[serde(default = "fifteen_minutes")]
    pub idle_timeout_ms: u64,
}

// Arguments and variables may be credentials, and a config may be logged with `{:?}`.
impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("program", &self.program)
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}

fn fifteen_minutes() -> u64 {
    15 * 60_000
}
