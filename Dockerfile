# lungmask-jax in a container that needs no network and writes only to the folders it is given:
#
#   docker build -t lungmask-jax .
#   docker build -t lungmask-jax:cuda --build-arg EXTRAS=dicom,report,cuda .
#   docker run --rm --read-only --network none --tmpfs /tmp --user "$(id -u):$(id -g)" \
#       -v "$PWD:/data" lungmask-jax segment scan.nii.gz -o results
#
# For a GPU add --gpus all; its driver is the host's, and CUDA comes with JAX.
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
ARG EXTRAS=dicom,report
COPY --from=wheel /wheels /wheels
RUN python -m pip install --no-cache-dir "$(echo /wheels/*.whl)[${EXTRAS}]" && rm -r /wheels
# compiled programs are kept where it may write; mount a folder at /tmp/cache to keep them longer
ENV HOME=/tmp XDG_CACHE_HOME=/tmp/cache PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["lungmask-jax"]
CMD ["--help"]
