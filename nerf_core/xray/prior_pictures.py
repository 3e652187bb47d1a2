"""Pictures of volumes: three slices through the middle beside each other, with labels where several are compared."""

from collections.abc import Sequence

import numpy as np

SHOWN = 40.0  # 1 / m, white: bone
GAP = 4


def slices(mu: np.ndarray, top: float = SHOWN, height: int = 160) -> np.ndarray:
    """(height, W, 3) uint8: the axial, coronal and sagittal slice through the middle, in grey.

    The axial one as seen from the feet with the front up, the others with the head up; the patient's right is on the
    left.
    """
    from PIL import Image

    x, y, z = (n // 2 for n in mu.shape)
    # RAS: x runs to the patient's right, y to the front, z to the head; rows of a picture go down.
    planes = (mu[::-1, ::-1, z].T, mu[::-1, y, ::-1].T, mu[x, ::-1, ::-1].T)
    parts = []
    for plane in planes:
        grey = (np.clip(plane / max(top, 1e-9), 0, 1) * 255 + 0.5).astype(np.uint8)
        width = max(1, round(height * grey.shape[1] / grey.shape[0]))
        parts.append(np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR)))
        parts.append(np.zeros((height, GAP), np.uint8))
    return np.repeat(np.concatenate(parts[:-1], axis=1)[..., None], 3, axis=-1)


def labelled(rows: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
    """(H, W, 3) uint8: pictures of one width below each other, each under its label."""
    from PIL import Image, ImageDraw, ImageFont

    font, band = ImageFont.load_default(14), 22
    width = max(picture.shape[1] for _, picture in rows)
    height = sum(picture.shape[0] + band for _, picture in rows)
    sheet = Image.new("RGB", (width, height), (24, 24, 27))
    draw = ImageDraw.Draw(sheet)
    top = 0
    for label, picture in rows:
        draw.text((4, top + band // 2), label, fill=(235, 235, 235), font=font, anchor="lm")
        sheet.paste(Image.fromarray(picture), (0, top + band))
        top += band + picture.shape[0]
    return np.asarray(sheet)


def radiograph_picture(line_integrals: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """(H, W, 3) uint8: line integrals through a window, black for its low end."""
    low, high = window
    grey = (np.clip((line_integrals - low) / max(high - low, 1e-9), 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
