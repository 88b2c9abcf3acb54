# The proxy in a small image: not root, no compiler, nothing written below /.
#
#     docker build -t octollm-proxy .
#     docker run --rm -it octollm-proxy demo
#     docker run -p 127.0.0.1:8080:8080 -v ./config:/etc/octollm:ro --read-only octollm-proxy
#
# Inside a container the listeners must be on 0.0.0.0 to be reached from outside it: the host belongs
# into the config. config/compose.yaml is one that works. docs/deploy.md says more, and what of all
# this has been tried.
#
# The base is a tag. Pin it by the digest that you have tested: --build-arg PYTHON_IMAGE=…@sha256:…
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Dependencies first: they change less often than the code, and the layer is kept.
COPY requirements/runtime.txt requirements/
RUN python -m venv /opt/octollm \
 && /opt/octollm/bin/pip install --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY config/ config/
COPY proxy/ proxy/
# What builds the wheel stays behind in this stage, and so does pip.
RUN /opt/octollm/bin/pip wheel --no-deps --wheel-dir /dist . \
 && /opt/octollm/bin/pip install --no-deps /dist/*.whl \
 && /opt/octollm/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/octollm /opt/octollm
ENV PATH=/opt/octollm/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    OCTOLLM_PROXY_CONFIG=/etc/octollm/proxy.yaml
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8080 8081
# Alive, not ready: a proxy that drains must not be restarted. Not urllib, which would obey HTTP_PROXY.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-c", "\
import http.client; \
admin = http.client.HTTPConnection('127.0.0.1', 8081, timeout=2); \
admin.request('GET', '/-/healthy'); \
raise SystemExit(admin.getresponse().status != 200)"]
ENTRYPOINT ["octollm-proxy"]
CMD ["serve"]
