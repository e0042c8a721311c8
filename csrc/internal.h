/* What the files of the core share: the graph, the plan, and the rules of who owns what.
 *
 *   edge_model          made once from bytes, immutable afterwards, counted references
 *     edge_graph[]        one subgraph
 *       edge_tensor[]       what the file says of each tensor
 *       edge_node[]         one operator: indices, options read, parameters and packed weights
 *     edge_region         all of the model's memory; goes as one
 *   edge_interpreter    one line of execution
 *     edge_variable[]     resource variables, which all subgraphs share
 *     edge_frame[]        one subgraph's execution
 *       edge_view[]         what a tensor is now: shape, place in memory
 *       edge_step[]         one node, planned for these shapes
 *       edge_segment[]      memory of the steps from one place of the graph on; mostly there is one
 *
 * Who checks what: graph.c, with tensors.c and signatures.c, believes nothing in the file and
 * leaves only indices that are in range and constants whose bytes are there. An operator's
 * compile() checks types, options and quantization; its shape() checks shapes. run() checks nothing
 * and cannot fail; an operator that depends on values in a way that can fail has perform() instead.
 */
#ifndef EDGE_INTERNAL_H
#define EDGE_INTERNAL_H

#include <stdatomic.h>
#include <sys/types.h>

#include "edge.h"
#include "flatbuffer.h"
#include "kernels.h"
#include "memory.h"
#include "schema.h"
#include "threads.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors of .tflite files are little-endian, and so must this machine be"
#endif

/* ---- processor (cpu.c, dispatch.c) ------------------------------------------------------- */

uint32_t edge_cpu_bits(void);
int32_t edge_cpu_threads(void);
/* The table of that name, or the default one for NULL. NULL: this machine cannot run it. */
const edge_kernels *edge_kernels_find(const char *isa);

/* ---- the graph --------------------------------------------------------------------------- */

typedef struct edge_tensor {
  const char *name;
  uint32_t name_size;
  edge_type type;
  int32_t rank;
  int32_t shape[EDGE_MAX_RANK];
  int32_t signature_rank;
  int32_t signature[EDGE_MAX_RANK];
  edge_vector scale;      /* float32, as in the file */
  edge_vector zero_point; /* int64, as many */
  int32_t axis;
  edge_table sparsity; /* stands while the model is compiled */
  bool variable;
  bool is_constant;    /* its bytes are the file's, even where `data` has been forgotten */
  const uint8_t *data; /* the file's constant, not aligned; NULL: not a constant */
  uint64_t data_size;
  void *constant; /* a copy that operators may read when they run, made by edge_keep() */
  bool folded;    /* `data` is not the file's, but what the compiler has computed */
} edge_tensor;

/* The chain of nodes that XNNPACK folds into a table, up to a node (fold.h). */
typedef struct edge_chain {
  int32_t length; /* 0: none */
  int32_t input;  /* the tensor that it starts at */
} edge_chain;

typedef struct edge_node {
  const struct edge_operator *op;
  int32_t version;
  const int32_t *inputs;  /* [input_count], -1: absent */
  const int32_t *outputs; /* [output_count] */
  /* [intermediate_count], -1: absent. They say how integer LSTMs quantize, and hold nothing. */
  const int32_t *intermediates;
  int32_t input_count;
  int32_t output_count;
  int32_t intermediate_count;
  edge_table options; /* stands while the model is compiled */
  edge_bytes custom;  /* a custom operator's options; likewise */
  void *params;       /* the operator's own, in the model's region */
  uint64_t macs;      /* of one invoke at the shapes in the file */
  uint64_t effort;    /* multiply-accumulates for an element of output 0, at most */
  const char *kernel; /* for people */
  edge_chain chain;
  const int32_t *callees; /* [callee_count], the subgraphs that it runs */
  int32_t callee_count;
  bool folded; /* its output is a constant by now (edge_fold_constant) and it never runs */
} edge_node;

typedef struct edge_signature {
  const char *key;
  uint32_t key_size;
  uint32_t subgraph;
  int32_t input_count;
  int32_t output_count;
  edge_signature_entry *entries; /* inputs, then outputs */
} edge_signature;

