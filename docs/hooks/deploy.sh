#!/bin/sh
# deploy: runs after the pointer was written here, and before restart. It brings the env file to the service's other
# machines. An undo runs it too, with the old file. SERVICE_HOSTS, in .env, names them: SERVICE_HOSTS="app1 app2".
set -eu

for host in ${SERVICE_HOSTS:-}; do
  scp -q "$ENV_FILE" "$host:$ENV_FILE.new"
  ssh "$host" mv "$ENV_FILE.new" "$ENV_FILE" # One rename: no process there reads half a file.
  echo "$host has the file for $ENGINE"
done
