# The broker as an image: the wheel is built in one stage and installed in the other, each with hashes from its lock file.
# docs/operations.md says how to run it; tests/test_container.py runs these very steps in an empty folder.

FROM python:3.11.13-slim-bookworm AS build
WORKDIR /build
COPY requirements-build.lock ./
RUN ["python", "-m", "venv", "/build/venv"]
RUN ["/build/venv/bin/pip", "install", "--no-cache-dir", "--require-hashes", "-r", "requirements-build.lock"]
COPY pyproject.toml README.md LICENSE ./
COPY syncbroker ./syncbroker
COPY connectors ./connectors
COPY migrations ./migrations
COPY mappings ./mappings
RUN ["/build/venv/bin/pip", "wheel", "--no-cache-dir", "--no-deps", "--no-build-isolation", "--wheel-dir", "/build/dist", "."]

FROM python:3.11.13-slim-bookworm
WORKDIR /opt/syncbroker
COPY requirements.lock ./
RUN ["python", "-m", "venv", "/opt/syncbroker/venv"]
RUN ["/opt/syncbroker/venv/bin/pip", "install", "--no-cache-dir", "--require-hashes", "-r", "requirements.lock"]
COPY --from=build /build/dist ./dist
RUN ["/opt/syncbroker/venv/bin/pip", "install", "--no-cache-dir", "--no-deps", "--no-index", "--find-links", "dist", "syncbroker"]

# Nothing runs as root, and only the store's folder can be written.
RUN ["useradd", "--system", "--uid", "10001", "--no-create-home", "--home-dir", "/var/lib/syncbroker", "syncbroker"]
RUN ["install", "--directory", "--owner=10001", "--group=10001", "--mode=0700", "/var/lib/syncbroker"]
USER 10001:10001
WORKDIR /var/lib/syncbroker
VOLUME ["/var/lib/syncbroker"]

ENV PATH=/opt/syncbroker/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SYNCBROKER_DATABASE_URL=sqlite:////var/lib/syncbroker/syncbroker.db \
    SYNCBROKER_MAPPINGS=/etc/syncbroker/mappings \
    SYNCBROKER_HOST=0.0.0.0 \
    SYNCBROKER_PORT=8321
EXPOSE 8321
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['SYNCBROKER_PORT'] + '/healthz', timeout=4)"]
ENTRYPOINT ["syncbroker"]
CMD ["serve"]
