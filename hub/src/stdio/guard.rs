//! Ends the servers of a hub that was killed.
//!
//! The hub starts one more process, which is told the process groups of all servers. When the hub
//! is gone, however it ended, the pipe between them closes, and the guard ends the groups that are
//! left. `PR_SET_PDEATHSIG` would reach only the process that the hub itself started, and most
//! servers are started by `npx`, `uvx` or a shell.

use std::collections::HashSet;
use std::io::{BufRead as _, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::{Pid, setsid};

/// The subcommand that is the guard.
pub(crate) const SUBCOMMAND: &str = "guard";
/// A server that reads its stdin ends by itself when the hub is gone.
const STDIN_GRACE: Duration = Duration::from_millis(500);
const TERM_GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

static ENABLED: AtomicBool = AtomicBool::new(false);
static PIPE: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();

/// From now on, a guard watches over the servers of this process. Only for a process whose program
/// is `mcp-hub`.
pub(crate) fn enable() {
    ENABLED.store(true, Ordering::Relaxed);
}

/// Notes a process group that must not outlive the hub.
pub(super) fn add(leader: Pid) {
    if ENABLED.load(Ordering::Relaxed) {
        tell("+", leader);
    }
}

/// Notes that a process group has ended.
pub(super) fn remove(leader: Pid) {
    if ENABLED.load(Ordering::Relaxed) {
        tell("-", leader);
    }
}

fn tell(sign: &str, leader: Pid) {
    let pipe = PIPE.get_or_init(|| {
        let started = start();
        if let Err(error) = &started {
            tracing::warn!(%error, "failed to start the guard; if the hub is killed, its servers \
                may go on");
        }
        started.ok().map(Mutex::new)
    });
    if let Some(pipe) = pipe {
        let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.write_all(format!("{sign}{leader}\n").as_bytes()).ok();
    }
}

#[allow(clippy::zombie_processes, reason = "the guard outlives the hub")]
fn start() -> std::io::Result<ChildStdin> {
    let mut guard = Command::new(std::env::current_exe()?);
    guard.arg(SUBCOMMAND).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let stdin = guard.spawn()?.stdin.take();
    stdin.ok_or_else(|| std::io::Error::other("no pipe"))
}

/// The guard. Returns when the hub is gone and no group is left.
pub fn run() {
    // What ends the hub, such as Ctrl-C or a service manager, must not end its guard first.
    setsid().ok();
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().ok();
    let mut groups: HashSet<i32> = HashSet::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let number = |text: &str| text.parse().ok();
        if let Some(leader) = line.strip_prefix('+').and_then(number) {
            groups.insert(leader);
        } else if let Some(leader) = line.strip_prefix('-').and_then(number) {
            groups.remove(&leader);
        }
    }
    wait_for(&groups, STDIN_GRACE);
    signal(&groups, Signal::SIGTERM);
    wait_for(&groups, TERM_GRACE);
    signal(&groups, Signal::SIGKILL);
}

fn signal(groups: &HashSet<i32>, signal: Signal) {
    for group in groups {
        killpg(Pid::from_raw(*group), signal).ok();
    }
}

fn wait_for(groups: &HashSet<i32>, grace: Duration) {
    let since = Instant::now();
    let exists = |group: &i32| killpg(Pid::from_raw(*group), None).is_ok();
    while since.elapsed() < grace && groups.iter().any(exists) {
        std::thread::sleep(POLL);
    }
}
