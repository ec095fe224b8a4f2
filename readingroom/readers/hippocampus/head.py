"""Bring a head to the MNI template, and say how well that went.

Template: MNI ICBM152 2009a, non-linear, symmetric (Fonov 2011, NeuroImage 54:313), the brain alone, as the package
nilearn ships it. Rigid, then affine, by mutual information (Mattes 2003), on the brain and a margin of it, from
several starts; then the neighbourhood of both hippocampi once more. Everything is in LPS mm. Same image, same result:
one thread, samples from a seed.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813 - its own usual short name
from scipy import ndimage

from readingroom.core.errors import BadInput
from readingroom.imaging.body import body_mask
from readingroom.imaging.resample import along_patient
from readingroom.imaging.volume import Volume

TEMPLATE = Path("datasets", "data", "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
CENTRES = {"left": (27.0, 22.0, -14.0), "right": (-27.0, 22.0, -14.0)}
"""Of the crops, LPS mm of the template: where the mean of the set's training crops fits best, and its mirror image."""
_MIDDLE = (0.0, 18.0, 10.0)
"""Of the template's brain, LPS mm: heads are turned about it."""
_BELOW_TOP_MM = 76.0
"""So far below the top of the head lies that middle, about."""
_NEAR = ((-50.0, 50.0), (-10.0, 55.0), (-45.0, 20.0))
"""Neighbourhood of both hippocampi: LPS mm of the template."""
_STARTS = ((0.0, 0.0), (0.0, -0.3), (0.0, 0.3), (-22.0, 0.0), (22.0, 0.0))
"""Shift along the body (mm) and nod (radians) that are tried."""
_SEED = 20261130
_STEP_MM = 2.0
_BRAIN = 20.0
"""Grey level of the template above which it is brain."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A head in the template. ``to_head``: 4 x 4, template LPS mm -> the head's LPS mm. ``likeness``: correlation of
    head and template within the brain, -1 to 1. ``scale``: volume of the head's brain to the template's. ``turned``:
    degrees from upright.
    """

    to_head: np.ndarray
    likeness: float
    scale: float
    turned: float

    def grid(self, side: str, shape: tuple[int, ...], middle: np.ndarray | None = None) -> np.ndarray:
        """Return the affine of a 1 mm crop of ``shape`` around the hippocampus of ``side``: index -> the head's LPS mm.

        Its axes are the template's, turned as the head is but neither stretched nor sheared, so that a voxel is 1 mm3.
        They grow to R, A and S; on the right to L, A and S: there a mirrored crop shows the handedness the network
        knows. ``middle``: LPS mm of its middle, the template's place where None.
        """
        turn = _rotation(self.to_head[:3, :3])
        across = -1.0 if side == "left" else 1.0
        axes = turn @ np.diag([across, -1.0, 1.0])
        centre = self.to_head[:3, :3] @ np.array(CENTRES[side]) + self.to_head[:3, 3] if middle is None else middle
        affine = np.eye(4)
        affine[:3, :3] = axes
        affine[:3, 3] = centre - axes @ ((np.array(shape) - 1) / 2)
        return affine


def place(volume: Volume) -> Placed | None:
    """Return the head of ``volume`` in the template; None where there is no body to begin with."""
    start = _top_of_head(volume)
    if start is None:
        return None
    # More threads would add the same numbers in another order each time.
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        return _placed(volume, start)
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _placed(volume: Volume, start: np.ndarray) -> Placed:
    fixed, mask, near = _template()
    moving = _coarse(volume)
    best = min((_rigid(fixed, mask, moving, start, *one) for one in _STARTS), key=lambda pair: pair[1])[0]
    affine = sitk.AffineTransform(3)
    affine.SetCenter(best.GetCenter())
    affine.SetMatrix(best.GetMatrix())
    affine.SetTranslation(best.GetTranslation())
    _refine(fixed, mask, moving, affine, (2, 1), 0.25)
    whole = _likeness(fixed, moving, affine)
    scale = float(np.linalg.det(np.array(affine.GetMatrix()).reshape(3, 3)))
    _refine(fixed, near, moving, affine, (1,), 0.5)
    matrix = np.array(affine.GetMatrix()).reshape(3, 3)
    centre = np.array(affine.GetCenter())
    to_head = np.eye(4)
    to_head[:3, :3] = matrix
    to_head[:3, 3] = np.array(affine.GetTranslation()) + centre - matrix @ centre
    turn = _rotation(matrix)
    degrees = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    return Placed(to_head, whole, scale, degrees)


def template_path() -> Path:
    """Return the template's file. Found without importing nilearn, which takes seconds."""
    spec = find_spec("nilearn")
    path = Path((spec.submodule_search_locations or [""])[0]) / TEMPLATE if spec else None
    if path is None or not path.is_file():
        raise BadInput("The MNI template isn't installed.", "Install the package nilearn again.")
    return path


