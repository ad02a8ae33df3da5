//! The test cluster itself: what every other cluster test takes for granted.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use mcphub_tests::cluster::{Cluster, ControlPlane, Image, Options, Part};

/// Two pods that answer with their name and have a metric, behind a Service.
fn web(namespace: &str, image: &str) -> String {
    let program = r#"require("http").createServer((q, r) => r.end(q.url === "/metrics" ? `web_up{namespace="own"} 7\n` : process.env.HOSTNAME)).listen(8080)"#;
    serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": namespace},
         "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": namespace},
         "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}, "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}},
            "spec": {
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{"name": "web", "image": image, "command": ["node", "-e", program],
                    "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                    "securityContext": {"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
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
        .kubectl(["-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s"])
        .await;
    if let Err(error) = status {
        panic!("{error:#}\n{}", cluster.complaints(namespace).await);
    }
    cluster
}

/// Asks until there is an answer that satisfies, for at most 30 s.
async fn eventually<T, F: AsyncFnMut() -> Option<T>>(what: &str, mut ask: F) -> T {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what} did not happen within 30 s");
}

#[tokio::test]
async fn a_pod_reaches_all_pods_of_a_service_by_its_name() {
    let cluster = web_in("mcphub-test-service").await;
    let ask = r#"Promise.all([...Array(20)].map(() => fetch("http://web.mcphub-test-service.svc.cluster.local", {headers: {connection: "close"}}).then(r => r.text())))
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
    let expression = r#"sum(web_up{namespace="own", pod=~"web-.*"}) and on() (count(up{namespace="mcphub-test-scrape"} == 1) == 2)"#;
    let value =
        eventually("both pods are scraped", async || cluster.query(expression).await.unwrap())
            .await;
    assert!(value >= 14.0, "{value}");
}

#[tokio::test]
async fn real_mcp_servers_start_as_an_ordinary_user_on_a_read_only_file_system() {
    let cluster = cluster().await;
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
    for (name, image, command) in [
        ("everything", Image::ServersNode, "mcp-server-everything"),
        ("filesystem", Image::ServersNode, "mcp-server-filesystem /tmp"),
        ("memory", Image::ServersNode, "mcp-server-memory"),
        ("time", Image::ServersPython, "mcp-server-time"),
        ("git", Image::ServersPython, "mcp-server-git"),
    ] {
        let image = cluster.image(image).unwrap();
        let mut kubectl = Command::new("kubectl");
        kubectl
            .env(
                "PATH",
                format!("{}:{}", cluster.path(), std::env::var("PATH").unwrap_or_default()),
            )
            .env("KUBECONFIG", cluster.kubeconfig());
        let overrides = serde_json::json!({"spec": {"containers": [{"name": name, "image": image, "stdin": true, "stdinOnce": true,
            "command": command.split(' ').collect::<Vec<_>>(),
            "securityContext": {"runAsNonRoot": true, "readOnlyRootFilesystem": true},
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]}], "volumes": [{"name": "tmp", "emptyDir": {}}]}});
        kubectl.args([
            "run",
            name,
            "--rm",
            "--stdin",
            "--quiet",
            "--restart=Never",
            &format!("--image={image}"),
            &format!("--overrides={overrides}"),
        ]);
        let mut kubectl = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(kubectl.stdin.as_mut().unwrap(), format!("{hello}\n").as_bytes())
            .unwrap();
        let mut lines = BufReader::new(kubectl.stdout.take().unwrap()).lines();
        let answer = lines.by_ref().map_while(Result::ok).find(|line| line.contains("\"result\""));
        assert!(
            answer.is_some_and(|line| line.contains("\"serverInfo\"")),
            "{name} gave no answer"
        );
        drop(kubectl.stdin.take());
        lines.for_each(drop);
        kubectl.wait().unwrap();
    }
}

#[tokio::test]
async fn an_api_without_a_node_keeps_what_it_was_told_over_a_kill() {
    let plane = ControlPlane::start().await.unwrap();
    plane.kubectl(["create", "configmap", "kept", "--from-literal=a=b"]).await.unwrap();
    plane.kill(Part::ApiServer).unwrap();
    let read = ["get", "configmap", "kept", "--output=jsonpath={.data.a}"];
    assert!(plane.kubectl(read).await.is_err());
    plane.restart(Part::ApiServer).unwrap();
    let kept = eventually("the API server is back", async || plane.kubectl(read).await.ok()).await;
    assert_eq!(kept, "b");
}

