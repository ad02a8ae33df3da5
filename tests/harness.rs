//! The test cluster itself: what every test on a cluster relies on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use mcphub_tests::cluster::{Cluster, ControlPlane, Image, Options, Part, Run};
use mcphub_tests::wait::{self, PATIENCE};

/// Two pods behind a Service. They answer with their name and export a metric.
fn web(namespace: &str, image: &str) -> String {
    let program = r#"const metrics = `web_up{namespace="own"} 7\n`;
        const answer = q => q.url === "/metrics" ? metrics : process.env.HOSTNAME;
        require("http").createServer((q, r) => r.end(answer(q))).listen(8080)"#;
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace},
         "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {
            "name": "web", "namespace": namespace,
        },
         "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {
                "labels": {"app": "web"},
                "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
            },
            "spec": {
                "securityContext": {
                    "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{"name": "web", "image": image, "command": ["node", "-e", program],
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                    "securityContext": {
                        "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}],
                "volumes": [{"name": "tmp", "emptyDir": {}}]}}}},
    ]})
    .to_string()
}

async fn cluster() -> &'static Cluster {
    let images = vec![Image::ServersNode, Image::ServersPython];
    let options =
        Options { prometheus: Some(Duration::from_secs(1)), images, ..Options::default() };
    Cluster::shared(options).await.unwrap_or_else(|error| panic!("{error:#}"))
}

/// A namespace with two web pods, Ready.
async fn web_in(namespace: &str) -> &'static Cluster {
    let cluster = cluster().await;
    cluster.apply(&web(namespace, &cluster.image(Image::ServersNode).unwrap())).await.unwrap();
    let status = cluster
        .kubectl(["-n", namespace, "rollout", "status", "deployment/web", "--timeout=300s"])
        .await;
    if let Err(error) = status {
        panic!("{error:#}\n{}", cluster.diagnostics(namespace).await);
    }
    cluster
}

async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    wait::eventually(what, PATIENCE, ask).await.unwrap()
}

#[tokio::test]
async fn a_pod_reaches_all_pods_of_a_service_by_its_name() {
    let cluster = web_in("mcphub-test-service").await;
    let ask = r#"const url = "http://web.mcphub-test-service.svc.cluster.local";
        const ask = () => fetch(url, {headers: {connection: "close"}}).then(r => r.text());
        Promise.all([...Array(20)].map(ask))
        .then(names => console.log([...new Set(names)].sort().join(" ")))"#;
    let args = ["-n", "mcphub-test-service", "exec", "deployment/web", "--", "node", "-e", ask];
    let answered = cluster.kubectl(args).await.unwrap();
    let template = r#"{range .items[*]}{.metadata.name}{" "}{end}"#;
    let pods = cluster
        .kubectl([
            "-n",
            "mcphub-test-service",
            "get",
            "pods",
            &format!("--output=jsonpath={template}"),
        ])
        .await
        .unwrap();
    let set = |text: &str| text.split_whitespace().map(String::from).collect::<BTreeSet<_>>();
    assert_eq!(set(&answered), set(&pods));
    assert_eq!(set(&pods).len(), 2);
}

// `make cluster-down` beside a test run must not end the cluster of the tests.
#[tokio::test]
async fn only_a_cluster_that_was_left_running_is_ended_by_cluster_down() {
    let used = cluster().await.kubeconfig();
    let run = Run::all().into_iter().find(|run| Path::new(&run.kubeconfig) == used);
    let started_here = std::env::var_os("KUBECONFIG").is_none_or(|path| path.is_empty());
    assert_eq!(run.is_some_and(|run| !run.is_kept()), started_here);
}

#[tokio::test]
async fn the_host_reaches_a_service_by_its_address() {
    let cluster = web_in("mcphub-test-host").await;
    let address = cluster
        .kubectl([
            "-n",
            "mcphub-test-host",
            "get",
            "service",
            "web",
            "--output=jsonpath={.spec.clusterIP}",
        ])
        .await
        .unwrap();
    let answer = reqwest::get(format!("http://{address}")).await.unwrap().text().await.unwrap();
    assert!(answer.starts_with("web-"), "{answer}");
}

#[tokio::test]
async fn prometheus_scrapes_annotated_pods_and_keeps_their_own_labels() {
    let cluster = web_in("mcphub-test-scrape").await;
    let expression = r#"sum(web_up{namespace="own", pod=~"web-.*"})
        and on() (count(up{namespace="mcphub-test-scrape"} == 1) == 2)"#;
    let value =
        eventually("both pods are scraped", async || cluster.query(expression).await.unwrap())
            .await;
    assert!(value >= 14.0, "{value}");
}

