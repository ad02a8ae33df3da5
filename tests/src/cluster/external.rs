//! An external cluster: `KUBECONFIG` names it, and `IMAGES` says where it pulls images from.
//!
//! Everything that the tests create there has the label `mcphub.dev/test-run`, and is deleted when
//! the process that created it ends. A cluster that has the CRD of `McpHub` already is refused: our
//! operator would take over its hubs.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use serde_json::{Value, json};

use super::tools::Tools;
use super::{Image, Options, control_plane, images, kubectl, prometheus};
use crate::progress;

/// Runs as a pod. Unlike the one of Debian, it is built with Kubernetes discovery.
const PROMETHEUS: &str = "docker.io/prom/prometheus:v2.42.0";

const CRD: &str = "mcphubs.mcphub.dev";

const RBAC: &str = "rbac.authorization.k8s.io/v1";

/// The cluster that `KUBECONFIG` names.
#[derive(Debug)]
pub(crate) struct External {
    kubeconfig: PathBuf,
    tools: Tools,
    registry: Registry,
    run: String,
    names: Mutex<BTreeMap<Image, String>>,
    cleaner: Child,
    prometheus: Option<Prometheus>,
}

#[derive(Debug)]
struct Prometheus {
    namespace: String,
    local_port: u16,
}

/// Where images are pushed: `registry.example.com/prefix`, or `http://registry:5000/prefix` without
/// TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Registry {
    prefix: String,
    tls: bool,
}

impl Registry {
    fn parse(text: &str) -> Result<Self> {
        let (tls, prefix) = match text.strip_prefix("http://") {
            Some(prefix) => (false, prefix),
            None => (true, text.strip_prefix("https://").unwrap_or(text)),
        };
        let prefix = prefix.trim_end_matches('/');
        if prefix.is_empty() {
            bail!(
                "KUBECONFIG is set, so IMAGES must say where that cluster pulls images from; write \
                 for example IMAGES=registry.example.com/me/mcphub; they are pushed there with the \
                 credentials of `buildah login`"
            );
        }
        Ok(Self { prefix: prefix.to_owned(), tls })
    }
}

