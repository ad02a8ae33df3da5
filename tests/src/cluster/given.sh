# Lives beside a process that uses a cluster which was there, and takes everything of ours away when stdin ends, which it
# does when that process ends, however it ends. A line on stdin names a namespace with a Prometheus to forward a port to.
# usage: sh -c "$(cat given.sh)" given KUBECTL RUN   (KUBECONFIG is set)
kubectl=$1 run=$2 forward=
while read -r namespace; do
  # Not straight to stdout: it says a line a connection for ever, and would stop once nobody reads them.
  said=$(mktemp)
  "$kubectl" --namespace "$namespace" port-forward service/prometheus :9090 >"$said" &
  forward=$!
  while [ ! -s "$said" ] && kill -0 $forward 2>/dev/null; do sleep 0.1; done
  head -n 1 "$said"
  rm -f "$said"
done
[ -z "$forward" ] || kill $forward
"$kubectl" delete namespaces,clusterroles,clusterrolebindings --selector "mcphub.dev/test-run=$run" --wait=false >/dev/null 2>&1
