"""Pictures for the report of a build, where there is something to draw with."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lpbf_dataset.build.documents import Thumbnail

logger = logging.getLogger(__name__)


def thumbnail_or_none() -> Thumbnail | None:
    """Return what draws a case, or None without the ``viz`` extra or without OpenGL."""
    try:
        from viz.rendering import RenderingError, prepare_offscreen
        from viz.thumbnails import thumbnail
    except ModuleNotFoundError as error:
        logger.info("the report goes without pictures: %s", error)
        return None
    try:
        prepare_offscreen()
    except RenderingError as error:
        logger.info("the report goes without pictures: %s", error)
        return None
    return thumbnail
