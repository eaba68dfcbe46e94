# Ray on Inf2 and Trn1, for each node of deploy/ray-inf2.yaml. In the root of the repository:
#   docker build --file deploy/ray-inf2.Dockerfile --tag neuronkit-ray-inf2 .
# The host has the Neuron driver; torch-neuronx 2.9 (SDK 2.31) is the last release for these chips. Not run on hardware.
FROM ubuntu:24.04
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates curl gnupg wget python3 python3-venv libpython3-dev \
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
    'numpy<2' 'pyarrow<23' 'ray[data,serve]==2.60.0' --requirement requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY neuronkit neuronkit
RUN pip install --no-cache-dir --no-deps .
# One thread for each operator: replicas, not threads, fill the machine.
ENV OMP_NUM_THREADS=1
# The operator gives the command, and asks with wget whether a node is well. The control store, the dashboard and its
# jobs, Ray client, Serve, and metrics: for the cluster's own network only, Ray authenticates nobody.
EXPOSE 6379 8265 10001 8000 8080
# The artifacts are in /models: add them here, or mount a volume there on every node.