impl External {
    pub(crate) async fn start(path: &str, images: &str, options: &Options) -> Result<Self> {
        let registry = Registry::parse(images)?;
        refuse_if_crd_exists(path).await?;
        let tools = Tools::ready().await?;
        let kubeconfig = PathBuf::from(path);
        let run = format!("{:08x}", rand::random::<u32>());
        let cleaner = start_cleaner(&tools, &kubeconfig, &run)?;
        let names = Mutex::default();
        // From here on a drop deletes what was created, also when the rest of the start fails.
        let mut cluster =
            Self { kubeconfig, tools, registry, run, names, cleaner, prometheus: None };
        if let Some(interval) = options.prometheus {
            cluster.prometheus = Some(cluster.start_prometheus(interval).await?);
        }
        images::build_all(&options.images).await?;
        for image in &options.images {
            cluster.push(*image).await?;
        }
        progress::print(&format!("using the cluster of {path}"));
        Ok(cluster)
    }

    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }
    /// The value of the label on everything that this process creates.
    pub(crate) fn run(&self) -> &str {
        &self.run
    }

    /// Pushes an image, and builds it first if it is not in the cache. Returns its name.
    pub(crate) async fn push(&self, image: Image) -> Result<String> {
        let built = images::build(image).await?;
        let tag = built.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let name = format!("{}/{image}:{tag}", self.registry.prefix);
        progress::print(&format!("pushing {name}"));
        images::push(&built, &name, self.registry.tls).await?;
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(image, name.clone());
        Ok(name)
    }

    /// The name of an image that was pushed.
    pub(crate) fn name(&self, image: Image) -> Result<String> {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names
            .get(&image)
            .cloned()
            .with_context(|| format!("the image {image} is not loaded; add it to Options::images"))
    }

    async fn start_prometheus(&mut self, interval: Duration) -> Result<Prometheus> {
        let namespace = format!("mcphub-test-prometheus-{}", self.run);
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(
            file.path(),
            prometheus_manifest(&namespace, &self.run, interval).to_string(),
        )?;
        kubectl(
            &self.tools,
            &self.kubeconfig,
            ["apply".as_ref(), "-f".as_ref(), file.path().as_os_str()],
        )
        .await?;
        let status = [
            "--namespace",
            &namespace,
            "rollout",
            "status",
            "deployment/prometheus",
            "--timeout=300s",
        ];
        let ready = kubectl(&self.tools, &self.kubeconfig, status).await;
        ready.with_context(|| format!("failed to start a pod of {PROMETHEUS} in this cluster"))?;
        let local_port = self.forward(&namespace)?;
        Ok(Prometheus { namespace, local_port })
    }

    /// Forwards a port of this machine to Prometheus, and returns the port.
    fn forward(&mut self, namespace: &str) -> Result<u16> {
        let stdin = self.cleaner.stdin.as_mut().context("the cleaner has no stdin")?;
        stdin.write_all(format!("{namespace}\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(self.cleaner.stdout.take().context("the cleaner has no stdout")?)
            .read_line(&mut line)?;
        // Forwarding from 127.0.0.1:40123 -> 9090
        let from = line.split_once(" -> ").map(|(from, _)| from);
        let port = from.and_then(|from| from.rsplit_once(':')?.1.parse().ok());
        port.with_context(|| {
            format!("failed to find the port in the output of kubectl port-forward: {line:?}")
        })
    }

    pub(crate) fn prometheus_url(&self) -> Result<String> {
        let found = self
            .prometheus
            .as_ref()
            .context("this cluster runs without Prometheus; set Options::prometheus")?;
        Ok(format!("http://prometheus.{}.svc:{}", found.namespace, prometheus::PORT))
    }

    pub(crate) fn prometheus_url_from_host(&self) -> Result<String> {
        let found = self
            .prometheus
            .as_ref()
            .context("this cluster runs without Prometheus; set Options::prometheus")?;
        Ok(format!("http://127.0.0.1:{}", found.local_port))
    }
}

impl Drop for External {
    fn drop(&mut self) {
        drop(self.cleaner.stdin.take());
        let _ = self.cleaner.wait();
    }
}

async fn refuse_if_crd_exists(path: &str) -> Result<()> {
    let client = control_plane::client_of(path).await?;
    let crds = Api::<CustomResourceDefinition>::all(client);
    let found = crds
        .get_opt(CRD)
        .await
        .with_context(|| format!("failed to ask the cluster of {path} for its CRDs"))?;
    if found.is_some() {
        bail!(
            "the cluster of {path} has the CRD {CRD} already, and the operator under test would \
             take over its hubs; use a cluster without it, or run `kubectl delete crd {CRD}` \
             (which deletes every hub) if an earlier run left it"
        );
    }
    Ok(())
}

/// Starts the script that cleans up after this process.
fn start_cleaner(tools: &Tools, kubeconfig: &Path, run: &str) -> Result<Child> {
    // In a session of its own: Ctrl-C ends this process, and the script must outlive it.
    let mut cleaner = std::process::Command::new("setsid");
    cleaner
        .args(["sh", "-c", include_str!("external.sh"), "external"])
        .arg(tools.kubernetes("kubectl"))
        .arg(run);
    Ok(cleaner
        .env("KUBECONFIG", kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?)
}

fn prometheus_manifest(namespace: &str, run: &str, interval: Duration) -> Value {
    let from = |name: &str| format!("__meta_kubernetes_pod_{name}");
    let scrape = from("annotation_prometheus_io_scrape");
    let address = [from("ip"), from("annotation_prometheus_io_port")];
    let relabel = json!([
        {"source_labels": [scrape], "action": "keep", "regex": "true"},
        {"source_labels": [from("phase")], "action": "keep", "regex": "Running"},
        {
            "source_labels": address, "regex": "(.+);(.+)", "replacement": "$1:$2",
            "target_label": "__address__",
        },
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": [from("name")], "target_label": "pod"},
    ]);
    let config = prometheus::config(
        interval,
        &json!({"kubernetes_sd_configs": [{"role": "pod"}]}),
        &relabel,
    );
    let labels = json!({"mcphub.dev/test-run": run, "app": "prometheus"});
    let here = |name: &str| json!({"name": name, "namespace": namespace, "labels": labels});
    let everywhere = json!({"name": format!("mcphub-test-prometheus-{run}"), "labels": labels});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": labels},
        },
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": here("prometheus")},
        {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": everywhere,
         "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]},
        {"apiVersion": RBAC, "kind": "ClusterRoleBinding", "metadata": everywhere,
         "roleRef": {
             "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
             "name": everywhere["name"],
         },
         "subjects": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": namespace}]},
        {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": here("prometheus"),
            "data": {"prometheus.yml": config.to_string()},
        },
        {"apiVersion": "v1", "kind": "Service", "metadata": here("prometheus"),
         "spec": {"selector": {"app": "prometheus"}, "ports": [{"port": prometheus::PORT}]}},
        prometheus_deployment(&here("prometheus")),
    ]})
}

fn prometheus_deployment(metadata: &Value) -> Value {
    let labels = &metadata["labels"];
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"app": "prometheus"}},
        "template": {"metadata": {"labels": labels}, "spec": {
            "serviceAccountName": "prometheus",
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 65534, "fsGroup": 65534,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "prometheus", "image": PROMETHEUS,
                "args": [
                    "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/data",
                    "--log.level=warn",
                ],
                "readinessProbe": {
                    "httpGet": {"path": "/-/ready", "port": prometheus::PORT},
                    "periodSeconds": 1,
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "config", "mountPath": "/etc/prometheus"},
                    {"name": "data", "mountPath": "/data"},
                ],
            }],
            "volumes": [
                {"name": "config", "configMap": {"name": "prometheus"}},
                {"name": "data", "emptyDir": {}},
            ],
        }},
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_prefix_with_http_is_a_registry_without_tls() {
        let registry = |prefix: &str, tls| Registry { prefix: prefix.into(), tls };
        assert_eq!(
            Registry::parse("ghcr.io/me/mcphub/").unwrap(),
            registry("ghcr.io/me/mcphub", true)
        );
        assert_eq!(
            Registry::parse("http://localhost:5000/a").unwrap(),
            registry("localhost:5000/a", false)
        );
    }

    #[test]
    fn a_kubeconfig_without_images_is_refused_with_what_to_set() {
        assert!(
            Registry::parse("")
                .unwrap_err()
                .to_string()
                .contains("IMAGES=registry.example.com/me/mcphub")
        );
    }
}
