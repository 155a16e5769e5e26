#!/usr/bin/env bash
# Make `docker info` answer: nothing to do where it does, else start dockerd as this user (root) in the background.
# Its pid goes to the file named by the first argument, so that whoever had it started can end it.
set -euo pipefail
pid_file=${1:?usage: start_engine.sh PID_FILE}

if docker info >/dev/null 2>&1; then
  exit 0
fi
# A dockerd that was killed leaves its pid behind, and the next one would not start beside it.
if ! ps -o stat= -C dockerd | grep -qv '^Z'; then
  rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid
fi
log=$(mktemp --suffix=.dockerd.log)
setsid dockerd >"$log" 2>&1 </dev/null &
echo $! >"$pid_file"
for _ in $(seq 120); do
  if docker info >/dev/null 2>&1; then
    exit 0
  fi
  kill -0 "$(cat "$pid_file")" 2>/dev/null || break
  sleep 0.5
done
echo "dockerd did not come up; the end of its log ($log):" >&2
tail -n 20 "$log" >&2
exit 1
