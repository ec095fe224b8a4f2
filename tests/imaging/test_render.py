"""Rendered frames: windows by the standard's own formulas, inversion, colour, size."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels import apply_windowing

from readingroom.core.errors import BadInput
from readingroom.imaging.projection import pixel_size
from readingroom.imaging.render import Window, render, render_jpeg, render_png

Make = Callable[..., list[Dataset]]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(40, 400), (-600, 1500), (500.5, 1)])
def test_windows_match_pydicom(make_series: Make, function: str, centre: float, width: float) -> None:
    ds = make_series(slices=1)[0]
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = centre, width, function
    values = ds.pixel_array.astype(float) - 1024
    expected = apply_windowing(values, ds)
    # pydicom scales to the range of the stored bits.
    low, high = -1024, 4095 - 1024
    expected = (expected - low) / (high - low)
    found = Window(centre, width, function).apply(values)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, atol=0.01)
    shown = np.asarray(render(ds)) / 255
    np.testing.assert_allclose(shown, found, atol=0.01)


def test_monochrome1_is_inverted_once(make_series: Make) -> None:
    ds = make_series(slices=1)[0]
    window = Window(0, 1500)
    plain = np.asarray(render(ds, 1, window)).astype(int)
    ds.PhotometricInterpretation = "MONOCHROME1"
    np.testing.assert_allclose(np.asarray(render(ds, 1, window)), 255 - plain, atol=1)
    ds.PresentationLUTShape = "INVERSE"
    np.testing.assert_allclose(np.asarray(render(ds, 1, window)), 255 - plain, atol=1)


def test_voi_lut_sequence_is_used_unless_a_window_is_asked_for(make_series: Make) -> None:
    ds = make_series(slices=1)[0]
    lut = Dataset()
    lut.LUTDescriptor = [2, -500, 8]
    lut["LUTDescriptor"].VR = "SS"
    lut.LUTData = [10, 250]
    lut["LUTData"].VR = "US"
    ds.VOILUTSequence = [lut]
    shown = np.asarray(render(ds))
    values = ds.pixel_array.astype(int) - 1024
    assert set(np.unique(shown)) == {10, 250}
    assert (shown[values > -500] == 250).all()
    assert len(np.unique(np.asarray(render(ds, 1, Window(0, 2000))))) > 50


def test_png_and_jpeg_open_and_size_only_shrinks(make_series: Make) -> None:
    ds = make_series(slices=1)[0]
    picture = Image.open(io.BytesIO(render_png(ds, size=(16, 16))))
    assert (picture.format, picture.size, picture.mode) == ("PNG", (16, 16), "L")
    picture = Image.open(io.BytesIO(render_jpeg(ds, size=(999, 999))))
    assert (picture.format, picture.size) == ("JPEG", (32, 32))


def test_impossible_windows_and_frames_are_refused(make_series: Make) -> None:
    for centre, width in ((0, 0), (float("nan"), 100), (0, float("inf"))):
        with pytest.raises(BadInput):
            Window(centre, width)
    with pytest.raises(BadInput):
        render(make_series(slices=1)[0], frame=2)


def test_colour_images_come_out_as_rgb(shared_data: Path) -> None:
    folder = shared_data / "dicom_interop" / "orthanc"
    palette = render(folder / "Implicit-vr-us-palette.dcm")
    ycbcr = render(folder / "TransferSyntaxes" / "1.2.840.10008.1.2.4.50.dcm")
    assert palette.mode == ycbcr.mode == "RGB"
    # A colour Lena is reddish: channels in the wrong order or left as YBR would not be.
    lena = np.asarray(render(folder / "Encodings" / "Lena-ascii.dcm")).reshape(-1, 3).mean(axis=0)
    assert lena[0] > lena[2] > lena[1] or lena[0] > 150 > lena[1]


def test_projection_pixel_sizes_say_where_they_come_from() -> None:
    ds = Dataset()
    assert pixel_size(ds) == (None, "unknown")
    ds.PixelSpacing = [0.15, 0.15]
    assert pixel_size(ds) == (None, "unknown")
    ds.ImagerPixelSpacing = [0.2, 0.2]
    assert pixel_size(ds) == ((0.15, 0.15), "calibrated")
    ds.PixelSpacing = [0.2, 0.2]
    assert pixel_size(ds) == ((0.2, 0.2), "imager")
    ds.PixelSpacingCalibrationType = "FIDUCIAL"
    assert pixel_size(ds) == ((0.2, 0.2), "calibrated")
