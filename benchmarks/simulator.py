"""What the engine sees of rendered heads, sheets and lids, and what a frame costs.

python benchmarks/simulator.py

Every bundled portrait becomes a head (pictures of one person are no two people), rendered by the default camera at 45
and 60 cm. Intervals are percentile bootstraps over people, 95 %.
"""

from __future__ import annotations

import time
from collections import defaultdict

import numpy as np

from facesdk import Engine, portraits
from facesdk.evaluation import vector
from facesdk.liveness.simulator.camera import Camera
from facesdk.liveness.simulator.head import Head
from facesdk.liveness.simulator.scenes import LiveHead, Print, Replay, Scene, clip, still, swing

YAWS, PITCHES = (-40, -30, -20, -10, 10, 20, 30, 40), (-25, -20, -15, -10, 10, 15, 20, 25)
TILTS = (20, 30, 40, 45, 50, 60)


def measured(engine: Engine, scene: Scene, camera: Camera) -> tuple[float, float, float] | None:
    """Yaw, pitch and presence that the engine sees; None where it finds no face."""
    sample = engine.sample(scene.render(0.0, camera))
    if sample is None:
        return None
    return sample.face.pose.yaw_deg, sample.face.pose.pitch_deg, sample.quality.presence


def interval(by_person: dict[str, list[float]]) -> str:
    """Mean over people and its interval."""
    means = np.array([np.mean(values) for values in by_person.values()])
    drawn = np.random.default_rng(1).choice(means, (4000, len(means))).mean(axis=1)
    low, high = np.percentile(drawn, (2.5, 97.5))
    return f"{means.mean():7.2f} [{low:.2f}, {high:.2f}]"


def turns(engine: Engine, heads: dict[str, Head], camera: Camera) -> None:
    """What is measured of a set yaw or pitch, from what is measured of the straight head on."""
    cases = [("straight", 0.0)] + [("yaw", float(y)) for y in YAWS] + [("pitch", float(p)) for p in PITCHES]
    straight: dict[tuple[str, float], tuple[float, float, float]] = {}
    for axis, angle in cases:
        found, errors, presences, lost = defaultdict(list), [], [], 0
        for name, head in heads.items():
            for distance in (45.0, 60.0):
                pose = still(angle if axis == "yaw" else 0, angle if axis == "pitch" else 0, 0)
                seen = measured(engine, LiveHead(head, pose, still(0, 0, distance)), camera)
                if seen is None:
                    lost += 1
                    continue
                base = straight.setdefault((name, distance), seen)
                moved = np.subtract(seen[:2], base[:2] if axis != "straight" else 0)
                wanted = (angle if axis == "yaw" else 0, angle if axis == "pitch" else 0)
                found[name.split("_")[0].split(".")[0]].append(float(moved[1 if axis == "pitch" else 0]))
                errors.append(np.abs(moved - wanted))
                presences.append(seen[2])
        error = np.mean(errors, axis=0)
        print(
            f"{axis:8} {angle:5.0f} measured {interval(found)}  error yaw {error[0]:.1f} pitch {error[1]:.1f}", end=""
        )
        print(f"  presence min {min(presences):.3f}  n {len(errors)} frames, {len(found)} people, no face {lost}")


def cut_out(head: Head, picture: np.ndarray) -> tuple[np.ndarray, float]:
    """The face in the middle of a print, as one would cut it out to attack, and the width that shows it in its size."""
    low, high = head.texels[:468].min(axis=0), head.texels[:468].max(axis=0)
    reach = (high - low).max() * 0.9
    x0, y0 = np.maximum((low + high) / 2 - reach, 0).astype(int)
    x1, y1 = ((low + high) / 2 + reach).astype(int)
    cut = picture[y0:y1, x0:x1]
    return cut, head.portrait_cm * cut.shape[1] / picture.shape[1]


def sheets(engine: Engine, heads: dict[str, Head], pictures: dict[str, np.ndarray], camera: Camera) -> None:
    """What yaw is measured of a sheet that is tilted about its upright axis."""
    for name, bend in (("flat", np.inf), ("bent, r 12 cm", 12.0), ("bent, r 8 cm", 8.0)):
        for tilt in TILTS:
            found, lost = defaultdict(list), 0
            for person, head in heads.items():
                cut, width = cut_out(head, pictures[person])
                seen = [
                    measured(engine, Print(cut, still(tilt * side), bend_cm=bend, width_cm=width), camera)
                    for side in (-1, 0, 1)
                ]
                if seen[0] is None or seen[1] is None or seen[2] is None:
                    lost += 1
                    continue
                found[person.split("_")[0].split(".")[0]].append((seen[2][0] - seen[0][0]) / 2)
            print(f"{name:14} tilt {tilt:3} measured {interval(found)}  n {len(heads) - lost} of {len(heads)} prints")


def identity(engine: Engine, heads: dict[str, Head], pictures: dict[str, np.ndarray], camera: Camera) -> None:
    """SFace scores of rendered heads against their own portrait, and of straight ones against other people's."""
    originals = {name: vector(engine.features(picture)) for name, picture in pictures.items()}
    for pose in ((0, 0, 0), (10, 0, 0), (20, 0, 0), (30, 0, 0), (0, 15, 0)):
        made = {n: vector(engine.features(LiveHead(h, still(*pose)).render(0.0, camera))) for n, h in heads.items()}
        own = [float(made[n] @ originals[n]) for n in made]
        other = [float(made[a] @ originals[b]) for a in made for b in made if a.split("_")[0] != b.split("_")[0]]
        print(f"SFace at {pose}: own portrait min {min(own):.2f} mean {np.mean(own):.2f} (n {len(own)}), "
              f"others max {max(other):.2f} mean {np.mean(other):.2f} (n {len(other)})")  # fmt: skip


def cost(head: Head, picture: np.ndarray) -> None:
    """Milliseconds a frame of 640 x 480, median of 40."""
    recorded = [frame for frame, _ in clip(LiveHead(head), 0.2, fps=15)]
    motion = swing((30, 10, 0), period_s=2)
    scenes = {
        "head, eyes 80 px": LiveHead(head, motion, still(0, 0, 45)),
        "head, eyes 60 px": LiveHead(head, motion, still(0, 0, 60)),
        "print": Print(picture, motion, width_cm=head.portrait_cm),
        "replay": Replay(recorded, motion),
    }
    for name, scene in scenes.items():
        for kind, camera in (("all", Camera()), ("without noise and JPEG", Camera(noise=0, jpeg=0))):
            times = []
            for number in range(42):
                begin = time.perf_counter()
                scene.render(number / 15, camera)
                times.append(time.perf_counter() - begin)
            print(f"{name}, {kind}: {np.median(times[2:]) * 1000:.1f} ms")


def main() -> None:
    """Measures and prints."""
    engine, camera = Engine("sface"), Camera()
    pictures = {name: portraits.load(name) for name in portraits.names()}
    heads = {name: Head.of(picture, engine) for name, picture in pictures.items()}
    turns(engine, heads, camera)
    sheets(engine, heads, pictures, camera)
    identity(engine, heads, pictures, camera)
    cost(heads["sunak.jpg"], pictures["sunak.jpg"])


if __name__ == "__main__":
    main()
