"""The C core's public face, as csrc/edge.h declares it."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef extern from "<stdbool.h>":
    ctypedef bint bool_t "bool"


cdef extern from "edge.h" nogil:
    ctypedef enum edge_status:
        EDGE_OK
        EDGE_MALFORMED_MODEL
        EDGE_UNSUPPORTED_OPERATOR
        EDGE_LIMIT_EXCEEDED
        EDGE_OUT_OF_MEMORY
        EDGE_LOCK_REFUSED
        EDGE_THREAD_REFUSED
        EDGE_ISA_MISSING
        EDGE_INVALID_ARGUMENT
        EDGE_NOT_ALLOCATED
        EDGE_FORKED
        EDGE_BUSY

    ctypedef struct edge_error:
        edge_status status
        char message[480]

    ctypedef struct edge_limits:
        uint64_t model_bytes
        uint32_t tensors
        uint32_t operators
        uint64_t tensor_bytes
        uint64_t arena_bytes
        uint64_t packed_bytes
        uint64_t calls
        uint64_t work

    ctypedef struct edge_model_options:
        const char *isa
        edge_limits limits
        bool_t transient
        bool_t secret
        bool_t require_locked

    ctypedef struct edge_quantization:
        uint32_t count
        const void *scale
        const void *zero_point
        int32_t axis

    ctypedef struct edge_tensor_info:
        const char *name
        size_t name_size
        int type
        int32_t rank
        int32_t shape[8]
        int32_t signature_rank
        int32_t signature[8]
        edge_quantization quantization
        void *data
        size_t bytes
        bool_t writable

    ctypedef struct edge_interpreter_options:
        int32_t threads
        bool_t preserve_all_tensors

    ctypedef struct edge_operator_info:
        const char *name
        int32_t version
        const char *kernel
        uint64_t macs
        const int32_t *inputs
        const int32_t *outputs
        int32_t input_count
        int32_t output_count

    ctypedef struct edge_signature_info:
        const char *key
        size_t key_size
        uint32_t subgraph
        int32_t input_count
        int32_t output_count

    ctypedef struct edge_signature_entry:
        const char *name
        size_t name_size
        int32_t tensor

    ctypedef struct edge_model_info:
        int32_t tensor_count
        int32_t operator_count
        int32_t subgraph_count
        int32_t signature_count
        int32_t input_count
        int32_t output_count
        const int32_t *inputs
        const int32_t *outputs
        const char *isa
        uint64_t packed_bytes
        uint64_t mapped_bytes
        uint64_t locked_bytes

    ctypedef struct edge_kernel_info:
        const char *table
        const char *isa
        const char *type
        const char *family
        const char *symbol

    ctypedef struct edge_cpu_info:
        uint32_t isa_count
        const char *isa[8]
        const char *isa_default
        int32_t threads
        uint32_t kernel_count
        const edge_kernel_info *kernels

    ctypedef struct edge_model:
        pass

    ctypedef struct edge_interpreter:
        pass

    edge_status edge_model_create(const void *bytes, size_t size,
                                  const edge_model_options *options, edge_model **model,
                                  edge_error *error)
    void edge_model_release(edge_model *model)
    edge_status edge_model_describe(const edge_model *model, int32_t subgraph,
                                    edge_model_info *info, edge_error *error)
    edge_status edge_model_operator(const edge_model *model, int32_t subgraph, int32_t index,
                                    edge_operator_info *info, edge_error *error)
    edge_status edge_model_signature(const edge_model *model, int32_t index, int32_t i,
                                     edge_signature_info *info, edge_signature_entry *entry,
                                     edge_error *error)
    edge_status edge_interpreter_create(edge_model *model,
                                        const edge_interpreter_options *options,
                                        edge_interpreter **interpreter, edge_error *error)
    void edge_interpreter_release(edge_interpreter *interpreter)
    edge_status edge_interpreter_resize(edge_interpreter *interpreter, int32_t subgraph,
                                        int32_t tensor, const int32_t *shape, int32_t rank,
                                        edge_error *error)
    edge_status edge_interpreter_allocate(edge_interpreter *interpreter, int32_t subgraph,
                                          edge_error *error)
    edge_status edge_interpreter_invoke(edge_interpreter *interpreter, int32_t subgraph,
                                        edge_error *error)
    edge_status edge_interpreter_reset(edge_interpreter *interpreter, edge_error *error)
    edge_status edge_interpreter_tensor(const edge_interpreter *interpreter, int32_t subgraph,
                                        int32_t index, edge_tensor_info *info, edge_error *error)
    void edge_cpu_describe(edge_cpu_info *info)
    edge_status edge_memory_map(size_t size, bool_t require, void **memory, size_t *locked,
                                edge_error *error)
    void edge_memory_unmap(void *memory, size_t size)
