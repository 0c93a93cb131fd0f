FROM python:3.11-slim
RUN useradd --create-home relance && mkdir /var/lib/relance && chown relance /var/lib/relance
WORKDIR /opt/relance
COPY requirements.lock pyproject.toml README.md ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY agent agent
COPY mailflow mailflow
COPY state state
COPY templates templates
COPY config.yaml ./
# Everything that must outlive the container (database, secret, captured mail) lies in the volume.
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . && ln -s /var/lib/relance var
USER relance
WORKDIR /var/lib/relance
ENV RELANCE_CONFIG=/opt/relance/config.yaml \
    RELANCE_LISTENER__SMTP=0.0.0.0:2525 \
    RELANCE_WEB__LISTEN=0.0.0.0:8025
VOLUME /var/lib/relance
EXPOSE 2525 8025
CMD ["relance", "run"]
