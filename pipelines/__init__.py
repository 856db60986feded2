"""The commands, and `predict` for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.prediction.predict import predict
    from pipelines.prediction.prediction import Prediction

__all__ = ["Prediction", "predict"]


def __getattr__(name: str) -> Any:
    # PyTorch takes seconds to import, and few commands need it.
    if name in __all__:
        from pipelines.prediction import predict as module

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
