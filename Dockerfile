# Both programs of Warren from one build: `--target api` and `--target worker`.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Debian's own C compiler is all that the dependencies need besides Rust. The caches outlive a
# build, so that a change of Warren's own code compiles only that.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --release --bins -p warren-api -p warren-worker -p warren-rhost \
 && mkdir /out \
 && cp target/release/warren-api target/release/warren-worker target/release/warren-rhost /out/

FROM debian:bookworm-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 warren \
 && useradd --system --uid 10001 --gid warren --home-dir /var/lib/warren --create-home warren
ENV LANG=C.UTF-8
WORKDIR /var/lib/warren

FROM base AS api
COPY --from=build /out/warren-api /usr/local/bin/
USER warren
EXPOSE 12800
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["warren-api", "probe"]
ENTRYPOINT ["warren-api"]
CMD ["serve"]

FROM base AS worker
# R from the distribution. The worker builds and starts without it, and says so.
RUN apt-get update \
 && apt-get install -y --no-install-recommends r-base-core \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/warren-worker /out/warren-rhost /usr/local/bin/
# As root, so that each session gets a user of its own, who must be able to pass through to its directory.
RUN chmod 711 /var/lib/warren && install --directory --mode 711 /var/lib/warren/sessions
ENV WARREN_WORK_DIR=/var/lib/warren/sessions
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["warren-worker", "probe"]
ENTRYPOINT ["warren-worker"]
CMD ["serve"]
