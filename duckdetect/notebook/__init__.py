"""What the cells of model.ipynb and people.ipynb call, so that no logic stands in the notebooks.

    project = notebook.set_up("transfer_learning_project")       # machine, Drive, cache of weights
    pictures = notebook.choose_pictures(project, "sample ducks")
    base = notebook.choose_base("retinanet50")

Each call says below its cell what it chose and why.
"""

from __future__ import annotations

from duckdetect.utils.lazy import lazy_names

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Data": "duckdetect.notebook.inputs",
        "Pictures": "duckdetect.notebook.inputs",
        "annotated": "duckdetect.annotation.annotate",
        "change_classes": "duckdetect.notebook.inputs",
        "check_data": "duckdetect.notebook.inputs",
        "check_labels": "duckdetect.notebook.display",
        "choose_base": "duckdetect.notebook.environment",
        "choose_data": "duckdetect.notebook.inputs",
        "choose_pictures": "duckdetect.notebook.inputs",
        "choose_video": "duckdetect.notebook.inputs",
        "correct": "duckdetect.annotation.correct",
        "class_names": "duckdetect.notebook.environment",
        "dated_folder": "duckdetect.notebook.inputs",
        "ducky_photos": "duckdetect.data.sources",
        "export_run": "duckdetect.notebook.display",
        "is_colab": "duckdetect.utils.environment",
        "latest_run": "duckdetect.notebook.environment",
        "measure": "duckdetect.notebook.display",
        "measure_split": "duckdetect.notebook.display",
        "new_pictures": "duckdetect.notebook.inputs",
        "outline_data": "duckdetect.notebook.inputs",
        "rank": "duckdetect.annotation.suggestions",
        "require_annotations": "duckdetect.annotation.annotate",
        "run_folder": "duckdetect.notebook.environment",
        "sample_pictures": "duckdetect.data.sources",
        "say_result": "duckdetect.notebook.display",
        "set_up": "duckdetect.notebook.environment",
        "show_animation": "duckdetect.notebook.display",
        "keep_animation": "duckdetect.notebook.display",
        "keep_threshold": "duckdetect.notebook.display",
        "show_found": "duckdetect.notebook.display",
        "show_history": "duckdetect.notebook.display",
        "show_labels": "duckdetect.notebook.display",
        "show_views": "duckdetect.notebook.display",
        "show_report": "duckdetect.notebook.display",
        "show_tensorboard": "duckdetect.notebook.display",
        "split_data": "duckdetect.notebook.inputs",
        "suggest": "duckdetect.annotation.suggestions",
        "suggestion_sheet": "duckdetect.annotation.suggestions",
        "train_again": "duckdetect.notebook.again",
        "workspace": "duckdetect.notebook.environment",
    },
)
