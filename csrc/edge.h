/* edgesdk's core: runs quantized .tflite models. The whole public face of the library.
 *
 *   edge_model_create()        bytes -> graph -> packed weights; immutable, shared by interpreters
 *   edge_interpreter_create()  one line of execution over a model
 *   edge_interpreter_allocate(), write inputs, edge_interpreter_invoke(), read outputs
 *
 * A file holds one or more subgraphs. Subgraph 0 is the main one; a signature names the subgraph
 * that it is for. Tensors and operators are numbered within their subgraph.
 *
 * Functions that can fail return an edge_status and, when `error` is not NULL, say in it what was
 * expected and what came. Nothing here prints, exits, or reads the environment. A model may be
 * used from several threads at once; an interpreter by one thread at a time, which is checked. A
 * child of the process that made them can only release them; all else says EDGE_FORKED.
 */
#ifndef EDGE_H
#define EDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define EDGE_API __attribute__((visibility("default")))
#else
#define EDGE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum { EDGE_MAX_RANK = 8 };

typedef enum edge_status {
  EDGE_OK = 0,
  EDGE_MALFORMED_MODEL,      /* not a sound .tflite file */
  EDGE_UNSUPPORTED_OPERATOR, /* operator, version, type or option that the core does not run */
  EDGE_LIMIT_EXCEEDED,       /* more than edge_limits allows */
  EDGE_OUT_OF_MEMORY,
  EDGE_LOCK_REFUSED,     /* locked memory was demanded and the system refused */
  EDGE_THREAD_REFUSED,   /* the system gave no thread */
  EDGE_ISA_MISSING,      /* a kernel table that this processor or build does not have */
  EDGE_INVALID_ARGUMENT, /* an index, shape or size that does not fit */
  EDGE_NOT_ALLOCATED,    /* edge_interpreter_allocate() must come first */
  EDGE_FORKED,           /* used in a child of the process that created it */
  EDGE_BUSY,             /* in use by another thread */
  EDGE_DEFERRED,         /* within the core alone: a shape that follows from values */
} edge_status;

typedef struct edge_error {
  edge_status status;
  char message[480];
} edge_error;

/* Element types, numbered as TensorType in the .tflite schema. */
typedef enum edge_type {
  EDGE_FLOAT32 = 0,
  EDGE_FLOAT16 = 1,
  EDGE_INT32 = 2,
  EDGE_UINT8 = 3,
  EDGE_INT64 = 4,
  EDGE_STRING = 5,
  EDGE_BOOL = 6,
  EDGE_INT16 = 7,
  EDGE_COMPLEX64 = 8,
  EDGE_INT8 = 9,
  EDGE_FLOAT64 = 10,
  EDGE_COMPLEX128 = 11,
  EDGE_UINT64 = 12,
  EDGE_RESOURCE = 13,
  EDGE_VARIANT = 14,
  EDGE_UINT32 = 15,
  EDGE_UINT16 = 16,
  EDGE_INT4 = 17,
} edge_type;

/* Bounds on what a file may ask for. A member that is 0 takes its default; model_bytes and
 * tensor_bytes never go beyond theirs. */
typedef struct edge_limits {
  uint64_t model_bytes;  /* size of the file, default 2^31 - 1 */
  uint32_t tensors;      /* in all subgraphs, default 65,536 */
  uint32_t operators;    /* in all subgraphs, default 65,536 */
  uint64_t tensor_bytes; /* of one tensor, default 2^31 - 1 */
  uint64_t arena_bytes;  /* activations, scratch and variables of one interpreter, and as much
                            again for the tables of its plans, default 2^31 - 1 */
  uint64_t packed_bytes; /* packed weights of one model, default 2^32 */
  uint64_t calls;        /* of subgraphs by IF, WHILE and CALL_ONCE in one invoke, default 2^20 */
} edge_limits;

typedef struct edge_model_options {
  const char *isa;    /* kernel table by name (edge_cpu_describe), NULL: the default one */
  edge_limits limits; /* zeros: the defaults */
  /* The bytes may change or go once edge_model_create() has returned: nothing refers to them, and
   * constants cannot be read as tensors. */
  bool transient;
  /* Memory of the model and its interpreters is locked as far as the system allows, left out of
   * core dumps, emptied in forked children and wiped when released. */
  bool secret;
  bool require_locked; /* less than all of it locked is EDGE_LOCK_REFUSED */
} edge_model_options;

typedef struct edge_interpreter_options {
  int32_t threads; /* is cut to what edge_cpu_describe() says; at least 1 */
  /* Every tensor has memory of its own, so that all of them can be read after an invoke. */
  bool preserve_all_tensors;
} edge_interpreter_options;

typedef struct edge_quantization {
  uint32_t count;         /* 0: not quantized; 1: per tensor; else one per entry of `axis` */
  const void *scale;      /* float32 [count], little-endian, perhaps not aligned */
  const void *zero_point; /* int64 [count], likewise */
  int32_t axis;
} edge_quantization;

typedef struct edge_tensor_info {
  const char *name; /* UTF-8 as it stands in the file, or "" */
  size_t name_size;
  edge_type type;
  int32_t rank;
  int32_t shape[EDGE_MAX_RANK];
  int32_t signature_rank; /* 0: no shape signature */
  int32_t signature[EDGE_MAX_RANK];
  edge_quantization quantization;
  void *data; /* NULL where there is nothing to read. Only graph inputs may be written. */
  size_t bytes;
} edge_tensor_info;

