/* Chains that XNNPACK makes tables of: see fold.h. */
#include "fold.h"

enum { LONGEST_CHAIN = 10 };

/* Whether anybody asks for what a node computes. Those that read it come later in the file. */
static bool is_live(const edge_graph *graph, const edge_node *node, const int32_t *readers) {
  for (int32_t i = 0; i < node->output_count; i++) {
    const int32_t tensor = node->outputs[i];
    if (graph->roles[tensor] != 0 || readers[tensor] > 0) return true;
  }
  return false;
}

edge_status edge_uses_read(const edge_graph *graph, edge_region *region, edge_uses *uses,
                           edge_error *error) {
  const uint64_t count = (uint64_t)graph->tensor_count;
  int32_t *producers = edge_region_alloc(region, count, sizeof *producers, error);
  int32_t *readers = edge_region_alloc(region, count, sizeof *readers, error);
  if (producers == NULL || readers == NULL) return edge_no_memory(error);
  for (uint64_t i = 0; i < count; i++) producers[i] = -1;
  for (int32_t n = graph->node_count - 1; n >= 0; n--) {
    const edge_node *node = &graph->nodes[n];
    for (int32_t i = 0; i < node->output_count; i++) producers[node->outputs[i]] = n;
    if (!is_live(graph, node, readers)) continue; /* XNNPACK leaves it out, and looks then */
    for (int32_t i = 0; i < node->input_count; i++) {
      const int32_t tensor = node->inputs[i];
      /* A node that reads a tensor twice is one reader. */
      if (tensor >= 0 && (i == 0 || tensor != node->inputs[i - 1])) readers[tensor]++;
    }
  }
  *uses = (edge_uses){.producers = producers, .readers = readers};
  return EDGE_OK;
}

static bool has_8_bits(const edge_graph *graph, int32_t tensor) {
  const edge_type type = graph->tensors[tensor].type;
  return type == EDGE_INT8 || type == EDGE_UINT8;
}

static bool is_number(const edge_graph *graph, int32_t tensor) {
  const edge_tensor *t = &graph->tensors[tensor];
  return t->data != NULL && edge_count(t->shape, 0, t->rank) == 1;
}

static bool is_constant(const edge_graph *graph, int32_t tensor) {
  return graph->tensors[tensor].data != NULL;
}

/* The chain that a reader of this tensor would continue, or none. */
static edge_chain chain_before(const edge_compiler *compiler, int32_t tensor) {
  static const edge_chain none = {0, -1};
  const edge_graph *graph = compiler->graph;
  const int32_t producer = compiler->uses.producers[tensor];
  if (producer < 0 || compiler->uses.readers[tensor] != 1 || graph->roles[tensor] != 0) return none;
  const edge_chain chain = graph->nodes[producer].chain;
  return chain.length < LONGEST_CHAIN ? chain : none;
}

/* True: there was a chain to continue. */
static bool join(edge_compiler *compiler, edge_node *node, int32_t through, int32_t length) {
  edge_chain chain = chain_before(compiler, through);
  const bool continues = chain.length > 0;
  if (!continues) {
    if (!has_8_bits(compiler->graph, through)) return false;
    chain = (edge_chain){0, through};
  }
  chain.length += length;
  if (chain.length > LONGEST_CHAIN) { /* the activation begins the next chain */
    chain = (edge_chain){chain.length - LONGEST_CHAIN, -1};
  }
  if (chain.length == LONGEST_CHAIN && !has_8_bits(compiler->graph, node->outputs[0])) {
    /* A chain ends at 8 bits: XNNPACK gives this node back, and may begin another with it. */
    chain =
        has_8_bits(compiler->graph, through) ? (edge_chain){length, through} : (edge_chain){0, -1};
  }
  node->chain = chain;
  return continues;
}

void edge_fold_unary(edge_compiler *compiler, edge_node *node) {
  (void)join(compiler, node, node->inputs[0], 1);
}

/* The operand that a chain would come in by, or -1. */
static int32_t through_operand(const edge_compiler *compiler, int32_t a, int32_t b) {
  const edge_graph *graph = compiler->graph;
  if (is_number(graph, a) && !is_constant(graph, b)) return b;
  if (is_number(graph, b) && !is_constant(graph, a)) return a;
  const edge_chain behind_a = chain_before(compiler, a);
  if (behind_a.length > 0 && (a == b || behind_a.input == b)) return a;
  const edge_chain behind_b = chain_before(compiler, b);
  if (behind_b.length > 0 && behind_b.input == a) return b;
  return -1;
}

bool edge_fold_binary(edge_compiler *compiler, edge_node *node, bool activation) {
  const int32_t through = through_operand(compiler, node->inputs[0], node->inputs[1]);
  if (through >= 0) return join(compiler, node, through, activation ? 2 : 1);
  /* The activation is a node of its own, which may begin a chain. */
  if (activation) node->chain = (edge_chain){1, -1};
  return false;
}
