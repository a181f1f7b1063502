# The endpoint in a container: docs/how-to/serve.md says how to run it. It holds no key, and no model but the miniature's.
#   docker build -t divcon .                                                    torch for a processor
#   docker build -t divcon --build-arg TORCH_INDEX=https://pypi.org/simple .    torch as PyPI has it, for CUDA

FROM python:3.11-slim AS wheel
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /tmp
COPY constraints.txt .
# By itself, so that a change of ours does not fetch it again. A version for a processor (+cpu) counts as newer than PyPI's.
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -c constraints.txt torch
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir -c constraints.txt /wheels/*.whl

# Its home holds the keys, and what each has spent.
RUN useradd --uid 10001 --home-dir /var/lib/divcon --shell /usr/sbin/nologin divcon \
    && install --directory --mode 700 --owner divcon /var/lib/divcon
USER divcon
WORKDIR /var/lib/divcon

EXPOSE 8000
# Without the environment's proxies: nobody else shall say whether it is well.
HEALTHCHECK --interval=30s --timeout=5s --start-period=5m --retries=3 CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["divcon"]
CMD ["serve", "--config", "/etc/divcon/serve.yaml", "--host", "0.0.0.0"]
