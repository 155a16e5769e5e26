"""Two versions of one protobuf schema in one process, as the simulator needs them for a rolling upgrade.

Generated code enters its file into the process's one pool of descriptors, which refuses a second file of that name with
another content. Such a file goes into a pool of its own; in production each version has a process of its own anyway.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto


class _Pool:
    """The process's pool; and behind it one for files that it has in another version."""

    def __init__(self, whole: Any, own: Any) -> None:
        self._whole = whole
        self._own = own

    def AddSerializedFile(self, serialized: bytes) -> Any:  # its name in generated code
        file = FileDescriptorProto.FromString(serialized)
        if not self._depends_on_own(file):
            try:
                return self._whole.AddSerializedFile(serialized)
            except TypeError:
                pass  # it is there in another version
        for name in file.dependency:
            self._fetch(name)
        return self._own.AddSerializedFile(serialized)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def _depends_on_own(self, file: FileDescriptorProto) -> bool:
        return any(_has(self._own, name) for name in file.dependency)

    def _fetch(self, name: str) -> None:
        """Have a file of the process's pool, and what it needs, in the other one too."""
        if _has(self._own, name):
            return
        found = FileDescriptorProto()
        self._whole.FindFileByName(name).CopyToProto(found)
        for needed in found.dependency:
            self._fetch(needed)
        self._own.AddSerializedFile(found.SerializeToString())


def _has(pool: Any, name: str) -> bool:
    try:
        pool.FindFileByName(name)
    except KeyError:
        return False
    return True


@contextmanager
def side_by_side() -> Iterator[None]:
    """Generated code that is imported within the block may be another version of what the process has already."""
    before = descriptor_pool.Default
    pool = _Pool(before(), descriptor_pool.DescriptorPool())
    descriptor_pool.Default = lambda: pool  # type: ignore[assignment, return-value]  # as much of one as is used
    try:
        yield
    finally:
        descriptor_pool.Default = before
