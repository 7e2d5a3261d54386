# syntax=docker/dockerfile:1
# Both services and the tool in one image, run as user 65532. No container engine runs where this
# was written: it was checked by reading and linting only. Pin the two base images by digest
# before you rely on it.
#   docker build --tag weir .

FROM rust:1.95-bookworm AS build
RUN apt-get update \
 && apt-get install --yes --no-install-recommends clang libclang-dev libssl-dev pkg-config zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# RocksDB takes most of the time; the cache mounts keep it between builds.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package weir-ingest --package weir-processor --package weir-cli --bins \
 && mkdir -p /out \
 && cp target/release/weir-ingest target/release/weir-processor target/release/weir /out/ \
 && strip --strip-debug /out/*

# Debian's own slim image and not distroless: the health checks need something to ask with (bash).
# What the binaries link: libssl (librdkafka), zlib, libstdc++ (RocksDB).
FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates libssl3 libstdc++6 zlib1g \
 && rm -rf /var/lib/apt/lists/* \
 && install --directory --owner=65532 --group=65532 /var/lib/weir
COPY --from=build /out/ /usr/local/bin/
USER 65532:65532
# Give every instance its own volume, or it restores its whole state from Kafka at each start.
VOLUME /var/lib/weir
ENV WEIR_CONFIG=/etc/weir/weir.toml \
    WEIR__PROCESSOR__STATE_DIR=/var/lib/weir
EXPOSE 8080 9464 9465
STOPSIGNAL SIGTERM
LABEL org.opencontainers.image.title="weir" \
      org.opencontainers.image.description="Exactly-once webhooks on Kafka" \
      org.opencontainers.image.licenses="Apache-2.0"
CMD ["weir-ingest"]
