"""The house's own rules: who may import whom, what loads when, and which versions it stands on."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "duckdetect"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """Absolute names of what is imported, submodules taken by `from package import module` too."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where a name comes from"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def at_start(tree: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: not in functions, nor under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from at_start(node)


# The rooms of the house, from left to right (docs/architecture.md).
ROOMS = (
    "utils", "imaging", "video", "data", "models", "inference", "evaluation", "training", "export",
    "report", "annotation", "notebook", "demo", "cli",
)  # fmt: skip
# May be imported from everywhere.
OPEN = {"errors", "_version"}


def room_of(name: str) -> str:
    """`duckdetect.data.loading` is in the room `data`; the package itself is in none."""
    return name.split(".")[1] if "." in name else ""


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_its_own_room_and_rooms_to_its_left(name: str) -> None:
    """At start, in functions and for types alike."""
    room = room_of(name)
    if room in {"", "__main__", *OPEN}:
        return
    assert room in ROOMS, "a room that the import rule does not know"
    allowed = {room, *ROOMS[: ROOMS.index(room)], *OPEN}
    for module in imported(ast.walk(TREES[name])) & MODULES.keys():
        # The command line and the demo are users of the public face.
        public = module == "duckdetect" and room in ("cli", "demo")
        assert public or room_of(module) in allowed | {""}, f"{name} imports {module}"


def test_no_module_imports_itself_through_others() -> None:
    edges = {
        name: (imported(at_start(tree)) & MODULES.keys()) - {"duckdetect", name}
        for name, tree in TREES.items()
    }
    # `from package.room import module` names the room too, whose __init__ may import its modules.
    edges = {
        name: {m for m in targets if not name.startswith(f"{m}.")}
        for name, targets in edges.items()
    }
    while leaves := [name for name, targets in edges.items() if not targets & edges.keys()]:
        for name in leaves:
            del edges[name]
    assert not edges, f"a cycle among {sorted(edges)}"


def test_only_models_tfod_knows_the_object_detection_api() -> None:
    engines = {"object_detection", "official", "tf_slim"}
    for name, tree in TREES.items():
        roots = {module.partition(".")[0] for module in imported(ast.walk(tree))}
        if (
            not name.startswith("duckdetect.models.tfod")
            and name != "duckdetect.annotation.colab_widget"
        ):
            assert not roots & engines, name


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_are_for(name: str) -> None:
    assert ast.get_docstring(TREES[name]), "no docstring"


@pytest.mark.parametrize("name", MODULES)
def test_library_code_does_not_print_or_exit(name: str) -> None:
    if name.startswith(("duckdetect.cli", "duckdetect.__main__")):
        return
    calls = [ast.unparse(n.func) for n in ast.walk(TREES[name]) if isinstance(n, ast.Call)]
    assert not {"print", "sys.exit", "exit", "quit", "os._exit"} & set(calls)


def test_every_package_that_is_imported_is_asked_for() -> None:
    """By us, or by supervision, whose versions the lock file and requirements-colab.txt pin."""
    names = {canonicalize_name(r.name) for r in requirements()}
    along = map(Requirement, importlib.metadata.requires("supervision") or [])
    names |= {canonicalize_name(r.name) for r in along if r.marker is None}
    names |= {"object-detection", "official"}  # requirements-odapi.txt, without dependencies
    names |= {"roboflow"}  # an extra
    # The extra `export`; flatbuffers is TensorFlow's and LiteRT's.
    names |= {"ai-edge-litert", "ai-edge-quantizer", "onnx", "onnxruntime", "tf2onnx"}
    names |= {"flatbuffers"}
    names |= {"ray", "pyarrow"}  # the extra `bulk`
    names |= {"urllib3"}  # what requests is made of
    names |= {"fonttools"}  # what matplotlib and fpdf2 read fonts with
    names |= {"ipython", "ipywidgets", "traitlets", "anywidget", "google"}  # a notebook's
    known = {
        "PIL": "pillow",
        "yaml": "pyyaml",
        "cv2": "opencv-python-headless",
        "fpdf": "fpdf2",
    }
    missing = set()
    for name, tree in TREES.items():
        for module in imported(ast.walk(tree)):
            root = module.partition(".")[0]
            if root in sys.stdlib_module_names | {"duckdetect"}:
                continue
            if canonicalize_name(known.get(root, root)) not in names:
                missing.add(f"{root} in {name}")
    assert not missing


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    # `import duckdetect` in this process has chosen a Keras for its children.
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, cwd=ROOT, check=False, timeout=300, env=environment,
    )  # fmt: skip


@pytest.mark.parametrize("module", ["duckdetect", "duckdetect.cli.app"])
def test_start_loads_nothing_heavy(module: str) -> None:
    heavy = ["tensorflow", "tf_keras", "matplotlib", "supervision", "albumentations", "cv2"]
    run = run_python(f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])")
    assert run.stdout == "[]\n", run.stderr


