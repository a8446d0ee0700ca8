"""The shape of the package: public names, direction of imports, what importing costs, nothing that reaches out."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import facesdk

PACKAGE = Path(facesdk.__file__).parent
# architecture.md: each may import from its own module and from lower rows only.
ROWS = [
    {"cli", "__main__", "demo", "doctor", "bench", "board", "service"},
    {"verifier"},
    {"capture", "learning", "evaluation"},
    {
        "engine",
        "quality",
        "liveness",
        "matching",
        "vault",
        "camera",
        "policy",
        "images",
        "mediapipe_detector",
        "tracking",
        "accelerator",
    },
    {"models", "runtime", "edgetpu_check", "frames", "jpeg_file", "png_file", "crop_measures"},
    {"_core", "picture_file"},
    {"types", "errors", "digest"},
    {"environment"},
]
# policy is asked by quality and by the vault's attempt rules, images are read by camera, tracking follows what the
# engine found.
SAME_ROW = {
    ("quality", "policy"), ("camera", "images"), ("engine", "mediapipe_detector"),
    ("vault", "policy"), ("engine", "accelerator"), ("accelerator", "images"), ("tracking", "engine"),
}  # fmt: skip
TOP_ROW = {
    ("__main__", "cli"), ("cli", "demo"), ("cli", "doctor"), ("cli", "bench"), ("cli", "board"), ("bench", "board"),
    ("doctor", "board"), ("bench", "demo"),
}  # fmt: skip
NETWORK = {"socket", "ssl", "http", "urllib", "requests", "ftplib", "smtplib", "asyncio", "socketserver", "xmlrpc"}


def row_of(module: str) -> int:
    return next(i for i, row in enumerate(ROWS) if module in row)


def imports() -> list[tuple[str, str]]:
    """(module, imported module) for every import in the package, also those inside functions."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        relative = path.relative_to(PACKAGE)
        module = relative.parts[0].removesuffix(".py")
        if module in ("__init__", "portraits", "_models"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{a.name}" if node.module == "facesdk" else node.module for a in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found += [(module, name) for name in names]
    return found


def test_direction_of_imports() -> None:
    ours = {(m, n.split(".")[1]) for m, n in imports() if n.startswith("facesdk.")}
    ours = {(m, n) for m, n in ours if m != n and n[0].islower() | (n[0] == "_") and n not in ("portraits",)}
    assert len(ours) > 25
    allowed = SAME_ROW | TOP_ROW
    wrong = [(m, n) for m, n in ours if row_of(m) >= row_of(n) and (m, n) not in allowed]
    assert wrong == []


def test_no_network_code() -> None:
    assert not [(m, n) for m, n in imports() if n.split(".")[0] in NETWORK]


def test_public_names() -> None:
    assert sorted(facesdk.__all__) == [
        "Decision", "Engine", "Face", "FaceSdkError", "FaceVerifier", "Features", "Guidance", "Outcome", "Policy",
        "Pose", "Quality", "__version__", "protect_process",
    ]  # fmt: skip
    for name in facesdk.__all__:
        assert getattr(facesdk, name) is not None
    with pytest.raises(AttributeError):
        facesdk.identify  # noqa: B018


def test_one_to_one_by_construction() -> None:
    """No method takes several users, and none has a name of search."""
    public = [m for m in vars(facesdk.FaceVerifier) if not m.startswith("_")]
    names = ["engine", "enroll", "vault", "lock", "panic", "policy", "remove", "unlock", "users", "verify"]
    assert sorted(public) == names
    for name in ("enroll", "verify", "remove", "unlock", "lock"):
        parameter = list(inspect.signature(getattr(facesdk.FaceVerifier, name)).parameters.values())[1]
        assert (parameter.name, parameter.annotation) == ("user", "str")


def test_importing_loads_nothing_heavy() -> None:
    heavy = ("numpy", "PIL", "cryptography", "ai_edge_litert", "facesdk._core")
    code = f"import facesdk, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_errors_are_also_builtin_kinds_and_have_exit_codes() -> None:
    from facesdk import errors

    kinds = [k for k in vars(errors).values() if inspect.isclass(k) and issubclass(k, errors.FaceSdkError)]
    for kind in kinds:
        if kind is not errors.FaceSdkError:
            assert any(issubclass(kind, listed) for listed, _ in errors.EXIT_CODES), kind
    assert errors.exit_code(RuntimeError()) == 70
    assert errors.exit_code(errors.NotEnrolledError()) == 3
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.NotEnrolledError, LookupError)
    assert issubclass(errors.CameraError, OSError)
