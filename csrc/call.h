/* Running one subgraph for an operator of another: IF, WHILE, CALL_ONCE. */
#ifndef EDGE_CALL_H
#define EDGE_CALL_H

#include "internal.h"

/* Some tensors' values, apart from any arena. */
typedef struct edge_bundle {
  int32_t count;
  struct edge_value {
    int32_t rank;
    int32_t shape[EDGE_MAX_RANK];
    uint64_t bytes;
    const void *data;
  } *values;
} edge_bundle;

/* Reads a subgraph's index from the options, and refuses what does not fit the node: the subgraph
 * takes the node's inputs from `first` on; with `outputs` it also gives the node's outputs. */
edge_status edge_callee_read(edge_compiler *compiler, const edge_node *node, uint32_t field,
                             int32_t first, bool outputs, int32_t *subgraph);

/* The inputs of a step from `first` on, as they lie in memory. */
edge_status edge_call_inputs(edge_planner *planner, const edge_step *step, int32_t first,
                             edge_region *region, edge_bundle *bundle);
/* The outputs of a subgraph that has been planned; with `copy` their bytes as well, in `region`. */
edge_status edge_call_outputs(edge_planner *planner, int32_t subgraph, edge_region *region,
                              bool copy, edge_bundle *bundle);

/* Gives the subgraph the shapes of `inputs` and plans it where that changes anything. */
edge_status edge_call_plan(edge_planner *planner, const edge_step *step, int32_t subgraph,
                           const edge_bundle *inputs);
/* Whether no shape of a planned subgraph depends on values. */
bool edge_call_is_static(const edge_planner *planner, int32_t subgraph);
/* Plans, copies the inputs in, and runs. */
edge_status edge_call_run(edge_planner *planner, const edge_step *step, int32_t subgraph,
                          const edge_bundle *inputs);

/* Sets the step's output shapes. */
edge_status edge_call_set_shapes(edge_planner *planner, const edge_step *step,
                                 const edge_bundle *outputs);
/* Copies values to the step's outputs; EDGE_DEFERRED where a shape is not the planned one. */
edge_status edge_call_deliver(edge_planner *planner, const edge_step *step,
                              const edge_bundle *outputs);
/* The same, straight from a subgraph that has just run. */
edge_status edge_call_fetch(edge_planner *planner, const edge_step *step, int32_t subgraph);
bool edge_same_shapes(const edge_bundle *a, const edge_bundle *b);

/* Refuses subgraphs that call themselves, through whichever others, or nest too deeply. */
edge_status edge_calls_check(edge_model *model, edge_error *error);

#endif
