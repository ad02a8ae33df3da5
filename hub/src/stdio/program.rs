//! What speaks MCP line by line: a child process, or a connection that behaves like one.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use mcphub_hub_wire::config;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::process::{Process, ProcessEvent};
use super::reaper::Reaper;

/// Starts what a session talks to.
pub(crate) trait Program: Send + Sync {
    /// Starts one for the session with this number. `permit` is released when it has ended.
    fn start(
        &self,
        number: u64,
        permit: OwnedSemaphorePermit,
    ) -> std::io::Result<(Process, mpsc::Receiver<ProcessEvent>)>;

    /// The name for logs and errors.
    fn name(&self) -> &str;
}

/// A command that is run as a child process.
pub(crate) struct ChildProgram {
    /// The server's name, or that of the program if there is none.
    pub(crate) name: Arc<str>,
    pub(crate) command: config::Command,
    pub(crate) reaper: Arc<Reaper>,
}

impl ChildProgram {
    fn command(&self) -> std::io::Result<Command> {
        let config::Command { program, args, env, env_file, cwd, .. } = &self.command;
        // A sample config names this program, which need not be in PATH.
        let mut command = if program == "mcp-hub" {
            Command::new(std::env::current_exe()?)
        } else {
            Command::new(program)
        };
        command.args(args);
        if let Some(file) = env_file {
            command.envs(read_env_file(Path::new(file))?);
        }
        for (name, value) in env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(cwd) = cwd {
            command.current_dir(cwd);
        }
        Ok(command)
    }
}

impl Program for ChildProgram {
    fn start(
        &self,
        number: u64,
        permit: OwnedSemaphorePermit,
    ) -> std::io::Result<(Process, mpsc::Receiver<ProcessEvent>)> {
        let started = Process::start(self.command()?, &self.name, number, &self.reaper, permit);
        started.map_err(|error| match &self.command.cwd {
            Some(cwd) if !Path::new(cwd).is_dir() => {
                std::io::Error::new(error.kind(), format!("cwd {cwd} is not a folder"))
            }
            _ => std::io::Error::new(error.kind(), format!("{}: {error}", self.command.program)),
        })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The variables of a file. The parser's own message would quote a line, which may be a secret.
fn read_env_file(file: &Path) -> std::io::Result<Vec<(String, String)>> {
    let failed = |error: dotenvy::Error| {
        let reason = match error {
            dotenvy::Error::Io(error) => error.to_string(),
            _ => "a line is not NAME=VALUE".to_owned(),
        };
        std::io::Error::other(format!("failed to read envFile {}: {reason}", file.display()))
    };
    dotenvy::from_path_iter(file).map_err(failed)?.map(|item| item.map_err(failed)).collect()
}