typedef struct edge_operator_info {
  const char *name; /* of the operator, as in the schema */
  int32_t version;
  const char *kernel; /* what runs it, for people */
  uint64_t macs;      /* multiply-accumulates of one invoke at the file's shapes */
  const int32_t *inputs;
  const int32_t *outputs;
  int32_t input_count;
  int32_t output_count;
} edge_operator_info;

typedef struct edge_signature_info {
  const char *key;
  size_t key_size;
  uint32_t subgraph;
  int32_t input_count;
  int32_t output_count;
} edge_signature_info;

typedef struct edge_signature_entry {
  const char *name;
  size_t name_size;
  int32_t tensor;
} edge_signature_entry;

/* Counts of tensors and operators, inputs and outputs are of the subgraph that was asked for. */
typedef struct edge_model_info {
  int32_t tensor_count;
  int32_t operator_count;
  int32_t subgraph_count;
  int32_t signature_count;
  int32_t input_count;
  int32_t output_count;
  const int32_t *inputs;
  const int32_t *outputs;
  const char *isa;
  uint64_t packed_bytes; /* the packed weights alone */
  uint64_t mapped_bytes; /* all memory of the model */
  uint64_t locked_bytes; /* of it, locked */
} edge_model_info;

typedef struct edge_cpu_info {
  uint32_t isa_count;
  const char *isa[8];      /* names of the tables that this machine runs, widest first */
  const char *isa_default; /* the one measured fastest, not the widest */
  int32_t threads;         /* processors that this process may use: affinity and cgroup quota */
} edge_cpu_info;

typedef struct edge_kernel_info {
  const char *family, *type, *isa, *symbol;
} edge_kernel_info;

typedef struct edge_model edge_model;
typedef struct edge_interpreter edge_interpreter;

/* Reads, checks and packs a .tflite file. Unless options->transient, `bytes` must stay as they are
 * until the model is released. */
EDGE_API edge_status edge_model_create(const void *bytes, size_t size,
                                       const edge_model_options *options, edge_model **model,
                                       edge_error *error);
/* Gives up the caller's hold; interpreters keep theirs. NULL is allowed. */
EDGE_API void edge_model_release(edge_model *model);
EDGE_API edge_status edge_model_describe(const edge_model *model, int32_t subgraph,
                                         edge_model_info *info, edge_error *error);
EDGE_API edge_status edge_model_operator(const edge_model *model, int32_t subgraph, int32_t index,
                                         edge_operator_info *info, edge_error *error);
/* Entry i of a signature: inputs first, then outputs. `entry` may be NULL. */
EDGE_API edge_status edge_model_signature(const edge_model *model, int32_t index, int32_t i,
                                          edge_signature_info *info, edge_signature_entry *entry,
                                          edge_error *error);

/* `options` may be NULL: one thread. */
EDGE_API edge_status edge_interpreter_create(edge_model *model,
                                             const edge_interpreter_options *options,
                                             edge_interpreter **interpreter, edge_error *error);
EDGE_API void edge_interpreter_release(edge_interpreter *interpreter);
/* Changes the shape of a subgraph's input; edge_interpreter_allocate() must follow. */
EDGE_API edge_status edge_interpreter_resize(edge_interpreter *interpreter, int32_t subgraph,
                                             int32_t tensor, const int32_t *shape, int32_t rank,
                                             edge_error *error);
/* Infers the subgraph's shapes and plans its memory. Nothing allocates after this, unless shapes
 * depend on values. */
EDGE_API edge_status edge_interpreter_allocate(edge_interpreter *interpreter, int32_t subgraph,
                                               edge_error *error);
EDGE_API edge_status edge_interpreter_invoke(edge_interpreter *interpreter, int32_t subgraph,
                                             edge_error *error);
/* Sets variable tensors, the states of recurrent operators, to zero. Resource variables stay. */
EDGE_API edge_status edge_interpreter_reset(edge_interpreter *interpreter, edge_error *error);
/* What is known of a tensor now. `data` points into the arena, or at the file's constant. Inputs
 * are kept and outputs stand until the next invoke; other tensors share memory. */
EDGE_API edge_status edge_interpreter_tensor(const edge_interpreter *interpreter, int32_t subgraph,
                                             int32_t index, edge_tensor_info *info,
                                             edge_error *error);

/* This machine and build. Kernel i of all tables; false past the last one. */
EDGE_API void edge_cpu_describe(edge_cpu_info *info);
EDGE_API bool edge_kernel_describe(uint32_t index, edge_kernel_info *info);

/* Memory for secrets: locked, left out of core dumps, emptied in forked children. `*locked` is how
 * many bytes the system let us lock; with `require`, less than all is EDGE_LOCK_REFUSED. */
EDGE_API edge_status edge_memory_map(size_t size, bool require, void **memory, size_t *locked,
                                     edge_error *error);
/* Wipes and unmaps. */
EDGE_API void edge_memory_unmap(void *memory, size_t size);

#ifdef __cplusplus
}
#endif
#endif
