//! Reaps child processes: the servers, and in a bridge, which is PID 1 of its container, also the
//! orphans that servers leave behind.
//!
//! Nothing else may wait for a server. That way no zombie is left, and no signal reaches a process
//! that got the id of an earlier one.

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

use super::guard;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Code(i32),
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

/// Whether processes are reaped that the reaper has not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Orphans {
    /// This process is PID 1, and nothing else in it starts processes.
    Reap,
    Leave,
}

/// The servers that have not been reaped yet.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    running: Mutex<HashMap<Pid, oneshot::Sender<Exit>>>,
}

impl Reaper {
    /// Starts reaping in the background.
    pub(crate) fn start(orphans: Orphans) -> std::io::Result<Arc<Self>> {
        let reaper = Arc::new(Self::default());
        let mut ended = signal(SignalKind::child())?;
        let waiting = Arc::clone(&reaper);
        tokio::spawn(async move {
            while ended.recv().await.is_some() {
                match orphans {
                    Orphans::Reap => while waiting.reap_one(Id::All) {},
                    Orphans::Leave => waiting.reap_servers(),
                }
            }
        });
        Ok(reaper)
    }

    /// Starts a process as the leader of a new process group.
    pub(super) fn spawn(
        &self,
        command: &mut Command,
    ) -> std::io::Result<(Child, Pid, oneshot::Receiver<Exit>)> {
        // The lock is held over the start: a process that ends at once must be registered before
        // it is reaped.
        let mut running = self.running();
        let child = command.process_group(0).spawn()?;
        let pid = Pid::from_raw(i32::try_from(child.id()).map_err(std::io::Error::other)?);
        let (sender, exit) = oneshot::channel();
        running.insert(pid, sender);
        guard::add(pid);
        Ok((child, pid, exit))
    }

    /// Sends a signal to the process group of a server, unless the server has been reaped.
    pub(super) fn signal_group(&self, leader: Pid, signal: Signal) {
        let running = self.running();
        if running.contains_key(&leader) {
            // ESRCH only means that the whole group has just ended.
            killpg(leader, signal).ok();
        }
    }

    /// Reaps the servers that have ended, and no other process.
    fn reap_servers(&self) {
        let servers: Vec<Pid> = self.running().keys().copied().collect();
        for server in servers {
            while self.reap_one(Id::Pid(server)) && self.running().contains_key(&server) {}
        }
    }

    /// Reaps one of these processes that has ended. Returns `false` if there is none.
    fn reap_one(&self, which: Id) -> bool {
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let process = if let Id::Pid(pid) = &which { Some(*pid) } else { None };
        let (pid, exit) = match waitid(which, peek) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, Exit::Signal(signal)),
            Err(Errno::EINTR) => return true,
            // A real-time signal ended the process. `nix` has no name for it and does not say
            // which process it was.
            Err(Errno::EINVAL) => {
                waitpid(process, Some(WaitPidFlag::WNOHANG)).ok();
                self.remove_missing();
                return true;
            }
            Ok(_) | Err(_) => return false,
        };
        let mut running = self.running();
        let server = running.remove(&pid);
        if server.is_some() {
            // While the leader is a zombie, no other process or group can get its id.
            killpg(pid, Signal::SIGKILL).ok();
            guard::remove(pid);
        }
        waitpid(pid, None).ok();
        if let Some(supervisor) = server {
            supervisor.send(exit).ok();
        }
        true
    }

    fn remove_missing(&self) {
        self.running().retain(|pid, _| kill(*pid, None) != Err(Errno::ESRCH));
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Pid, oneshot::Sender<Exit>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
