//! Every process that ends under this one is waited for here, and nowhere else: the servers that were started, and
//! as PID 1 of a container also whatever their orphans are. So no zombie stays, and no process id is signalled
//! after it has been given to somebody else.

use std::collections::HashMap;
use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal(Signal),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// The processes that were started and have not been waited for.
#[derive(Debug, Default)]
pub(super) struct Reaper {
    running: Mutex<HashMap<Pid, oneshot::Sender<Exit>>>,
}

impl Reaper {
    /// Starts waiting for processes.
    pub(super) fn start() -> std::io::Result<Arc<Self>> {
        let reaper = Arc::new(Self::default());
        let mut ended = signal(SignalKind::child())?;
        let waiting = Arc::clone(&reaper);
        tokio::spawn(async move {
            while ended.recv().await.is_some() {
                while waiting.reap_one() {}
            }
        });
        Ok(reaper)
    }

    /// Starts a process as leader of a group of its own.
    pub(super) fn spawn(
        &self,
        command: &mut Command,
    ) -> std::io::Result<(Child, Pid, oneshot::Receiver<Exit>)> {
        // Locked over the start: a process that ends at once must be known when its end is seen.
        let mut running = self.running();
        let child = command.process_group(0).spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(std::io::Error::other)?);
        let (sender, exit) = oneshot::channel();
        running.insert(pid, sender);
        Ok((child, pid, exit))
    }

    /// Sends a signal to the group of a process, if that still runs.
    pub(super) fn signal_group(&self, leader: Pid, signal: Signal) {
        let running = self.running();
        if running.contains_key(&leader) {
            // ESRCH: everybody in it has just ended.
            killpg(leader, signal).ok();
        }
    }

    /// Waits for one process that has ended; `false` if there is none.
    fn reap_one(&self) -> bool {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let (pid, exit) = match waitid(Id::All, look) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal)),
            Err(Errno::EINTR) => return true,
            // Ended by a signal that has no name (real-time signals): waited for, but not told whose end it was.
            Err(Errno::EINVAL) => {
                waitpid(None, Some(WaitPidFlag::WNOHANG)).ok();
                return self.forget_gone();
            }
            Ok(_) | Err(_) => return false,
        };
        let mut running = self.running();
        let ours = running.remove(&pid);
        if ours.is_some() {
            // While the leader is a zombie its id is the group's and nobody else's.
            killpg(pid, Signal::SIGKILL).ok();
        }
        waitpid(pid, None).ok();
        if let Some(owner) = ours {
            owner.send(exit).ok();
        }
        true
    }

    fn forget_gone(&self) -> bool {
        self.running().retain(|pid, _| kill(*pid, None) != Err(Errno::ESRCH));
        true
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Pid, oneshot::Sender<Exit>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
