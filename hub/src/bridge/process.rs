//! One server process: its pipes, its log, its end.

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

use super::lines::{self, Line};
use super::reaper::{Exit, Reaper};

/// Longest message of a server. A longer one ends it: nobody can tell what would come after it.
pub(super) const MAX_MESSAGE_BYTES: usize = 64 << 20;
const MAX_LOG_BYTES: usize = 4 << 10;
/// A server that is told to stop by the end of its stdin has so long until SIGTERM, then so long until SIGKILL.
const STDIN_GRACE: Duration = Duration::from_secs(2);
const TERM_GRACE: Duration = Duration::from_secs(3);
/// For what is still in the pipe when the process has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);
const MESSAGES: usize = 64;

/// A running server. Dropping it stops the server and everything that it started.
#[derive(Debug)]
pub(super) struct Process {
    stdin: mpsc::Sender<Bytes>,
    _stop: DropGuard,
}

/// What a server does.
#[derive(Debug)]
pub(super) enum Event {
    /// It wrote a line to stdout.
    Line(Bytes),
    /// It has ended; nothing comes after this.
    Ended(String),
}

impl Process {
    /// Starts the command. `place` is held until the process has ended and been waited for.
    pub(super) fn start(
        command: &[String],
        number: u64,
        reaper: &Arc<Reaper>,
        place: OwnedSemaphorePermit,
    ) -> std::io::Result<(Self, mpsc::Receiver<Event>)> {
        let (program, args) =
            command.split_first().ok_or_else(|| std::io::Error::other("no command"))?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, pid, exit) = reaper.spawn(&mut command)?;
        let missing = || std::io::Error::other("no pipe");
        let to_child =
            pipe::Sender::from_owned_fd(OwnedFd::from(child.stdin.take().ok_or_else(missing)?))?;
        let output =
            pipe::Receiver::from_owned_fd(OwnedFd::from(child.stdout.take().ok_or_else(missing)?))?;
        let log =
            pipe::Receiver::from_owned_fd(OwnedFd::from(child.stderr.take().ok_or_else(missing)?))?;
        tracing::info!(number, %pid, program, "server started");

        let (stdin, messages) = mpsc::channel(MESSAGES);
        let (events, received) = mpsc::channel(MESSAGES);
        let stop = CancellationToken::new();
        tokio::spawn(log_lines(log, number));
        tokio::spawn(write(to_child, messages, stop.clone()));
        let keeper = Keeper {
            number,
            pid,
            exit,
            reaper: Arc::clone(reaper),
            stop: stop.clone(),
            reading: tokio::spawn(read(output, events.clone())),
        };
        tokio::spawn(async move {
            let reason = keeper.until_ended().await;
            drop(place);
            events.send(Event::Ended(reason)).await.ok();
        });
        Ok((Self { stdin, _stop: stop.drop_guard() }, received))
    }

    /// Where messages for it are put in, a line each, without line ends.
    pub(super) fn stdin(&self) -> &mpsc::Sender<Bytes> {
        &self.stdin
    }
}

/// Sees a process to its end.
struct Keeper {
    number: u64,
    pid: Pid,
    exit: oneshot::Receiver<Exit>,
    reaper: Arc<Reaper>,
    stop: CancellationToken,
    reading: JoinHandle<String>,
}

impl Keeper {
    /// Ends when the process has; says why it did.
    async fn until_ended(mut self) -> String {
        let mut closed = None;
        let mut exit = tokio::select! {
            exit = &mut self.exit => exit.ok(),
            () = self.stop.cancelled() => None,
            reason = &mut self.reading => {
                closed = Some(reason.unwrap_or_default());
                None
            }
        };
        let asked = self.stop.is_cancelled();
        if closed.is_some() && !asked {
            // Its pipes close a moment before its end is known: then the end is the reason, not the pipe.
            exit = timeout(LAST_WORDS, &mut self.exit).await.ok().and_then(Result::ok);
        }
        let by_itself = exit.is_some();
        // Closes stdin, should it still be open.
        self.stop.cancel();
        if exit.is_none() {
            exit = self.stopped().await;
        }
        if closed.is_none() {
            timeout(LAST_WORDS, &mut self.reading).await.ok();
            self.reading.abort();
        }
        let exit = exit.map_or_else(|| "unknown".to_owned(), |exit| exit.to_string());
        tracing::info!(number = self.number, pid = %self.pid, exit, asked, "server ended");
        match closed {
            Some(reason) if !asked && !by_itself => format!("{reason} ({exit})"),
            _ => exit,
        }
    }

    async fn stopped(&mut self) -> Option<Exit> {
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

async fn read(stdout: pipe::Receiver, events: mpsc::Sender<Event>) -> String {
    let mut stdout = BufReader::with_capacity(64 << 10, stdout);
    loop {
        match lines::next(&mut stdout, MAX_MESSAGE_BYTES).await {
            Ok(Line::Whole(line)) => {
                if events.send(Event::Line(line)).await.is_err() {
                    return "nobody listens".into();
                }
            }
            Ok(Line::Cut(_)) => {
                return format!("it sent a message over {} MiB", MAX_MESSAGE_BYTES >> 20);
            }
            Ok(Line::End) => return "it closed its stdout".into(),
            Err(error) => return format!("its stdout broke: {error}"),
        }
    }
}

async fn log_lines(stderr: pipe::Receiver, number: u64) {
    let mut stderr = BufReader::new(stderr);
    while let Ok(Line::Whole(line) | Line::Cut(line)) =
        lines::next(&mut stderr, MAX_LOG_BYTES).await
    {
        tracing::info!(target: "server", number, "{}", String::from_utf8_lossy(&line));
    }
}
