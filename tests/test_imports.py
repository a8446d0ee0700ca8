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
# docs/architecture.md: each may import from itself and from lower rows only. Two of one row do not know each other.
ROWS = [
    {"__main__"},
    {"cli"},
    {"evaluation"},
    {"views"},
    {"verifier"},
    {"sessions"},
    {"enrolling"},
    {"deciding"},
    {"engines"},
    {"status"},
    {"learning"},
    {"policy"},
    {"capture", "vault", "camera", "device"},
    {"liveness"},
    {"engine"},
    {"portraits"},
    {"images", "matching"},
    {"_core"},
    {"types", "errors", "digest"},
    {"environment", "lazy", "log", "version"},
]
NETWORK = {"socket", "ssl", "http", "urllib", "requests", "ftplib", "smtplib", "asyncio", "socketserver", "xmlrpc"}


def imports(*, for_types: bool = True) -> list[tuple[str, str]]:
    """(module, imported module) for every import in the package, also those inside functions; without for_types not
    those that are for a type checker alone."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__" or module.startswith("_models"):
            continue
        tree = ast.parse(path.read_text())
        if not for_types:
            tree = _WithoutTypes().visit(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{a.name}" for a in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found += [(module, name) for name in names]
    return found


class _WithoutTypes(ast.NodeTransformer):
    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        return self.generic_visit(node)


def _package(module: str) -> str:
    return module.split(".")[0]


def test_direction_of_imports() -> None:
    row = {name: number for number, names in enumerate(ROWS) for name in names}
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__", "_litert"} <= set(row)
    ours = {(_package(m), _package(n.removeprefix("facesdk."))) for m, n in imports() if n.startswith("facesdk.")}
    ours = {(m, n) for m, n in ours if m != n}
    assert len(ours) > 40
    assert [(m, n) for m, n in sorted(ours) if row[m] >= row[n]] == []


def test_no_module_imports_itself_over_others() -> None:
    known = {m for m, _ in imports()}
    edges: dict[str, set[str]] = {}
    for module, name in imports(for_types=False):
        if name.startswith("facesdk."):
            name = name.removeprefix("facesdk.")
            target = name if name in known else name.rpartition(".")[0]
            edges.setdefault(module, set()).add(target)
    seen: dict[str, int] = {}

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in seen:
            for other in sorted(edges.get(module, ())):
                walk(other, (*path, module))
            seen[module] = 1

    for module in sorted(edges):
        walk(module, ())


def test_no_network_code() -> None:
    assert not [(m, n) for m, n in imports() if n.split(".")[0] in NETWORK]


def test_public_names() -> None:
    assert len(facesdk.__all__) == len(set(facesdk.__all__))
    five = {"FaceVerifier", "Outcome", "Guidance", "PassphraseRequiredError", "LockedOutError"}
    assert five | {"AttemptRules", "Engine", "Policy", "QualityLimits", "Sample", "Status"} <= set(facesdk.__all__)
    from facesdk import errors

    kinds = {n for n, k in vars(errors).items() if inspect.isclass(k) and issubclass(k, errors.FaceSdkError)}
    assert kinds - set(facesdk.__all__) == {"UsageError"}, "of the command line alone"
    for name in facesdk.__all__:
        assert getattr(facesdk, name) is not None
    with pytest.raises(AttributeError):
        facesdk.identify  # noqa: B018


def test_one_to_one_by_construction() -> None:
    """No method takes several users, and none has a name of search."""
    public = [m for m in vars(facesdk.FaceVerifier) if not m.startswith("_")]
    names = [
        "close", "engine", "enroll", "enrollment", "lock", "panic", "policy", "remove", "session", "status", "unlock",
        "users", "vault", "verify", "watch",
    ]  # fmt: skip
    assert sorted(public) == names
    for name in ("enroll", "enrollment", "verify", "session", "watch", "remove", "unlock", "lock", "status"):
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
