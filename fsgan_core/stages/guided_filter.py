"""The guided filter: a matte whose edges lie on those of a picture."""

from __future__ import annotations

import cv2
import numpy as np

from fsgan_core.runtime.arrays import AnyArray, Image, Matte


def apply_guided_filter(matte: Matte, guide: Image, full_guide: Image, radius: int, epsilon: float) -> Matte:
    """Enlarge a matte so that its edges lie on those of a picture.

    This is the fast guided filter with a colour guide (He, Sun, Tang 2010; He, Sun 2015).

    Args:
        matte: On the small raster.
        guide: The picture on the small raster, where the filter is fitted.
        full_guide: The picture on the large raster, where it is applied.
        radius: Of the filter's window, in pixels of the small raster.
        epsilon: Variance of the guide below which it counts as flat.

    Returns:
        The matte on the large raster.
    """
    size = (2 * radius + 1, 2 * radius + 1)

    def blur_box(x: AnyArray) -> AnyArray:
        return np.asarray(cv2.blur(x, size, borderType=cv2.BORDER_REFLECT))

    def measure_covariance(one: int, other: int) -> AnyArray:
        return np.asarray(blur_box(planes[one] * planes[other]) - means[one] * means[other])

    planes = [*cv2.split(guide), matte]
    means = [blur_box(plane) for plane in planes]
    flat = np.float32(epsilon)
    # Three equations in each pixel, solved by elimination: first the channels among each other, then the matte.
    red, green, blue, target = range(4)
    first = measure_covariance(red, red) + flat
    green_by_red, blue_by_red = measure_covariance(red, green) / first, measure_covariance(red, blue) / first
    second = measure_covariance(green, green) + flat - green_by_red * green_by_red * first
    blue_by_green = (measure_covariance(green, blue) - green_by_red * blue_by_red * first) / second
    third = (
        measure_covariance(blue, blue)
        + flat
        - blue_by_red * blue_by_red * first
        - blue_by_green * blue_by_green * second
    )
    along_red = measure_covariance(red, target)
    along_green = measure_covariance(green, target) - green_by_red * along_red
    along_blue = measure_covariance(blue, target) - blue_by_red * along_red - blue_by_green * along_green
    of_blue = along_blue / third
    of_green = along_green / second - blue_by_green * of_blue
    of_red = along_red / first - green_by_red * of_green - blue_by_red * of_blue
    offset = means[target] - of_red * means[red] - of_green * means[green] - of_blue * means[blue]
    fitted = cv2.merge([blur_box(plane) for plane in (of_red, of_green, of_blue, offset)])
    *slopes, level = cv2.split(cv2.resize(fitted, full_guide.shape[1::-1], interpolation=cv2.INTER_LINEAR))
    products = [slope * plane for slope, plane in zip(slopes, cv2.split(full_guide), strict=True)]
    result = products[red] + products[green] + products[blue] + level
    return np.asarray(np.clip(result, 0, 1), np.float32)
