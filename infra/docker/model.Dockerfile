# One model in the generic server: its signed release, and nothing else. Two models differ in this layer alone.
ARG SERVING_IMAGE=flightline-serving
FROM ${SERVING_IMAGE}

COPY model /

ARG MODEL
ARG VERSION
ARG DIGEST
ARG CONTRACT
ENV FLIGHTLINE_BUNDLE=/release \
    MODEL_DIGEST=${DIGEST} \
    MODEL_VERSION=${VERSION}
LABEL org.opencontainers.image.title="flightline-${MODEL}" \
      org.opencontainers.image.version="${VERSION}" \
      io.flightline.model="${MODEL}" \
      io.flightline.version="${VERSION}" \
      io.flightline.digest="${DIGEST}" \
      io.flightline.contract="${CONTRACT}"
