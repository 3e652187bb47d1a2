"""Camera paths in and out: animated cameras and the JSON of nerfstudio and `transforms.json`."""
