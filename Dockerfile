# The package with its pinned dependencies. CPU: docker build -t tiertune .
# GPU:  docker build -t tiertune --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
FROM python:3.11-slim-bookworm

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

# LightGBM needs OpenMP's runtime.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 tiertune

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY alembic ./alembic
COPY hpo ./hpo
COPY search_spaces ./search_spaces
COPY tiertune ./tiertune
COPY trainer ./trainer
RUN pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" .

# Campaigns, prepared data and reports; a volume, so that a restarted container goes on from there.
ENV HPO_HOME=/state
RUN mkdir /state && chown tiertune /state
VOLUME /state
USER tiertune
WORKDIR /work
ENTRYPOINT ["hpo"]
CMD ["--help"]
