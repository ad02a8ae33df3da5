//! The processes of a run. They are started inside its namespaces, each with a log in the work
//! folder.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command;
use super::sandbox::Sandbox;
use crate::progress::{self, HowFar};

/// A process of the test cluster that tests may kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The store of the API server.
    Etcd,
    /// The Kubernetes API.
    ApiServer,
    /// Deployments, endpoints, garbage collection and the like.
    ControllerManager,
    /// Assigns pods to nodes.
    Scheduler,
    /// Runs containers.
    Containerd,
    /// Runs the pods of the node.
    Kubelet,
    /// Implements the addresses of Services.
    KubeProxy,
    /// Writes the list of pods that Prometheus scrapes.
    Discovery,
    /// Scrapes pods.
    Prometheus,
}

impl Part {
    /// The name of the program and of its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Discovery => "pod-discovery",
            Self::Prometheus => "prometheus",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One running process of a run.
#[derive(Debug)]
pub(crate) struct Component {
    pub(crate) part: Part,
    command: Command,
    log: PathBuf,
    child: Child,
}

impl Component {
    /// Starts a program inside the run.
    pub(crate) fn start(
        sandbox: &Sandbox,
        part: Part,
        program: PathBuf,
        args: Vec<String>,
    ) -> Result<Self> {
        let mut command = sandbox.enter(program);
        command.args(args);
        let log = sandbox.dir().join("logs").join(part.name());
        let child = spawn(&mut command, &log).with_context(|| format!("failed to start {part}"))?;
        Ok(Self { part, command, log, child })
    }

    /// Kills the program and starts it again with the same arguments.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.child = spawn(&mut self.command, &self.log)?;
        Ok(())
    }

    /// Kills the process as `kill -9` does and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        // nsenter stays outside the process namespace and waits for the program, its only child.
        for pid in children(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        self.child.wait()?;
        Ok(())
    }

    /// An error with the end of the log when the process has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended ({status}); the end of its log:\n{}", self.part, self.log_tail());
        }
        Ok(())
    }

    /// The end of the log.
    pub(crate) fn log_tail(&self) -> String {
        command::tail(&self.log, 25)
    }
}

fn spawn(command: &mut Command, log: &PathBuf) -> Result<Child> {
    let file = File::options().create(true).append(true).open(log)?;
    Ok(command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).spawn()?)
}

fn children(parent: u32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            // `PID (NAME) STATE PARENT …`, and the name may hold spaces and brackets.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
            after.split(' ').nth(1).and_then(|ppid| ppid.parse().ok()) == Some(parent)
        })
        .collect()
}

/// Asks until the answer is `true`. The error shows the log of the component that ended, or of the
/// one to blame.
pub(crate) async fn wait_for<F>(
    what: &str,
    within: Duration,
    components: &mut [Component],
    blame: Part,
    mut ready: F,
) -> Result<()>
where
    F: AsyncFnMut() -> bool,
{
    let started = Instant::now();
    let waited = async {
        loop {
            if ready().await {
                return Ok(());
            }
            for component in components.iter_mut() {
                component.check()?;
            }
            if started.elapsed() > within {
                let component = components.iter().find(|component| component.part == blame);
                let log = component.map(Component::log_tail).unwrap_or_default();
                bail!(
                    "{what} is not ready after {} s; the end of the log of {blame}:\n{log}",
                    within.as_secs()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    progress::while_running(&format!("waiting for {what}"), &HowFar::default(), waited).await
}
