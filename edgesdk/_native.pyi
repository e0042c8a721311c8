# The contract of the compiled binding. Interpreters, tensors and models by index and bytes only;
# names, arrays and policy are for edgesdk.interpreter.

from typing import TypedDict, type_check_only

from _typeshed import ReadableBuffer, WriteableBuffer

from edgesdk.limits import ModelLimits

@type_check_only
class ModelInfo(TypedDict):
    tensors: int
    operators: int
    subgraphs: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    isa: str
    packed_bytes: int
    mapped_bytes: int
    locked_bytes: int

@type_check_only
class OperatorInfo(TypedDict):
    name: str
    version: int
    kernel: str
    macs: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

@type_check_only
class SignatureInfo(TypedDict):
    key: str
    subgraph: int
    inputs: list[tuple[str, int]]
    outputs: list[tuple[str, int]]

@type_check_only
class TensorInfo(TypedDict):
    name: str
    type: int
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    scales: bytes
    zero_points: bytes
    axis: int

@type_check_only
class CpuInfo(TypedDict):
    isa: list[str]
    isa_default: str
    threads: int

@type_check_only
class KernelInfo(TypedDict):
    table: str
    isa: str
    type: str
    family: str
    symbol: str

class Model:
    def __init__(
        self,
        source: ReadableBuffer,
        *,
        isa: str | None = None,
        limits: ModelLimits | None = None,
        transient: bool = False,
        secret: bool = False,
        require_locked: bool = False,
    ) -> None: ...
    def describe(self, subgraph: int = 0) -> ModelInfo: ...
    def operators(self, subgraph: int = 0) -> list[OperatorInfo]: ...
    def signatures(self) -> list[SignatureInfo]: ...

class Interpreter:
    @property
    def model(self) -> Model: ...
    @property
    def views(self) -> int: ...
    def __init__(
        self, model: Model, threads: int, *, preserve_all_tensors: bool = False
    ) -> None: ...
    def resize(self, tensor: int, shape: tuple[int, ...], subgraph: int = 0) -> None: ...
    def allocate(self, subgraph: int = 0) -> None: ...
    def invoke(self, subgraph: int = 0) -> None: ...
    def reset(self) -> None: ...
    def tensor(self, index: int, subgraph: int = 0) -> TensorInfo: ...
    def write(self, index: int, value: ReadableBuffer, subgraph: int = 0) -> None: ...
    def read(self, index: int, into: WriteableBuffer, subgraph: int = 0) -> None: ...
    def view(self, index: int, subgraph: int = 0) -> memoryview: ...

class TensorMemory:
    def __init__(self, interpreter: Interpreter, index: int, subgraph: int) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class LockedMemory:
    def __init__(self, size: int, *, require: bool = False) -> None: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    def __len__(self) -> int: ...
    @property
    def locked(self) -> int: ...
    def close(self) -> None: ...

def cpu() -> CpuInfo: ...
def kernels() -> list[KernelInfo]: ...
