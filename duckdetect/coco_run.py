"""pycocotools on a data set and detections, for boxes or for masks.

    evaluation = run_coco(dataset, detections)  # evaluation.stats, evaluation.eval

What its results mean is said in metrics.py.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from duckdetect.masks import Rle, area, to_rle
from duckdetect.matching import score_and_class, to_xywh

if TYPE_CHECKING:
    from supervision import Detections

    from duckdetect.datasets import Dataset


def run_coco(
    dataset: Dataset,
    detections: Sequence[Detections],
    masks: Sequence[list[Rle] | None] | None = None,
    all_sizes_only: bool = False,
) -> COCOeval:
    """Run pycocotools, quietly, on ids of our own: it takes annotation id 0 for "not matched".

    Args:
        dataset: The truth.
        detections: One Detections for each of `dataset.samples`, in that order.
        masks: Each picture's masks, one for each detection, to compare these instead of boxes;
            None for a picture without detections.
        all_sizes_only: Leave out what concerns small, medium and large objects, and the summary.

    Raises:
        ValueError: If these do not fit together.
    """
    if len(detections) != len(dataset.samples):
        raise ValueError(f"{len(detections)} detections for {len(dataset.samples)} pictures")
    written = dataset.to_coco()
    images = {image["id"]: (index, image) for index, image in enumerate(written["images"], 1)}
    truth = []
    for number, box in enumerate(written["annotations"], 1):
        picture, image = images[box["image_id"]]
        row = {
            "area": box["bbox"][2] * box["bbox"][3],
            "iscrowd": 0,
            **{key: box[key] for key in ("bbox", "area", "iscrowd", "category_id") if key in box},
            "image_id": picture,
            "id": number,
        }
        if masks is not None:
            row.update(_true_mask(box, (image["height"], image["width"])))
        truth.append(row)
    found: list[dict[str, Any]] = []
    for picture, one in enumerate(detections, start=1):
        score, class_id = score_and_class(one)
        rles = None if masks is None else masks[picture - 1]
        if masks is not None and rles is None and len(one):
            raise ValueError("some detections have masks, others have none")
        for row_number, (x, y, w, h) in enumerate(to_xywh(one.xyxy).tolist()):
            found.append(
                {
                    "id": len(found) + 1,
                    "image_id": picture,
                    "category_id": int(class_id[row_number]) + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "score": float(score[row_number]),
                }
            )
            if rles is not None:
                rle = rles[row_number]
                image = written["images"][picture - 1]
                if rle["size"] != [image["height"], image["width"]]:
                    raise ValueError(f"a mask of {rle['size']} in {image['file_name']}")
                found[-1].update(segmentation=rle, area=area(rle))
    with contextlib.redirect_stdout(io.StringIO()):
        coco_truth, coco_found = (
            _coco(dataset, written["images"], rows) for rows in (truth, found)
        )
        evaluation = COCOeval(coco_truth, coco_found, "bbox" if masks is None else "segm")
        if all_sizes_only:
            evaluation.params.areaRng = evaluation.params.areaRng[:1]
            evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
            evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
        if not all_sizes_only:
            evaluation.summarize()
    return evaluation


def _true_mask(box: dict[str, Any], size_hw: tuple[int, int]) -> dict[str, Any]:
    """A labelled box's mask; a box without one is nothing to find and swallows what lies in it."""
    rle = to_rle(box["segmentation"], size_hw) if box.get("segmentation") else None
    if rle is not None and area(rle):
        return {"segmentation": rle}
    x, y, w, h = box["bbox"]
    rectangle = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {"segmentation": to_rle(rectangle, size_hw), "iscrowd": 1}


def _coco(
    dataset: Dataset, images: list[dict[str, Any]], annotations: list[dict[str, Any]]
) -> COCO:
    coco = COCO()
    coco.dataset = {
        "images": [{**image, "id": index} for index, image in enumerate(images, 1)],
        "categories": [{"id": k + 1, "name": name} for k, name in enumerate(dataset.classes)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco
