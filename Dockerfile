# syntax=docker/dockerfile:1
# CUDA:  docker build -t genlab:cuda .
#        docker run --gpus all -v genlab-data:/data -v "$PWD/outputs:/runs/outputs" genlab:cuda train data=cifar10
# CPU:   docker build -t genlab --build-arg TORCH_INDEX=<the index of CPU wheels that pytorch.org's selector shows> .
#
# torch's wheels carry the CUDA libraries themselves and run without a GPU too, so both start from the same small
# image, and the build argument decides which wheel it is; the host brings the driver (nvidia-container-toolkit).
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY genlab genlab
COPY conf conf
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim
ARG TORCH_INDEX=""
ARG EXTRAS=joblib,slurm,tensorboard
COPY constraints.txt /tmp/
RUN pip install --no-cache-dir -c /tmp/constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} \
    "$(grep '^torch==' /tmp/constraints.txt)"
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt "genlab[$EXTRAS] @ file://$(ls /wheels/*.whl)" && rm -r /wheels

ARG UID=1000
RUN useradd --create-home --uid "$UID" genlab \
    && mkdir -p /data /runs/outputs && chown -R genlab /data /runs
USER genlab
WORKDIR /runs
ENV GENLAB_DATA=/data
VOLUME /data
ENTRYPOINT ["genlab"]
CMD ["--help"]
