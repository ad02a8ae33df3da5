//! `mcp-hub bridge`: gives a stdio MCP server a Streamable HTTP endpoint, inside that server's own container, where it
//! is process 1. One server process per session; messages pass as they were written.
//!
//! `http -> sessions -> session -> process`; `reaper` waits for every process that ends.

mod answers;
mod asleep;
mod call;
mod http;
mod lines;
mod metrics;
mod process;
mod reaper;
mod session;
mod sessions;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::args;
use http::Bridge;
use metrics::Metrics;
use reaper::Reaper;
use sessions::{Launcher, Sessions};

/// After SIGTERM, for calls that wait. With what stopping the servers takes it is within the usual 30 s of a pod.
const LAST_CALLS: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);

/// Bridges until SIGTERM or SIGINT.
pub async fn run(args: args::Bridge) -> anyhow::Result<()> {
    let program = args.command.first().context("no command")?;
    anyhow::ensure!(
        is_executable(program),
        "{program}: no such program in this container; spec.servers[].container.command must name one of its image"
    );
    let metrics = Arc::new(Metrics::new()?);
    let launcher =
        Launcher::new(args.command, args.max_processes, Reaper::start()?, Arc::clone(&metrics));
    let bridge = Arc::new(Bridge {
        sessions: Sessions::new(Arc::new(launcher)),
        metrics,
        call_timeout: args.call_timeout,
        stopping: AtomicBool::new(false),
    });
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    tracing::info!(listen = %listener.local_addr()?, "bridge starts");
    // Without it a small answer waits for the reader's delayed ACK.
    let listener = listener.tap_io(|stream| {
        stream.set_nodelay(true).ok();
    });
    let stop = CancellationToken::new();
    let serving = axum::serve(listener, http::router(Arc::clone(&bridge)))
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let serving = tokio::spawn(async move { serving.await });
    let sweeping = Arc::clone(&bridge);
    tokio::spawn(async move { sweeping.sessions.sweep(args.idle_timeout).await });

    asked_to_stop().await?;
    bridge.stopping.store(true, Ordering::Relaxed);
    let since = Instant::now();
    while bridge.sessions.pending() > 0 && since.elapsed() < LAST_CALLS {
        tokio::time::sleep(LOOK).await;
    }
    stop.cancel();
    bridge.sessions.end_all().await;
    tokio::time::timeout(Duration::from_secs(1), serving).await.ok();
    Ok(())
}

async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Looked at before anything is served: a wrong command must stop the pod's rollout, not every session.
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
