# Lives beside a process that uses an external cluster. It deletes everything that the process created there when stdin
# ends, which happens when the process ends in any way. A line on stdin is a namespace whose Prometheus gets a local port.
# usage: sh -c "$(cat external.sh)" external KUBECTL RUN   (KUBECONFIG is set)
kubectl=$1 run=$2 forward=
while read -r namespace; do
  # Through a file, because it writes a line for each connection and would block once nobody reads them.
  output=$(mktemp)
  "$kubectl" --namespace "$namespace" port-forward service/prometheus :9090 >"$output" &
  forward=$!
  while [ ! -s "$output" ] && kill -0 $forward 2>/dev/null; do sleep 0.1; done
  head -n 1 "$output"
  rm -f "$output"
done
[ -z "$forward" ] || kill $forward
"$kubectl" delete namespaces,clusterroles,clusterrolebindings --selector "mcphub.dev/test-run=$run" --wait=false >/dev/null 2>&1
