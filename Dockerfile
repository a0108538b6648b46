# docker build -t deals247-gateway .
# docker run --rm -p 8080:8080 -v ./gateway.toml:/etc/gateway/gateway.toml:ro deals247-gateway

FROM rust:1-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build

# The dependencies in a layer of their own: it lasts until one of them changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo build --locked --release --bin gateway \
    && rm -r src

COPY . .
# Newer than the placeholders, whatever time the sources bring along.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --locked --release --bin gateway

# The C library, certificates, and nobody's shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/gateway /usr/local/bin/gateway
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/gateway"]
CMD ["run", "-c", "/etc/gateway/gateway.toml"]
