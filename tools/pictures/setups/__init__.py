"""One module a subject; each holds PICTURES, which maps a picture's name to the function that sets it up.

They run inside Blender and are listed outside: Blender's module is the stage's, `stage.bpy`, and not imported here.
"""
