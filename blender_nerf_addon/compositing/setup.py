"""Set up, and take away, the merging of a scene's renders with its NeRFs."""

import bpy
from bpy.app.handlers import persistent

from .. import compat_compositor as compat
from ..importers.point_display import KIND_KEY
from ..objects.create import nerf_objects
from ..vendor.nerf_core.contract.errors import NerfError
from . import nerf_scene
from .merge import KIND, merge_group


def is_set_up(scene: bpy.types.Scene) -> bool:
    """Whether the scene's renders are merged with its NeRFs."""
    tree = compat.tree_of(scene)
    return tree is not None and _merge_node(tree) is not None and nerf_scene_of(scene) is not None


def nerf_scene_of(scene: bpy.types.Scene) -> bpy.types.Scene | None:
    """The scene that a scene's NeRFs are rendered in; a copy of the scene still names the original's, and has none."""
    made = scene.nerf.compositing.scene
    own = made is not None and made != scene and made.get(KIND_KEY) == KIND and made.background_set == scene
    return made if own else None


def set_up(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> None:
    """Put the merge in front of the output of the scene's compositing nodes; what is there already stays.

    Done again, it only brings the NeRF's scene up to date.

    Parameters
    ----------
    scene : Scene
        With Cycles, EEVEE or Workbench as its engine.
    layer : ViewLayer
        Whose depth is compared, unless the nodes show another one.

    Raises
    ------
    NerfError
        When the scene has no NeRF or no camera, or its own engine is NeRF Toolkit.
    """
    check(scene)
    settings = scene.nerf.compositing
    if is_set_up(scene):
        nerf_scene.follow(settings.scene, scene)
        nerf_scene.renew_markers(settings.scene, scene)
        return
    take_away(scene)  # what is left of one that somebody has taken apart
    settings.made_tree = compat.tree_of(scene) is None
    tree = compat.own_tree(scene) or compat.make_tree(scene, f"{scene.name} Compositing")
    layer = _layer_shown(tree, scene) or layer
    settings.was_opaque = not scene.render.film_transparent
    scene.render.film_transparent = True  # an edge must know how much of its pixel is covered
    settings.added_depth = not layer.use_pass_z
    layer.use_pass_z = True
    with_world = settings.was_opaque and scene.world is not None
    settings.added_world = with_world and not layer.use_pass_environment
    if with_world:
        layer.use_pass_environment = True
    settings.scene = nerf_scene.make(scene)
    _insert(tree, scene, layer, settings.scene, with_world)


def take_away(scene: bpy.types.Scene) -> None:
    """Undo :func:`set_up`: the nodes, the NeRF's scene, and the render settings that it changed."""
    settings = scene.nerf.compositing
    tree = compat.tree_of(scene)
    if tree is not None and any(node.get(KIND_KEY) == KIND for node in tree.nodes):
        tree = compat.own_tree(scene)
        _remove(tree)
        if settings.made_tree and _is_bare(tree):
            compat.drop_tree(scene)
    if settings.scene is None:
        return
    made, settings.scene = nerf_scene_of(scene), None
    if made is not None:
        bpy.data.scenes.remove(made)
    if settings.was_opaque:
        scene.render.film_transparent = False
    for layer in scene.view_layers:
        if settings.added_depth:
            layer.use_pass_z = False
        if settings.added_world:
            layer.use_pass_environment = False
    for name in ("made_tree", "was_opaque", "added_depth", "added_world"):
        settings.property_unset(name)


def check(scene: bpy.types.Scene) -> None:
    """Raise a `NerfError` that says why a scene cannot be composited with its NeRF."""
    if next(nerf_objects(scene), None) is None:
        raise NerfError("The scene has no NeRF to composite with: press Add NeRF first.")
    if scene.camera is None:
        raise NerfError("The scene has no camera: add one, and make it the scene's camera.")
    if scene.render.engine == nerf_scene.ENGINE:
        raise NerfError(
            "The scene's render engine is NeRF Toolkit, which shows the NeRF alone: choose the engine of the rest of "
            "the scene, Cycles or EEVEE, first."
        )


def _insert(
    tree: bpy.types.NodeTree,
    scene: bpy.types.Scene,
    layer: bpy.types.ViewLayer,
    made: bpy.types.Scene,
    with_world: bool,
) -> None:
    result = compat.output(tree, make=True)
    place = result.node.location.copy()
    before = result.links[0].from_socket if result.links else None
    result.node.location.x += 250

    def node(kind: str, label: str, x: float, y: float) -> bpy.types.Node:
        new = tree.nodes.new(kind)
        new.label, new.location, new[KIND_KEY] = label, (place.x + x, place.y + y), KIND
        return new

    own = node("CompositorNodeRLayers", "Scene", -350, -250)
    own.scene, own.layer = scene, layer.name
    nerf = node("CompositorNodeRLayers", "NeRF", -350, -650)
    nerf.scene, nerf.layer = made, made.view_layers[0].name
    merge = node("CompositorNodeGroup", "NeRF Depth Merge", 0, 0)
    merge.node_tree = merge_group(with_world)
    links = tree.links.new
    links(before or own.outputs["Image"], merge.inputs["Scene"])
    links(_output(own, "Alpha"), merge.inputs["Scene Alpha"])
    links(_output(own, "Depth"), merge.inputs["Scene Depth"])
    links(nerf.outputs["Image"], merge.inputs["NeRF"])
    links(_output(nerf, "Depth"), merge.inputs["NeRF Depth"])
    if with_world:
        links(_output(own, "Environment", "Env"), merge.inputs["World"])
    links(merge.outputs[0], result)


def _output(node: bpy.types.Node, *names: str) -> bpy.types.NodeSocket:
    for name in names:
        if name in node.outputs:
            return node.outputs[name]
    raise NerfError(f"Blender's Render Layers node has no output '{names[0]}' for the engine of '{node.scene.name}'.")


def _remove(tree: bpy.types.NodeTree) -> None:
    """Take our nodes out, and join what was before the merge with what is behind it."""
    merge = _merge_node(tree)
    if merge is not None:
        incoming = merge.inputs["Scene"].links
        before = incoming[0].from_socket if incoming else None
        after = [link.to_socket for link in merge.outputs[0].links]
        if before is not None:  # the picture of our own Render Layers node, where there was none before
            own = before.node.get(KIND_KEY) == KIND
            for socket in after if not own else ():
                tree.links.new(before, socket)
        for socket in after:
            if socket == compat.output(tree):
                socket.node.location.x -= 250
    for node in [node for node in tree.nodes if node.get(KIND_KEY) == KIND]:
        group = getattr(node, "node_tree", None)
        tree.nodes.remove(node)
        if group is not None and group.users == 0:
            bpy.data.node_groups.remove(group)


def _merge_node(tree: bpy.types.NodeTree) -> bpy.types.Node | None:
    return next((n for n in tree.nodes if n.get(KIND_KEY) == KIND and getattr(n, "node_tree", None) is not None), None)


def _is_bare(tree: bpy.types.NodeTree) -> bool:
    result = compat.output(tree)
    return all(result is not None and node == result.node for node in tree.nodes)


def _layer_shown(tree: bpy.types.NodeTree, scene: bpy.types.Scene) -> bpy.types.ViewLayer | None:
    shown = [n for n in tree.nodes if n.bl_idname == "CompositorNodeRLayers" and n.scene == scene and not n.mute]
    return scene.view_layers.get(shown[0].layer) if shown else None


@persistent
def _keep_up(_scene: bpy.types.Scene, _depsgraph: bpy.types.Depsgraph = None) -> None:
    """The NeRF's scene takes over whatever camera, size and times its scene gets."""
    for scene in bpy.data.scenes:
        made = nerf_scene_of(scene)
        if made is not None:
            nerf_scene.follow(made, scene)


def register() -> None:
    """Follow changes."""
    bpy.app.handlers.depsgraph_update_post.append(_keep_up)


def unregister() -> None:
    """Follow no more."""
    if _keep_up in bpy.app.handlers.depsgraph_update_post:
        bpy.app.handlers.depsgraph_update_post.remove(_keep_up)
