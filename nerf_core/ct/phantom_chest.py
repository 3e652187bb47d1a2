"""A chest of painted ellipsoids: body, lungs with vessels, heart, diaphragm, spine, ribs, sternum, shoulder blades.

RAS millimetres about the middle of the thorax: the patient's left, where the heart is, is at -x, the back at -y. It
stands in for a patient on radiographs and in tests; sizes are those of adults, the shapes are drawn, not measured.
"""

from dataclasses import dataclass

import numpy as np

from ..contract.xray import MATERIALS, MU_WATER
from .phantom_parts import Parts, frame, turned

BOUNDS = (195.0, 150.0, 160.0)
"""Half the sides of the box; the body is cut above and below, as in a scan."""
FAT, MUSCLE, LUNG, VESSEL, ORGAN, GAS, CARTILAGE, BONE = range(0, 80, 10)  # what lies over what
VERTEBRAE, RIBS = 14, 12
FIRST_LEVEL, PITCH = 140.0, 24.0  # of the first thoracic vertebra, and from one to the next
# Of the twelve ribs: width and depth against the widest, how far around they reach (degrees from behind), their fall.
RIB_WIDTH = (0.45, 0.62, 0.76, 0.87, 0.94, 0.98, 1.0, 1.0, 1.0, 0.98, 0.93, 0.84)
RIB_DEPTH = (0.45, 0.60, 0.73, 0.84, 0.92, 0.97, 1.0, 1.0, 1.0, 0.98, 0.95, 0.90)
RIB_END = (142.0, 142.0, 140.0, 138.0, 136.0, 133.0, 129.0, 122.0, 114.0, 104.0, 80.0, 58.0)
RIB_FALL = (30.0, 42.0, 52.0, 60.0, 66.0, 70.0, 74.0, 76.0, 74.0, 68.0, 44.0, 28.0)
SIDES = (1.0, -1.0)


@dataclass(frozen=True)
class _Patient:
    """What differs between patients: scales, and materials in 1 / cm."""

    width: float  # half the rib cage's
    depth: float
    pitch: float
    kyphosis: float  # how far the uppermost vertebra lies before the middle ones
    skin: float  # thickness of the fat
    bone: float  # factor on what bones add to soft tissue
    lung: float
    rng: np.random.Generator

    def level(self, vertebra: int) -> float:
        """Z of a vertebra; 0 is the first thoracic one."""
        return (FIRST_LEVEL / PITCH - vertebra) * self.pitch

    def spine(self, z: float) -> float:
        """Y of the vertebral bodies' centres."""
        return -0.67 * self.depth + self.kyphosis * ((z - 10.0) / 130.0) ** 2

    def bony(self, mu: float) -> float:
        """Bone of this patient's density."""
        return MATERIALS["soft tissue"] + (mu - MATERIALS["soft tissue"]) * self.bone


def chest(rng: np.random.Generator) -> Parts:
    """One patient's ellipsoids."""
    patient = _Patient(
        width=132.0 * rng.uniform(0.92, 1.06),
        depth=92.0 * rng.uniform(0.9, 1.08),
        pitch=PITCH * rng.uniform(0.95, 1.05),
        kyphosis=rng.uniform(14.0, 26.0),
        skin=rng.uniform(6.0, 22.0),
        bone=rng.uniform(0.75, 1.15),
        lung=MATERIALS["lung"] * rng.uniform(0.8, 1.3),
        rng=rng,
    )
    parts = Parts()
    _body(parts, patient)
    _lungs(parts, patient)
    _mediastinum(parts, patient)
    _diaphragm(parts, patient)
    for vertebra in range(VERTEBRAE):
        _vertebra(parts, patient, vertebra)
    for side in SIDES:
        for rib in range(RIBS):
            _rib(parts, patient, rib, side)
        _shoulder(parts, patient, side)
    _sternum(parts, patient)
    turn = turned((0, 0, 1), rng.uniform(-5.0, 5.0)) @ turned((0, 1, 0), rng.uniform(-2.0, 2.0))
    return parts.moved(turn, rng.uniform(-1.0, 1.0, 3) * (6.0, 6.0, 8.0))


