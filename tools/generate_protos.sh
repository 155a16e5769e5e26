#!/usr/bin/env bash
# Regenerate palm/wire/*_pb2.py from protos/. Needs grpcio-tools 1.71 (its output loads on protobuf 5.29 to 7).
set -euo pipefail
cd "$(dirname "$0")/.."
for name in "$@"; do
  "${PROTO_PYTHON:-python}" -m grpc_tools.protoc -I protos --python_out=palm/wire --pyi_out=palm/wire "protos/$name.proto"
done
