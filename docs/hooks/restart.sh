#!/bin/sh
# restart: makes every process of the service read its env file again. The cutover then waits until each is a new one.
# It signals the supervisor of `invoke serve` or `python -m game.service`, whose id is in PIDFILE of that file.
# A service under systemd has one line instead: systemctl reload sudamr (with ExecReload=/bin/kill -HUP $MAINPID).
set -eu

pidfile=$(sed -n 's/^PIDFILE=//p' "$ENV_FILE")
if [ ! -e "${pidfile:-/nowhere}" ]; then
  echo "no supervisor runs: found no PIDFILE of $ENV_FILE; start the service, then run the command again"
  exit 1
fi
kill -HUP "$(cat "$pidfile")"