def _body(parts: Parts, patient: _Patient) -> None:
    fat, muscle = MATERIALS["fat"], MATERIALS["soft tissue"]
    breasts = patient.rng.uniform(20.0, 45.0) if patient.rng.uniform() < 0.5 else 0.0
    shapes = [((0.0, 0.0, -20.0), (patient.width + 13.0, patient.depth + 12.0, 420.0))]
    for side in SIDES:
        shapes += [
            ((side * 92.0, -52.0, 75.0), (58.0, 42.0, 105.0)),  # over the shoulder blades
            ((side * 112.0, -18.0, 150.0), (58.0, 52.0, 62.0)),
            ((side * 72.0, 62.0, 70.0), (55.0, 30.0, 60.0)),  # the muscles in front
        ]
    for center, half_axes in shapes:
        parts.add(center, half_axes, muscle, rank=MUSCLE)
        parts.add(center, np.array(half_axes) + patient.skin, fat, rank=FAT)
    if breasts:
        for side in SIDES:
            place = (side * 72.0, patient.depth + 4.0, -8.0)
            parts.add(place, (58.0, 16.0 + breasts, 62.0), fat, rank=FAT)
            parts.add(place, (32.0, 6.0 + 0.7 * breasts, 36.0), 0.5 * (fat + muscle), rank=FAT + 1)


def _lungs(parts: Parts, patient: _Patient) -> None:
    rng = patient.rng
    for side in SIDES:
        center = np.array([side * 0.5 * patient.width, 2.0, -40.0])
        lean = turned((0, 1, 0), -side * 8.0) @ turned((1, 0, 0), 6.0)  # the apex leans to the middle and backwards
        parts.add(center, (0.46 * patient.width, 0.9 * patient.depth, 182.0), patient.lung, lean, LUNG)
        low = np.array([side * 0.55 * patient.width, 0.0, -70.0])
        parts.add(low, (0.41 * patient.width, 0.92 * patient.depth, 110.0), patient.lung, rank=LUNG)
        hilum = np.array([side * 36.0, -8.0, 12.0])
        for branch in range(16):  # vessels fan out from the hilum
            around = 2.0 * np.pi * (branch + rng.uniform(0.0, 0.8)) / 16
            aim = np.array([side * rng.uniform(0.2, 0.9), 0.75 * np.cos(around), 1.15 * np.sin(around) - 0.15])
            reach = rng.uniform(55.0, 95.0)
            bend = rng.normal(size=3) * 5.0
            steps = np.linspace(0.0, 1.0, 5)[:, None]
            path = hilum + steps * aim * reach + steps * (1.0 - steps) * bend
            wide = rng.uniform(3.5, 5.5)
            for link in range(4):
                thin = wide * (1.0 - 0.22 * link)
                parts.chain(path[link : link + 2], (thin, thin), 0.85 * MU_WATER, rank=VESSEL, overlap=0.9)
        if rng.uniform() < 0.4:  # a nodule
            place = center + (side * rng.uniform(0.0, 25.0), rng.uniform(-35.0, 35.0), rng.uniform(20.0, 90.0))
            parts.add(place, rng.uniform(4.0, 11.0, 3), 0.95 * MU_WATER, rank=VESSEL)


