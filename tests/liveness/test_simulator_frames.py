"""The simulator's frames: heads that turn as they are told to, sheets that are sheets, the same again by the seed."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from conftest import portrait

from facesdk import Engine
from facesdk.errors import InputError
from facesdk.evaluation import vector
from facesdk.liveness.simulator import Camera, Empty, Head, LiveHead, Print, Replay, clip
from facesdk.liveness.simulator.geometry import delaunay, rotation, sheet
from facesdk.liveness.simulator.head import LOWER, UPPER
from facesdk.liveness.simulator.scenes import before_poster, mirrored, night, still, swing, two_people, upside_down
from facesdk.liveness.simulator.texture import Texture

CLEAR = Camera(noise=0, jpeg=0, blur_px=0, drift=0)


@cache
def head_of(name: str, engine: Engine) -> Head:
    return Head.of(portrait(name), engine)


@pytest.fixture
def head(engine: Engine) -> Head:
    return head_of("sunak", engine)


def seen(engine: Engine, head: Head, *pose: float) -> tuple[float, float, float]:
    sample = engine.sample(LiveHead(head, still(*pose)).render(0.0))
    assert sample is not None
    assert sample.quality.presence >= 0.9
    return sample.face.pose.yaw_deg, sample.face.pose.pitch_deg, sample.face.pose.roll_deg


@pytest.mark.parametrize("name", ["sunak", "ardern_2018"])
def test_the_mesh_follows_the_pose_that_a_head_is_given(engine: Engine, name: str) -> None:
    head = head_of(name, engine)
    yaw, pitch, roll = seen(engine, head)
    assert abs(yaw) < 6
    assert abs(pitch) < 10
    assert abs(roll) < 4
    for angle in (-25, 25):
        assert seen(engine, head, angle)[0] - yaw == pytest.approx(angle, abs=4)
        assert seen(engine, head, 0, angle * 0.8)[1] - pitch == pytest.approx(angle * 0.8, abs=8)
        assert seen(engine, head, 0, 0, angle)[2] - roll == pytest.approx(angle, abs=4)


def test_a_rendered_head_has_the_features_of_its_portrait_and_not_of_another(engine: Engine, head: Head) -> None:
    rendered, own, other = (
        engine.features(f) for f in (LiveHead(head).render(0.0), portrait("sunak"), portrait("ardern_2018"))
    )
    assert rendered is not None
    assert own is not None
    assert other is not None
    assert vector(rendered) @ vector(own) > 0.7
    assert vector(rendered) @ vector(other) < 0.4


def test_its_eyes_are_as_far_apart_as_a_pinhole_shows_them(engine: Engine, head: Head) -> None:
    for distance_cm in (40, 80):
        sample = engine.sample(LiveHead(head, position_at=still(0, 0, distance_cm)).render(0.0))
        assert sample is not None
        assert sample.quality.eye_distance_px == pytest.approx(576 * 6.3 / distance_cm, rel=0.06)


def test_a_picture_without_a_face_makes_no_head(engine: Engine) -> None:
    with pytest.raises(InputError, match="no face in the portrait"):
        Head.of(np.zeros((128, 128, 3), np.uint8), engine)


def test_a_head_turns_about_its_neck_and_stays_as_large_as_it_is(head: Head) -> None:
    straight, turned = (head.turned(pose, (0, 0, 50)).points_cm for pose in ((0, 0, 0), (30, 0, 0)))
    eyes = [33, 263]
    assert np.linalg.norm(np.subtract(*turned[eyes])) == pytest.approx(np.linalg.norm(np.subtract(*straight[eyes])))
    neck = np.array([0, 5, 59.0])
    assert np.allclose(np.linalg.norm(turned - neck, axis=1), np.linalg.norm(straight - neck, axis=1))
    assert turned[eyes].mean(axis=0)[0] > 3, "the eyes move with the nose"


def test_closed_lids_cover_the_eyes(engine: Engine, head: Head) -> None:
    opened, closed = (
        LiveHead(head, position_at=still(0, 0, 25), closed_at=lambda _, c=c: c).render(0.0) for c in (0.0, 1.0)
    )
    points = engine.detect(opened, landmarks=True)[0].landmarks_px
    assert points is not None
    for upper, lower in zip(UPPER, LOWER, strict=True):
        x, y = points[list(upper + lower), :2].mean(axis=0).round().astype(int)
        before, after = (f[y - 4 : y + 5, x - 8 : x + 9].astype(float).mean(axis=2) for f in (opened, closed))
        assert before.min() < 60, "a pupil"
        assert after.min() > before.min() + 25, "no pupil"
    assert openness(engine, closed) < 0.93 * openness(engine, opened)


def openness(engine: Engine, frame: np.ndarray) -> float:
    points = engine.detect(frame, landmarks=True)[0].landmarks_px
    assert points is not None
    return float(np.mean([np.abs(points[list(u), 1] - points[list(o), 1]) for u, o in zip(UPPER, LOWER, strict=True)]))


@pytest.mark.parametrize("bend_cm", [np.inf, 8.0, 20.0])
def test_a_flat_print_is_a_plane_and_a_bent_one_a_cylinder(bend_cm: float) -> None:
    scene = Print(portrait("sunak"), still(40, 10, 5), bend_cm=bend_cm, width_cm=20)
    plain = sheet(Texture(portrait("sunak")), width_cm=20, bend_cm=bend_cm)
    (tilted,) = scene.surfaces(0.0)
    straight = np.add(plain.points_cm, (0, 0, 50))
    residual = homography_residual_px(CLEAR.project(straight), CLEAR.project(tilted.points_cm))
    if np.isinf(bend_cm):
        assert residual < 1e-6
    else:
        assert residual > 0.5
        axis = (tilted.points_cm - (0, 0, 50)) @ rotation(40, 10, 5)
        assert np.allclose(np.hypot(axis[:, 0], axis[:, 2] - bend_cm), bend_cm)
        assert np.allclose(np.diff(plain.texels[:15, 0]), np.diff(plain.texels[:2, 0])), "paper does not stretch"


def homography_residual_px(a: np.ndarray, b: np.ndarray) -> float:
    """The root mean square of what is left of b when the best homography of a is taken out."""
    a, b = (np.c_[(p - p.mean(axis=0)) / 100, np.ones(len(p))] for p in (a, b))
    zero = np.zeros_like(a)
    rows = np.concatenate([np.c_[a, zero, -b[:, :1] * a], np.c_[zero, a, -b[:, 1:2] * a]])
    mapped = a @ np.linalg.svd(rows)[2][-1].reshape(3, 3).T
    return float(np.sqrt(np.mean((mapped[:, :2] / mapped[:, 2:] - b[:, :2]) ** 2)) * 100)


def test_a_print_shows_its_picture_where_the_pinhole_puts_it() -> None:
    spot = np.full((201, 201, 3), 200, np.uint8)
    spot[40:61, 140:161] = 0
    scene = Print(spot, still(50, -20, 10), width_cm=20)
    rows, columns = np.nonzero(scene.render(0.0, CLEAR)[..., 0] < 10)
    place = np.array([[5.0, -5.0, 0.0]]) @ rotation(50, -20, 10).T + [0, 0, 50]
    assert np.allclose([columns.mean(), rows.mean()], CLEAR.project(place)[0], atol=0.6)


def test_a_replay_shows_its_bezel_and_plays_its_frames() -> None:
    frames = [np.full((240, 320, 3), level, np.uint8) for level in (90, 180)]
    scene = Replay(frames, still(), still(0, 0, 30), fps=10)
    first, second, again = (scene.render(t, CLEAR) for t in (0.0, 0.1, 0.2))
    assert [int(f[240, 320, 0]) for f in (first, second, again)] == [94, 184, 94]
    wide = 576 * 14 / 30
    edge = round(320 - wide / 2 - 0.03 * wide)
    assert (first[200:280, edge] == 12).all(), "the bezel"
    assert (first[:, edge - round(0.06 * wide)] == Empty().render(0.0, CLEAR)[:, edge - round(0.06 * wide)]).all()


def test_what_is_nearer_is_in_front_whichever_is_drawn_first() -> None:
    near, far = (Print(np.full((64, 64, 3), v, np.uint8), position_at=still(0, 0, z)) for v, z in ((250, 40), (5, 60)))
    surfaces = [near.surfaces(0.0)[0], far.surfaces(0.0)[0]]
    frame = CLEAR.render(surfaces, 0.0)
    assert (frame == CLEAR.render(surfaces[::-1], 0.0)).all()
    assert frame[240, 320, 0] == 250


def test_the_same_seed_gives_the_same_frames_and_another_one_others(head: Head) -> None:
    scene = LiveHead(head, swing((20, 0, 0), period_s=2))
    ours, again = ([frame for frame, _ in clip(scene, 0.2, camera=Camera(seed=4))] for _ in range(2))
    assert len(ours) == 3
    assert all((a == b).all() for a, b in zip(ours, again, strict=True))
    assert (ours[0] != scene.render(0.0, Camera(seed=5))).mean() > 0.5
    still_head = [frame for frame, _ in clip(LiveHead(head), 0.2)]
    assert (still_head[0] != still_head[1]).mean() > 0.3, "fresh noise in each frame"


def test_scenes_are_what_they_are_called(engine: Engine, head: Head) -> None:
    other = head_of("ardern_2018", engine)
    assert len(engine.detect(two_people(head, other).render(0.0))) == 2
    assert engine.detect(Empty().render(0.0)) == []
    scene = before_poster(LiveHead(head), portrait("obama_2012"))
    assert (scene.render(0.0, CLEAR) != LiveHead(head).render(0.0, CLEAR)).any(axis=2).mean() > 0.02
    turned = LiveHead(head, still(20))
    plain = turned.render(0.0, CLEAR)
    assert (mirrored(turned).render(0.0, CLEAR) == plain[:, ::-1]).all()
    assert (upside_down(turned).render(0.0, CLEAR) == plain[::-1, ::-1]).all()
    assert night(turned).render(0.0).mean() < 0.15 * plain.mean()
    upside = engine.sample(upside_down(LiveHead(head)).render(0.0))
    assert upside is None or upside.turned


def test_a_place_that_is_no_number_is_refused(head: Head) -> None:
    for value in (np.nan, np.inf):
        with pytest.raises(InputError, match="finite"):
            LiveHead(head, position_at=still(0, 0, value)).render(0.0)
    with pytest.raises(InputError, match="background"):
        Camera(background=np.zeros((10, 10, 3), np.uint8))


def test_what_is_out_of_the_picture_or_behind_the_camera_is_not_drawn(head: Head) -> None:
    nothing = Empty().render(0.0, CLEAR)
    for place in ((500, 0, 50), (0, -500, 50), (0, 0, -50), (0, 0, 0)):
        assert (LiveHead(head, position_at=still(*place)).render(0.0, CLEAR) == nothing).all()
    assert (LiveHead(head, position_at=still(20, 20, 30)).render(0.0, CLEAR) != nothing).any(), "half of it"


def test_a_background_of_ones_own_is_shown_and_light_multiplies_it() -> None:
    own = np.full((480, 640, 3), 100, np.uint8)
    camera = replace(CLEAR, background=own)
    assert (Empty().render(3.0, camera) == own).all()
    assert (Empty().render(3.0, replace(camera, exposure=0.5)) == 50).all()


def test_triangles_of_points_cover_their_hull_once_with_no_point_in_a_circle() -> None:
    points = np.random.default_rng(2).uniform(0, 10, (60, 2))
    points[:4] = [(0, 0), (10, 0), (10, 10), (0, 10)]
    triangles = points[delaunay(points)]
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    areas = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    assert (areas > 0).all(), "all turn the same way"
    assert areas.sum() / 2 == pytest.approx(100)


def test_importing_liveness_does_not_load_the_simulator() -> None:
    code = "import facesdk.liveness, sys; print(any('simulator' in m for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
