#!/usr/bin/env bash
# A real Schema Registry on loopback, for tests and for people: Apicurio Registry, which keeps everything in memory and
# speaks the paths of Confluent's at http://127.0.0.1:PORT/apis/ccompat/v7
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=$here/target
version=2.6.13.Final # the last one for Java 17

say() { printf '%s\n' "registry.sh: $*" >&2; }
lacking() { say "$*"; exit 3; }

# Fetches and unpacks it, unless it is there. Concurrent callers wait for the first one.
fetch() (
  mkdir -p "$target"
  exec {lock}>"$target/fetch.lock"
  flock "$lock"
  [ "$(cat "$target/fetched" 2>/dev/null)" = "$version" ] && exit 0
  command -v java >/dev/null || lacking "java is missing (Debian: apt-get install openjdk-17-jre-headless)"
  command -v mvn >/dev/null || lacking "maven is missing (Debian: apt-get install maven)"
  say "fetching Apicurio Registry"
  mvn --batch-mode --quiet --no-transfer-progress dependency:copy \
    -Dartifact="io.apicurio:apicurio-registry-app:$version:tar.gz:all" -DoutputDirectory="$target" >&2 ||
    lacking "maven could not fetch it"
  rm -rf "$target/app"
  mkdir "$target/app"
  tar xzf "$target/apicurio-registry-app-$version-all.tar.gz" -C "$target/app"
  echo "$version" >"$target/fetched"
)

case "${1:-}" in
fetch) fetch ;;
run)
  [ "${2:-}" = --port ] && [ -n "${3:-}" ] || { say "use: registry.sh run --port PORT"; exit 2; }
  fetch
  cd "$target/app"
  exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$3" -jar "apicurio-registry-app-$version-runner.jar"
  ;;
*)
  say "use: registry.sh fetch, or registry.sh run --port PORT, which runs until it is stopped (Ctrl-C)
Exit codes: 2 a mistake on the command line, 3 Java, Maven or the program is missing"
  exit 2
  ;;
esac