def _mediastinum(parts: Parts, patient: _Patient) -> None:
    rng, soft = patient.rng, MATERIALS["soft tissue"]
    air = 0.0
    size = rng.uniform(0.9, 1.15)
    parts.add((0.0, -8.0, 30.0), (29.0, 0.62 * patient.depth, 150.0), soft, rank=ORGAN)
    parts.add((0.0, 25.0, 20.0), (20.0, 0.6 * patient.depth, 110.0), soft, rank=ORGAN)
    axis = frame(np.array([-0.78, 0.42, -0.46]))
    heart = np.array([-22.0, 22.0, -52.0]) + rng.uniform(-5.0, 5.0, 3)
    parts.add(heart, np.array([66.0, 46.0, 45.0]) * size, 1.03 * soft, axis, ORGAN)
    parts.add(heart + (44.0, -6.0, 12.0), np.array([26.0, 32.0, 42.0]) * size, 1.03 * soft, rank=ORGAN)  # right atrium
    parts.add(heart + (-12.0, -22.0, 48.0), np.array([28.0, 26.0, 24.0]) * size, 1.03 * soft, rank=ORGAN)
    parts.add((-26.0, -12.0, 62.0), np.array([18.0, 24.0, 17.0]) * size, 1.03 * soft, rank=ORGAN)  # the aortic arch
    down = np.array([[-24.0, patient.spine(z) + 20.0, z] for z in np.linspace(60.0, -165.0, 6)])
    parts.chain(down, (12.0, 12.0), 1.03 * soft, rank=ORGAN)
    for side in SIDES:
        parts.add((side * 33.0, -8.0, 12.0), (12.0, 13.0, 20.0), soft, rank=ORGAN)  # the hilum
    carina = np.array([2.0, -20.0, 50.0])
    parts.chain(np.linspace((0.0, -8.0, 190.0), carina, 6), (8.5, 8.5), air, rank=GAS)
    for side in SIDES:
        parts.chain(np.linspace(carina, (side * 36.0, -20.0, 22.0), 4), (6.0, 6.0), air, rank=GAS)


def _diaphragm(parts: Parts, patient: _Patient) -> None:
    """What lies below the two domes; the lungs reach down around them."""
    rng = patient.rng
    breath = rng.uniform(-14.0, 14.0)
    liver, spleen = 1.02 * MATERIALS["soft tissue"], MATERIALS["soft tissue"]
    for side, top, material in ((1.0, -78.0, liver), (-1.0, -90.0, spleen)):
        center = (side * 0.48 * patient.width, 4.0, top + breath - 115.0)
        parts.add(center, (0.56 * patient.width, 0.95 * patient.depth, 115.0), material, rank=ORGAN)
    parts.add((0.0, 0.0, breath - 215.0), (0.9 * patient.width, 0.95 * patient.depth, 110.0), spleen, rank=ORGAN)
    gas = rng.uniform(0.6, 1.2) * np.array([26.0, 22.0, 15.0])
    parts.add((-0.45 * patient.width, 20.0, breath - 112.0), gas, 0.0, rank=GAS)  # the stomach's


def _vertebra(parts: Parts, patient: _Patient, vertebra: int) -> None:
    z = patient.level(vertebra)
    y = patient.spine(z)
    size = 0.85 + 0.03 * vertebra  # they grow downwards
    shell, core = patient.bony(0.40), patient.bony(0.28)
    width, depth, height = 18.0 * size, 14.5 * size, 0.41 * patient.pitch
    parts.add((0.0, y, z), (width, depth, 1.15 * height), core, rank=BONE)
    for end in (1.0, -1.0):
        parts.add((0.0, y, z + end * 0.72 * height), (1.04 * width, 1.04 * depth, 0.36 * height), shell, rank=BONE)
    spinous = frame(np.array([0.0, -0.8, -0.6]))
    parts.add((0.0, y - 2.6 * depth, z - 8.0), (17.0, 8.0, 3.5), shell, spinous, BONE)
    for side in SIDES:
        parts.add((side * 0.62 * width, y - 1.35 * depth, z + 3.0), (4.5, 10.0, 6.0), shell, rank=BONE)
        parts.add((side * 1.3 * width, y - 1.6 * depth, z + 2.0), (14.0, 4.5, 5.5), shell, rank=BONE)
        parts.add((side * 0.8 * width, y - 1.8 * depth, z - 7.0), (5.0, 5.0, 8.0), shell, rank=BONE)


