from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
from PIL import Image

from node.imaging.decode import configure_pillow
from node.imaging.pixels import configure_decoders
from node.imaging.pool import ImagingPool
from tests.node.kept_imaging import kept_imaging


@pytest.fixture(scope="module")
def limits_of_a_worker() -> Iterator[None]:
    """Set Pillow's limits in this process, as every worker does in its own."""
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        configure_pillow()
        configure_decoders()
        yield
    Image.MAX_IMAGE_PIXELS = before


@pytest.fixture
async def pool() -> ImagingPool:
    """A started pool of two workers."""
    return await kept_imaging()
