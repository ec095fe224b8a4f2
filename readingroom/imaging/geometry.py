"""Directions in the patient: slice normals, planes, axis letters. Pure; LPS millimetres throughout."""

from collections.abc import Sequence

import numpy as np

Direction = Sequence[float] | np.ndarray

_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))
_PLANES = ("sagittal", "coronal", "axial")


def slice_normal(orientation: Direction) -> np.ndarray:
    """Unit normal of an image plane: row direction x column direction of ImageOrientationPatient (6 numbers)."""
    values = np.asarray(orientation, float)
    normal = np.cross(values[:3], values[3:6])
    return normal / np.linalg.norm(normal)


def plane_of(normal: Direction, within_degrees: float = 30.0) -> str:
    """``axial``, ``coronal`` or ``sagittal`` where the normal lies near a patient axis, else ``oblique``."""
    size = np.abs(np.asarray(normal, float))
    nearest = int(size.argmax())
    cosine = size[nearest] / np.linalg.norm(size)
    return _PLANES[nearest] if cosine >= np.cos(np.radians(within_degrees)) else "oblique"


def direction_letters(direction: Direction) -> str:
    """Patient letters a direction points to, main one first: ``L``, ``PS``, ... (PS3.3 C.7.6.1.1.1)."""
    vector = np.asarray(direction, float) / np.linalg.norm(direction)
    order = np.argsort(-np.abs(vector))
    return "".join(_LETTERS[n][int(vector[n] > 0)] for n in order if abs(vector[n]) > 0.2)


def mirrored_display(orientation: Direction) -> bool:
    """Whether rows shown left to right, top to bottom give a mirror image of the usual view.

    The usual axial view is seen from the feet (normal to the head), the usual coronal one from the front (normal to
    the back). Sagittal views have two customs: never mirrored.
    """
    normal = slice_normal(orientation)
    plane = plane_of(normal)
    return bool((plane == "axial" and normal[2] < 0) or (plane == "coronal" and normal[1] < 0))
