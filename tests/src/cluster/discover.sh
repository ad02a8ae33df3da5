# Writes the file with the pods that Prometheus scrapes. Debian builds Prometheus without Kubernetes discovery.
# usage: bash -c "$(cat discover.sh)" discover KUBECTL KUBECONFIG TARGETS_FILE
kubectl=$1 targets=$3
export KUBECONFIG=$2
template='[{{range .items}}{{$ip := .status.podIP}}{{$pod := .metadata}}{{if and $pod.annotations $ip (eq .status.phase "Running")}}'
template+='{{$scrape := index $pod.annotations "prometheus.io/scrape"}}{{$port := index $pod.annotations "prometheus.io/port"}}'
template+='{{if and $scrape $port}}{{if eq $scrape "true"}}{"targets": ["{{$ip}}:{{$port}}"], '
template+='"labels": {"namespace": "{{$pod.namespace}}", "pod": "{{$pod.name}}"}},{{end}}{{end}}{{end}}{{end}}{"targets": []}]'

while :; do
  "$kubectl" get pods --all-namespaces --watch --output='jsonpath={.metadata.name}{"\n"}' | while read -r _; do
    while read -r -t 0.2 _; do :; done   # write one file for a burst of changes
    "$kubectl" get pods --all-namespaces --output="go-template=$template" >"$targets.new" && mv "$targets.new" "$targets"
  done
  sleep 0.5   # the API server is down
done
