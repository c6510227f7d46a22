# The service as an image: from uv.lock and its hashes, as a user without rights, on a root that may be read-only.
#   docker build -t coze-service . && docker run --read-only --tmpfs /tmp --env-file .env -p 2026:2026 coze-service
FROM python:3.12-slim-trixie AS build
RUN python -m pip install --no-cache-dir uv==0.13.9
WORKDIR /app
ENV UV_PROJECT_ENVIRONMENT=/app/venv UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
# What the service needs changes seldom, and is a layer of its own.
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-dev --no-install-project
COPY openapi.yaml README.md LICENSE ./
COPY generated generated
COPY service service
RUN uv sync --locked --no-dev --no-editable

FROM python:3.12-slim-trixie
LABEL org.opencontainers.image.title="coze-service" \
      org.opencontainers.image.description="A small HTTP gateway to Coze (扣子) bots that keeps the token on the server" \
      org.opencontainers.image.licenses="MIT"
# The environment holds absolute paths: it stays where it was made.
COPY --from=build /app/venv /app/venv
ENV PATH=/app/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
# What the service remembers, and uploaded files for as long as their links are valid; a volume is made with this owner.
RUN install -d -o 10001 -g 10001 -m 700 /data
ENV STORE=/data FILE_STORE=/data
VOLUME /data
# The working folder: .env may be mounted here.
WORKDIR /app
# A number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 2026
STOPSIGNAL SIGTERM
# Whether the process lives; whether Coze answers, which a restart does not mend, is asked at /health.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-Ic", "from service.process.probe import main; main()"]
ENTRYPOINT ["coze-service"]
