#!/usr/bin/env bash
# A real Apache Kafka (KRaft, no ZooKeeper) on loopback, for tests and for people. See README.md.
# shellcheck disable=SC2030,SC2031 # fetch runs in a subshell so that what it sets stays in it
set -euo pipefail
trap 'exit 130' INT # through the trap on EXIT that start and run set
trap 'exit 143' TERM

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/target
jars=$target/jars
# A collector and a compiler that are ready at once and an archive of loaded classes: a start in half the time.
# To measure throughput, KAFKA_OPTS=-XX:TieredStopAtLevel=4 gives the broker its full compiler back.
# shellcheck disable=SC2206
kafka_java=("${JAVA_HOME:+$JAVA_HOME/bin/}java" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
  -XX:SharedArchiveFile="$target/classes.jsa" -Dlog4j2.configurationFile="$here/log4j2.properties"
  ${KAFKA_OPTS:-} -cp "$jars/*")
start_timeout=60 # seconds
stop_timeout=20  # seconds, then SIGKILL

usage() {
  cat <<'TEXT'
kafka.sh start [--dir DIR] [--port PORT] [--brokers 1|3] [--proxied PORT] [--secured DIR] [--property KEY=VALUE]...
               starts a cluster and returns; prints bootstrap=ADDRESS[,..], dir=DIR, with --proxied behind=ADDRESS, and with
               --secured tls=ADDRESS, expired=ADDRESS and login=ADDRESS
kafka.sh stop  --dir DIR
               stops it
kafka.sh run   [the options of start]
               starts a cluster and stops it on Ctrl-C
kafka.sh fetch
               only fetches the jars (start and run fetch them when they are missing)

  --dir DIR    where the data and the logs go: kept by `stop`, and `start` on it again starts the same
               cluster again, or those of its brokers that are down (default: a temporary folder, removed by `stop`)
  --port PORT  of the first broker; two others take the next two (default: free ports)
  --proxied PORT  gives the one broker a second listener, at the ADDRESS that `behind` names. Clients that come there
               are told that the broker is at PORT, where a proxy of the caller's passes them on to ADDRESS
  --secured DIR  gives the one broker three more listeners, which it calls localhost: `tls` and `login` have the certificate in
               DIR/broker.p12, `expired` that in DIR/expired.p12, both with the password changeit. At `login`, the user
               `scorer` logs in with the password in DIR/password (SCRAM-SHA-512), and has the rights that ACLs give;
               whoever does not log in may do everything

Exit codes: 1 the cluster could not be started or stopped, 2 a mistake on the command line, 3 Java, Maven or the jars
are missing
TEXT
}

say() { printf '%s\n' "kafka.sh: $*" >&2; }
die() { say "$*"; exit 1; }
lacking() { say "$*"; exit 3; }

# --- jars -------------------------------------------------------------------------------------------

# Fetches the jars that pom.xml names, unless they are there, and lets one broker start and stop to archive the
# classes that it loads. Concurrent callers wait for the first one.
fetch() (
  mkdir -p "$target"
  exec {lock}>"$target/fetch.lock"
  flock "$lock"
  cmp -s "$here/pom.xml" "$target/fetched.xml" && exit 0
  command -v mvn >/dev/null || lacking "maven is missing (Debian: apt-get install maven)"
  say "fetching the jars of Apache Kafka"
  rm -rf "$jars" "$target/fetched.xml"
  mvn --batch-mode --quiet --no-transfer-progress --file "$here/pom.xml" \
    dependency:copy-dependencies -DoutputDirectory="$jars" >&2 || lacking "maven could not fetch the jars"
  kafka_java=("${kafka_java[@]/SharedArchiveFile/ArchiveClassesAtExit}")
  dir='' port='' brokers='' proxied='' secured='' properties=()
  start_cluster >/dev/null
  stop_brokers "$dir" # the archive is written by an orderly end
  rm -rf "$dir"
  cp "$here/pom.xml" "$target/fetched.xml"
)

# --- a new cluster ----------------------------------------------------------------------------------