/* How a resource variable is known: container and name. */
typedef struct edge_variable_key {
  const char *bytes;
  size_t size;
} edge_variable_key;

/* A subgraph. */
typedef struct edge_graph {
  edge_tensor *tensors;
  edge_node *nodes;
  const int32_t *inputs;
  const int32_t *outputs;
  int32_t tensor_count;
  int32_t node_count;
  int32_t input_count;
  int32_t output_count;
  uint8_t *roles; /* [tensor_count], not 0: a graph input or output */
  bool repeats_input;
} edge_graph;

struct edge_model {
  atomic_int references;
  pid_t owner;
  edge_region region;
  edge_limits limits;
  const edge_kernels *kernels;
  bool transient;
  edge_graph *graphs;
  int32_t graph_count;
  edge_signature *signatures;
  int32_t signature_count;
  struct edge_variable_key *variables; /* [variable_count] */
  int32_t variable_count;
  uint64_t packed_bytes;
};

/* graph.c: bytes -> subgraphs and signatures. */
edge_status edge_graph_read(edge_model *model, edge_bytes file, edge_error *error);

/* ---- an operator ------------------------------------------------------------------------- */

/* Who makes and reads a tensor (fold.c). */
typedef struct edge_uses {
  const int32_t *producers; /* [tensor_count], a node, -1: none */
  const int32_t *readers;   /* [tensor_count], how many nodes whose results are used */
} edge_uses;

typedef struct edge_compiler {
  edge_model *model;
  edge_graph *graph; /* that is being compiled */
  edge_error *error;
  edge_uses uses;
  edge_region temporary; /* goes when the model has been compiled */
} edge_compiler;

typedef struct edge_step {
  const edge_node *node;
  void *state;           /* the operator's own for these shapes, in the plan's memory */
  uint64_t scratch_size; /* per worker, asked for by shape() */
  uint8_t *scratch;
  uint64_t effort; /* the node's, unless shape() says another */
  uint64_t work;   /* of one run, as edge_limits counts it */
  bool runs;       /* it has not been computed while planning, and the output has elements */
} edge_step;

typedef struct edge_view {
  void *data;
  int32_t rank;
  int32_t shape[EDGE_MAX_RANK];
  uint64_t bytes;
  int32_t alias; /* shares the memory of this tensor, -1: has its own */
  bool known;    /* its bytes are there already while planning */
  bool placed;   /* a segment has given it memory */
} edge_view;

/* Memory for the steps from `first` on, up to the next segment. A plan has one segment, unless
 * shapes depend on values: then the next one begins where a shape was not known. */
typedef struct edge_segment {
  int32_t first;
  bool planned;
  edge_region head; /* what shape() of the first step made */
  edge_region plan; /* what shape() of the others made */
  edge_region arena_region;
  uint8_t *arena;
} edge_segment;

typedef struct edge_frame {
  edge_interpreter *interpreter;
  const edge_model *model;
  const edge_graph *graph;
  edge_pool *pool;
  int32_t threads;
  bool allocated;
  edge_view *views; /* [tensor_count] */
  edge_step *steps; /* [node_count] */
  edge_segment *segments;
  int32_t segment_count;
  int32_t segment_room;
} edge_frame;

/* A resource variable. */
typedef struct edge_variable {
  edge_region region;
  uint8_t *data;
  edge_type type;
  int32_t rank;
  int32_t shape[EDGE_MAX_RANK];
  uint64_t bytes;
  bool assigned;
} edge_variable;

struct edge_interpreter {
  edge_model *model;
  edge_pool *pool;
  int32_t threads;
  bool preserve; /* every tensor keeps its memory from its step to the end */
  pid_t owner;
  atomic_bool busy;
  edge_region region; /* lives with the interpreter */
  edge_frame *frames; /* [graph_count] */
  edge_variable *variables;
  uint8_t *initialized; /* [graph_count], CALL_ONCE has run it */
  uint64_t calls_left;  /* of subgraphs by operators, in this allocate or invoke */
  uint64_t work_left;   /* likewise */
};

