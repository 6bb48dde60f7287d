#!/bin/sh
# health: runs in each look of the watch after a cutover. It ends with 0 when all is well; its last line is the reason.
# The cutover asks each service itself. Ask here what it can't know: the load balancer, the site, your alarms.
# HEALTH_URLS, in .env, names pages that must answer 200: HEALTH_URLS="https://game.example.net/readyz".
set -eu

python3 - ${HEALTH_URLS:?is not set: name pages in .env} <<'PYTHON'
import sys
import urllib.request

for url in sys.argv[1:]:
    try:
        urllib.request.urlopen(url, timeout=5)
    except OSError as error:
        sys.exit(f"{url} does not answer 200: {error}")
PYTHON