# Prints that many free ports. They are handed out in turn, below the range that the system gives to
# outgoing connections, so that clusters that start at the same moment do not get the same ones.
free_ports() ( # how_many
  exec {lock}>"$target/ports.lock"
  flock "$lock"
  next=$(cat "$target/next-port" 2>/dev/null || echo $((20000 + RANDOM % 10000)))
  for ((found = 0; found < $1; next = next < 29999 ? next + 1 : 20000)); do
    listening "$next" && continue
    echo "$next"
    found=$((found + 1))
  done
  echo "$next" >"$target/next-port"
)

listening() { (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # port

# Prints 16 random bytes the way Kafka writes its ids: 22 characters of base64.
random_id() { head -c 16 /dev/urandom | base64 | tr '+/' 'xy' | cut -c 1-22; }

# Writes server.properties of every node under $dir, and formats their storage.
create_cluster() { # dir brokers port properties...
  local dir=$1 brokers=$2 port=$3 behind='' node
  shift 3
  local ports controller_ports quorum=() bootstrap=()
  mapfile -t controller_ports < <(free_ports "$brokers")
  if [[ -n $port ]]; then
    mapfile -t ports < <(seq "$port" $((port + brokers - 1)))
    for port in "${ports[@]}"; do
      if listening "$port"; then die "port $port is taken"; fi
    done
  else
    mapfile -t ports < <(free_ports "$brokers")
  fi
  for ((node = 1; node <= brokers; node++)); do
    bootstrap+=("127.0.0.1:${controller_ports[node - 1]}")
    quorum+=("$node@${bootstrap[node - 1]}:$(random_id)")
  done

  mkdir -p "$dir/logs"
  for ((node = 1; node <= brokers; node++)); do
    mkdir -p "$dir/node-$node"
    if [[ -n $proxied ]]; then behind=$(free_ports 1); fi
    server_properties "$dir/node-$node" "$node" "$brokers" \
      "${ports[node - 1]}" "${controller_ports[node - 1]}" "$(join_by_comma "${bootstrap[@]}")" "$behind" \
      >"$dir/node-$node/server.properties"
    if [[ -n $secured ]]; then secure "$dir/node-$node/server.properties"; fi
    printf '%s\n' "$@" >>"$dir/node-$node/server.properties" # a later line wins
  done
  format_storage "$dir" "$(random_id)" "$(join_by_comma "${quorum[@]}")"
}

join_by_comma() { local IFS=,; echo "$*"; }

server_properties() { # node_dir node brokers port controller_port controllers port_behind_the_proxy
  local replicas=$3 in_sync=$(($3 / 2 + 1)) # 1 of 1, 2 of 3
  local listeners=PLAINTEXT://127.0.0.1:$4
  local advertised=$listeners${7:+,PROXIED://127.0.0.1:$proxied}
  listeners+=${7:+,PROXIED://127.0.0.1:$7}
  cat <<TEXT
process.roles=broker,controller
node.id=$2
listeners=$listeners,CONTROLLER://127.0.0.1:$5
advertised.listeners=$advertised
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=$6
log.dirs=$1/data
auto.create.topics.enable=false
# A record of 16 MiB, and room for its key, its headers and its batch.
message.max.bytes=20971520
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$in_sync
share.coordinator.state.topic.num.partitions=3
group.initial.rebalance.delay.ms=0
# Members whose partitions the broker hands out (KIP-848) are given up after 4 s, not 45, and learn of changes in half a second.
group.consumer.session.timeout.ms=4000
group.consumer.min.session.timeout.ms=4000
group.consumer.heartbeat.interval.ms=500
group.consumer.min.heartbeat.interval.ms=500
# A broker that was killed may come back when its old session is over: after 4 s, not 9.
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
TEXT
}

# Adds the listeners of --secured.
secure() { # server.properties
  local ports
  mapfile -t ports < <(free_ports 3)
  local bound=TLS://127.0.0.1:${ports[0]},EXPIRED://127.0.0.1:${ports[1]},LOGIN://127.0.0.1:${ports[2]}
  sed -i -e "s|^listeners=|&$bound,|" -e "s|^advertised.listeners=|&${bound//127.0.0.1/localhost},|" \
    -e 's|^listener.security.protocol.map=|&TLS:SSL,EXPIRED:SSL,LOGIN:SASL_SSL,|' "$1"
  local name
  for name in tls:broker expired:expired login:broker; do
    cat <<TEXT
listener.name.${name%:*}.ssl.keystore.type=PKCS12
listener.name.${name%:*}.ssl.keystore.location=$secured/${name#*:}.p12
listener.name.${name%:*}.ssl.keystore.password=changeit
TEXT
  done >>"$1"
  cat >>"$1" <<'TEXT'
listener.name.login.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.login.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
inter.broker.listener.name=PLAINTEXT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
TEXT
}

# Every node gets the same cluster id and the same first quorum.
format_storage() { # dir cluster_id quorum
  local node_dir node pids=() failed='' users=()
  if [[ -n $secured ]]; then
    users=(--add-scram "SCRAM-SHA-512=[name=scorer,password=$(cat "$secured/password")]")
  fi
  for node_dir in "$1"/node-*; do
    node=${node_dir##*-}
    "${kafka_java[@]}" kafka.tools.StorageTool format --cluster-id "$2" --initial-controllers "$3" "${users[@]}" \
      --config "$node_dir/server.properties" >"$1/logs/format-$node.log" 2>&1 &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=yes; done
  if [[ -n $failed ]]; then
    tail -n 20 "$1"/logs/format-*.log >&2
    die "the storage could not be formatted"
  fi
}

# --- brokers ----------------------------------------------------------------------------------------

start_brokers() { # dir
  local node_dir log started=()
  for node_dir in "$1"/node-*; do
    running "$node_dir" && continue
    log=$(broker_log "$node_dir")
    if [[ -f $log ]]; then mv "$log" "${log%.log}.previous.log"; fi
    # A session of its own and no terminal: the broker outlives this script, and Ctrl-C does not reach it.
    setsid "${kafka_java[@]}" kafka.Kafka "$node_dir/server.properties" >"$log" 2>&1 </dev/null &
    echo $! >"$node_dir/pid"
    started+=("$node_dir")
  done
  for node_dir in "${started[@]}"; do wait_until_started "$node_dir"; done
}

broker_log() { echo "${1%/*}/logs/broker-${1##*-}.log"; } # node_dir

# Kafka logs this line after the controllers have let the broker in and its ports accept connections.
wait_until_started() { # node_dir
  local log pid deadline=$((SECONDS + start_timeout))
  log=$(broker_log "$1")
  pid=$(cat "$1/pid")
  until grep -qs 'Kafka Server started' "$log"; do
    if ! kill -0 "$pid" 2>/dev/null; then fail_start "$log" "the broker ended while it started"; fi
    if ((SECONDS >= deadline)); then fail_start "$log" "the broker did not start in $start_timeout s"; fi
    sleep 0.05
  done
}

fail_start() { # log message
  say "the end of $1:"
  tail -n 40 "$1" >&2
  die "$2"
}

# A process id alone could be another process by now; the broker's command line names its folder.
running() { # node_dir
  local pid
  pid=$(cat "$1/pid" 2>/dev/null) && grep -qsF "$1/server.properties" "/proc/$pid/cmdline"
}

stop_brokers() { # dir
  signal_brokers "$1" TERM
  wait_until_ended "$1"
  signal_brokers "$1" KILL
  rm -f "$1"/node-*/pid
}

wait_until_ended() { # dir
  local node_dir deadline=$((SECONDS + stop_timeout))
  for node_dir in "$1"/node-*; do
    while running "$node_dir" && ((SECONDS < deadline)); do sleep 0.05; done
  done
}

signal_brokers() { # dir signal
  local node_dir
  for node_dir in "$1"/node-*; do
    if running "$node_dir"; then kill "-$2" "$(cat "$node_dir/pid")" 2>/dev/null || true; fi
  done
}

# --- commands ---------------------------------------------------------------------------------------

start() {
  fetch
  start_cluster
}

start_cluster() {
  command -v "${kafka_java[0]}" >/dev/null || lacking "java is missing (Debian: apt-get install openjdk-17-jre-headless)"
  if [[ -z $dir ]]; then
    dir=$(mktemp -d "${TMPDIR:-/tmp}/atalaya-kafka.XXXXXX")
    touch "$dir/temporary"
  fi
  dir=$(realpath --canonicalize-missing "$dir")
  local formatted=$dir/node-1/data/meta.properties
  if [[ -f $formatted && (-n $brokers$port$proxied$secured || ${#properties[@]} -gt 0) ]]; then
    die "$dir holds a cluster already: start it without --brokers, --port, --proxied, --secured and --property"
  fi
  if [[ -n $secured && ${brokers:-1} != 1 ]]; then die "--secured is for a cluster of one broker"; fi
  if [[ -n $proxied && ${brokers:-1} != 1 ]]; then die "--proxied is for a cluster of one broker"; fi
  trap stop EXIT # a start that fails or is interrupted leaves no broker behind
  if [[ ! -f $formatted ]]; then create_cluster "$dir" "${brokers:-1}" "$port" "${properties[@]}"; fi
  start_brokers "$dir"
  trap - EXIT
  echo "bootstrap=$(addresses PLAINTEXT)"
  echo "dir=$dir"
  if [[ -n $proxied ]]; then echo "behind=$(addresses PROXIED)"; fi
  if [[ -n $secured ]]; then
    echo "tls=$(addresses TLS)"
    echo "expired=$(addresses EXPIRED)"
    echo "login=$(addresses LOGIN)"
  fi
}

# Where the brokers listen under that name.
addresses() { # name
  local addresses
  mapfile -t addresses < <(sed -n "s|^listeners=.*$1://\\([^,]*\\),.*|\\1|p" "$dir"/node-*/server.properties)
  join_by_comma "${addresses[@]}"
}

stop() {
  [[ -n $dir ]] || die "stop needs --dir"
  dir=$(realpath --canonicalize-missing "$dir")
  if [[ -f $dir/temporary ]]; then
    signal_brokers "$dir" KILL # nobody will want what an orderly end would write
    wait_until_ended "$dir"
    rm -rf "$dir"
  else
    stop_brokers "$dir"
  fi
}

run() {
  start
  trap stop EXIT
  cat >&2 <<TEXT

Apache Kafka listens on $(addresses PLAINTEXT); its data and logs are in $dir

  cargo run -p scorer -- --brokers $(addresses PLAINTEXT)
  java -cp '$jars/*' org.apache.kafka.tools.TopicCommand --bootstrap-server $(addresses PLAINTEXT) --list

Ctrl-C stops it.
TEXT
  while running "$dir/node-1"; do sleep 1; done
  fail_start "$(broker_log "$dir/node-1")" "the broker ended"
}

command=${1:-}
shift || true
dir='' port='' brokers='' proxied='' secured='' properties=()
while (($# > 0)); do
  [[ $# -gt 1 ]] || die "$1 needs a value"
  case $1 in
    --dir) dir=$2 ;;
    --port) [[ $2 =~ ^[0-9]+$ ]] || die "--port takes a number, not $2"; port=$2 ;;
    --proxied) [[ $2 =~ ^[0-9]+$ ]] || die "--proxied takes a port, not $2"; proxied=$2 ;;
    --secured) secured=$(realpath "$2") ;;
    --brokers) [[ $2 =~ ^[13]$ ]] || die "--brokers takes 1 or 3, not $2"; brokers=$2 ;;
    --property) [[ $2 == *=* ]] || die "--property takes KEY=VALUE, not $2"; properties+=("$2") ;;
    *) die "unknown option $1" ;;
  esac
  shift 2
done

case $command in
  start | stop | run | fetch) "$command" ;;
  *) usage >&2; exit 2 ;;
esac
