"""What differs between Blender's compositors, 4.2 to 5.2: where the tree lies, its output, and its nodes' names."""

import bpy

NodeTree = bpy.types.NodeTree
Socket = bpy.types.NodeSocket


def tree_of(scene: bpy.types.Scene) -> NodeTree | None:
    """The compositing nodes that a scene's renders go through, or None."""
    if hasattr(scene, "compositing_node_group"):
        return scene.compositing_node_group
    return scene.node_tree if scene.use_nodes else None


def own_tree(scene: bpy.types.Scene) -> NodeTree | None:
    """The same, changed for this scene alone: from 5.0 on copied scenes share a tree, and this one gets a copy."""
    tree = tree_of(scene)
    if tree is not None and hasattr(scene, "compositing_node_group") and tree.users - tree.use_fake_user > 1:
        tree = scene.compositing_node_group = tree.copy()
    return tree


def make_tree(scene: bpy.types.Scene, name: str) -> NodeTree:
    """Give a scene an empty compositing tree with an output, or switch on the one that it has."""
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new(name, "CompositorNodeTree")
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        scene.compositing_node_group = tree
    else:
        fresh = scene.node_tree is None
        scene.use_nodes = True
        tree = scene.node_tree
        if not fresh:
            return tree
        tree.nodes.clear()  # Blender puts a Render Layers node there
    output(tree, make=True)
    return tree


def drop_tree(scene: bpy.types.Scene) -> None:
    """Take a scene's compositing tree away again; nobody else uses it."""
    if hasattr(scene, "compositing_node_group"):
        tree, scene.compositing_node_group = scene.compositing_node_group, None
        if tree is not None and tree.users == 0:
            bpy.data.node_groups.remove(tree)
    else:
        scene.node_tree.nodes.clear()
        scene.use_nodes = False


def forget_tree(scene: bpy.types.Scene) -> None:
    """Let a copied scene have no compositing: from 5.0 on it shares the original's tree, before it has a copy."""
    if hasattr(scene, "compositing_node_group"):
        scene.compositing_node_group = None
    elif scene.node_tree is not None:
        scene.node_tree.nodes.clear()
        scene.use_nodes = False


def output(tree: NodeTree, make: bool = False) -> Socket | None:
    """The socket whose image is the render's result; with `make`, there is one afterwards."""
    kind = "CompositorNodeComposite" if hasattr(bpy.types, "CompositorNodeComposite") else "NodeGroupOutput"
    nodes = [node for node in tree.nodes if node.bl_idname == kind]
    chosen = [node for node in nodes if getattr(node, "is_active_output", True)] or nodes
    if not chosen and make:
        node = tree.nodes.new(kind)
        node.location = (900, 0)
        chosen = [node]
    if not chosen:
        return None
    socket = next((socket for socket in chosen[-1].inputs if socket.type == "RGBA"), None)
    if socket is None and make and kind == "NodeGroupOutput":
        tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        socket = next(socket for socket in chosen[-1].inputs if socket.type == "RGBA")
    return socket


def math(tree: NodeTree, operation: str) -> bpy.types.Node:
    """A Math node."""
    node = tree.nodes.new("CompositorNodeMath" if hasattr(bpy.types, "CompositorNodeMath") else "ShaderNodeMath")
    node.operation = operation
    return node


def mix(tree: NodeTree, blend: str) -> tuple[bpy.types.Node, Socket, Socket, Socket, Socket]:
    """A node that mixes colours and keeps the first one's alpha: node, factor, first, second, result."""
    if hasattr(bpy.types, "CompositorNodeMixRGB"):
        node = tree.nodes.new("CompositorNodeMixRGB")
        node.blend_type = blend
        return node, *node.inputs[:3], node.outputs[0]
    node = tree.nodes.new("ShaderNodeMix")
    node.data_type, node.blend_type = "RGBA", blend
    node.clamp_factor = node.clamp_result = False
    factor, first, second = (s for s in node.inputs if s.identifier in ("Factor_Float", "A_Color", "B_Color"))
    return node, factor, first, second, next(s for s in node.outputs if s.identifier == "Result_Color")


def over(tree: NodeTree) -> tuple[bpy.types.Node, Socket, Socket, Socket]:
    """A node that lays one premultiplied image over another: node, background, foreground, result."""
    node = tree.nodes.new("CompositorNodeAlphaOver")
    background, foreground = [socket for socket in node.inputs if socket.type == "RGBA"]
    return node, background, foreground, node.outputs[0]


def smallest_around(tree: NodeTree, pixels: int) -> bpy.types.Node:
    """A node that gives each pixel the smallest value within so many pixels."""
    node = tree.nodes.new("CompositorNodeDilateErode")
    if hasattr(node, "distance") and "Size" not in node.inputs:
        node.mode, node.distance = "STEP", -pixels
        return node
    if hasattr(node, "mode"):
        node.mode = "STEP"
    else:
        node.inputs["Type"].default_value = "Steps"
    node.inputs["Size"].default_value = -pixels
    return node