def _rib(parts: Parts, patient: _Patient, rib: int, side: float) -> None:
    z = patient.level(rib)
    width, depth = RIB_WIDTH[rib] * patient.width, RIB_DEPTH[rib] * patient.depth
    back = patient.spine(z) - 0.24 * patient.depth
    share = np.linspace(0.0, 1.0, 19)
    angle = np.radians(14.0 + (RIB_END[rib] - 14.0) * share)
    fall = RIB_FALL[rib] * patient.pitch / PITCH
    x, y = width * np.sin(angle), back + depth * (1.0 - np.cos(angle))
    path = np.stack([side * x, y, z - fall * share**1.25], axis=1)
    neck = np.array([[side * 15.0, patient.spine(z) - 6.0, z + 3.0]])
    bone = patient.bony(0.44)
    parts.chain(np.concatenate([neck, path]), (6.0, 3.4), bone, rank=BONE)
    if rib < 10:  # cartilage, to the breastbone or to the arch of the rib above
        end = path[-1]
        target_z = max(end[2] + (14.0 if rib > 3 else 4.0) + 6.0 * max(rib - 5, 0), -45.0)
        target = np.array([side * (15.0 + 7.0 * max(rib - 6, 0)), _breastbone(patient, target_z), target_z])
        steps = np.linspace(0.0, 1.0, 5)[:, None]
        bow = np.array([0.0, 9.0, -6.0]) * 4.0 * steps * (1.0 - steps)
        parts.chain(end + steps * (target - end) + bow, (6.0, 4.0), 1.08 * MATERIALS["soft tissue"], rank=CARTILAGE)


def _breastbone(patient: _Patient, z: float) -> float:
    """Y of the breastbone: it comes forward on the way down."""
    high, low = 0.2 * patient.depth + patient.kyphosis - 18.0, 0.98 * patient.depth
    return float(np.interp(z, (-30.0, 110.0), (low, high)))


def _sternum(parts: Parts, patient: _Patient) -> None:
    bone = patient.bony(0.34)
    for z, half_axes in ((98.0, (24.0, 21.0, 6.0)), (58.0, (15.0, 30.0, 5.5)), (18.0, (16.0, 30.0, 5.5))):
        along = np.array([0.0, _breastbone(patient, z - 5.0) - _breastbone(patient, z + 5.0), -10.0])
        axes = frame(along, up=(1.0, 0.0, 0.0))
        half = (half_axes[1], half_axes[0], half_axes[2])
        parts.add((0.0, _breastbone(patient, z), z), half, bone, axes, BONE)


def _shoulder(parts: Parts, patient: _Patient, side: float) -> None:
    bone = patient.bony(0.42)
    inner = np.array([side * 22.0, _breastbone(patient, 112.0) - 3.0, 113.0])
    outer = np.array([side * 150.0, -12.0, 140.0])
    steps = np.linspace(0.0, 1.0, 13)[:, None]
    bow = np.array([0.0, 14.0, 0.0]) * np.sin(2.0 * np.pi * steps)
    parts.chain(inner + steps * (outer - inner) + bow, (6.0, 6.0), bone, rank=BONE)  # the clavicle
    plate = turned((0, 0, 1), side * 38.0) @ turned((0, 1, 0), side * 12.0)
    place = np.array([side * 100.0, -66.0, 78.0])
    parts.add(place, (38.0, 3.0, 62.0), patient.bony(0.36), plate, BONE)
    border = np.array([side * 36.0, 0.0, 0.0])
    edge = np.stack(
        [place + plate @ (border + (-side * 16.0 * t, 0.0, 45.0 - 100.0 * t)) for t in np.linspace(0, 1, 7)]
    )
    parts.chain(edge, (5.5, 5.5), bone, rank=BONE)
    parts.shelled((side * 152.0, -28.0, 140.0), (23.0, 23.0, 24.0), 2.5, (bone, patient.bony(0.3)), rank=BONE)
