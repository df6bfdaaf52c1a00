# Kyutai's Python server for Moshi, for a machine with an NVIDIA GPU; it holds one call at a time.
#   docker build -f deploy/moshi-server.Dockerfile -t moshi-server deploy
ARG PYTHON_VERSION=3.12

FROM ghcr.io/astral-sh/uv:0.9 AS uv

FROM python:${PYTHON_VERSION}-slim-bookworm
COPY --from=uv /uv /usr/local/bin/
# torch compiles GPU kernels at the first start, with a C compiler.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc=4:12.2.* libc6-dev=2.36-* \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --system --link-mode copy moshi==0.2.13
RUN useradd --system --uid 10001 --create-home --home-dir /home/moshi moshi \
    && install --directory --owner moshi --group moshi --mode 700 /data
ENV HF_HOME=/data/huggingface \
    PYTHONUNBUFFERED=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
WORKDIR /home/moshi
VOLUME /data
EXPOSE 8998
# The port opens when the model is loaded. No request is sent: a connected client would be its one call.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30m --retries=3 \
    CMD ["python", "-c", "import socket; socket.create_connection(('127.0.0.1', 8998), 4).close()"]
# The server's own web page is not needed, and not downloaded.
ENTRYPOINT ["python", "-m", "moshi.server", "--host", "0.0.0.0", "--port", "8998", "--static", "none"]
CMD ["--hf-repo", "kyutai/moshiko-pytorch-bf16"]
