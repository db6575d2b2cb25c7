"""Labelled images: read, check, split, convert, augment."""

from __future__ import annotations

from duckdetect.utils.lazy import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "check_dataset": "duckdetect.data.check",
        "convert_dataset": "duckdetect.data.convert",
        "describe_dataset": "duckdetect.data.loading",
        "download_roboflow": "duckdetect.data.sources",
        "Problem": "duckdetect.data.dataset",
        "ReadOptions": "duckdetect.data.dataset",
        "label_sheet": "duckdetect.data.contact_sheet",
        "left_over": "duckdetect.data.check",
        "list_images": "duckdetect.imaging.io",
        "load_dataset": "duckdetect.data.loading",
        "load_image": "duckdetect.imaging.io",
        "load_training": "duckdetect.data.loading",
        "read_options": "duckdetect.data.dataset",
        "strict": "duckdetect.data.dataset",
        "outline_dataset": "duckdetect.data.outline",
        "penn_fudan": "duckdetect.data.sources",
        "split_dataset": "duckdetect.data.split",
        "view_sheet": "duckdetect.data.contact_sheet",
    },
)
