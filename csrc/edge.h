/* edgesdk's core: runs quantized .tflite models. The whole public face of the library.
 *
 *   edge_model_create()        bytes -> graph -> packed weights; immutable, shared by interpreters
 *   edge_interpreter_create()  one line of execution over a model
 *   edge_interpreter_allocate(), write inputs, edge_interpreter_invoke(), read outputs
 *   edge_interpreter_release(), edge_model_release()
 *
 * examples/c is a whole program.
 *
 * Subgraphs. A file holds one or more. Subgraph 0 is the main one; a signature names the subgraph
 * that it is for. Tensors and operators are numbered within their subgraph, from 0. Every function
 * that takes an index checks it: one out of range is EDGE_INVALID_ARGUMENT.
 *
 * Errors. Functions that can fail return an edge_status; what they give back through pointers is
 * set for EDGE_OK alone. `error` may be NULL; else it then holds the status and a text that says
 * what was expected and what came. Pointers to models, interpreters and results must not be NULL
 * unless it is said that they may. Nothing here prints, exits, or reads the environment.
 *
 * Ownership. What the library makes is given up by the matching release or unmap. Pointers in the
 * structures that it fills belong to the model or interpreter that was asked, or to the library
 * itself, and stand as long as that; where it is less, the member says so. Texts with a size beside
 * them come from the file: UTF-8 at the most, not checked, and not ended by a zero.
 *
 * Threads. A model may be used from several threads at once, and so may different interpreters over
 * it. An interpreter belongs to one thread at a time: a second one gets EDGE_BUSY. Releasing is not
 * checked: the last user releases. A child of the process that made them can only release them; all
 * else says EDGE_FORKED.
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

/* Dimensions of a tensor, at most. A file with more is EDGE_UNSUPPORTED_OPERATOR. */
enum { EDGE_MAX_RANK = 8 };

/* What a function has to say. */
typedef enum edge_status {
  EDGE_OK = 0,
  EDGE_MALFORMED_MODEL,      /* not a sound .tflite file, or values that an operator cannot take */
  EDGE_UNSUPPORTED_OPERATOR, /* operator, version, type or option that the core does not run */
  EDGE_LIMIT_EXCEEDED,       /* more than edge_limits allows */
  EDGE_OUT_OF_MEMORY,        /* the system gave no memory */
  EDGE_LOCK_REFUSED,         /* locked memory was demanded and the system refused */
  EDGE_THREAD_REFUSED,       /* the system gave no thread */
  EDGE_ISA_MISSING,          /* a kernel table that this processor or build does not have */
  EDGE_INVALID_ARGUMENT,     /* an index, shape or size that does not fit */
  EDGE_NOT_ALLOCATED,        /* edge_interpreter_allocate() must come first */
  EDGE_FORKED,               /* used in a child of the process that created it */
  EDGE_BUSY,                 /* in use by another thread */
  EDGE_DEFERRED,             /* within the core alone; no function here returns it */
} edge_status;

/* What went wrong, for people. Written only by functions that fail. */
typedef struct edge_error {
  edge_status status; /* the one returned */
  char message[480];  /* ended by a zero; names subgraph, operator and tensor where there is one */
} edge_error;

/* Element types, numbered as TensorType in the .tflite schema. */
typedef enum edge_type {
  EDGE_FLOAT32 = 0,
  EDGE_FLOAT16 = 1,
  EDGE_INT32 = 2,
  EDGE_UINT8 = 3,
  EDGE_INT64 = 4,
  EDGE_STRING = 5, /* not run by the core */
  EDGE_BOOL = 6,   /* a byte, 0 or 1 */
  EDGE_INT16 = 7,
  EDGE_COMPLEX64 = 8,
  EDGE_INT8 = 9,
  EDGE_FLOAT64 = 10,
  EDGE_COMPLEX128 = 11,
  EDGE_UINT64 = 12,
  EDGE_RESOURCE = 13, /* an int32 that names a variable */
  EDGE_VARIANT = 14,  /* not run by the core */
  EDGE_UINT32 = 15,
  EDGE_UINT16 = 16,
  EDGE_INT4 = 17, /* two in a byte, the first in the low half; constants alone */
} edge_type;

/* Bounds on what a file may ask for; beyond them it is EDGE_LIMIT_EXCEEDED. A member that is 0
 * takes its default; model_bytes and tensor_bytes never go beyond theirs. */
typedef struct edge_limits {
  uint64_t model_bytes;  /* size of the file, default 2^31 - 1 */
  uint32_t tensors;      /* in all subgraphs, default 65,536 */
  uint32_t operators;    /* in all subgraphs, default 65,536 */
  uint64_t tensor_bytes; /* of one tensor, default 2^31 - 1 */
  uint64_t arena_bytes;  /* activations, scratch and variables of one interpreter, and as much
                            again for the tables of its plans, default 2^31 - 1 */
  uint64_t packed_bytes; /* packed weights of one model, default 2^32 */
  uint64_t calls;        /* of subgraphs by IF, WHILE and CALL_ONCE in one invoke, default 2^20 */
  uint64_t work;         /* of one invoke: multiply-accumulates, and bytes that operators read and
                            write; checked before it is done, default 2^42 */
} edge_limits;

