"""From what a user names on the command line (`server.py`, `server.py:Class`, `module:Class`) to a server class."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from types import ModuleType

from palm.errors import BadRequest, did_you_mean
from palm.servers import RegisteredServer

LOADED_AS = "palm_user_server"


class Announced(Exception):
    """A script called `run_server` while it was loaded: this is what it wants to run."""

    def __init__(self, server: type[object], name: str, functions: tuple[str, ...]) -> None:
        super().__init__(name)
        self.server = server
        self.name = name
        self.functions = functions


def load_server(target: str) -> Announced:
    """The server that `target` names. `BadRequest` says in two lines why there is none."""
    path, _, class_name = target.partition(":")
    module = _load_file(path) if path.endswith(".py") else _load_module(path)
    if isinstance(module, Announced):
        if class_name and module.server.__name__ != class_name:
            return _described(_pick(sys.modules[LOADED_AS], target, class_name))
        return module
    return _described(_pick(module, target, class_name))


def _described(server: type[object]) -> Announced:
    return Announced(server, _snake(server.__name__), ())


def _load_file(path: str) -> ModuleType | Announced:
    """Run the file as a script, as `python server.py` would: its `run_server` tells what to serve."""
    if not os.path.isfile(path):
        raise BadRequest(f"there is no file {path!r}")
    spec = importlib.util.spec_from_file_location(LOADED_AS, path)
    assert spec is not None and spec.loader is not None, "a .py file always has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[LOADED_AS] = module
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    module.__name__ = "__main__"
    try:
        code = compile(_read(path), path, "exec")
        exec(code, module.__dict__)  # the user's own script, which is what they asked to run
    except Announced as announced:
        return announced
    except (Exception, SystemExit) as error:  # whatever a user's file raises is shown as one error
        raise BadRequest(f"{path} does not load: {_last_line(error)}") from error
    finally:
        module.__name__ = LOADED_AS
    return module


def _load_module(name: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a user's module raises is shown as one error
        raise BadRequest(f"module {name!r} does not import: {_last_line(error)}") from error


def _pick(module: ModuleType, target: str, class_name: str) -> type[object]:
    classes = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, RegisteredServer) and not value.__module__.startswith("palm.")
    }
    if class_name:
        if class_name not in classes:
            raise BadRequest(
                f"{target.partition(':')[0]} has no server class {class_name!r}{did_you_mean(class_name, classes)}; "
                f"it has {', '.join(classes) or 'none'}"
            )
        return classes[class_name]
    if len(classes) != 1:
        raise BadRequest(
            f"{target} has {len(classes)} server classes ({', '.join(classes) or 'none'}): "
            "name one, as in file.py:Class, or end the file with run_server(...)"
        )
    return next(iter(classes.values()))


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _last_line(error: BaseException) -> str:
    """Type, text and the user's own line where it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError):
        where = f" ({error.filename}, line {error.lineno})"
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}{where}"


def _snake(name: str) -> str:
    """`SomeServer` as `some_server`."""
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))
