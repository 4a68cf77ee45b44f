# Build the wheel and its dependencies, then copy the environment into a small image that runs as nobody special.
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md ./
COPY protocol protocol
COPY server server
COPY loadtest loadtest
COPY src src
RUN python -m venv /opt/liveroom && /opt/liveroom/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim
RUN useradd --system --create-home --home-dir /var/lib/liveroom liveroom
COPY --from=build /opt/liveroom /opt/liveroom
ENV PATH=/opt/liveroom/bin:$PATH LIVEROOM_HOST=0.0.0.0 LIVEROOM_DATA=/var/lib/liveroom/data
USER liveroom
VOLUME /var/lib/liveroom
EXPOSE 8080
HEALTHCHECK CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["liveroom"]
CMD ["serve"]