#[tokio::test]
async fn real_mcp_servers_start_without_root_on_a_read_only_file_system() {
    let cluster = cluster().await;
    let client = serde_json::json!({"name": "test", "version": "1"});
    let params = serde_json::json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client,
    });
    let hello = serde_json::json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params,
    });
    for (name, image, command) in [
        ("everything", Image::ServersNode, "mcp-server-everything"),
        ("filesystem", Image::ServersNode, "mcp-server-filesystem /tmp"),
        ("memory", Image::ServersNode, "mcp-server-memory"),
        ("time", Image::ServersPython, "mcp-server-time"),
        ("git", Image::ServersPython, "mcp-server-git"),
    ] {
        let command: Vec<_> = command.split(' ').collect();
        let answer = first_answer(cluster, name, image, &command, &hello.to_string());
        assert!(
            answer.is_some_and(|line| line.contains("\"serverInfo\"")),
            "{name} did not answer"
        );
    }
}

/// Runs a server in a pod of its own and returns its first answer to a message.
fn first_answer(
    cluster: &Cluster,
    name: &str,
    image: Image,
    command: &[&str],
    message: &str,
) -> Option<String> {
    let image = cluster.image(image).unwrap();
    let container = serde_json::json!({
        "name": name, "image": image, "stdin": true, "stdinOnce": true, "command": command,
        "securityContext": {"runAsNonRoot": true, "readOnlyRootFilesystem": true},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    });
    let volumes = serde_json::json!([{"name": "tmp", "emptyDir": {}}]);
    let overrides = serde_json::json!({"spec": {"containers": [container], "volumes": volumes}});
    let path = format!("{}:{}", cluster.path(), std::env::var("PATH").unwrap_or_default());
    let mut kubectl = Command::new("kubectl");
    kubectl.env("PATH", path).env("KUBECONFIG", cluster.kubeconfig());
    kubectl.args(["run", name, "--rm", "--stdin", "--quiet", "--restart=Never"]);
    kubectl.arg("--pod-running-timeout=5m");
    kubectl.args([format!("--image={image}"), format!("--overrides={overrides}")]);
    let mut kubectl = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = kubectl.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, format!("{message}\n").as_bytes()).unwrap();
    let mut lines = BufReader::new(kubectl.stdout.take().unwrap()).lines();
    let answer = lines.by_ref().map_while(Result::ok).find(|line| line.contains("\"result\""));
    drop(stdin);
    lines.for_each(drop);
    kubectl.wait().unwrap();
    answer
}

#[tokio::test]
async fn an_api_server_that_is_killed_and_restarted_keeps_its_objects() {
    let plane = ControlPlane::start().await.unwrap();
    plane.kubectl(["create", "configmap", "a", "--from-literal=a=b"]).await.unwrap();
    plane.kill(Part::ApiServer).unwrap();
    let read = ["get", "configmap", "a", "--output=jsonpath={.data.a}"];
    assert!(plane.kubectl(read).await.is_err());
    plane.restart(Part::ApiServer).unwrap();
    let kept = eventually("the API server is back", async || plane.kubectl(read).await.ok()).await;
    assert_eq!(kept, "b");
}

/// A copy of a local kubeconfig. Under another path, its cluster counts as external.
fn external(kubeconfig: &Path) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(kubeconfig, file.path()).unwrap();
    file
}

#[tokio::test]
async fn an_external_cluster_without_a_registry_or_with_hubs_is_refused() {
    let plane = ControlPlane::start().await.unwrap();
    let kubeconfig = external(plane.kubeconfig());
    let path = kubeconfig.path().to_str().unwrap();
    let refusal = async |images: &str| {
        format!("{:#}", Cluster::external(path, images, &Options::default()).await.unwrap_err())
    };
    assert!(refusal("").await.contains("IMAGES=registry.example.com"));

    plane
        .kubectl(["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/mcphubs.yaml")])
        .await
        .unwrap();
    let message = refusal("registry.example.com/mcphub").await;
    assert!(message.contains("has the CRD mcphubs.mcphub.dev already"), "{message}");
}

#[tokio::test]
async fn objects_in_an_external_cluster_are_deleted_when_the_process_is_done_with_it() {
    let kubeconfig = external(cluster().await.kubeconfig());
    let path = kubeconfig.path().to_str().unwrap();
    let cluster_of_others =
        Cluster::external(path, "registry.example.com/mcphub", &Options::default()).await.unwrap();
    let name = cluster_of_others.namespace("external").await.unwrap();
    let exists = async || {
        cluster()
            .await
            .kubectl(["get", "namespace", &name, "--output=jsonpath={.status.phase}"])
            .await
    };
    assert_eq!(exists().await.unwrap(), "Active");
    cluster_of_others.stop();
    eventually("the namespace is gone", async || exists().await.is_err().then_some(())).await;
}