typedef struct edge_planner {
  edge_frame *frame;
  edge_error *error;
  edge_region *memory;   /* for edge_step_state() */
  const edge_step *turn; /* the step whose turn to run has come, or NULL */
} edge_planner;

/* EDGE_DEFERRED is what shape() returns where the shape follows from values that are not known
 * while planning: edge_values_in() gave NULL. It is asked again when the step's turn to run has
 * come, with all inputs at hand. perform() returns it where the planned shape turns out to be
 * another. */

typedef struct edge_operator {
  int32_t code;
  const char *name;
  int32_t version_max;
  uint8_t options_type; /* of the schema's union, 0: none */
  bool options_2;       /* of its second union, BuiltinOptions2 */
  int32_t inputs_min, inputs_max;
  int32_t outputs_min, outputs_max; /* both 0: one output; most -1: none */
  /* Its output follows from its inputs' shapes alone: SHAPE, RANK. */
  bool of_shapes;
  /* It reads or changes what is not among its inputs and outputs: never computed while planning. */
  bool stateful;
  /* Once per model: checks, parameters, packed weights. */
  edge_status (*compile)(edge_compiler *, edge_node *);
  /* Each time shapes change: output shapes, scratch, state. May return EDGE_DEFERRED. */
  edge_status (*shape)(edge_planner *, edge_step *);
  /* One of the two. */
  void (*run)(const edge_frame *, const edge_step *);
  edge_status (*perform)(edge_planner *, edge_step *);
} edge_operator;

const edge_operator *edge_operator_find(int32_t code);
/* A custom operator by the name in the file, or NULL. */
const edge_operator *edge_operator_custom(const char *name, size_t size);
/* The schema's name of a code, or NULL. */
const char *edge_operator_name(int32_t code);

/* ---- for compile() (prepare.c) ----------------------------------------------------------- */

edge_status edge_model_prepare(edge_model *model, edge_error *error);

