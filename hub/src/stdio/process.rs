//! One server process: its pipes, its log, and how it is stopped.

use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::line_reader::{self, Line};
use super::reaper::{Exit, Reaper};

/// Longest message of a server. A longer one stops the server, because the reader cannot tell
/// where the next message starts.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// Longer lines on stderr are truncated.
const MAX_LOG_BYTES: usize = 4 << 10;
/// To stop a server, its stdin is closed, it gets SIGTERM after this time, ...
const STDIN_GRACE: Duration = Duration::from_secs(2);
/// ... and SIGKILL after this further time.
const TERM_GRACE: Duration = Duration::from_secs(3);
/// How long to read what is left in stdout after the process has ended.
const FINAL_OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);
/// Messages that wait in one direction.
pub(crate) const MAX_QUEUED: usize = 64;

/// A running server. Dropping it stops the server and everything that it started.
#[derive(Debug)]
pub(crate) struct Process {
    stdin: mpsc::Sender<Bytes>,
    _stop: DropGuard,
}

#[derive(Debug)]
pub(crate) enum ProcessEvent {
    /// The server wrote a line to stdout.
    Line(Bytes),
    /// The server has ended, for this reason. Nothing comes after it.
    Ended(String),
}

impl Process {
    /// Something that takes messages and ends when `stop` is dropped.
    pub(crate) fn new(stdin: mpsc::Sender<Bytes>, stop: DropGuard) -> Self {
        Self { stdin, _stop: stop }
    }

    /// Starts the command. `permit` is released when the process has ended and was reaped.
    pub(super) fn start(
        mut command: Command,
        name: &Arc<str>,
        number: u64,
        reaper: &Arc<Reaper>,
        permit: OwnedSemaphorePermit,
    ) -> std::io::Result<(Self, mpsc::Receiver<ProcessEvent>)> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, pid, exit) = reaper.spawn(&mut command)?;
        let missing = || std::io::Error::other("no pipe");
        let to_child =
            pipe::Sender::from_owned_fd(OwnedFd::from(child.stdin.take().ok_or_else(missing)?))?;
        let output =
            pipe::Receiver::from_owned_fd(OwnedFd::from(child.stdout.take().ok_or_else(missing)?))?;
        let log =
            pipe::Receiver::from_owned_fd(OwnedFd::from(child.stderr.take().ok_or_else(missing)?))?;
        tracing::info!(server = %name, number, %pid, "server started");

        let (stdin, messages) = mpsc::channel(MAX_QUEUED);
        let (events, received) = mpsc::channel(MAX_QUEUED);
        let stop = CancellationToken::new();
        tokio::spawn(log_stderr(log, Arc::clone(name), number));
        tokio::spawn(write(to_child, messages, stop.clone()));
        let supervisor = Supervisor {
            name: Arc::clone(name),
            number,
            pid,
            exit,
            reaper: Arc::clone(reaper),
            stop: stop.clone(),
            reading: tokio::spawn(read(output, events.clone())),
        };
        tokio::spawn(async move {
            let reason = supervisor.wait().await;
            drop(permit);
            events.send(ProcessEvent::Ended(reason)).await.ok();
        });
        Ok((Self { stdin, _stop: stop.drop_guard() }, received))
    }

    /// Takes messages for the server: one line each, without a line end.
    pub(super) fn stdin(&self) -> &mpsc::Sender<Bytes> {
        &self.stdin
    }
}

/// Watches a process until it ends, and stops it when asked to.
struct Supervisor {
    name: Arc<str>,
    number: u64,
    pid: Pid,
    exit: oneshot::Receiver<Exit>,
    reaper: Arc<Reaper>,
    stop: CancellationToken,
    reading: JoinHandle<String>,
}

impl Supervisor {
    /// Waits until the process has ended. Returns the reason.
    async fn wait(mut self) -> String {
        let mut closed = None;
        let mut exit = tokio::select! {
            exit = &mut self.exit => exit.ok(),
            () = self.stop.cancelled() => None,
            reason = &mut self.reading => {
                closed = Some(reason.unwrap_or_default());
                None
            }
        };
        let requested = self.stop.is_cancelled();
        if closed.is_some() && !requested {
            // The pipes of a dying process close a moment before its exit is known. Then the exit
            // is the reason and not the closed pipe.
            exit = timeout(FINAL_OUTPUT_TIMEOUT, &mut self.exit).await.ok().and_then(Result::ok);
        }
        let exited_first = exit.is_some();
        // Closes stdin if it is still open.
        self.stop.cancel();
        if exit.is_none() {
            exit = self.terminate().await;
        }
        if closed.is_none() {
            timeout(FINAL_OUTPUT_TIMEOUT, &mut self.reading).await.ok();
            self.reading.abort();
        }
        let exit = exit.map_or_else(|| "unknown".to_owned(), |exit| exit.to_string());
        tracing::info!(
            server = %self.name,
            number = self.number,
            pid = %self.pid,
            exit,
            requested,
            "server ended"
        );
        match closed {
            Some(reason) if !requested && !exited_first => format!("{reason} ({exit})"),
            _ => exit,
        }
    }

    async fn terminate(&mut self) -> Option<Exit> {
        for (grace, signal) in [(STDIN_GRACE, Signal::SIGTERM), (TERM_GRACE, Signal::SIGKILL)] {
            if let Ok(exit) = timeout(grace, &mut self.exit).await {
                return exit.ok();
            }
            self.reaper.signal_group(self.pid, signal);
        }
        (&mut self.exit).await.ok()
    }
}

async fn write(
    mut stdin: pipe::Sender,
    mut messages: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
) {
    let writing = async {
        while let Some(message) = messages.recv().await {
            if stdin.write_all(&message).await.is_err() || stdin.write_all(b"\n").await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = stop.cancelled() => {}
    }
}

async fn read(stdout: pipe::Receiver, events: mpsc::Sender<ProcessEvent>) -> String {
    let mut stdout = BufReader::with_capacity(64 << 10, stdout);
    loop {
        match line_reader::read_line(&mut stdout, MAX_MESSAGE_BYTES).await {
            Ok(Line::Complete(line)) => {
                if events.send(ProcessEvent::Line(line)).await.is_err() {
                    return "its session is gone".into();
                }
            }
            Ok(Line::Truncated(_)) => {
                return format!("it sent a message over {} MiB", MAX_MESSAGE_BYTES >> 20);
            }
            Ok(Line::End) => return "it closed its stdout".into(),
            Err(error) => return format!("failed to read its stdout: {error}"),
        }
    }
}

async fn log_stderr(stderr: pipe::Receiver, name: Arc<str>, number: u64) {
    let mut stderr = BufReader::new(stderr);
    while let Ok(Line::Complete(line) | Line::Truncated(line)) =
        line_reader::read_line(&mut stderr, MAX_LOG_BYTES).await
    {
        let text = String::from_utf8_lossy(&line);
        tracing::info!(target: "server", server = %name, number, "{text}");
    }
}
