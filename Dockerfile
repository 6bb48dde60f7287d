# The game service alone: no tool of the move, no test. The extra `service`, each file by its hash (docs/security.md).
# The image below is named by its tag: no digest of it has been run with yet. Give each FROM the digest that you pull:
# docker image inspect --format '{{index .RepoDigests 0}}' python:3.11-slim
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements/build.txt requirements/service.txt requirements/
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --require-hashes --requirement requirements/build.txt
RUN python -m venv /opt/sudamr \
 && /opt/sudamr/bin/pip install --no-cache-dir --require-hashes --requirement requirements/service.txt
COPY pyproject.toml README.md ./
COPY game ./game
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
 && /opt/sudamr/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home sudamr
COPY --from=build /opt/sudamr /opt/sudamr
USER sudamr
# The private port is for the tools and the probes: publish 8000 alone to the world.
ENV HOST=0.0.0.0 PORT=8000 PRIVATE_HOST=0.0.0.0 PRIVATE_PORT=9000 PYTHONUNBUFFERED=1
EXPOSE 8000 9000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
  CMD ["/opt/sudamr/bin/python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PRIVATE_PORT\"]}/healthz', timeout=2)"]
# It needs DATABASE_URL, CHANCE_SECRET and TOKEN_SECRET, exported or in the file that SUDAMR_ENV_FILE names. Where a cutover
# is to come, in the file alone, and its folder mounted: an exported DATABASE_URL would win, a mounted file stay the old one.
# SIGTERM lets requests in flight finish; see `game.service`.
STOPSIGNAL SIGTERM
CMD ["/opt/sudamr/bin/python", "-m", "game.service"]
