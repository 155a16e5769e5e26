"""A container image from files of this machine, where none can be pulled: a tar stream piped into `docker import`.

An image is named by what is in it, so it is made once and found from then on. This file knows nothing of what the
images are for.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

LABEL = "palm.cluster.test-image"


def content_hash(parts: Iterable[bytes]) -> str:
    """Sixteen hex digits of all `parts`, order and borders included."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def exists(tag: str) -> bool:
    found = subprocess.run(["docker", "image", "inspect", tag], capture_output=True, check=False)
    return found.returncode == 0


def make(tag: str, files: Mapping[str, Path | bytes], changes: Sequence[str]) -> None:
    """Import `files` as `tag`, and remove older images of its name that no container uses.

    `files` is the path in the image to a file of this machine, or to the bytes themselves; `changes` are Dockerfile
    lines (ENV, ENTRYPOINT, CMD, WORKDIR).
    """
    repository = tag.partition(":")[0]
    command = ["docker", "import"]
    for change in [f"LABEL {LABEL}={repository}", *changes]:
        command += ["--change", change]
    importing = subprocess.Popen([*command, "-", tag], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert importing.stdin is not None, "asked for as a pipe"
    with importing.stdin as stream, tarfile.open(fileobj=stream, mode="w|", bufsize=1 << 20) as tar:
        _add_all(tar, files)
    if importing.wait() != 0:
        raise SystemExit(f"docker import {tag} failed with exit code {importing.returncode}")
    _forget_older(repository, tag)


def _add_all(tar: tarfile.TarFile, files: Mapping[str, Path | bytes]) -> None:
    temporary = tarfile.TarInfo("tmp")
    temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
    tar.addfile(temporary)
    for inside, source in sorted(files.items(), key=lambda item: item[0]):
        name = inside.lstrip("/")
        if isinstance(source, bytes):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(source), 0o644
            tar.addfile(info, io.BytesIO(source))
        else:
            # Links are followed: what they point to lies elsewhere in the image, or not at all.
            info = tar.gettarinfo(source.resolve(), name)
            info.type, info.linkname, info.uid, info.gid = tarfile.REGTYPE, "", 0, 0
            info.size = source.stat().st_size
            with source.open("rb") as data:
                tar.addfile(info, data)


def _forget_older(repository: str, keep: str) -> None:
    listed = subprocess.run(
        ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", repository],
        capture_output=True, text=True, check=True,
    )
    for tag in listed.stdout.split():
        if tag != keep:
            subprocess.run(["docker", "rmi", tag], capture_output=True, check=False)
