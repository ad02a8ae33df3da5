//! `mcp-hub bridge`: gives a stdio MCP server a Streamable HTTP endpoint.
//!
//! The bridge runs as PID 1 of the server's own container. [`stdio`](crate::stdio) does the work.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use mcphub_hub_listen::Limits;
use mcphub_hub_wire::config::Command;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args;
use crate::stdio::{self, ChildProgram, Orphans, Reaper, StdioServer};

/// How long pending calls may take after SIGTERM. Together with the 6 s to stop the servers, it
/// fits in the default termination grace period of a pod, which is 30 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long connections may take to close once the sessions have ended.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
const DRAIN_POLL: Duration = Duration::from_millis(50);

/// Runs the bridge until SIGTERM or SIGINT.
pub async fn run(args: args::Bridge) -> anyhow::Result<()> {
    let program = args.command.first().context("no command")?;
    anyhow::ensure!(
        is_executable(program),
        "{program}: no such program in this container; set spec.servers[].container.command to a \
         program of the image"
    );
    let child = ChildProgram {
        name: program.as_str().into(),
        command: command(&args.command),
        reaper: Reaper::start(Orphans::Reap)?,
    };
    let server = StdioServer::new(Arc::new(child), args.max_processes, args.call_timeout)?;
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("failed to listen on {}", args.listen))?;
    tracing::info!(listen = %listener.local_addr()?, "bridge started");
    let stop = CancellationToken::new();
    let serving = tokio::spawn(mcphub_hub_listen::serve(
        listener,
        mcphub_hub_listen::router(stdio::router(Arc::clone(&server))),
        Limits { close_timeout: CLOSE_TIMEOUT, ..Limits::default() },
        server.connection_metrics()?,
        stop.clone().cancelled_owned(),
    ));
    let sweeping = Arc::clone(&server);
    tokio::spawn(async move { sweeping.sweep(args.idle_timeout).await });

    shutdown_signal().await?;
    server.set_stopping();
    let since = Instant::now();
    while server.pending_calls() > 0 && since.elapsed() < DRAIN_TIMEOUT {
        tokio::time::sleep(DRAIN_POLL).await;
    }
    stop.cancel();
    server.end_all().await;
    serving.await.ok();
    Ok(())
}

/// The container has the right environment and working directory already.
fn command(words: &[String]) -> Command {
    Command {
        program: words.first().cloned().unwrap_or_default(),
        args: words.iter().skip(1).cloned().collect(),
        env: BTreeMap::new(),
        env_file: None,
        cwd: None,
        idle_timeout_ms: 0,
    }
}

async fn shutdown_signal() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Checked before the bridge serves anything: a wrong command must stop the rollout of the pod and
/// not fail every session.
fn is_executable(program: &str) -> bool {
    let is_program = |path: &Path| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return is_program(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))
}