/* How to load a model. All zeros are the defaults. */
typedef struct edge_model_options {
  /* The kernel table, by a name that edge_cpu_describe() gives; NULL: the default one. Read while
   * the model is created. The bits are the same whichever it is. */
  const char *isa;
  edge_limits limits; /* zeros: the defaults */
  /* The bytes may change or go once edge_model_create() has returned: nothing refers to them, and
   * constants cannot be read as tensors. */
  bool transient;
  /* Memory of the model and its interpreters is locked as far as the system allows, left out of
   * core dumps, emptied in forked children and wiped when released. */
  bool secret;
  bool require_locked; /* with `secret`: less than all of it locked is EDGE_LOCK_REFUSED */
} edge_model_options;

/* How to make an interpreter. All zeros are the defaults. */
typedef struct edge_interpreter_options {
  /* Threads that an invoke may use, the caller's among them: below 1 is 1, and more than
   * edge_cpu_describe() says is cut to that. The bits are the same for any number. */
  int32_t threads;
  /* Every tensor has memory of its own, so that all of them can be read after an invoke. */
  bool preserve_all_tensors;
} edge_interpreter_options;

/* real value = scale * (stored value - zero point) */
typedef struct edge_quantization {
  uint32_t count;         /* 0: not quantized; 1: per tensor; else one per entry of `axis` */
  const void *scale;      /* float32 [count], little-endian, perhaps not aligned: use memcpy */
  const void *zero_point; /* int64 [count], likewise */
  int32_t axis;           /* the dimension along which scales differ */
} edge_quantization;

/* A tensor as it is now. The name and the quantization stand as long as the model, or, if that is
 * not transient, as long as its bytes; `data` until the next resize, allocate or invoke. */
typedef struct edge_tensor_info {
  const char *name; /* as it stands in the file, or "" */
  size_t name_size; /* bytes */
  edge_type type;
  int32_t rank;                     /* dimensions, 0 ... EDGE_MAX_RANK; 0 is a scalar */
  int32_t shape[EDGE_MAX_RANK];     /* [rank], as resized and inferred */
  int32_t signature_rank;           /* 0: no shape signature */
  int32_t signature[EDGE_MAX_RANK]; /* [signature_rank], -1: a dimension that may change */
  edge_quantization quantization;
  /* Elements in C order, little-endian; those of a constant perhaps not aligned. NULL where there
   * is nothing to read: not allocated, not kept, or without elements. */
  void *data;
  size_t bytes;  /* at `data` */
  bool writable; /* a graph input, output or variable; nothing else may be written */
} edge_tensor_info;

/* An operator of a model. */
typedef struct edge_operator_info {
  const char *name;       /* of the operator, as in the schema; of a custom one, its own */
  int32_t version;        /* in the file */
  const char *kernel;     /* what runs it, for people */
  uint64_t macs;          /* multiply-accumulates of one invoke at the file's shapes */
  const int32_t *inputs;  /* [input_count], tensors of the subgraph; -1: absent */
  const int32_t *outputs; /* [output_count], likewise */
  int32_t input_count;
  int32_t output_count;
} edge_operator_info;

/* A signature: a subgraph whose inputs and outputs have names. */
typedef struct edge_signature_info {
  const char *key; /* the signature's own name */
  size_t key_size; /* bytes */
  uint32_t subgraph;
  int32_t input_count;
  int32_t output_count;
} edge_signature_info;

/* An input or output of a signature. */
typedef struct edge_signature_entry {
  const char *name;
  size_t name_size; /* bytes */
  int32_t tensor;   /* of the signature's subgraph */
} edge_signature_entry;

/* A model. Counts of tensors and operators, inputs and outputs are of the subgraph that was asked
 * for. */
typedef struct edge_model_info {
  int32_t tensor_count;
  int32_t operator_count;
  int32_t subgraph_count;
  int32_t signature_count;
  int32_t input_count;
  int32_t output_count;
  const int32_t *inputs;  /* [input_count], tensors, in the file's order */
  const int32_t *outputs; /* [output_count], likewise */
  const char *isa;        /* the kernel table in use */
  uint64_t packed_bytes;  /* the packed weights alone */
  uint64_t mapped_bytes;  /* all memory of the model */
  uint64_t locked_bytes;  /* of it, locked */
} edge_model_info;

/* A kernel in a table. */
typedef struct edge_kernel_info {
  const char *table;  /* the table that takes it */
  const char *isa;    /* what it was written for: narrower, where the table has no better one */
  const char *type;   /* of its elements, as XNNPACK writes them: qs8, s8, x8 ... */
  const char *family; /* gemm, dwconv ... */
  const char *symbol; /* the name of the function */
} edge_kernel_info;

