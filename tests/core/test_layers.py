"""NeRFs that are moved, cropped and put together, on fields that are known exactly."""

from dataclasses import replace

import numpy as np
import pytest

from nerf_core.contract.camera import Camera, look_at
from nerf_core.contract.errors import Cancelled, NerfError
from nerf_core.data.color import srgb_decode
from nerf_core.rendering import picture
from nerf_core.rendering.frame import render_frame
from nerf_core.rendering.layers import Layer, meet_box
from nerf_core.rendering.picture import render_picture
from nerf_core.rendering.view import View

from . import tiny_scene
from .analytic import Ball, Balls

SIZE = 48
CAMERA = Camera(
    SIZE, SIZE, 1.2 * SIZE, 1.2 * SIZE, SIZE / 2, SIZE / 2, look_at(np.array([3.0, -2.0, 1.0]), np.zeros(3))
)
KINDS = {
    "perspective": CAMERA,
    "orthographic": replace(CAMERA, kind="orthographic", fl_x=20.0, fl_y=20.0),
    "panoramic": replace(CAMERA, kind="panoramic", fl_x=SIZE / 1.2, fl_y=SIZE / 1.2),
}


def similarity(angle=0.7, scale=1.0, offset=(0.3, -0.2, 0.1)) -> np.ndarray:
    """A turn about a slanted axis, a scale and a shift."""
    axis = np.array([0.36, 0.48, 0.8])
    cross = np.cross(np.eye(3), -axis)
    matrix = np.eye(4)
    matrix[:3, :3] = scale * (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
    matrix[:3, 3] = offset
    return matrix


def moved_back(camera: Camera, matrix: np.ndarray) -> Camera:
    """The camera as the layer sees it: what a layer is moved by, the camera is moved by the other way."""
    scale = np.cbrt(np.linalg.det(matrix[:3, :3]))
    c2w = np.linalg.inv(matrix) @ camera.c2w
    c2w[:3, :3] *= scale
    zoom = scale if camera.kind == "orthographic" else 1.0
    return replace(camera, c2w=c2w, fl_x=camera.fl_x * zoom, fl_y=camera.fl_y * zoom)


@pytest.fixture(scope="module")
def trained():
    """The fast method on the ball of `tiny_scene`, trained for a moment."""
    from nerf_core.methods.base import Normalisation
    from nerf_core.methods.fast import FastMethod

    method = FastMethod(Normalisation(tiny_scene.BOUNDS), settings={"max_resolution": 128, "ray_steps": 256})
    method.load_views(tiny_scene.views(16, 40))
    for step in range(250):
        method.train_step(step / 250)
    return method


@pytest.mark.parametrize("color_space", ["srgb", "linear"])
def test_a_single_run_that_is_not_moved_is_the_plain_picture(trained, color_space):
    camera = tiny_scene.camera(1, 7, 33)
    plain = render_frame(trained, camera, color_space=color_space)
    frame = render_picture([Layer(trained, color_space)], View(camera))
    np.testing.assert_array_equal(frame.rgba, plain.rgba)
    np.testing.assert_array_equal(frame.depth, plain.depth)
    assert plain.rgba[..., 3].max() > 0.9 and frame.normal is None
    # And the way that all other pictures take leads to the same.
    twin = render_picture([Layer(trained, color_space, crops=(np.diag([100.0, 100.0, 100.0, 1.0]),))], View(camera))
    np.testing.assert_allclose(twin.rgba, plain.rgba, atol=2e-3)
    np.testing.assert_allclose(twin.depth, plain.depth, atol=2e-2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize("crops", [(), (np.diag([100.0, 100.0, 100.0, 1.0]),)], ids=["whole", "cropped"])
def test_a_moved_layer_is_a_camera_moved_the_other_way(trained, kind, scale, crops):
    matrix = similarity(scale=scale)
    center = matrix[:3, :3] @ tiny_scene.CENTER + matrix[:3, 3]
    place = center + scale * np.array([1.5, -2.0, 0.8])
    camera = replace(KINDS[kind], c2w=look_at(place, center))
    if kind == "orthographic":
        camera = replace(camera, fl_x=20.0 / scale, fl_y=20.0 / scale)
    frame = render_picture([Layer(trained, matrix=matrix, crops=crops)], View(camera))
    expected = render_frame(trained, moved_back(camera, matrix))
    assert (expected.rgba[..., 3] > 0.9).mean() > 0.05
    assert np.abs(frame.rgba - expected.rgba).mean() < 1e-3
    np.testing.assert_allclose(frame.depth, scale * expected.depth, atol=0.02 * scale)


def test_what_blender_turned_and_scaled_evenly_counts_as_even(trained):
    """Its matrices are of float32; the quick way must be open to them, and not to what is stretched."""
    rest = np.diag([1.3, 0.7, 0.9, 1.0])
    world = (similarity(angle=2.1, scale=3.7).astype(np.float32) @ rest.astype(np.float32)).astype(np.float64)
    layer = Layer(trained, matrix=world @ np.linalg.inv(rest.astype(np.float32)))
    assert layer.scale == pytest.approx(3.7, rel=1e-5)
    for matrix in (np.diag([1.0, 1.0, 1.00001, 1.0]), np.diag([-1.0, 1.0, 1.0, 1.0]), np.diag([1.0, 1.0, 0.0, 1.0])):
        assert Layer(trained, matrix=matrix).scale is None


def test_a_stretched_layer_keeps_its_outline():
    """Twice as long along x: an ellipsoid, whose silhouette from above is known."""
    matrix = np.diag([2.0, 1.0, 1.0, 1.0])
    camera = Camera(60, 60, 20.0, 20.0, 30.0, 30.0, look_at(np.array([0.0, 0.0, 5.0]), np.zeros(3)), "orthographic")
    alpha = render_picture([Layer(Balls(), matrix=matrix)], View(camera)).rgba[..., 3]
    origins, _ = camera.rays()
    inside = (origins[..., 0] / 2) ** 2 + origins[..., 1] ** 2 < 0.25
    assert np.array_equal(alpha > 0.5, inside)


def test_crops_cut_where_they_should():
    """Two crops: what is in both is shown; distances to where they cut the ball open."""
    above = np.diag([5.0, 5.0, 5.0, 1.0])
    above[2, 3] = 5.1  # z from 0.1 on
    slanted = similarity(angle=0.4, scale=1.0, offset=(0.0, 0.0, 0.0)) @ np.diag([0.2, 3.0, 3.0, 1.0])
    camera = Camera(80, 80, 60.0, 60.0, 40.0, 40.0, look_at(np.array([0.0, 0.0, 5.0]), np.zeros(3)), "orthographic")
    frame = render_picture([Layer(Balls(), crops=(above, slanted))], View(camera))
    origins, directions = (rays.reshape(-1, 3) for rays in camera.rays())
    steps = np.linspace(4.4, 5.6, 601)
    points = origins[:, None] + directions[:, None] * steps[:, None]
    inside = np.linalg.norm(points, axis=-1) < 0.5
    for crop in (above, slanted):
        inverse = np.linalg.inv(crop)
        inside &= (np.abs(points @ inverse[:3, :3].T + inverse[:3, 3]) < 1).all(axis=-1)
    hit = inside.any(axis=-1)
    assert 0.05 < hit.mean() < 0.5
    alpha = frame.rgba[..., 3].reshape(-1)
    assert (alpha[hit] > 0.5).mean() > 0.995 and (alpha[~hit] < 0.5).mean() > 0.995
    solid = hit & (inside.sum(axis=-1) > 2)
    first = steps[inside.argmax(axis=-1)]
    np.testing.assert_allclose(frame.depth.reshape(-1)[solid], first[solid], atol=3e-3)


def test_layers_in_each_other_look_like_their_union():
    """Two opaque balls that interpenetrate: each pixel shows the one whose surface comes first."""
    matrix = similarity(scale=0.9, offset=(0.2, 0.3, -0.1))
    red, blue = Ball(color=(0.9, 0.1, 0.1)), Ball(color=(0.1, 0.2, 0.9))
    layers = [Layer(Balls(red)), Layer(Balls(blue), matrix=matrix)]
    camera = CAMERA.resized(120, 120)
    alone = [render_picture([layer], View(camera)) for layer in layers]
    frame = render_picture(layers, View(camera))
    depths = [np.where(each.rgba[..., 3] > 0, each.depth, np.inf) for each in alone]
    first = np.where((depths[0] <= depths[1])[..., None], alone[0].rgba, alone[1].rgba)
    both = np.isfinite(depths[0]) & np.isfinite(depths[1])
    assert both.sum() > 300 and (depths[0] < depths[1])[both].any() and (depths[1] < depths[0])[both].any()
    wrong = np.abs(frame.rgba - first).max(axis=-1) > 0.02
    assert wrong.mean() < 2e-3, wrong.sum()
    np.testing.assert_allclose(
        frame.depth[~wrong], np.where(np.isinf(np.minimum(*depths)), 0, np.minimum(*depths))[~wrong], atol=5e-3
    )
    swapped = render_picture(layers[::-1], View(camera))
    np.testing.assert_allclose(swapped.rgba, frame.rgba, atol=1e-5)


def test_a_ray_through_layers_in_each_other_costs_what_all_its_pieces_took(trained):
    shifted = np.eye(4)
    shifted[0, 3] = 0.2
    view = View(tiny_scene.camera(1, 7, 24))
    frame = render_picture([Layer(trained), Layer(trained, matrix=shifted)], view)
    cost, counts, hit = frame.cost, frame.evaluations, frame.rgba[..., 3] >= 0.5
    assert cost.rays == 24 * 24 and cost.hit_rays == hit.sum() > 0
    assert cost.full == counts.sum() and cost.s_max == counts.max() and cost.s_hit == pytest.approx(counts[hit].mean())


def test_fog_in_fog_is_as_thick_as_both():
    """Two clouds in the same place: what passes is the product, and their colours mix evenly."""
    red, blue = Ball(color=(1.0, 0.0, 0.0)), Ball(color=(0.0, 0.0, 1.0))
    layers = [Layer(Balls(red, density=1.5)), Layer(Balls(blue, density=1.5))]
    one, both = render_picture(layers[:1], View(CAMERA)), render_picture(layers, View(CAMERA))
    np.testing.assert_allclose(1 - both.rgba[..., 3], (1 - one.rgba[..., 3]) ** 2, atol=1e-4)
    thick = both.rgba[..., 3] > 0.3
    assert thick.any()
    assert np.abs(both.rgba[thick, 0] - both.rgba[thick, 2]).max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_sizes_beyond_all_measure_are_no_mistake(kind, scale):
    frame = render_picture([Layer(Balls(), matrix=similarity(scale=scale))], View(KINDS[kind]))
    assert np.isfinite(frame.rgba).all() and np.isfinite(frame.depth).all()


def test_a_layer_without_extent_shows_nothing():
    flat = np.diag([1.0, 1.0, 0.0, 1.0])
    for layer in (Layer(Balls(), matrix=flat), Layer(Balls(), crops=(flat,)), Layer(Balls(), matrix=0.0 * flat)):
        frame = render_picture([layer], View(CAMERA, normals=True))
        assert not frame.rgba.any() and not frame.depth.any() and not frame.normal.any()
    both = render_picture([Layer(Balls(), matrix=flat), Layer(Balls())], View(CAMERA))
    np.testing.assert_allclose(both.rgba, render_picture([Layer(Balls())], View(CAMERA)).rgba, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("plain", [True, False], ids=["as trained", "moved"])
def test_z_is_the_distance_along_the_axis(kind, plain):
    camera = KINDS[kind]
    layer = Layer(Balls(), matrix=np.eye(4) if plain else similarity(offset=(0.1, 0.0, 0.0)))
    distance, z = (render_picture([layer], View(camera, depth=kind)).depth for kind in ("distance", "z"))
    hit = distance > 0
    assert hit.sum() > 50 and np.array_equal(hit, z > 0)
    origins, directions = camera.rays()
    _, expected = camera.project(origins + directions * distance[..., None])
    np.testing.assert_allclose(z[hit], expected[hit], rtol=1e-5)
    assert (np.abs(z - distance)[hit].max() > 0.01) == (kind == "perspective")


@pytest.mark.parametrize("plain", [True, False], ids=["as trained", "moved"])
def test_linear_colour_decodes_straight_colour(plain):
    """A half transparent edge keeps its colour: it is not the premultiplied number that is decoded."""
    layer = Layer(Balls(density=2.0), matrix=np.eye(4) if plain else similarity())
    frame = render_picture([layer], View(CAMERA, color="linear"))
    alpha = frame.rgba[..., 3]
    soft = (alpha > 0.1) & (alpha < 0.9)
    assert soft.sum() > 50
    straight = frame.rgba[soft, :3] / alpha[soft, None]
    np.testing.assert_allclose(straight, np.tile(srgb_decode(np.array([0.8, 0.4, 0.2])), (soft.sum(), 1)), atol=1e-5)
    encoded = render_picture([layer], View(CAMERA)).rgba
    np.testing.assert_allclose(
        encoded[soft, :3] / alpha[soft, None], np.tile([0.8, 0.4, 0.2], (soft.sum(), 1)), atol=1e-5
    )


def test_clipping_ends_rays_along_the_viewing_axis():
    camera = replace(CAMERA, clip_start=float(np.linalg.norm([3, -2, 1])), clip_end=100.0)
    whole, cut = (render_picture([Layer(Balls())], View(camera, depth="z", clip=clip)) for clip in (False, True))
    assert whole.depth[whole.depth > 0].min() < camera.clip_start
    hit = cut.depth > 0
    np.testing.assert_allclose(cut.depth[hit], camera.clip_start, atol=1e-3)
    ended = render_picture(
        [Layer(Balls())], View(replace(camera, clip_start=0.0, clip_end=camera.clip_start - 0.3), clip=True)
    )
    assert 0 < (ended.rgba[..., 3] > 0.5).sum() < (whole.rgba[..., 3] > 0.5).sum()


@pytest.mark.parametrize(
    "matrix", [np.eye(4), similarity(scale=1.7), np.diag([1.0, 2.0, 0.7, 1.0])], ids=["trained", "moved", "stretched"]
)
def test_normals_stand_on_the_surface(matrix):
    camera = replace(CAMERA, c2w=look_at(matrix[:3, :3] @ CAMERA.position + matrix[:3, 3], matrix[:3, 3]))
    frame = render_picture([Layer(Balls(density=300.0), matrix=matrix)], View(camera, normals=True))
    origins, directions = camera.rays()
    inverse = np.linalg.inv(matrix)
    local = (origins + directions * frame.depth[..., None]) @ inverse[:3, :3].T + inverse[:3, 3]
    expected = local @ inverse[:3, :3]  # the gradient of |x|^2, a covector
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    length = np.linalg.norm(frame.normal, axis=-1)
    solid = frame.rgba[..., 3] > 0.95
    assert solid.sum() > 100 and np.abs(length[solid] - 1).max() < 1e-4
    assert not length[frame.rgba[..., 3] == 0].any()
    angle = np.degrees(np.arccos(np.clip((frame.normal * expected).sum(axis=-1)[solid], -1, 1)))
    assert np.median(angle) < 8 and angle.max() < 25, (np.median(angle), angle.max())


def test_normals_of_a_field_that_is_still_fog(trained):
    """After 250 steps the ball's surface is as deep as a tenth of it; its normals are rough, but stand on it."""
    camera = tiny_scene.camera(1, 7, 40)
    frame = render_picture([Layer(trained)], View(camera, normals=True))
    origins, directions = camera.rays()
    expected = origins + directions * frame.depth[..., None] - tiny_scene.CENTER
    expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
    solid = frame.rgba[..., 3] > 0.95
    angle = np.degrees(np.arccos(np.clip((frame.normal * expected).sum(axis=-1)[solid], -1, 1)))
    assert solid.sum() > 100 and np.median(angle) < 18 and np.quantile(angle, 0.9) < 40, np.median(angle)


def test_lines_meet_a_box_from_everywhere():
    generator = np.random.default_rng(5)
    origins = generator.uniform(-2, 2, (500, 3))
    directions = generator.normal(size=(500, 3))
    directions[:60, 0] = 0.0
    directions[60:90, 0] = -0.0
    origins[::7] = np.sign(origins[::7])  # on corners, edges' and faces' planes
    near, far = meet_box(origins, directions, -np.ones(3), np.ones(3))
    steps = np.linspace(-8, 8, 4001)
    inside = (np.abs(origins[:, None] + directions[:, None] * steps[:, None]) <= 1).all(axis=-1)
    meets = near < far
    assert (inside.sum(axis=-1)[meets & (far - near > 0.01)] > 0).all() and (inside.sum(axis=-1)[~meets] <= 1).all()
    long = meets & (far - near > 0.01) & (near > -8) & (far < 8)
    np.testing.assert_allclose(near[long], steps[inside.argmax(axis=-1)][long], atol=5e-3)


def test_a_picture_that_does_not_fit_into_the_memory_is_not_begun(monkeypatch):
    monkeypatch.setattr(picture, "free_memory", lambda: 150_000_000_000)
    camera = replace(CAMERA, width=65536, height=65536)
    with pytest.raises(NerfError, match="65536x65536 pixels needs 206.2 GB of memory and 150.0 GB are free"):
        render_picture([Layer(Balls())], View(camera), should_stop=lambda: True)


def test_pictures_can_be_stopped():
    done = []
    view = View(CAMERA.resized(200, 200), samples=4)
    with pytest.raises(Cancelled):
        render_picture([Layer(Balls())], view, lambda: len(done) == 2, done.append)
    assert len(done) == 2 and 0 < done[0] < done[1] < 1
    done.clear()
    render_picture([Layer(Balls())], view, lambda: False, done.append)
    assert done[-1] == 1.0 and np.all(np.diff(done) > 0)
