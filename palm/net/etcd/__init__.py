"""The pieces of the etcd adapter; `palm.net.registry.EtcdRegistry` puts them together. The only importers of grpc as a
client: this file runs before any of them."""

import os

# grpc prints C++ lines of its own on failed TLS handshakes; PALM says it once, in its errors. A user's choice stays.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