@pytest.mark.parametrize(
    ("call", "others"),
    [
        ("dd.data.check_dataset(data); dd.load_dataset(data, 'train')", ["duckdetect.models"]),
        (
            "from duckdetect.cli.app import main; assert main(['check', data]) == 0",
            ["duckdetect.models.weights"],
        ),
    ],
    ids=["from Python", "from the command line"],
)
def test_reading_a_data_set_loads_neither_a_model_nor_tensorflow(
    call: str, others: list[str], project_data: Path
) -> None:
    unwanted = ["tensorflow", "tf_keras", "pip", "duckdetect.training.finetune", *others]
    run = run_python(
        "import sys, duckdetect as dd\n"
        f"data = {str(project_data / 'ducks')!r}\n{call}\n"
        f"print([m for m in {unwanted} if m in sys.modules])"
    )
    assert run.stdout.endswith("[]\n"), run.stdout + run.stderr


PUBLIC = {
    "annotate", "train", "finetune", "evaluate", "detect", "write_report", "load_dataset",
    "load_detector", "DataWarning", "Dataset", "Sample", "Detector", "TrainConfig", "TrainRun", "Metrics",
    "Evaluation", "UserError", "data", "models", "notebook", "__version__",
}  # fmt: skip
# What 0.1.0 offered beside these.
OLD = (
    "Run", "annotated", "check_dataset", "convert_dataset", "describe_dataset", "download_roboflow",
    "evaluate_run", "fetch", "is_colab", "label_sheet", "list_bases", "load_picture",
    "load_training", "require_annotations", "split_dataset", "workspace",
)  # fmt: skip


def test_the_public_names_are_there_and_have_docstrings() -> None:
    import duckdetect

    assert set(duckdetect.__all__) == set(dir(duckdetect)) == PUBLIC
    for name in PUBLIC - {"__version__"}:
        assert getattr(duckdetect, name).__doc__
    for room in (duckdetect.data, duckdetect.models, duckdetect.notebook):
        for name in dir(room):
            assert getattr(room, name).__doc__, f"{room.__name__}.{name}"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = duckdetect.nothing
    with pytest.raises(AttributeError, match="no attribute 'evalute': did you mean evaluate"):
        _ = duckdetect.evalute


@pytest.mark.parametrize("name", OLD)
def test_names_of_0_1_0_work_and_say_what_to_use(name: str) -> None:
    import duckdetect

    with pytest.warns(
        DeprecationWarning, match=rf"duckdetect\.{name} will be removed .*: use duck"
    ):
        assert callable(getattr(duckdetect, name))


def test_keras_after_tensorflow_is_the_legacy_one() -> None:
    code = "import tensorflow as tf; import duckdetect; print(tf.keras.layers.Dense.__module__)"
    run = run_python(code)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("tf_keras")


def test_keras_3_that_is_already_loaded_is_a_clear_error() -> None:
    run = run_python("import tensorflow as tf; tf.keras.layers.Dense; import duckdetect")
    assert run.returncode == 1
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("duckdetect.errors.UserError: Keras 3 is already loaded")
    assert "restart the runtime and run `import duckdetect`" in last


def requirements() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


@pytest.fixture(scope="module")
def colab(shared_data: Path) -> dict[str, Version]:
    """What a Colab runtime has installed."""
    found = sorted((shared_data / "colab").glob("pip-freeze-*.txt"))
    if not found:
        pytest.skip("needs ../shared/data/colab/pip-freeze-*.txt: what Colab has installed")
    versions = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", found[-1].read_text(), re.MULTILINE):
        try:
            versions[canonicalize_name(name)] = Version(version)
        except InvalidVersion:
            continue
    assert len(versions) > 100
    return versions


# What the notebook installs, as Colab does not have it.
BROUGHT = ("supervision", "av", "fpdf2", "pi-heif")


def test_colabs_versions_satisfy_ours(colab: dict[str, Version]) -> None:
    for requirement in requirements():
        name = canonicalize_name(requirement.name)
        if name not in BROUGHT:
            assert name in colab, f"{name} is not in Colab: it would be installed"
            assert requirement.specifier.contains(colab[name], prereleases=True), requirement


@pytest.mark.parametrize("package", BROUGHT)
def test_what_is_brought_replaces_nothing_of_colab(colab: dict[str, Version], package: str) -> None:
    try:
        wanted = importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"needs {package}, which requirements-dev.txt installs")
    for requirement in map(Requirement, wanted):
        # Markers are judged for no extra; Colab's Python is a tested one.
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = colab.get(canonicalize_name(requirement.name))
        if version is not None:
            assert requirement.specifier.contains(version, prereleases=True), requirement
