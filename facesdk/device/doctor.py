"""What is installed, what is used and why: facts for a bug report, nothing about any person."""

from __future__ import annotations

import importlib.util
import platform
import sys
from dataclasses import asdict
from importlib import metadata
from typing import Any

from facesdk import _core
from facesdk.device import board
from facesdk.engine.edgetpu import attached
from facesdk.engine.networks import load_manifest, load_model
from facesdk.engine.runtime import RUNTIMES, choose_runtime, native_variant
from facesdk.errors import FaceSdkError

PACKAGES = ("facesdk-unlock", "numpy", "cryptography", "Pillow", "ai-edge-litert", "tflite-runtime", "mediapipe",
            "opencv-python-headless")  # fmt: skip


def _installed() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _runtime(name: str) -> dict[str, str | bool]:
    try:
        chosen = choose_runtime(name)
    except FaceSdkError as error:
        return {"usable": False, "reason": str(error)}
    return {"usable": True, "name": chosen.name, "version": chosen.version, "reason": chosen.reason}


def _executors() -> dict[str, str]:
    """Whether our own executor runs each model, or why it does not."""
    variant = native_variant()
    if not variant:
        return {}
    found = {}
    for name in load_manifest().models:
        try:
            _core.native_network(load_model(name), variant)
            found[name] = variant
        except (_core.RuntimeFailure, FaceSdkError) as error:
            found[name] = str(error)
    return found


def check_models() -> list[dict[str, Any]]:
    """One entry a model: name, version, licence, size, sha256, and whether the file is the manifest's (ok, problem)."""
    rows = []
    for entry in load_manifest().models.values():
        problem = None
        try:
            load_model(entry.name)
        except FaceSdkError as error:
            problem = str(error)
        rows.append({
            "name": entry.name, "version": entry.version, "licence": entry.licence, "size": entry.size,
            "sha256": entry.sha256, "origin": entry.origin, "ok": problem is None, "problem": problem,
        })  # fmt: skip
    return rows


def _board() -> dict[str, Any]:
    """The board in one line of text, its throttling (None: nothing says so) and page size, and what to run on it."""
    found = board.read_board()
    parts = sorted({core.part for core in found.cores if core.part}) or [found.processor or "unknown processor"]
    memory = "memory unknown" if found.memory_mib is None else f"{found.memory_mib} MiB"
    cores = f"{len(found.cores)} cores ({', '.join(parts)})"
    text = f"{found.model or 'no model name'}, {cores}, {memory}, pages of {found.page_size // 1024} KiB"
    return {
        "text": text, "kind": found.kind, "page_size": found.page_size, "big_cores": found.big_cores,
        "throttling": board.throttling(), "celsius": board.temperatures(), "advice": asdict(board.recommend(found)),
    }  # fmt: skip


def _accelerators() -> str:
    """Edge TPUs that the kernel sees, and the models that would run there."""
    found = ", ".join(f"Edge TPU ({device.kind})" for device in attached())
    compiled = ", ".join(entry.name for entry in load_manifest().models.values() if entry.edgetpu is not None)
    if not found:
        return "no Edge TPU attached"
    return f"{found}; compiled for it: {compiled or 'no model, see docs/edge-tpu.md'}"


def examine() -> dict[str, Any]:
    """Machine, board, versions, kernels, models, runtimes, what "auto" takes with its reason, accelerators."""
    return {
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "board": _board(),
        "packages": _installed(),
        "kernels": {"used": _core.variant(), "usable": _core.variants()},
        "models": {row["name"]: row["ok"] for row in check_models()},
        "runtime": _runtime("auto"),
        "runtimes": {name: _runtime(name) for name in RUNTIMES},
        "native": _executors(),
        "accelerator": _accelerators(),
        "camera": "OpenCV" if importlib.util.find_spec("cv2") else "none: pip install 'facesdk-unlock[camera]'",
        "liveness": "of pictures not checked: a good photograph of the owner can pass; sessions ask for a head",
    }
