//! DNS for Services and pods: `CoreDNS` in a pod.

use k8s_openapi::serde_json::{Value, json};

use super::sandbox::Addresses;

/// The namespace of the Deployment.
pub(crate) const NAMESPACE: &str = "kube-system";

/// All objects of `CoreDNS`, in one List.
pub(crate) fn manifest(at: Addresses, image: &str) -> Value {
    let labels = json!({"k8s-app": "kube-dns"});
    let metadata = |name: &str| json!({"name": name, "namespace": NAMESPACE, "labels": labels});
    // Not port 53, where only root may listen.
    let corefile = ".:5353 {\n  errors\n  ready :8181\n  kubernetes cluster.local in-addr.arpa {\n    pods insecure\n    ttl 5\n  }\n  cache 5\n}\n";
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "targetPort": 5353, "protocol": protocol});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata("coredns")},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "coredns"}, "rules": [
            {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "coredns"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"},
         "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": NAMESPACE}]},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("coredns"), "data": {"Corefile": corefile}},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata("kube-dns"), "spec": {
            "clusterIP": at.dns().to_string(), "selector": labels,
            "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")]}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("coredns"), "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {
                "serviceAccountName": "coredns", "priorityClassName": "system-cluster-critical", "dnsPolicy": "Default",
                "containers": [{
                    "name": "coredns", "image": image, "args": ["-conf", "/etc/coredns/Corefile"],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                    "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
                }],
                "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
            }},
        }},
    ]})
}