/// A local cluster of another process, which can be killed.
struct Other {
    process: Child,
    // Kept open, because a process whose stdout is closed ends at its next line.
    _stdout: ChildStdout,
    kubeconfig: PathBuf,
    first_process: Option<String>,
}

/// The first process of the run that has this folder; `None` if no run has it.
fn first_process(folder: &Path) -> Option<String> {
    std::fs::read_to_string(folder.join("first")).ok().filter(|line| !line.is_empty())
}

impl Other {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
        let mut process =
            command.arg("up").env_remove("KUBECONFIG").stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let line = stdout
            .by_ref()
            .lines()
            .map_while(Result::ok)
            .find(|line| line.starts_with("export KUBECONFIG="))
            .unwrap();
        let kubeconfig = PathBuf::from(line.trim_start_matches("export KUBECONFIG="));
        let first_process = first_process(kubeconfig.parent().unwrap());
        Self { process, _stdout: stdout.into_inner(), kubeconfig, first_process }
    }

    fn folder(&self) -> &Path {
        self.kubeconfig.parent().unwrap()
    }

    fn index(&self) -> String {
        self.folder().file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Nothing is left of this run. What is found may belong to another run that got the same
    /// index.
    fn is_gone(&self) -> bool {
        let reused = || {
            let now = first_process(self.folder());
            now.is_some() && now != self.first_process
        };
        self.traces().is_empty() || reused()
    }

    /// What the run has left on this machine.
    fn traces(&self) -> Traces {
        let index = self.index();
        let mut found = BTreeSet::new();
        let links = run("ip", &["-br", "link"]);
        found.extend(
            links
                .lines()
                .filter(|line| line.starts_with(&format!("mcphub{index}@")))
                .map(|_| "link"),
        );
        let routes = run("ip", &["route"]);
        found.extend(
            routes
                .lines()
                .filter(|line| line.contains(&format!("dev mcphub{index}")))
                .map(|_| "route"),
        );
        let cgroups =
            run("find", &["/sys/fs/cgroup", "-type", "d", "-name", &format!("mcphub-{index}")]);
        found.extend(cgroups.lines().map(|_| "control group"));
        let folder = format!("/var/tmp/mcphub/{index}");
        found.extend(std::fs::exists(&folder).unwrap().then_some("work folder"));
        // All programs have the work folder in their arguments.
        let processes = run("ps", &["-eo", "args"]);
        found.extend(
            processes
                .lines()
                .filter(|line| line.contains(&format!("{folder}/")))
                .map(|_| "process"),
        );
        let spaces = run("lsns", &["--noheadings", "--output", "COMMAND"]);
        found.extend(spaces.lines().filter(|line| line.contains(&folder)).map(|_| "namespace"));
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        found.extend(mounts.lines().filter(|line| line.contains(&folder)).map(|_| "mount"));
        found
    }
}

type Traces = BTreeSet<&'static str>;

fn run(program: &str, args: &[&str]) -> String {
    String::from_utf8_lossy(&Command::new(program).args(args).output().unwrap().stdout).into_owned()
}

#[tokio::test]
async fn a_killed_process_leaves_nothing_of_its_cluster_behind_while_another_cluster_goes_on() {
    let bystander = cluster().await;
    let mut other = Other::start();
    for trace in ["link", "route", "control group", "work folder", "process"] {
        assert!(
            other.traces().contains(trace),
            "{trace} is not found while the run is alive, so its absence would prove nothing"
        );
    }
    other.process.kill().unwrap();
    other.process.wait().unwrap();
    eventually("the last trace is gone", async || other.is_gone().then_some(())).await;
    bystander.kubectl(["get", "--raw", "/readyz"]).await.unwrap();
}

#[tokio::test]
async fn what_is_left_of_a_run_that_was_killed_with_its_cleaner_is_removed_by_the_next_start() {
    let mut other = Other::start();
    assert!(other.traces().contains("work folder"));
    let holder =
        run("pgrep", &["-f", &format!("mcphub-sandbox hold /var/tmp/mcphub {}$", other.index())]);
    assert!(!holder.is_empty());
    other.process.kill().unwrap();
    run("kill", &["-9", holder.lines().next().unwrap()]);
    other.process.wait().unwrap();
    let processes = async || (other.is_gone() || !other.traces().contains("process")).then_some(());
    eventually("the kernel has ended the processes", processes).await;
    drop(ControlPlane::start().await.unwrap());
    eventually("the last trace is gone", async || other.is_gone().then_some(())).await;
}
