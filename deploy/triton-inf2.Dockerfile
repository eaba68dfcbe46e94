# Triton on Inf2 and Trn1. In the root of the repository:
#   docker build --file deploy/triton-inf2.Dockerfile --tag neuronkit-triton-inf2 .
# The host has the Neuron driver; torch-neuronx 2.9 (SDK 2.31) is the last release for these chips. Not run on hardware.
#
# For Inf1, of which SDK 2.32 still lists the last packages: a base with Python 3.10 (FROM ubuntu:22.04, whose python3
# it is), no runtime packages from apt, and instead of the second `pip install`
#   pip install --extra-index-url=https://pip.repos.neuron.amazonaws.com torch==1.13.1 torch-neuron==1.13.1.2.11.13.0
# on a host whose driver is pinned to the last that serves Inf1: aws-neuronx-dkms=2.24.*
FROM ubuntu:24.04
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates curl gnupg python3 python3-venv libpython3-dev \
 && curl --fail --silent https://apt.repos.neuron.amazonaws.com/GPG-PUB-KEY-AMAZON-AWS-NEURON.PUB \
  | gpg --dearmor --output /usr/share/keyrings/neuron.gpg \
 && . /etc/os-release \
 && echo "deb [signed-by=/usr/share/keyrings/neuron.gpg]" \
         "https://apt.repos.neuron.amazonaws.com $VERSION_CODENAME main" > /etc/apt/sources.list.d/neuron.list \
 && apt-get update \
 && apt-get install --yes --no-install-recommends aws-neuronx-runtime-lib aws-neuronx-collectives aws-neuronx-tools \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:/opt/aws/neuron/bin:$PATH LD_LIBRARY_PATH=/opt/aws/neuron/lib
WORKDIR /opt/neuronkit
COPY requirements/base.txt requirements/
RUN pip install --no-cache-dir --extra-index-url=https://pip.repos.neuron.amazonaws.com \
    'torch==2.9.*' 'torch-neuronx==2.9.*' 'neuronx-cc==2.26.*' \
    'numpy<2' nvidia-pytriton==0.7.0 --requirement requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY neuronkit neuronkit
RUN pip install --no-cache-dir --no-deps .
# Publish these on a private address only: tritonserver authenticates nobody.
EXPOSE 8000 8001 8002
ENTRYPOINT ["python", "-m", "neuronkit.serving.triton", "--host", "0.0.0.0"]
CMD ["/models/repository"]
