#!/bin/sh
# Starts Serin's agent and an Envoy for the service below, in this folder, and stops both on Ctrl-C.
#
#   ./start.sh                          what follows goes to Envoy: ./start.sh --concurrency 2
#   SERIN=/path/to/serin ENVOY=/path/to/envoy ./start.sh      where they are not on PATH
#
# For one machine and one person who tries. In service, let two units of a service manager run the two commands below:
# Envoy must outlive the agent. State and history are in state/, logs in agent.log and envoy.log (*.1: the run before).

canary=default/web
cluster=web
listen=127.0.0.1:8080
grpc=127.0.0.1:7070
http=127.0.0.1:7071
# The program that wrote this file, in case that none is on PATH.
program=/usr/bin/serin

set -u
agent_pid='' envoy_pid='' pause_pid=''

say() { printf 'start.sh: %s\n' "$*"; }
complain() { say "$@" >&2; }
alive() { [ -n "$1" ] && kill -0 "$1" 2>/dev/null; }

stop() {
    trap '' INT TERM HUP
    for pid in $pause_pid $agent_pid $envoy_pid; do kill "$pid" 2>/dev/null; done
    tries=0
    while { alive "$agent_pid" || alive "$envoy_pid"; } && [ "$tries" -lt 100 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    for pid in $agent_pid $envoy_pid; do kill -KILL "$pid" 2>/dev/null; done
    wait
}

# Sleeps, and wakes for a signal.
pause() {
    sleep "$1" &
    pause_pid=$!
    wait "$pause_pid"
    pause_pid=''
}

# Waits for a command to succeed while a process lives: 0 when it has, 1 when the process ended, 2 after half a minute.
await() {
    process=$1
    shift
    tries=0
    while [ "$tries" -lt 150 ]; do
        alive "$process" || return 1
        "$@" && return 0
        tries=$((tries + 1))
        pause 0.2
    done
    return 2
}

give_up() {
    complain "$1 does not run; $2 ends:"
    tail -n 8 "$2" >&2
    exit 1
}

# What can be run by this name, with its whole path.
find_program() {
    found=$(command -v "$1") && [ -x "$found" ] || return 1
    case $found in
        /*) printf '%s\n' "$found" ;;
        *) printf '%s\n' "$PWD/$found" ;;
    esac
}

missing=''
serin=$(find_program "${SERIN:-serin}") || serin=$(find_program "${SERIN:-$program}") || {
    complain "${SERIN:-serin} is missing: put serin on PATH, or say where it is with SERIN=/path/to/serin"
    missing=1
}
envoy=$(find_program "${ENVOY:-envoy}") || {
    complain "${ENVOY:-envoy} is missing: put Envoy 1.36 or newer on PATH, or say where it is with ENVOY=/path/to/envoy"
    missing=1
}
unset CDPATH
cd -- "$(dirname -- "$0")" || exit 1
module=$(sed -n 's/.*filename: "\(.*\)".*/\1/p' envoy.yaml) || exit 1
if [ -n "$module" ] && [ ! -r "$module" ]; then
    complain "the filter module $module is missing: put serin.wasm there, or change \`filename\` in envoy.yaml"
    missing=1
fi
[ -z "$missing" ] || exit 1
said=$("$serin" validate canaries) || {
    printf '%s\n' "$said" >&2
    exit 1
}

trap stop EXIT
trap 'exit 0' INT TERM HUP
for log in agent.log envoy.log; do
    [ ! -e "$log" ] || mv -f "$log" "$log.1"
done

say "starting: the agent on http://$http, then Envoy on $listen; this may take half a minute"
"$serin" agent --canaries canaries --data state --grpc "$grpc" --http "$http" >agent.log 2>&1 &
agent_pid=$!
await "$agent_pid" grep -qs '^listening ' agent.log || give_up 'the agent' agent.log

"$envoy" -c envoy.yaml --service-node "$(uname -n)" --service-cluster "$cluster" --disable-hot-restart "$@" \
    >envoy.log 2>&1 &
envoy_pid=$!
has_workers() {
    "$serin" get "$canary" --agent "http://$http" -o json 2>/dev/null | grep -q '"workersLive": [1-9]'
}
await "$envoy_pid" has_workers
case $? in
    0) say "ready: Envoy listens on $listen, the agent on http://$http; Ctrl-C stops both" ;;
    1) give_up Envoy envoy.log ;;
    *) complain 'Envoy runs, but its filter has not reached the agent: see envoy.log and agent.log' ;;
esac

while alive "$envoy_pid"; do
    if [ -n "$agent_pid" ] && ! alive "$agent_pid"; then
        agent_pid=''
        complain 'the agent has ended, see agent.log. Envoy goes on; within a minute all its traffic is the primary'\''s'
    fi
    pause 1
done
give_up Envoy envoy.log
