# evald in a container: judges bundles, or serves HTTP, or runs any other evald command.
#
# How far this was tried: see "What was tried" in docs/how-to/run-in-a-container.md. Most likely to need a change: the tags of
# the two bases below, which could not be pulled where this was written, and everything about CUDA.
#
#   CPU:   docker build -t evald:0.1.0 .
#   CUDA:  docker build -t evald:0.1.0-cuda --build-arg BASE=nvidia/cuda:13.0.3-devel-ubuntu24.04 \
#            --build-arg TORCH_INDEX=https://pypi.org/simple --build-arg EXTRAS=http,gpu .
#
# A base is a Debian or Ubuntu whose python3 is 3.11 or newer. For CUDA it is the toolkit (devel) of the version that torch in
# constraints.txt is built for: torch brings NVRTC for `cuda` bundles, but `torch_cuda` bundles and `cuda` bundles that ask for
# it need nvcc, and PyCUDA is compiled against the toolkit. The driver comes from the host.
ARG BASE=debian:12.11-slim

# -- what both stages need: the sandbox, and the compilers that bundles are built with ------------------------------------
FROM ${BASE} AS system
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      bubblewrap ca-certificates g++ python3 python3-dev util-linux \
 && rm -rf /var/lib/apt/lists/*

# -- the environment ------------------------------------------------------------------------------------------------------
FROM system AS build
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY constraints.txt ./
# torch first: the largest layer changes the least. The index of CPU builds has the pinned version as VERSION+cpu.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python3 -m venv /opt/evald \
 && /opt/evald/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt setuptools \
 && /opt/evald/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt \
      --extra-index-url "${TORCH_INDEX}" torch
COPY setup.cfg pyproject.toml README.md ./
COPY daemon ./daemon
COPY migrations ./migrations
COPY systemd ./systemd
ARG EXTRAS=http
RUN /opt/evald/bin/pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation -w dist . \
 && wheel="$(echo dist/evald-*.whl)" \
 && /opt/evald/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt "${wheel}[${EXTRAS}]"

# -- the image ------------------------------------------------------------------------------------------------------------
FROM system AS runtime
# One user for daemon and cells: cells are then kept apart from the daemon and from each other by namespaces and the system
# call filter, not by uid. A uid for each cell takes root (compose.root.yaml); every result says which it was.
# The spool is one folder, for bundles move between inbox, work and archive by rename: mount it as one volume.
RUN groupadd --gid 10001 evald \
 && useradd --uid 10001 --gid evald --no-create-home --home-dir /var/lib/evald --shell /usr/sbin/nologin evald \
 && install -d -o evald -g evald /var/lib/evald /var/lib/evald/spool /var/lib/evald/results \
 && install -d -o evald -g evald -m 0700 /var/lib/evald/state
COPY --from=build /opt/evald /opt/evald
ENV PATH=/opt/evald/bin:/usr/local/cuda/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    EVALD_HOME=/var/lib/evald \
    EVALD_INBOX=spool/inbox
WORKDIR /var/lib/evald
# By number, so that an orchestrator can see that it is not root.
USER 10001:10001
EXPOSE 8720
STOPSIGNAL SIGTERM
# Of this container's daemon alone. Docker keeps exit code 2 for itself; evald says it when the database does not answer.
HEALTHCHECK --interval=30s --timeout=20s --start-period=2m --retries=3 \
  CMD ["/bin/sh", "-c", "evald health --host \"$(hostname)\" || exit 1"]
ENTRYPOINT ["evald"]
CMD ["run"]
