"""Make (once) an image that runs PALM from the interpreter and the packages that run this script; print its tag.

No base image can be pulled, so the image is a plain copy: the interpreter, its standard library, `palm-cluster` with
what it requires, and the shared libraries that `ldd` finds they need. Nothing else is in it, not even a shell.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import imported_image
from packaging.requirements import Requirement

DISTRIBUTION = "palm-cluster"
PACKAGE = Path(__file__).resolve().parent.parent / "palm"
HOME = "/usr/local"
SITE = f"{HOME}/site"
# The linker's last default place, so no cache and no LD_LIBRARY_PATH is needed.
LIBRARIES = "/usr/lib"
# Not needed by a server, and half of the size.
SKIPPED = {
    "__pycache__", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages", "dist-packages", "test", "tests",
    "tkinter", "turtledemo",
}

CHANGES = [
    f"ENV PATH={HOME}/bin",
    f"ENV PYTHONHOME={HOME}",
    f"ENV PYTHONPATH={SITE}",
    "ENV PYTHONUNBUFFERED=1",
    "ENV PYTHONDONTWRITEBYTECODE=1",
    "WORKDIR /app",
    'ENTRYPOINT ["python"]',
]


def interpreter() -> Path:
    """The real executable behind this virtual environment."""
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def standard_library() -> Iterator[tuple[str, Path]]:
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    for path in _files_below(stdlib):
        yield f"{HOME}/lib/{stdlib.name}/{path.relative_to(stdlib)}", path


def _files_below(folder: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("config-"))
        yield from (Path(at, name) for name in sorted(names) if not name.endswith((".pyc", ".a")))


def required_distributions(name: str) -> dict[str, metadata.Distribution]:
    """`name` and all that it requires here, extras left out."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        distribution = metadata.distribution(waiting.pop())
        if distribution.name in found:
            continue
        found[distribution.name] = distribution
        for line in distribution.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def packages(distributions: dict[str, metadata.Distribution]) -> Iterator[tuple[str, Path]]:
    """Files of the required packages. PALM's own come from the tree, however it is installed."""
    for name, distribution in distributions.items():
        for file in distribution.files or ():
            editable_or_script = name == DISTRIBUTION and file.parts[0] == "palm" or file.parts[0] == ".."
            if not editable_or_script and not SKIPPED & set(file.parts) and not file.name.endswith((".pyc", ".pth")):
                yield f"{SITE}/{file}", Path(str(file.locate()))
    for path in _files_below(PACKAGE):
        yield f"{SITE}/palm/{path.relative_to(PACKAGE)}", path


def shared_libraries(binaries: list[Path], inside: set[Path]) -> dict[str, Path]:
    """What `binaries` need beyond each other: the loader at its own path, the rest in one folder."""
    listed = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    needed: dict[str, Path] = {}
    for name, target in re.findall(r"^\s+(\S+) (?:=> (/\S+) )?\(0x", listed, re.MULTILINE):
        if name.startswith("/"):
            needed[name] = Path(name)
        elif target and Path(target).resolve() not in inside:
            needed[f"{LIBRARIES}/{name}"] = Path(target)
    return needed


def main() -> None:
    distributions = required_distributions(DISTRIBUTION)
    files: dict[str, Path | bytes] = {f"{HOME}/bin/python": interpreter()}
    files.update(standard_library())
    files.update(packages(distributions))
    versions = [f"{name} {distribution.version}".encode() for name, distribution in sorted(distributions.items())]
    own = [part for path in _files_below(PACKAGE) for part in (bytes(path), path.read_bytes())]
    script = [Path(__file__).read_bytes(), str(interpreter()).encode(), sys.version.encode()]
    tag = f"palm-test/python:{imported_image.content_hash([*script, *versions, *own])}"
    if not imported_image.exists(tag):
        inside = {path.resolve() for path in files.values() if isinstance(path, Path)}
        binaries = sorted(path for path in inside if ".so" in path.name) + [interpreter()]
        files.update(shared_libraries(binaries, inside))
        files["/etc/nsswitch.conf"] = b"hosts: files dns\n"
        files["/etc/passwd"] = b"root:x:0:0:root:/:/bin/false\n"
        imported_image.make(tag, files, CHANGES)
    print(tag)


if __name__ == "__main__":
    main()
