# docker build -t deals247-gateway .
# docker run --rm -p 8080:8080 -v ./gateway.toml:/etc/gateway/gateway.toml:ro deals247-gateway
#
# The toolchain is named, the build has one place and reads no clock, so that nothing of the machine is in the binary. A
# release names both bases by digest, too (see docs/runbooks/deploy.md).

ARG RUST=rust:1.95.0-bookworm
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST} AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# What asks for the moment of its compilation is told this one.
ENV SOURCE_DATE_EPOCH=0
# Kernels for ARM have pages of 4, 16 or 64 KiB: the allocator, built for the largest, serves all of them.
RUN if [ "$(uname -m)" = aarch64 ]; then \
        mkdir .cargo && printf '[env]\nJEMALLOC_SYS_WITH_LG_PAGE = "16"\n' > .cargo/config.toml; \
    fi

# The dependencies in a layer of their own: it lasts until one of them changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --locked --release --bin gateway \
    && rm -r src

COPY src src
# Newer than the placeholders, whatever time the sources bring along.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --locked --release --bin gateway \
    && mkdir -p /rest/var/lib/gateway \
    && cp target/release/gateway /rest/gateway

# The C library, certificates, and nobody's shell. User 65532.
FROM ${BASE}
COPY --from=build /rest/gateway /usr/local/bin/gateway
COPY --from=build --chown=65532:65532 /rest/var/lib/gateway /var/lib/gateway
# Commands find `gateway.toml` here, with no option: `docker exec NAME gateway reload`.
WORKDIR /etc/gateway
USER 65532:65532
EXPOSE 8080 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/gateway", "health"]
ENTRYPOINT ["/usr/local/bin/gateway"]
CMD ["run"]