/* An error that starts with the operator's index and name. */
void edge_node_report(edge_compiler *compiler, const edge_node *node, edge_status status,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
#define edge_node_fail(compiler, node, status, ...) \
  (edge_node_report(compiler, node, status, __VA_ARGS__), (status))

/* An input that must be there, which has been checked before compile(). */
static inline edge_tensor *edge_node_input(const edge_compiler *compiler, const edge_node *node,
                                           int32_t i) {
  return &compiler->graph->tensors[node->inputs[i]];
}

/* NULL: absent. */
static inline edge_tensor *edge_node_optional(const edge_compiler *compiler, const edge_node *node,
                                              int32_t i) {
  if (i >= node->input_count || node->inputs[i] < 0) return NULL;
  return &compiler->graph->tensors[node->inputs[i]];
}

static inline edge_tensor *edge_node_output(const edge_compiler *compiler, const edge_node *node,
                                            int32_t i) {
  return &compiler->graph->tensors[node->outputs[i]];
}

/* Zeroed parameters of the node. */
void *edge_node_params(edge_compiler *compiler, edge_node *node, size_t size);
/* Memory of the model for packed weights; counted. */
void *edge_pack_alloc(edge_compiler *compiler, uint64_t count, uint64_t size);
/* Makes output 0 a constant of the shape in the file: memory for its elements, which compile()
 * fills. It stands until the model has been compiled, longer where edge_keep() asks for it. */
void *edge_fold_constant(edge_compiler *compiler, edge_node *node);
/* Makes a constant readable when operators run. For the first input of every node and for short
 * lists of whole numbers prepare does it. */
edge_status edge_keep(edge_compiler *compiler, edge_tensor *tensor);
/* Refuses a node whose tensor has another type. */
edge_status edge_expect_type(edge_compiler *compiler, const edge_node *node,
                             const edge_tensor *tensor, const char *what, edge_type type);
edge_status edge_expect_rank(edge_compiler *compiler, const edge_node *node,
                             const edge_tensor *tensor, const char *what, int32_t rank);

edge_status edge_expect_constant(edge_compiler *compiler, const edge_node *node,
                                 const edge_tensor *tensor, const char *what);
/* A tensor without elements needs no data to be constant. */
edge_status edge_expect_constant_or_empty(edge_compiler *compiler, const edge_node *node,
                                          const edge_tensor *tensor, const char *what);
/* Weights of that rank with elements. */
edge_status edge_expect_weights(edge_compiler *compiler, const edge_node *node, int32_t rank);
/* Input and output of one type whose elements have a fixed size. */
edge_status edge_expect_movable(edge_compiler *compiler, const edge_node *node,
                                const edge_tensor *input, const edge_tensor *output);
/* Both not quantized, or both per tensor with equal scale and zero point. */
bool edge_same_quantization(const edge_tensor *a, const edge_tensor *b);
typedef struct edge_quant {
  float scale;
  int32_t zero_point;
} edge_quant;

/* The per-tensor quantization of an activation: one finite scale above 0, a zero point in range. */
edge_status edge_expect_quant(edge_compiler *compiler, const edge_node *node,
                              const edge_tensor *tensor, const char *what, edge_quant *quant);
/* Scale i of per-channel or per-tensor weights; checked by edge_expect_weights(). */
float edge_scale_at(const edge_tensor *tensor, int32_t i);
/* Weights: a constant, one scale or one per entry of `axis`, zero points as `zero_points` says. */
edge_status edge_expect_scales(edge_compiler *compiler, const edge_node *node,
                               const edge_tensor *tensor, const char *what, int32_t axis);

/* ---- for shape() (plan.c) ---------------------------------------------------------------- */

static inline const edge_view *edge_view_in(const edge_planner *planner, const edge_step *step,
                                            int32_t i) {
  return &planner->frame->views[step->node->inputs[i]];
}

/* The elements of input i where they are known: a constant, something computed while planning,
 * or, when the step's turn has come, anything. NULL: not known, and shape() returns EDGE_DEFERRED.
 * An input without elements gives some address. Aligned as its type. */
const void *edge_values_in(const edge_planner *planner, const edge_step *step, int32_t i);
/* Entry k of an int32 or int64 input that edge_values_in() has given; int64 is clamped to int32. */
int32_t edge_value_at(const edge_planner *planner, const edge_step *step, int32_t i,
                      const void *values, int64_t k);

static inline const edge_tensor *edge_tensor_in(const edge_planner *planner, const edge_step *step,
                                                int32_t i) {
  if (i >= step->node->input_count || step->node->inputs[i] < 0) return NULL;
  return &planner->frame->graph->tensors[step->node->inputs[i]];
}

void edge_step_report(edge_planner *planner, const edge_step *step, edge_status status,
                      const char *format, ...) __attribute__((format(printf, 4, 5)));
#define edge_step_fail(planner, step, status, ...) \
  (edge_step_report(planner, step, status, __VA_ARGS__), (status))
/* Sets the shape of output i; dimensions must be at least 0 and the size within limits. */
edge_status edge_set_shape(edge_planner *planner, const edge_step *step, int32_t i, int32_t rank,
                           const int32_t *shape);
/* Refuses an input that is not [N][H][W][channels]. */
edge_status edge_expect_image(edge_planner *planner, const edge_step *step, const edge_view *input,
                              int32_t channels);
/* Refuses an input whose shape is not the one in the file, by which it was compiled. */
edge_status edge_expect_stored(edge_planner *planner, const edge_step *step, int32_t i);
/* Zeroed state of the step. */
void *edge_step_state(edge_planner *planner, edge_step *step, size_t size);
/* Output 0 has the bytes of input 0: shares its memory where that is safe. */
void edge_share(edge_planner *planner, const edge_step *step);

/* Whether this process may use it: a forked child may not, its copy has no threads and its secrets
 * are gone. */
edge_status edge_check_owner(pid_t owner, edge_error *error);
/* Subgraph `subgraph`, or an error that there is none. */
edge_status edge_interpreter_frame(edge_interpreter *interpreter, int32_t subgraph,
                                   edge_frame **frame, edge_error *error);
/* Takes the interpreter for this thread, if this process may use it and no other thread does. */
edge_status edge_interpreter_enter(edge_interpreter *interpreter, edge_error *error);
void edge_interpreter_leave(edge_interpreter *interpreter);

/* plan.c: takes work from what the allocate or invoke has left; false: there is not that much. */
bool edge_spend_work(edge_interpreter *interpreter, uint64_t work);
/* Plans all steps as far as shapes are known. */
edge_status edge_plan_make(edge_frame *frame, edge_error *error);
/* Asks for the shape of step `first`, all before it having been run, and plans what follows once
 * more where the shape is not that of the last time. */
edge_status edge_plan_from(edge_frame *frame, int32_t first, edge_error *error);
void edge_plan_drop(edge_frame *frame);
/* Bytes of the interpreter's limit that no arena and no variable has taken. */
uint64_t edge_arena_left(const edge_interpreter *interpreter);
/* invoke.c: runs all steps of a planned frame. */
edge_status edge_frame_run(edge_frame *frame, edge_error *error);
/* interpreter.c */
void edge_frame_reset_variables(edge_frame *frame);
edge_status edge_frame_resize(edge_frame *frame, int32_t tensor, const int32_t *shape, int32_t rank,
                              edge_error *error);

/* ---- for run() --------------------------------------------------------------------------- */

static inline void *edge_in(const edge_frame *frame, const edge_step *step, int32_t i) {
  return frame->views[step->node->inputs[i]].data;
}

static inline void *edge_out(const edge_frame *frame, const edge_step *step, int32_t i) {
  return frame->views[step->node->outputs[i]].data;
}

static inline uint8_t *edge_scratch(const edge_frame *frame, const edge_step *step,
                                    uint32_t worker) {
  (void)frame;
  return step->scratch + step->scratch_size * worker;
}

/* ---- small arithmetic -------------------------------------------------------------------- */

/* 0 for types whose elements have no fixed size of whole bytes. */
static inline uint64_t edge_type_size(edge_type type) {
  switch (type) {
    case EDGE_INT8:
    case EDGE_UINT8:
    case EDGE_BOOL:
      return 1;
    case EDGE_INT16:
    case EDGE_UINT16:
    case EDGE_FLOAT16:
      return 2;
    case EDGE_INT32:
    case EDGE_UINT32:
    case EDGE_FLOAT32:
    case EDGE_RESOURCE: /* the index of a variable */
      return 4;
    case EDGE_INT64:
    case EDGE_UINT64:
    case EDGE_FLOAT64:
    case EDGE_COMPLEX64:
      return 8;
    case EDGE_COMPLEX128:
      return 16;
    default:
      return 0;
  }
}

const char *edge_type_name(edge_type type);

/* Whether callers may read or write the tensor: a graph input or output. */
bool edge_is_graph_tensor(const edge_graph *graph, int32_t tensor);

/* The bytes of a shape, at most `most`; types without a fixed size count as bytes. False: more. A
 * dimension of 0 counts as 1 against `most`, so that no product of some dimensions overflows. */
static inline bool edge_shape_bytes(const int32_t *shape, int32_t rank, uint64_t size,
                                    uint64_t most, uint64_t *bytes) {
  uint64_t all = size ? size : 1;
  bool empty = false;
  for (int32_t i = 0; i < rank; i++) {
    if (shape[i] < 0) return false;
    empty |= shape[i] == 0;
    if (shape[i] > 0 && all > most / (uint64_t)shape[i]) return false;
    if (shape[i] > 0) all *= (uint64_t)shape[i];
  }
  *bytes = empty ? 0 : all;
  return true;
}

/* Elements of a shape that edge_shape_bytes() has passed, or of some of its dimensions. */
static inline int64_t edge_count(const int32_t *shape, int32_t from, int32_t to) {
  int64_t count = 1;
  for (int32_t i = from; i < to; i++) count *= shape[i];
  return count;
}

/* Elements of the shape that the file gives. */
static inline uint64_t edge_stored_count(const edge_tensor *tensor) {
  return (uint64_t)edge_count(tensor->shape, 0, tensor->rank);
}

static inline uint64_t edge_round_up(uint64_t value, uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

static inline int64_t edge_min(int64_t a, int64_t b) {
  return a < b ? a : b;
}
static inline int64_t edge_max(int64_t a, int64_t b) {
  return a > b ? a : b;
}

#endif
