//! Other programs: their output, their progress, and an error that shows the end of what they
//! wrote.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use crate::progress::{self, HowFar};

/// Runs a program to its end and returns its stdout. The error shows the end of what the program
/// wrote.
pub(crate) async fn output(command: &mut Command) -> Result<String> {
    let name = program_name(command);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("failed to start {name}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.trim().is_empty() {
        text = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    Err(failed(command, output.status, &text))
}

/// Runs a program that prints its own progress to stderr, and returns its stdout.
///
/// `Command::output` would replace the inherited stderr by a pipe, and nothing would be seen until
/// the program ends.
pub(crate) async fn with_own_progress(command: &mut Command) -> Result<String> {
    let name = program_name(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let child = command.kill_on_drop(true).spawn();
    let child = child.with_context(|| format!("failed to start {name}"))?;
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("{name}: {}; the reason is printed above", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program that may take minutes, and prints every few seconds that it does `what`, and how
/// far it is.
///
/// `how_far` finds that in a line of the program's stderr; lines that say nothing about it are
/// shown only if it fails.
pub(crate) async fn with_progress(
    command: &mut Command,
    what: &str,
    how_far: fn(&str) -> Option<String>,
) -> Result<String> {
    let name = program_name(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.kill_on_drop(true).spawn();
    let mut child = child.with_context(|| format!("failed to start {name}"))?;
    let stdout = child.stdout.take().context("the child has no stdout")?;
    let stderr = child.stderr.take().context("the child has no stderr")?;
    let progress = HowFar::default();
    let run = async {
        tokio::try_join!(
            async { Ok(child.wait().await?) },
            read_all(stdout),
            read_progress(stderr, how_far, &progress),
        )
    };
    let (status, stdout, text) = progress::while_running(what, &progress, run).await?;
    if !status.success() {
        return Err(failed(command, status, &text));
    }
    Ok(stdout)
}

/// For programs that do not say how far they are.
pub(crate) fn unknown(_line: &str) -> Option<String> {
    None
}

async fn read_all(mut pipe: impl AsyncRead + Unpin) -> Result<String> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads stderr to its end and returns what is not progress. A progress bar ends its lines with a
/// carriage return.
async fn read_progress(
    mut pipe: impl AsyncRead + Unpin,
    how_far: fn(&str) -> Option<String>,
    progress: &HowFar,
) -> Result<String> {
    let (mut text, mut rest) = (String::new(), Vec::new());
    let mut buffer = vec![0; 8192];
    loop {
        let count = pipe.read(&mut buffer).await?;
        rest.extend_from_slice(&buffer[..count]);
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest.drain(..=end);
            match how_far(&line) {
                Some(found) => progress.set(found),
                None => text.extend([&*line, "\n"]),
            }
        }
        if count == 0 {
            text.push_str(&String::from_utf8_lossy(&rest));
            return Ok(text);
        }
    }
}

fn program_name(command: &Command) -> String {
    command.as_std().get_program().to_string_lossy().into_owned()
}

fn failed(command: &Command, status: ExitStatus, text: &str) -> anyhow::Error {
    let args = command.as_std().get_args().map(OsStr::to_string_lossy);
    let args: String = args.collect::<Vec<_>>().join(" ").chars().take(200).collect();
    anyhow::anyhow!("{} {args}: {status}\n{}", program_name(command), last_lines(text, 30))
}

/// The last `count` lines of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The last `count` lines of a file; nothing if there is no such file.
pub(crate) fn tail(path: &Path, count: usize) -> String {
    std::fs::read(path)
        .map(|bytes| last_lines(&String::from_utf8_lossy(&bytes), count))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    fn progress_in(line: &str) -> Option<String> {
        line.contains(" of ").then(|| line.to_owned())
    }

    #[tokio::test]
    async fn the_latest_progress_of_a_program_is_known_while_it_runs() {
        let progress = HowFar::default();
        let lines: &[u8] = b"warming up\n1 of 3\r2 of 3\rlast words";
        let text = read_progress(lines, progress_in, &progress).await.unwrap();
        assert_eq!(text, "warming up\nlast words");
        assert_eq!(progress.get(), "2 of 3");
    }

    #[tokio::test]
    async fn a_program_that_succeeds_gives_its_stdout_and_one_that_fails_its_last_lines() {
        let mut good = shell("echo answer; echo 1 of 2 >&2");
        assert_eq!(with_progress(&mut good, "testing", progress_in).await.unwrap(), "answer\n");
        let mut bad = shell("echo 1 of 2 >&2; echo no such crate >&2; exit 3");
        let error = with_progress(&mut bad, "testing", progress_in).await.unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.ends_with("no such crate"), "{error}");
    }

    // It was a pipe that nobody read: a cold demo was silent for a quarter of an hour.
    #[tokio::test]
    async fn a_program_with_its_own_progress_writes_to_the_stderr_of_this_process() {
        let script = "readlink /proc/self/fd/2";
        let here = std::fs::read_link("/proc/self/fd/2").unwrap();
        let there = with_own_progress(&mut shell(script)).await.unwrap();
        assert_eq!(there.trim(), here.to_string_lossy());
    }
}