/// A kubeconfig of ours under another path: so its cluster is taken for somebody else's.
fn strange(kubeconfig: &Path) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(kubeconfig, file.path()).unwrap();
    file
}

#[tokio::test]
async fn a_strange_cluster_is_refused_without_a_place_for_images_or_when_it_has_hubs() {
    let plane = ControlPlane::start().await.unwrap();
    let kubeconfig = strange(plane.kubeconfig());
    let path = kubeconfig.path().to_str().unwrap();
    let refusal = async |images: &str| {
        format!("{:#}", Cluster::given(path, images, &Options::default()).await.unwrap_err())
    };
    assert!(refusal("").await.contains("IMAGES=registry.example.com"));

    plane
        .kubectl(["apply", "-f", concat!(env!("CARGO_MANIFEST_DIR"), "/../crds/mcphubs.yaml")])
        .await
        .unwrap();
    let said = refusal("registry.example.com/mcphub").await;
    assert!(said.contains("has the CRD mcphubs.mcphub.dev already"), "{said}");
}

#[tokio::test]
async fn what_was_put_into_a_strange_cluster_goes_when_it_is_let_go() {
    let kubeconfig = strange(cluster().await.kubeconfig());
    let path = kubeconfig.path().to_str().unwrap();
    let strange =
        Cluster::given(path, "registry.example.com/mcphub", &Options::default()).await.unwrap();
    let name = strange.namespace("strange").await.unwrap();
    let exists = async || {
        cluster()
            .await
            .kubectl(["get", "namespace", &name, "--output=jsonpath={.status.phase}"])
            .await
    };
    assert_eq!(exists().await.unwrap(), "Active");
    strange.stop();
    eventually("the namespace is gone", async || exists().await.is_err().then_some(())).await;
}

/// A cluster of another process, which can be killed.
struct Other {
    process: Child,
    // Held, because a process whose stdout is closed ends at its next line.
    _stdout: ChildStdout,
    kubeconfig: PathBuf,
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
        let kubeconfig = line.trim_start_matches("export KUBECONFIG=").into();
        Self { process, _stdout: stdout.into_inner(), kubeconfig }
    }

    fn index(&self) -> String {
        self.kubeconfig.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// What can be seen of the run on this machine.
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
        // kubelet, containerd and all others have the work folder in their arguments.
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
async fn a_killed_harness_leaves_nothing_behind_while_another_cluster_goes_on() {
    let bystander = cluster().await;
    let mut other = Other::start();
    for trace in ["link", "route", "control group", "work folder", "process"] {
        assert!(
            other.traces().contains(trace),
            "{trace} is not seen while the run lives, so its absence says nothing"
        );
    }
    other.process.kill().unwrap();
    other.process.wait().unwrap();
    eventually("the last trace is gone", async || other.traces().is_empty().then_some(())).await;
    bystander.kubectl(["get", "--raw", "/readyz"]).await.unwrap();
}

#[tokio::test]
async fn what_a_run_leaves_that_was_killed_with_its_cleaner_is_gone_after_the_next_start() {
    let mut other = Other::start();
    let holder =
        run("pgrep", &["-f", &format!("mcphub-sandbox hold /var/tmp/mcphub {}$", other.index())]);
    assert!(!holder.is_empty());
    other.process.kill().unwrap();
    run("kill", &["-9", holder.lines().next().unwrap()]);
    other.process.wait().unwrap();
    assert!(other.traces().contains("work folder"));
    let processes = async || (!other.traces().contains("process")).then_some(());
    eventually("the kernel has ended the processes", processes).await;
    drop(ControlPlane::start().await.unwrap());
    // Another test may have taken the index in between; then its traces are of a run that lives.
    let alive =
        run(env!("CARGO_BIN_EXE_cluster"), &["list"]).contains(&format!("run {} ", other.index()));
    assert!(alive || other.traces().is_empty(), "{:?}", other.traces());
}
