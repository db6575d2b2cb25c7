"""Whose detector is this, and what could it do? A SavedModel is a program that TensorFlow runs.

    check_operations(folder)          # refuses one that reads or writes files, calls Python, prints ...
    with required(unless=False): ...  # the command line: only those that are trusted are loaded
    remember(folder)                  # what `Detector.save` does, and `--trust`

A folder is here the one that `load_detector` loads, in which detector.json lies. Trusted detectors are
remembered by their SHA-256 in the cache, so that a copy elsewhere is known and a
changed one is not.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from duckdetect.errors import UserError
from duckdetect.utils.files import atomic_path, cache_folder, folder_sha256
from duckdetect.utils.locks import folder_lock
from duckdetect.utils.progress import stream
from duckdetect.utils.reading import read_bytes
from duckdetect.utils.terminal import printable

_LIST = "trusted-detectors.txt"

# Who calls Python functions has decided what to load; the command line asks.
_POLICY: ContextVar[Literal["load", "refuse", "remember"]] = ContextVar("policy", default="load")

# What detectors are made of: numbers in, numbers out. A list of what is not would have holes: many of
# TensorFlow's 1,500 operations read or write files, call Python or reach the network.
_OPERATIONS = frozenset(
    """
    Abs AccumulateNV2 Acos Acosh Add AddN AddV2 AdjustContrastv2 AdjustHue AdjustSaturation All Any
    ApproximateEqual ArgMax ArgMin Asin Asinh Assert Atan Atan2 Atanh AvgPool AvgPool3D BatchMatMul
    BatchMatMulV2 BatchMatMulV3 BatchToSpace BatchToSpaceND BiasAdd BiasAddV1 Bincount Bitcast
    BitwiseAnd BitwiseOr BitwiseXor BroadcastArgs BroadcastTo Bucketize Case Cast Ceil CheckNumerics
    CheckNumericsV2 ClipByValue CombinedNonMaxSuppression Concat ConcatOffset ConcatV2 Conj Const Conv
    Conv2D Conv2DBackpropInput Conv3D Cos Cosh CropAndResize Cross Cumprod Cumsum CumulativeLogsumexp
    DenseBincount DepthToSpace DepthwiseConv2dNative Diag DiagPart Digamma Dilation2D Div DivNoNan
    DynamicPartition DynamicStitch Einsum Elu EmptyTensorList EnsureShape Equal Erf Erfc Erfinv
    EuclideanNorm Exp ExpandDims Expm1 ExtractImagePatches FakeQuantWithMinMaxArgs
    FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv FloorMod
    FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FusedPadConv2D Gather GatherNd GatherV2
    GenerateBoundingBoxProposals Greater GreaterEqual HSVToRGB HistogramFixedWidth Identity IdentityN If
    ImageProjectiveTransformV3 InTopK InTopKV2 Inv Invert InvertPermutation IsFinite IsInf IsNan L2Loss
    LRN LeakyRelu LeftShift Less LessEqual Lgamma LinSpace ListDiff Log Log1p LogSoftmax LogicalAnd
    LogicalNot LogicalOr LowerBound MatMul MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV3
    MatrixDiagV3 MatrixSetDiagV3 Max MaxPool MaxPoolV2 MaxPoolWithArgmax Maximum Mean Min Minimum
    MirrorPad Mod Mul MulNoNan Neg NoOp NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3
    NonMaxSuppressionV4 NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps NotEqual NthElement OneHot
    OnesLike Pack Pad PadV2 ParallelDynamicStitch PartitionedCall Placeholder PlaceholderWithDefault
    PopulationCount Pow PreventGradient Prod RGBToHSV Range Rank ReadVariableOp RealDiv Reciprocal Relu
    Relu6 Reshape ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ResourceGather
    ResourceGatherNd Reverse ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt
    ScaleAndTranslate ScatterNd ScatterNdNonAliasingAdd SegmentMax SegmentMean SegmentMin SegmentProd
    SegmentSum Select SelectV2 Selu Shape ShapeN Sigmoid Sign Sin Sinh Size Slice Snapshot Softmax
    SoftmaxCrossEntropyWithLogits Softplus Softsign SpaceToBatch SpaceToBatchND SpaceToDepth
    SparseSoftmaxCrossEntropyWithLogits Split SplitV Sqrt Square SquaredDifference Squeeze
    StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile StopGradient StridedSlice Sub Sum
    Tan Tanh TensorArrayCloseV3 TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3
    TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3
    TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListElementShape
    TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack
    TensorListPushBack TensorListReserve TensorListResize TensorListScatter
    TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit
    TensorListStack TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
    TensorScatterUpdate TensorStridedSliceUpdate Tile ToBool TopK TopKV2 Transpose TruncateDiv
    TruncateMod Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex
    UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound
    VarIsInitializedOp VariableShape Where While Xdivy Xlog1py Xlogy ZerosLike
    """.split()  # noqa: SIM905  (a list would be a column of two hundred lines)
)


# Of the two functions by which TensorFlow would write and read variables; loading calls neither.
_OF_SAVING = frozenset(
    {"AssignVariableOp", "DisableCopyOnRead", "MergeV2Checkpoints", "RestoreV2", "SaveV2",
     "ShardedFilename", "StaticRegexFullMatch", "StringJoin"}
)  # fmt: skip


def is_trusted(folder: str | Path) -> bool:
    """Whether a detector was trained here, or somebody has said that it may run."""
    return folder_sha256(Path(folder)) in _known()


def remember(folder: str | Path) -> bool:
    """Trust a detector from now on; False where the cache cannot be written, and only this call does."""
    sha256 = folder_sha256(Path(folder))
    with contextlib.suppress(OSError, UserError):
        cache = cache_folder()
        cache.mkdir(parents=True, exist_ok=True)
        with folder_lock(cache):
            lines = _listed() | {sha256}  # what cannot be read is not begun again
            with atomic_path(cache / _LIST) as part:
                part.write_text("\n".join(sorted(lines)) + "\n", encoding="ascii")
            return True
    return False


@contextlib.contextmanager
def required(unless: bool) -> Iterator[None]:
    """While the block runs, only trusted detectors are loaded; `unless`: those loaded become so."""
    token = _POLICY.set("remember" if unless else "refuse")
    try:
        yield
    finally:
        _POLICY.reset(token)


def check_trust(folder: str | Path) -> None:
    """Stop before a detector that was not trained here is loaded, where that is `required`.

    Raises:
        UserError: If it may not be loaded.
    """
    policy = _POLICY.get()
    if policy == "load" or is_trusted(folder):
        return
    if policy == "refuse":
        raise UserError(
            f"{folder} was not trained on this machine, and a detector is a program: "
            "give --trust once if you know who made it"
        )
    check_operations(Path(folder))
    if not remember(folder):
        told = f"{cache_folder()} cannot be written: --trust is needed again the next time"
        tqdm.write(printable(told), file=stream())


def check_operations(folder: Path) -> None:
    """Refuse a SavedModel whose functions hold operations that no detector has.

    Raises:
        UserError: If there are any, it is of TensorFlow 1, which runs operations as it loads, or the file
            cannot be read.
    """
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString(read_bytes(path))
    except Exception as error:  # protobuf's DecodeError, and the system's
        raise UserError(f"{path} is no SavedModel ({error}): train it again") from error
    graphs = model.meta_graphs
    if not graphs:
        raise UserError(
            f"{folder} is a broken detector ({path.name} holds no graph): train it again"
        )
    if len(graphs) != 1 or not graphs[0].HasField("object_graph_def"):
        raise UserError(
            f"{path} is a SavedModel of TensorFlow 1, which no detector is, and is not loaded: get the "
            "detector from whom you know, or train it again"
        )
    (graph,) = graphs
    library = graph.graph_def.library.function
    functions = {f.signature.name: f.node_def for f in library}
    for name, count in Counter(f.signature.name for f in library).items():
        # Which of two would be called, or whether the operation, is TensorFlow's to choose.
        if count > 1 or op_def_registry.get(name) is not None:
            _refuse(path, folder, name)
    # Of one that may stand for another, Grappler chooses, whoever is called.
    chosen = [f.signature.name for f in library if any(key.startswith("api_") for key in f.attr)]
    # Its nodes name functions that its own list lacks, and TensorFlow runs them; so any name counts.
    objects = graph.object_graph_def.SerializeToString()
    entered = [name for name in functions if name.encode() in objects]
    called = _reached(functions, [*entered, *chosen])
    # Of functions that nothing calls, those that save among them, TensorFlow still works out what it can.
    allowed = _OPERATIONS | functions.keys()
    uncalled = allowed | _OF_SAVING
    for name, nodes in functions.items():
        for node in nodes:
            if node.op not in (allowed if name in called else uncalled):
                _refuse(path, folder, node.op)


def _reached(functions: Mapping[str, Iterable[Any]], entered: Iterable[str]) -> set[str]:
    """All functions that may be called after, or while, a model is loaded."""
    waiting = list(entered)
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [n for node in functions[name] for n in _called(node) if n in functions]
    return reached


def _refuse(path: Path, folder: Path, operation: str) -> None:
    # One that was trained here is known whatever a later TensorFlow makes it of.
    if not is_trusted(folder):
        raise UserError(
            f"{path} holds the operation {printable(operation)}, which no detector needs, and is not "
            "loaded: get the detector from whom you know, or train it again"
        )


def _called(node: Any) -> Iterable[str]:
    """The functions that an operation may call."""
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (each.name for each in value.list.func)


def _known() -> set[str]:
    try:
        return _listed()
    except OSError:
        return set()


def _listed() -> set[str]:
    path = cache_folder() / _LIST
    text = path.read_text(encoding="ascii", errors="replace") if path.exists() else ""
    return {line for line in text.splitlines() if re.fullmatch("[0-9a-f]{64}", line)}
