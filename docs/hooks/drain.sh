#!/bin/sh
# drain: runs before the fence. It ends a program that writes to the game's file later than it answers, and waits until
# that has flushed and ended. The service of this project needs none: it saves before it answers.
# WORKER_PIDFILE, in .env, names the file with the program's process id. After an undo, restart has to start it again.
set -eu

if [ ! -e "${WORKER_PIDFILE:-/nowhere}" ]; then
  echo "nothing to drain"
  exit 0
fi
worker=$(cat "$WORKER_PIDFILE")
kill -TERM "$worker" 2>/dev/null || exit 0 # A run that goes on after a kill drains again: then it has ended.
waited=0
while kill -0 "$worker" 2>/dev/null; do
  waited=$((waited + 1))
  if [ "$waited" -gt 300 ]; then
    echo "process $worker still runs after 30 seconds"
    exit 1
  fi
  sleep 0.1
done
echo "process $worker has flushed and ended"
