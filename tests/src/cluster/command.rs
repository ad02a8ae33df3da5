//! Running other programs: their output, or an error that holds the lines that matter.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

/// Runs a program to its end and returns its stdout. The error is the program's own last words.
pub(crate) async fn output(command: &mut Command) -> Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{name} could not be started"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut words = String::from_utf8_lossy(&output.stderr).into_owned();
    if words.trim().is_empty() {
        words = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    let args =
        command.as_std().get_args().map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    let shown: String = args.chars().take(200).collect();
    bail!("{name} {shown}: {}\n{}", output.status, last_lines(&words, 30))
}

/// Runs a program whose stderr (its progress) goes straight to the screen, and returns its stdout.
pub(crate) async fn with_progress(command: &mut Command) -> Result<String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{name} could not be started"))?;
    if !output.status.success() {
        bail!("{name}: {}; what it said is above", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The last `count` lines of a file; a file that is not there has none.
pub(crate) fn tail(path: &Path, count: usize) -> String {
    std::fs::read(path)
        .map(|bytes| last_lines(&String::from_utf8_lossy(&bytes), count))
        .unwrap_or_default()
}