/* This machine and this build. */
typedef struct edge_cpu_info {
  uint32_t isa_count;              /* at least 1 */
  const char *isa[8];              /* [isa_count], tables that this machine runs, widest first */
  const char *isa_default;         /* the one measured fastest, not the widest */
  int32_t threads;                 /* processors that this process may use: by affinity and quota */
  uint32_t kernel_count;           /* in all tables of the build, also those not run here */
  const edge_kernel_info *kernels; /* [kernel_count], table by table */
} edge_cpu_info;

typedef struct edge_model edge_model;
typedef struct edge_interpreter edge_interpreter;

/* ---- models ------------------------------------------------------------------------------ */

/* Reads, checks and packs a .tflite file of `size` bytes. Unless options->transient, `bytes` must
 * stay as they are until the model is gone. `options` may be NULL. Every byte of the file may be
 * hostile. The caller gets *model, to be given up by edge_model_release(). */
EDGE_API edge_status edge_model_create(const void *bytes, size_t size,
                                       const edge_model_options *options, edge_model **model,
                                       edge_error *error);
/* Gives up the caller's hold; interpreters keep theirs, and the last one frees. NULL is allowed. */
EDGE_API void edge_model_release(edge_model *model);
/* Sizes of a subgraph and of the model. */
EDGE_API edge_status edge_model_describe(const edge_model *model, int32_t subgraph,
                                         edge_model_info *info, edge_error *error);
/* Operator `index` of a subgraph, in the order of execution. */
EDGE_API edge_status edge_model_operator(const edge_model *model, int32_t subgraph, int32_t index,
                                         edge_operator_info *info, edge_error *error);
/* Signature `index`, and entry `i` of it: inputs first, then outputs. `entry` may be NULL, and `i`
 * is then not looked at. */
EDGE_API edge_status edge_model_signature(const edge_model *model, int32_t index, int32_t i,
                                          edge_signature_info *info, edge_signature_entry *entry,
                                          edge_error *error);

/* ---- interpreters ------------------------------------------------------------------------ */

/* One line of execution, with threads of its own; the model stays as long as it does. `options` may
 * be NULL: one thread. The caller gets *interpreter, to be given up by edge_interpreter_release().
 */
EDGE_API edge_status edge_interpreter_create(edge_model *model,
                                             const edge_interpreter_options *options,
                                             edge_interpreter **interpreter, edge_error *error);
/* Ends its threads and frees its memory. NULL is allowed. */
EDGE_API void edge_interpreter_release(edge_interpreter *interpreter);
/* Changes the shape, [rank], of a subgraph's input; edge_interpreter_allocate() must follow. */
EDGE_API edge_status edge_interpreter_resize(edge_interpreter *interpreter, int32_t subgraph,
                                             int32_t tensor, const int32_t *shape, int32_t rank,
                                             edge_error *error);
/* Infers the subgraph's shapes and plans its memory; nothing to do where that has been done since
 * the last resize. Nothing allocates after this, unless shapes depend on values. */
EDGE_API edge_status edge_interpreter_allocate(edge_interpreter *interpreter, int32_t subgraph,
                                               edge_error *error);
/* Runs the subgraph on what lies in its inputs. It fails for what depends on values alone, such as
 * an index out of range; outputs then hold nothing of use. */
EDGE_API edge_status edge_interpreter_invoke(edge_interpreter *interpreter, int32_t subgraph,
                                             edge_error *error);
/* Sets variable tensors, the states of recurrent operators, to zero. Resource variables stay. */
EDGE_API edge_status edge_interpreter_reset(edge_interpreter *interpreter, edge_error *error);
/* What is known of a tensor now. `data` points into the arena, or at the file's constant. Inputs
 * are kept and outputs stand until the next invoke; other tensors share memory, and what they hold
 * is undefined unless options->preserve_all_tensors was set. */
EDGE_API edge_status edge_interpreter_tensor(const edge_interpreter *interpreter, int32_t subgraph,
                                             int32_t index, edge_tensor_info *info,
                                             edge_error *error);

/* ---- the machine ------------------------------------------------------------------------- */

/* This machine and build. What it points at stands for ever. */
EDGE_API void edge_cpu_describe(edge_cpu_info *info);

/* Memory of `size` bytes for secrets, of zeros: locked, left out of core dumps, emptied in forked
 * children. *locked, which may be left out by NULL, is how many bytes the system let us lock; with
 * `require`, less than all is EDGE_LOCK_REFUSED. The caller gets *memory, to be given up by
 * edge_memory_unmap(). */
EDGE_API edge_status edge_memory_map(size_t size, bool require, void **memory, size_t *locked,
                                     edge_error *error);
/* Wipes and unmaps. `size` is that of the map; NULL is allowed. */
EDGE_API void edge_memory_unmap(void *memory, size_t size);

#ifdef __cplusplus
}
#endif
#endif