@cache
def _template() -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """The template at ``_STEP_MM``, its brain with a margin, and the neighbourhood of the hippocampi."""
    whole = sitk.Cast(sitk.ReadImage(str(template_path())), sitk.sitkFloat32)
    fixed = _resampled(sitk.SmoothingRecursiveGaussian(whole, 0.7), _STEP_MM)
    brain = ndimage.binary_dilation(sitk.GetArrayFromImage(fixed) > _BRAIN, iterations=3)
    mask = _like(brain, fixed)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in brain.shape), indexing="ij"), axis=-1)[..., ::-1]
    direction = np.array(fixed.GetDirection()).reshape(3, 3) * np.array(fixed.GetSpacing())
    lps = index @ direction.T + np.array(fixed.GetOrigin())
    inside = np.ones(brain.shape, bool)
    for axis, (low, high) in enumerate(_NEAR):
        inside &= (lps[..., axis] >= low) & (lps[..., axis] <= high)
    return fixed, mask, _like(inside & brain, fixed)


def _like(mask: np.ndarray, image: sitk.Image) -> sitk.Image:
    made = sitk.GetImageFromArray(mask.astype(np.uint8))
    made.CopyInformation(image)
    return made


def image_of(volume: Volume) -> sitk.Image:
    """Return a regular volume as SimpleITK's image, float32, places in LPS mm."""
    image = sitk.GetImageFromArray(np.asarray(volume.array, np.float32))
    spacing = np.linalg.norm(volume.affine[:3, :3], axis=0)
    image.SetSpacing([float(v) for v in spacing])
    image.SetDirection([float(v) for v in (volume.affine[:3, :3] / spacing).ravel()])
    image.SetOrigin([float(v) for v in volume.affine[:3, 3]])
    return image


def _coarse(volume: Volume) -> sitk.Image:
    """The head at about ``_STEP_MM``, blurred first as far as it is finer; its brightest thousandth cut off."""
    image = image_of(volume)
    top = float(np.percentile(volume.array[::2, ::2, ::2], 99.8))
    image = sitk.Clamp(image, sitk.sitkFloat32, 0.0, max(top, 1e-6))
    for axis, step in enumerate(image.GetSpacing()):
        if step < 0.75 * _STEP_MM:
            image = sitk.RecursiveGaussian(
                image, 0.4 * _STEP_MM, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis
            )
    return _resampled(image, _STEP_MM)


def _resampled(image: sitk.Image, step_mm: float) -> sitk.Image:
    size = [max(1, round(n * s / step_mm)) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    shift = [(step_mm - s) / 2 for s in image.GetSpacing()]
    origin = np.array(image.GetOrigin()) + np.array(image.GetDirection()).reshape(3, 3) @ np.array(shift)
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, [float(v) for v in origin], [step_mm] * 3,
        image.GetDirection(), 0.0,
    )  # fmt: skip


def _top_of_head(volume: Volume) -> np.ndarray | None:
    """LPS mm of about the middle of the brain: below the top of the body, in the middle of its uppermost part."""
    coarse = along_patient(volume, 4.0)
    values = np.ascontiguousarray(coarse.array)
    body = body_mask(values, float(values.mean()))
    planes = np.flatnonzero(body.sum(axis=(1, 2)) * 16.0 > 1500)
    if len(planes) < 10:
        return None
    upper = body[max(0, int(planes[-1] - 150 / coarse.spacing_mm[0])) : planes[-1] + 1]
    _, y, x = ndimage.center_of_mass(upper)
    return coarse.to_lps(np.array([planes[-1] - _BELOW_TOP_MM / coarse.spacing_mm[0], y, x]))


def _method(fixed_mask: sitk.Image, share: float) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(fixed_mask)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(share, _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _rigid(
    fixed: sitk.Image, mask: sitk.Image, moving: sitk.Image, start: np.ndarray, along: float, nod: float
) -> tuple[sitk.Euler3DTransform, float]:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(_MIDDLE)
    transform.SetRotation(nod, 0.0, 0.0)
    transform.SetTranslation([float(v) for v in start - np.array(_MIDDLE) + np.array([0.0, 0.0, along])])
    method = _method(mask, 0.1)
    method.SetOptimizerAsRegularStepGradientDescent(4.0, 0.2, 40, relaxationFactor=0.6)
    method.SetShrinkFactorsPerLevel([3])
    method.SetSmoothingSigmasPerLevel([3.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(transform, True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # nothing of the head is left under the template
        return transform, float("inf")
    return transform, float(method.GetMetricValue())


def _refine(
    fixed: sitk.Image, mask: sitk.Image, moving: sitk.Image, affine: sitk.AffineTransform,
    shrink: tuple[int, ...], share: float,
) -> None:  # fmt: skip
    method = _method(mask, share)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.02, 60, relaxationFactor=0.6)
    method.SetShrinkFactorsPerLevel(list(shrink))
    method.SetSmoothingSigmasPerLevel([1.5 * (n - 1) for n in shrink])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    method.SetInitialTransform(affine, True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # stays where it was; the likeness then says so
        return


def _likeness(fixed: sitk.Image, moving: sitk.Image, affine: sitk.Transform) -> float:
    """Correlation over the template's brain."""
    there = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, affine, sitk.sitkLinear, 0.0))
    here = sitk.GetArrayFromImage(fixed)
    inside = here > _BRAIN
    a, b = here[inside], there[inside]
    if a.std() < 1e-6 or b.std() < 1e-6:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest to a matrix (polar decomposition)."""
    u, _, v = np.linalg.svd(matrix)
    return np.asarray(u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v)
