"""Engine: frame -> faces -> sample (mesh, aligned crop, quality) -> features, in native code with the GIL released."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from facesdk import _core
from facesdk.digest import sha256
from facesdk.engine.distance import MAX_PART, FarDetector, is_distant, is_doubtful
from facesdk.engine.eyes import EyeReader, Eyes
from facesdk.engine.faces import TURNED_PIXELS, face_of, fills, moved, sample_of
from facesdk.engine.networks import COMMON_MODELS, load_manifest
from facesdk.engine.runtime import Placement, Runtime, checked_networks, device_of, may_accelerate, open_runtime
from facesdk.engine.runtime import run_native as _run
from facesdk.engine.threads import checked_threads
from facesdk.engine.turned import is_turned
from facesdk.errors import InputError, ModelIntegrityError
from facesdk.images.frames import array_frame, in_margin
from facesdk.types import Face, Features, Pose, Sample

if TYPE_CHECKING:
    from facesdk.engine.faces import Look
    from facesdk.engine.mediapipe import MediaPipeDetector
    from facesdk.types import Frame

# Alone it misses fewer owners than joined with MobileFaceNet where the worst group is held, and takes less time.
DEFAULT_EMBEDDER = "sface"
DETECTORS = ("blazeface", "mediapipe")


class Engine:
    """Finds faces and makes features of them.

    Frames are uint8 arrays, (H, W, 3) in RGB or (H, W) in gray, sides from 64 to 8192 px; those that are not
    C-contiguous (views) are copied first. Anything else is an InputError with the call that makes a frame of it. Calls
    from several threads wait for each other; one engine a thread runs them side by side. An engine cannot be pickled or
    copied, and after a fork it raises ForkedError.

    Args:
        embedder: "sface", "joint" or "mobilefacenet".
        threads: that run a network together, 1 to 16; "auto": one for each big core that is idle, at most four, and one
            where the machine is hot. Features are the same.
        runtime: "auto", one of facesdk.engine.runtime.RUNTIMES, or "edgetpu" (or "edgetpu:usb:0" ..., see
            docs/edge-tpu.md).
        detector: "blazeface", or "mediapipe" for the installed package's own (an extra).

    Raises:
        InputError: a name or number that there is not.
        AcceleratorError: no runtime can be used, or not the one that was asked for.
        ModelIntegrityError: a model is missing or is not what the manifest says.
    """

    def __init__(
        self, embedder: str = DEFAULT_EMBEDDER, *, threads: int | str = "auto", runtime: str = "auto",
        detector: str = "blazeface",
    ) -> None:  # fmt: skip
        _check_names(embedder=embedder, runtime=runtime, detector=detector)
        self.threads = checked_threads(threads)
        manifest = load_manifest()
        entry = manifest.embedder(embedder)
        self.embedder = embedder
        self.model_ids = manifest.model_ids(embedder)
        names = (*COMMON_MODELS, *entry.models)
        base, networks = open_runtime(
            "auto" if device_of(runtime) is not None else runtime,
            lambda chosen: checked_networks(chosen, names, manifest),
            threads=self.threads,
        )
        self._networks, self._placement = networks, Placement(base)
        if may_accelerate(runtime, [manifest.models[n] for n in entry.models]):
            from facesdk.engine.edgetpu import accelerate

            found = accelerate(networks, manifest, embedder, request=runtime, base=base, threads=self.threads)
            self._networks, self._placement = found
        used = [(self._networks[n], manifest.models[n]) for n in entry.models]
        embedders = [(n, m.mean, m.scale, weight) for (n, m), weight in zip(used, entry.weights, strict=True)]
        try:
            self._pipeline = _core.Pipeline(self._networks[names[0]], self._networks[names[1]], embedders)
        except _core.RuntimeFailure as error:
            raise ModelIntegrityError(f"the models do not fit together: {error}") from error
        self._far, self._eyes = FarDetector(self._pipeline, base), EyeReader(base)
        self._mediapipe: MediaPipeDetector | None = None
        if detector == "mediapipe":
            from facesdk.engine.mediapipe import MediaPipeDetector

            self._mediapipe = MediaPipeDetector()
            # A template made with another detector's boxes is not quite comparable: its id takes BlazeFace's place.
            detector_id = sha256(f"mediapipe {self._mediapipe.version}".encode()).hex()
            self.model_ids = (detector_id, *self.model_ids[1:])

    def __repr__(self) -> str:
        return f"Engine(embedder={self.embedder!r}, runtime={self.runtime.name!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an engine cannot be pickled or copied, its networks live in this process: make one where it is needed, "
            f"Engine({self.embedder!r}, threads={self.threads})"
        )

    def networks(self) -> dict[str, Callable[[], None]]:
        """For each network, in the order of the pipeline, a function that runs it alone on what it ran on last."""
        return {name: partial(_run, self._pipeline.run_network, i) for i, name in enumerate(self._networks)}

    @property
    def runtime(self) -> Runtime:
        """What runs the networks now, and why; after an Edge TPU was lost, what took over."""
        return self._placement.runtime

    @property
    def dimension(self) -> int:
        """Number of features."""
        return int(self._pipeline.dimension)

    def detect(self, frame: Frame, *, landmarks: bool = False) -> list[Face]:
        """Find the faces in a frame.

        Args:
            frame: uint8 (H, W, 3) RGB, or (H, W) gray.
            landmarks: run the face mesh on each: 468 points, and the pose by them.

        Returns:
            The faces, the largest first; empty where there is none.
        """
        frame = array_frame(frame)
        faces = [face_of(found) for found in self._find(frame)]
        return [self._with_mesh(frame, face) for face in faces] if landmarks else faces

    def features(self, frame: Frame, face: Face | None = None) -> Features | None:
        """Make the features of one face.

        Args:
            frame: uint8 (H, W, 3) RGB, or (H, W) gray.
            face: one of detect(frame); without it the largest.

        Returns:
            The features; None where there is no face, or none that could be aligned.
        """
        sample = self.sample(frame, face)
        return None if sample is None or sample.turned else self.embed(sample)

    def observe(self, frame: Frame) -> tuple[Sample | None, list[Face]]:
        """Look at a frame before features are made.

        Args:
            frame: uint8 (H, W, 3) RGB, or (H, W) gray.

        Returns:
            The largest face's sample and all faces found. No sample: no face, or none that its mesh could align.
        """
        frame = array_frame(frame)
        sample, faces = self._observe(frame, distant=True)
        doubtful = self._mediapipe is None and faces and is_doubtful(faces[0], sample)
        if doubtful and (distant := self.observe_distant(frame))[1]:
            return distant
        return self._with_surroundings(frame, sample, faces)

    def observe_near(self, frame: Frame) -> tuple[Sample | None, list[Face]]:
        """Look at a frame as observe does, but for nobody far away: a third of the time where nobody is there.

        Args:
            frame: uint8 (H, W, 3) RGB, or (H, W) gray.

        Returns:
            As observe.
        """
        frame = array_frame(frame)
        return self._with_surroundings(frame, *self._observe(frame))

    def observe_distant(self, frame: Frame) -> tuple[Sample | None, list[Face]]:
        """Look at a frame for people far away alone.

        Args:
            frame: uint8 (H, W, 3) RGB, or (H, W) gray.

        Returns:
            As observe; with mediapipe's own detector, what observe_near finds.
        """
        frame = array_frame(frame)
        if self._mediapipe is not None:
            return self.observe_near(frame)
        return self._seen(frame, _run(self._far.find, frame))

    def _with_surroundings(
        self, frame: Frame, sample: Sample | None, faces: list[Face]
    ) -> tuple[Sample | None, list[Face]]:
        """The same, but for a face that fills the frame: what a margin around the frame shows of it."""
        if not faces or not fills(frame, faces[0]):
            return sample, faces
        wide, margin = in_margin(frame)
        if not margin:
            return sample, faces
        again, more = self._observe(wide)
        if sample is not None and not sample.turned and again is not None and not again.turned:
            return sample, faces  # without a margin its crop is the better one, where both are right
        seen = None if again is None else replace(again, face=moved(again.face, -margin))
        return seen, [moved(face, -margin) for face in more]

    def _observe(self, frame: Frame, *, distant: bool = False) -> tuple[Sample | None, list[Face]]:
        if self._mediapipe is not None:
            return self._seen(frame, self._find(frame))
        # In one call where the face is near: the networks empty the caches that Python would need in between.
        found, seen = _run(self._pipeline.detect_and_look, frame, MAX_PART if distant else 0.0)
        if distant and seen is None:
            found = _run(self._far.instead, frame, found)
        return self._seen(frame, found, seen)

    def _seen(self, frame: Frame, found: Sequence[Any], seen: Any = None) -> tuple[Sample | None, list[Face]]:
        faces = [face_of(one) for one in found]
        sample = sample_of(faces, seen or self._look(frame, faces[0])) if faces else None
        if sample is not None and self._is_turned(frame, faces[0], *found[0][4:]):
            sample = replace(sample, turned=True)
        return sample, faces

    def sample(self, frame: Frame, face: Face | None = None) -> Sample | None:
        """Look at one face of a frame.

        Args:
            frame: uint8 (H, W, 3) RGB, or (H, W) gray.
            face: one of detect(frame); without it the largest.

        Returns:
            Its sample; None as in observe.
        """
        if face is None:
            return self.observe(frame)[0]
        if not isinstance(face, Face):
            raise InputError(f"expected a Face as Engine.detect gives them, not {type(face).__name__}")
        frame = array_frame(frame)
        sample = sample_of([face], self._look(frame, face))
        if sample is not None and self._is_turned(frame, face):
            sample = replace(sample, turned=True)
        return self._with_surroundings(frame, sample, [face])[0]

    def follow(self, frame: Frame, face: Face) -> Sample | None:
        """Look at a face that was found upright in the frame before.

        Args:
            frame: uint8 (H, W, 3) RGB, or (H, W) gray.
            face: moved to where it is in this frame, as Tracker does it.

        Returns:
            Its sample; None where the mesh could not align it.
        """
        return sample_of([face], self._look(array_frame(frame), face))

    def eyes(self, frame: Frame, face: Face | Sample) -> Eyes:
        """Measure how far the eyes of a face are open.

        Args:
            frame: uint8 (H, W, 3) RGB, or (H, W) gray.
            face: a sample of this very frame, or a face with landmarks.

        Returns:
            Its eyes; NaN without landmarks, and for an eye that reaches out of the frame.
        """
        return _run(self._eyes.read, array_frame(frame), face)

    def embed(self, sample: Sample) -> Features:
        """Features of a sample; the embedding networks, by far the longest part, run here and nowhere else."""
        if not isinstance(sample, Sample):
            raise InputError(f"expected a Sample as Engine.sample gives them, not {type(sample).__name__}: of a frame, "
                             "Engine.features makes features")  # fmt: skip
        if sample.turned:
            raise InputError("the sample's face is turned or misaligned: its crop is no face, and makes no features")
        vector = _run(self._pipeline.embed, sample.crop)
        vector.flags.writeable = False
        return Features(self.embedder, sample.face, sample.quality, sample.runner_up, vector)

    def _find(self, frame: Frame) -> list[Any]:
        """The faces, distant ones too, as _core.Pipeline.detect gives them; with the look that found one behind it."""
        if self._mediapipe is not None:
            return _run(self._mediapipe.find, frame)
        found = _run(self._pipeline.detect, frame)
        return found if found and not is_distant(frame, found[0]) else _run(self._far.instead, frame, found)

    def _detect(self, frame: Frame) -> list[Face]:
        find = self._pipeline.detect if self._mediapipe is None else self._mediapipe.find
        return [face_of(found) for found in _run(find, frame)]

    def _is_turned(self, frame: Frame, face: Face, look: Look | None = None) -> bool:
        return is_turned(self._detect, frame, face, pixels=TURNED_PIXELS, look=look)

    def _with_mesh(self, frame: Frame, face: Face) -> Face:
        points, _, pose = _run(self._pipeline.mesh, frame, face.box_px, face.keypoints_px)
        return replace(face, landmarks_px=points, pose=Pose(*pose))

    def _look(self, frame: Frame, face: Face) -> Any:
        return _run(self._pipeline.look, frame, face.box_px, face.keypoints_px)


def _check_names(*, embedder: Any, runtime: Any, detector: Any) -> None:
    """InputError unless all three are names and the detector is one of ours; the others are looked up later."""
    for argument, value in (("embedder", embedder), ("runtime", runtime), ("detector", detector)):
        if not isinstance(value, str):
            raise InputError(f"{argument} must be a name in a str (leave it out for the default), not {value!r}")
    if detector not in DETECTORS:
        raise InputError(f"detector must be one of {', '.join(DETECTORS)}, not {detector!r}")
