# The worker and the webhook sender.
# CPU:                       docker build --file deploy/worker.Dockerfile --tag archetype-worker .
# NVIDIA GPU:                add --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
# Default index of pip:      add --build-arg TORCH_INDEX=
FROM python:3.11-slim-bookworm AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python3 -m venv /venv
COPY deploy/worker.lock deploy/torch.lock /
# torch is pinned without a digest, because each platform has its own build of a version.
RUN /venv/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes --requirement /worker.lock \
 && /venv/bin/pip install --no-cache-dir --no-compile ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --requirement /torch.lock \
 && rm -rf /venv/lib/python3*/site-packages/pip
# A software bill of materials in the CycloneDX format.
COPY deploy/sbom.lock /
RUN python3 -m venv /tools && /tools/bin/pip install --no-cache-dir --require-hashes --requirement /sbom.lock \
 && /tools/bin/cyclonedx-py environment --output-file /sbom.cdx.json /venv

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="archetype-worker" \
      org.opencontainers.image.description="What an image classifier has learned: a worker, and the webhook sender" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /venv /venv
COPY --from=build /sbom.cdx.json /usr/share/doc/archetype/sbom.cdx.json
COPY sdk/archetype /app/archetype
COPY shared /app/shared
COPY worker /app/worker
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    ARCHETYPE_LOG_FORMAT=json ARCHETYPE_SECRETS=/run/secrets ARCHETYPE_CACHE=/cache ARCHETYPE_PLAN_CACHE=/cache/plans.json \
    ARCHETYPE_LIVENESS_DIR=/tmp/liveness
RUN chmod -R a+rX /app && groupadd --gid 10001 archetype && useradd --uid 10001 --gid 10001 --no-create-home archetype \
 && mkdir /cache && chown archetype:archetype /cache
USER 10001:10001
WORKDIR /tmp
VOLUME /cache
# The worker consumes messages or runs a job: see shared/process/liveness.py.
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s CMD ["sh", "-c", "test -n \"$(find /tmp/liveness/worker -mmin -3)\""]
ENTRYPOINT ["dumb-init", "--single-child", "--"]
CMD ["celery", "-A", "worker.app", "worker", "-Q", "interactive,bulk", "--loglevel", "WARNING", "--without-gossip", \
     "--without-mingle"]
