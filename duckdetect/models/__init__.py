"""Base detectors behind two interfaces, one-stage and two-stage."""

from __future__ import annotations

from duckdetect.utils.lazy import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "fetch": "duckdetect.models.weights",
        "list_bases": "duckdetect.models.weights",
        "spec_for": "duckdetect.models.catalog",
    },
)
