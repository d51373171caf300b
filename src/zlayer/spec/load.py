"""From text to a checked `DeploymentSpec`, or to every fault at once."""

from __future__ import annotations

from pathlib import Path

from zlayer.model.errors import Invalid, NotFound, Problem
from zlayer.spec.deployment import DEPLOYMENT
from zlayer.spec.model import DeploymentSpec
from zlayer.spec.nodes import Source, Table
from zlayer.spec.relations import Relations
from zlayer.spec.report import At, Found, Report
from zlayer.spec.yamltree import parse


def load(text: str, *, file: str = "") -> DeploymentSpec:
    """The deployment that `text` (YAML or JSON) says, in normal form. `file` names it in messages.

    Raises `Invalid` and nothing else: `problems` has every fault in reading order, each with line, column, dotted
    path and, where there is one, the nearest valid word. Nothing is read but the text.
    """
    root = parse(text, file)
    report = Report(file)
    spec = DEPLOYMENT.read(root, At(report))
    source = Source(file, root)
    if spec is not None and isinstance(root, Table):
        services = root.get("services")
        declared = frozenset(services.entries) if isinstance(services, Table) else frozenset()
        Relations(spec, declared, Found(report, source)).check()
    report.raise_if_any()
    if spec is None:
        raise Invalid(f"{file or 'the text'} is not a deployment")
    return spec.written_in(source)


def read(path: Path) -> str:
    """The text of a spec file. Raises `NotFound`, or `Invalid` for what is no UTF-8 text."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no file {path}", hint="name a deployment file: zlayer up FILE") from None
    except OSError as bad:
        raise Invalid(f"{path} cannot be read: {bad.strerror}", hint="name a deployment file you may read") from None
    return decode(data, file=str(path))


def decode(data: bytes, *, file: str = "") -> str:
    """UTF-8 text, a byte order mark dropped. Raises `Invalid` at the first byte that is something else."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        before = data[: bad.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = f"not UTF-8 text: byte 0x{data[bad.start]:02x}"
        problem = Problem(message, file=file, line=line, column=column, kind="Syntax")
        raise Invalid(str(problem), hint="save the file as UTF-8", problems=(problem,)) from None
