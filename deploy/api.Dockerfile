# The API and the scheduler: no torch. docker build --file deploy/api.Dockerfile --tag archetype-api .
FROM python:3.11-slim-bookworm AS build
RUN python3 -m venv /venv
COPY deploy/api.lock /api.lock
RUN /venv/bin/pip install --no-cache-dir --no-compile --no-deps --require-hashes --requirement /api.lock \
 && rm -rf /venv/lib/python3*/site-packages/pip /venv/lib/python3*/site-packages/setuptools
# A software bill of materials in the CycloneDX format.
COPY deploy/sbom.lock /
RUN python3 -m venv /tools && /tools/bin/pip install --no-cache-dir --require-hashes --requirement /sbom.lock \
 && /tools/bin/cyclonedx-py environment --output-file /sbom.cdx.json /venv

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="archetype-api" \
      org.opencontainers.image.description="What an image classifier has learned: the API and the scheduler" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /venv /venv
COPY --from=build /sbom.cdx.json /usr/share/doc/archetype/sbom.cdx.json
COPY sdk/archetype /app/archetype
COPY shared /app/shared
COPY api /app/api
COPY deploy/setup.py /app/deploy/setup.py
COPY deploy/credentials.py /app/deploy/credentials.py
COPY deploy/rights.py /app/deploy/rights.py
COPY deploy/store_guard.py /app/deploy/store_guard.py
ENV PATH=/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    ARCHETYPE_LOG_FORMAT=json ARCHETYPE_SECRETS=/run/secrets
RUN chmod -R a+rX /app && groupadd --gid 10001 archetype && useradd --uid 10001 --gid 10001 --no-create-home archetype
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s \
  CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/readyz', timeout=4)"]
ENTRYPOINT ["dumb-init", "--"]
CMD ["gunicorn", "--config", "python:api.server.config", "--bind", "0.0.0.0:8080", "--graceful-timeout", "20", \
     "--worker-tmp-dir", "/dev/shm"]
