# Triton on the CPU, with the releases that the tests run on. In the root of the repository:
#   docker build --file deploy/triton-cpu.Dockerfile --tag neuronkit-triton .
FROM python:3.11-slim-bookworm
WORKDIR /opt/neuronkit
COPY requirements/base.txt requirements/
RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0 \
 && pip install --no-cache-dir 'numpy<2' nvidia-pytriton==0.7.0 --requirement requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY neuronkit neuronkit
RUN pip install --no-cache-dir --no-deps .
# One thread for each instance of a model; more instances rather than more threads.
ENV OMP_NUM_THREADS=1
# Publish these on a private address only: tritonserver authenticates nobody.
EXPOSE 8000 8001 8002
ENTRYPOINT ["python", "-m", "neuronkit.serving.triton", "--host", "0.0.0.0"]
CMD ["/models/repository"]
