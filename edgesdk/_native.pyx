# cython: language_level=3, boundscheck=False, wraparound=False, embedsignature=False
"""The binding of the C core: converts, releases the GIL, calls once, checks the status.

No arithmetic, no loop over data, no policy. `_native.pyi` is the contract.
"""

from cpython.buffer cimport (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_FillInfo,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcpy, memset

from edgesdk import errors

# How each status of the core is told to callers of the SDK.
cdef dict _ERRORS = {
    EDGE_MALFORMED_MODEL: (errors.MalformedModelError, "malformed-model"),
    EDGE_UNSUPPORTED_OPERATOR: (errors.UnsupportedOperatorError, "unsupported-operator"),
    EDGE_LIMIT_EXCEEDED: (errors.ResourceError, "limit"),
    EDGE_OUT_OF_MEMORY: (errors.ResourceError, "memory"),
    EDGE_LOCK_REFUSED: (errors.ResourceError, "lock"),
    EDGE_THREAD_REFUSED: (errors.ResourceError, "thread"),
    EDGE_ISA_MISSING: (errors.IsaError, "isa"),
    EDGE_INVALID_ARGUMENT: (errors.InputError, "argument"),
    EDGE_NOT_ALLOCATED: (errors.LifecycleError, "not-allocated"),
    EDGE_FORKED: (errors.LifecycleError, "forked"),
    EDGE_BUSY: (errors.LifecycleError, "busy"),
}


cdef int check(edge_status status, edge_error *error) except -1:
    if status == EDGE_OK:
        return 0
    kind, reason = _ERRORS[status]
    raise kind(reason, error.message.decode("utf-8", "replace"))


cdef object text(const char *data, size_t size):
    return PyBytes_FromStringAndSize(data, <Py_ssize_t>size).decode("utf-8", "replace")


cdef object raw(const void *data, size_t size):
    return b"" if data == NULL else PyBytes_FromStringAndSize(<const char *>data, <Py_ssize_t>size)


cdef tuple numbers(const int32_t *values, int32_t count):
    cdef int32_t i
    return tuple([values[i] for i in range(count)])


cdef class Model:
    """A model, packed for one kernel table. Immutable; interpreters share it."""

    cdef edge_model *handle
    cdef Py_buffer view
    cdef bint holds_view
    cdef object __weakref__

    def __cinit__(self, source, *, str isa=None, object limits=None, bint transient=False,
                  bint secret=False, bint require_locked=False):
        cdef edge_model_options options
        cdef edge_error error
        cdef edge_status status
        cdef bytes isa_name = b"" if isa is None else isa.encode()
        memset(&options, 0, sizeof(options))
        options.transient = transient
        options.secret = secret
        options.require_locked = require_locked
        if isa is not None:
            options.isa = isa_name
        if limits is not None:
            options.limits.model_bytes = limits.model_bytes
            options.limits.tensors = limits.tensors
            options.limits.operators = limits.operators
            options.limits.tensor_bytes = limits.tensor_bytes
            options.limits.arena_bytes = limits.arena_bytes
            options.limits.packed_bytes = limits.packed_bytes
            options.limits.calls = limits.calls
            options.limits.work = limits.work
        PyObject_GetBuffer(source, &self.view, PyBUF_SIMPLE)
        self.holds_view = True
        with nogil:
            status = edge_model_create(self.view.buf, <size_t>self.view.len, &options,
                                       &self.handle, &error)
        # The core refers to the bytes of a model that is not transient: their owner may neither
        # free nor resize them before the model is gone.
        if transient:
            self.let_go()
        check(status, &error)

    def __dealloc__(self):
        edge_model_release(self.handle)
        self.let_go()

    cdef void let_go(self):
        if self.holds_view:
            self.holds_view = False
            PyBuffer_Release(&self.view)

    cdef int look(self, int32_t subgraph, edge_model_info *info) except -1:
        cdef edge_error error
        return check(edge_model_describe(self.handle, subgraph, info, &error), &error)

    def describe(self, int32_t subgraph=0):
        cdef edge_model_info info
        self.look(subgraph, &info)
        return {
            "tensors": info.tensor_count,
            "operators": info.operator_count,
            "subgraphs": info.subgraph_count,
            "inputs": numbers(info.inputs, info.input_count),
            "outputs": numbers(info.outputs, info.output_count),
            "isa": info.isa.decode(),
            "packed_bytes": info.packed_bytes,
            "mapped_bytes": info.mapped_bytes,
            "locked_bytes": info.locked_bytes,
        }

    def operators(self, int32_t subgraph=0):
        cdef edge_model_info model
        cdef edge_operator_info info
        cdef edge_error error
        cdef int32_t i
        self.look(subgraph, &model)
        found = []
        for i in range(model.operator_count):
            check(edge_model_operator(self.handle, subgraph, i, &info, &error), &error)
            found.append({
                "name": info.name.decode(),
                "version": info.version,
                "kernel": info.kernel.decode(),
                "macs": info.macs,
                "inputs": numbers(info.inputs, info.input_count),
                "outputs": numbers(info.outputs, info.output_count),
            })
        return found

    def signatures(self):
        cdef edge_model_info model
        cdef edge_signature_info info
        cdef edge_signature_entry entry
        cdef edge_error error
        cdef int32_t i, j
        self.look(0, &model)
        found = []
        for i in range(model.signature_count):
            check(edge_model_signature(self.handle, i, 0, &info, NULL, &error), &error)
            entries = []
            for j in range(info.input_count + info.output_count):
                check(edge_model_signature(self.handle, i, j, &info, &entry, &error), &error)
                entries.append((text(entry.name, entry.name_size), entry.tensor))
            found.append({
                "key": text(info.key, info.key_size),
                "subgraph": info.subgraph,
                "inputs": entries[:info.input_count],
                "outputs": entries[info.input_count:],
            })
        return found


cdef class Interpreter:
    """One line of execution over a model."""

    cdef edge_interpreter *handle
    cdef readonly Model model
    # Buffers that look into its memory, and calls without the GIL that may move that memory: never
    # both. Counted under the GIL.
    cdef readonly Py_ssize_t views
    cdef Py_ssize_t moving

    def __cinit__(self, Model model not None, int32_t threads, *, bint preserve_all_tensors=False):
        cdef edge_interpreter_options options
        cdef edge_error error
        cdef edge_status status
        memset(&options, 0, sizeof(options))
        options.threads = threads
        options.preserve_all_tensors = preserve_all_tensors
        self.model = model
        with nogil:
            status = edge_interpreter_create(model.handle, &options, &self.handle, &error)
        check(status, &error)

    def __dealloc__(self):
        with nogil:
            edge_interpreter_release(self.handle)

    cdef int begin(self) except -1:
        if self.views:
            raise errors.LifecycleError(
                "referenced",
                f"expected no array that looks into the interpreter's memory, got {self.views}")
        self.moving += 1
        return 0

    def resize(self, int32_t tensor, tuple shape, int32_t subgraph=0):
        cdef edge_error error
        cdef edge_status status
        cdef int32_t sizes[8]
        cdef Py_ssize_t i
        for i in range(min(len(shape), 8)):
            sizes[i] = shape[i]
        self.begin()
        status = edge_interpreter_resize(self.handle, subgraph, tensor, sizes,
                                         <int32_t>len(shape), &error)
        self.moving -= 1
        check(status, &error)

    def allocate(self, int32_t subgraph=0):
        cdef edge_error error
        cdef edge_status status
        self.begin()
        with nogil:
            status = edge_interpreter_allocate(self.handle, subgraph, &error)
        self.moving -= 1
        check(status, &error)

    def invoke(self, int32_t subgraph=0):
        cdef edge_error error
        cdef edge_status status
        self.begin()
        with nogil:
            status = edge_interpreter_invoke(self.handle, subgraph, &error)
        self.moving -= 1
        check(status, &error)

    def reset(self):
        cdef edge_error error
        check(edge_interpreter_reset(self.handle, &error), &error)

    cdef int look(self, int32_t subgraph, int32_t index, edge_tensor_info *info) except -1:
        cdef edge_error error
        cdef edge_status status = edge_interpreter_tensor(self.handle, subgraph, index, info,
                                                          &error)
        if status == EDGE_INVALID_ARGUMENT:
            raise errors.InputError("tensor", f"expected a tensor of the model, got index {index}")
        return check(status, &error)

    def tensor(self, int32_t index, int32_t subgraph=0):
        cdef edge_tensor_info info
        self.look(subgraph, index, &info)
        return {
            "name": text(info.name, info.name_size),
            "type": info.type,
            "shape": numbers(info.shape, info.rank),
            "signature": numbers(info.signature, info.signature_rank),
            "scales": raw(info.quantization.scale, 4 * <size_t>info.quantization.count),
            "zero_points": raw(info.quantization.zero_point, 8 * <size_t>info.quantization.count),
            "axis": info.quantization.axis,
        }

    def write(self, int32_t index, value, int32_t subgraph=0):
        cdef edge_tensor_info info
        cdef Py_buffer view
        self.look(subgraph, index, &info)
        if not info.writable:
            raise errors.InputError(
                "tensor", f"expected a tensor that may be written, got tensor {index}")
        PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
        try:
            self.check_size(&info, view.len)
            memcpy(info.data, view.buf, info.bytes)
        finally:
            PyBuffer_Release(&view)

    def read(self, int32_t index, into, int32_t subgraph=0):
        cdef edge_tensor_info info
        cdef Py_buffer view
        self.look(subgraph, index, &info)
        PyObject_GetBuffer(into, &view, PyBUF_WRITABLE)
        try:
            self.check_size(&info, view.len)
            memcpy(view.buf, info.data, info.bytes)
        finally:
            PyBuffer_Release(&view)

    cdef int check_size(self, const edge_tensor_info *info, Py_ssize_t size) except -1:
        if info.data == NULL:
            raise errors.LifecycleError(
                "not-allocated", "expected allocated tensors, got none yet")
        if size != <Py_ssize_t>info.bytes:
            raise errors.InputError("shape", f"expected {info.bytes} bytes, got {size}")
        return 0

    def view(self, int32_t index, int32_t subgraph=0):
        return memoryview(TensorMemory(self, index, subgraph))


cdef class TensorMemory:
    """What a tensor holds, as a buffer. Its interpreter stays, and stays as it is, meanwhile."""

    cdef Interpreter interpreter
    cdef int32_t index
    cdef int32_t subgraph

    def __cinit__(self, Interpreter interpreter not None, int32_t index, int32_t subgraph):
        self.interpreter = interpreter
        self.index = index
        self.subgraph = subgraph

    def __getbuffer__(self, Py_buffer *view, int flags):
        cdef edge_tensor_info info
        # A thread that has let the GIL go may not have entered the core yet.
        if self.interpreter.moving:
            raise errors.LifecycleError("busy", "expected an idle interpreter, got one that runs")
        self.interpreter.look(self.subgraph, self.index, &info)
        if info.data == NULL and info.bytes != 0:
            raise errors.LifecycleError(
                "not-allocated", "expected allocated tensors, got none yet")
        PyBuffer_FillInfo(view, self, info.data, <Py_ssize_t>info.bytes, not info.writable, flags)
        self.interpreter.views += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.interpreter.views -= 1


cdef class LockedMemory:
    """Bytes for secrets: locked as far as the system allows, wiped by close()."""

    cdef void *memory
    cdef size_t size
    cdef size_t locked_size
    cdef Py_ssize_t exports

    def __cinit__(self, size_t size, *, bint require=False):
        cdef edge_error error
        self.size = size
        check(edge_memory_map(size, require, &self.memory, &self.locked_size, &error), &error)

    def __dealloc__(self):
        edge_memory_unmap(self.memory, self.size)

    def __getbuffer__(self, Py_buffer *view, int flags):
        if self.memory == NULL:
            raise errors.LifecycleError("closed", "expected open memory, got closed memory")
        PyBuffer_FillInfo(view, self, self.memory, <Py_ssize_t>self.size, 0, flags)
        self.exports += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1

    def __len__(self):
        return self.size

    @property
    def locked(self):
        return self.locked_size

    def close(self):
        if self.exports:
            raise errors.LifecycleError(
                "referenced", f"expected no view of the memory, got {self.exports}")
        edge_memory_unmap(self.memory, self.size)
        self.memory = NULL


def cpu():
    cdef edge_cpu_info info
    cdef uint32_t i
    edge_cpu_describe(&info)
    return {
        "isa": [info.isa[i].decode() for i in range(info.isa_count)],
        "isa_default": info.isa_default.decode(),
        "threads": info.threads,
    }


def kernels():
    cdef edge_cpu_info info
    cdef uint32_t i
    edge_cpu_describe(&info)
    return [
        {
            "table": info.kernels[i].table.decode(),
            "isa": info.kernels[i].isa.decode(),
            "type": info.kernels[i].type.decode(),
            "family": info.kernels[i].family.decode(),
            "symbol": info.kernels[i].symbol.decode(),
        }
        for i in range(info.kernel_count)
    ]
