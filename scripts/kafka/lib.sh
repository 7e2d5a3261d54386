# shellcheck shell=bash disable=SC2034
# Shared by up, down and jars: where things lie, and how one of our nodes is recognised.
# A node is ours only if its command line carries the id in its folder's `cluster.id` file:
# a pid alone may have been given to somebody else since.
# The layout of a folder (DIR):
#   DIR/cluster.id  DIR/nodes  DIR/port  DIR/brokers        written once per set of nodes
#   DIR/node-<i>/{server.properties,pid,server.log,data/}   one per node, from 1

set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
root="$(cd "$here/../.." && pwd)"
default_home="$root/target/kafka"
version="$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/pom.xml")"
jars_dir="${WEIR_CACHE:-$HOME/.cache/weir}/kafka-$version"
ports_dir="${WEIR_CACHE:-$HOME/.cache/weir}/ports"

say() { printf 'kafka: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# The pid of node $2 in folder $1, or nothing when it does not run.
node_pid() {
  local dir="$1" node="$2" pid id
  [[ -s "$dir/cluster.id" && -s "$dir/node-$node/pid" ]] || return 0
  pid="$(<"$dir/node-$node/pid")"
  id="$(<"$dir/cluster.id")"
  if tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qxF -- "-Dweir.kafka.node=$id/$node" \
    && ! grep -q '^State:.*Z' "/proc/$pid/status" 2>/dev/null; then
    echo "$pid"
  fi
}

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Names the process that listens on port $1, as well as /proc lets us.
port_owner() {
  local hex inode link pid command dir
  printf -v hex '%04X' "$1"
  inode="$(awk -v p=":$hex\$" '$2 ~ p && $4 == "0A" { print $10; exit }' \
    /proc/net/tcp /proc/net/tcp6 2>/dev/null || true)"
  [[ -n "$inode" ]] || { echo "an unknown process"; return 0; }
  for link in /proc/[0-9]*/fd/*; do
    if [[ "$(readlink "$link" 2>/dev/null)" == "socket:[$inode]" ]]; then
      pid="${link#/proc/}"; pid="${pid%%/*}"
      command="$(tr '\0' ' ' <"/proc/$pid/cmdline")"
      if [[ "$command" == *-Dweir.kafka.node=*/node-*/server.properties* ]]; then
        dir="${command% }"; dir="${dir##* }"
        printf "another broker of Weir's (pid %s, in %s; scripts/kafka/down --dir stops it)\n" \
          "$pid" "${dir%/node-*}"
      else
        printf 'pid %s (%s)\n' "$pid" "${command:0:120}"
      fi
      return 0
    fi
  done
  echo "a process of another user"
}

# Asks the node on port $1 for its metadata and prints how many brokers it knows.
# A request of version 1 without topics, by hand, because every Kafka tool costs a JVM.
brokers_known() {
  local answer
  answer="$( {
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf '\0\0\0\016\0\003\0\001\0\0\0\007\377\377\0\0\0\0' >&3
    timeout 5 head -c 12 <&3 | od -An -v -tu1 -w12
  } 2>/dev/null)" || return 1
  # Length, correlation id (7), number of brokers: three big-endian words.
  awk '{ if (NF == 12 && $8 == 7) print $11 * 256 + $12; else print 0 }' <<<"$answer"
}
