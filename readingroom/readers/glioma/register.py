"""Bring the post-contrast series onto the FLAIR where they share no frame of reference: rigid, by mutual information.

Mattes 2003 (IEEE TMI 22:120); SimpleITK, imported only where it is needed.
"""

import numpy as np

from readingroom.imaging.resample import Region, along_patient
from readingroom.imaging.volume import Volume

_STEP_MM = 3.0
_LEAST_INFORMATION = 0.15
"""Mutual information (nats) under which the two are called not to fit: unlike heads stay below."""


def moved_onto(flair: Volume, post: Volume) -> np.ndarray | None:
    """Return the 4 x 4 map of LPS mm in the frame of ``flair`` to LPS mm in that of ``post``; None where they do not
    fit. On coarse copies, begun with the middles laid on each other: seconds."""
    import SimpleITK as sitk  # noqa: N813 (its usual name)

    fixed, moving = (_image(along_patient(volume, _STEP_MM)) for volume in (flair, post))
    begin = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.01, 100)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(begin, inPlace=False)
    try:
        found = method.Execute(fixed, moving)
    except RuntimeError:  # nothing of the two lies on each other
        return None
    if -method.GetMetricValue() < _LEAST_INFORMATION:
        return None
    moved = np.eye(4)
    corners = np.array([found.TransformPoint(p) for p in ((0.0, 0, 0), (1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0))])
    moved[:3, 3] = corners[0]
    moved[:3, :3] = (corners[1:] - corners[0]).T
    return moved


def _image(region: Region):  # type: ignore[no-untyped-def]
    """A SimpleITK image of a region: its physical points are LPS mm."""
    import SimpleITK as sitk  # noqa: N813 (its usual name)

    image = sitk.GetImageFromArray(np.ascontiguousarray(region.array, np.float32))
    affine, spacing = region.to_lps_affine, np.array(region.spacing_mm)
    image.SetSpacing([float(s) for s in spacing[::-1]])
    image.SetOrigin([float(v) for v in affine[:3, 3]])
    image.SetDirection([float(v) for v in (affine[:3, :3] / spacing)[:, ::-1].ravel()])
    return image
