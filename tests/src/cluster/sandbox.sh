# Holds the namespaces of one run of the test cluster, and removes everything of the run when they end.
# usage: sh -c "$(cat sandbox.sh)" mcphub-sandbox VERB RUNS INDEX
#   hold    hold the run until stdin ends, which happens when the owner ends in any way; after a line `keep` on stdin,
#           hold it until its first process is killed
#   sweep   remove what is left of a run that could not clean up after itself (kill -9 of this script, power loss)
# Prints one line on stdout: `taken` (another live run has this index) or `ready PID` (first process, numbered by the host).
set -u
verb=$1 runs=$2 index=$3
dir=$runs/$index link=mcphub$index cgroup=mcphub-$index

cgroup_parents() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo /sys/fs/cgroup; else ls -d /sys/fs/cgroup/*/; fi
}

make_cgroups() {
  for parent in $(cgroup_parents); do mkdir -p "$parent/$cgroup"; done
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then   # version 2: a group has only the controllers that its parent delegates
    for controller in cpuset cpu io memory hugetlb pids; do
      for parent in /sys/fs/cgroup "/sys/fs/cgroup/$cgroup"; do echo "+$controller" >"$parent/cgroup.subtree_control"; done
    done 2>/dev/null
  fi
}

remove_cgroups() {
  left=$(for parent in $(cgroup_parents); do [ ! -d "$parent/$cgroup" ] || find "$parent/$cgroup" -depth -type d; done)
  [ -z "$left" ] || rmdir $left 2>/dev/null
}

sweep() {
  ip link delete "$link" 2>/dev/null   # this removes its routes too
  # A process that was killed a moment ago still counts as a member of its cgroup.
  tries=0
  until remove_cgroups || [ $tries -ge 50 ]; do tries=$((tries + 1)); sleep 0.1; done
  rm -rf "$dir"
}

mkdir -p "$runs"
exec 9>"$runs/$index.lock"
flock -n 9 || { echo taken; exit 0; }
sweep
[ "$verb" != sweep ] || exit 0   # keep the lock file: two runs could lock two files of this name
mkdir -p "$dir/logs"
make_cgroups

# All of the run lives in these namespaces. When their first process ends, the kernel ends every process in them and
# removes every mount and interface. The run has its own /run, /var/log and /var/lib/kubelet, because containerd, kubelet
# and iptables write to fixed paths there, which two runs would share. kubelet would change some settings of the whole
# machine, so it sees files that already have the values it wants.
mkdir -p /var/lib/kubelet
setpriv --pdeathsig KILL unshare --fork --kill-child --pid --net --mount --propagation private sh -c '
  set -e
  read -r pid rest </proc/self/stat
  mount --make-rshared /
  mount -t proc proc /proc
  for folder in /run /var/log /var/lib/kubelet; do mount -t tmpfs mcphub $folder; done
  for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    shown=/run/mcphub-settings/${setting%=*}
    mkdir -p "${shown%/*}"
    echo "${setting#*=}" >"$shown"
    mount --bind "$shown" "/proc/sys/${setting%=*}"
  done
  ip link set lo up
  echo 1 >/proc/sys/net/ipv4/ip_forward
  echo "ready $pid"
  exec >/dev/null 2>&1 </dev/null
  while :; do sleep 86400; done' >"$dir/first" 2>"$dir/logs/sandbox" &
unshare=$!
until [ -s "$dir/first" ]; do
  kill -0 $unshare 2>/dev/null || { echo "failed $(tail -n 1 "$dir/logs/sandbox")"; sweep; exit 1; }
  sleep 0.02
done
read -r ready first <"$dir/first"
echo "ready $first"
exec >/dev/null
read -r word && [ "$word" = keep ] || kill -KILL "$first"
wait $unshare
sweep
