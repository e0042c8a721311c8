/* What the readers of a .tflite file share: graph.c reads operators, tensors.c and signatures.c
 * what they are named for. Source: tflite/converter/schema/schema.fbs in LiteRT. */
#ifndef EDGE_GRAPH_H
#define EDGE_GRAPH_H

#include "internal.h"

typedef struct edge_reader {
  edge_model *model;
  edge_graph *graph; /* that is being read */
  edge_bytes file;
  edge_error *error;
  edge_vector codes;
  edge_vector buffers;
  /* Names, scales and lists of tensors are read once for each table that names them: a file may
   * make many tables share one long list, so the sum is bounded and not only each one. */
  uint64_t name_bytes;
  uint64_t scales;
  uint64_t entries;
  /* Of all subgraphs. */
  uint64_t tensors;
  uint64_t operators;
} edge_reader;

enum { EDGE_SIGNATURES_MAX = 1024, EDGE_SUBGRAPHS_MAX = 1024 };

/* Says that something lies outside of the file. */
edge_status edge_reader_malformed(edge_reader *r, const char *what, long long index,
                                  const char *expected);
/* A name as bytes; copied when the file's bytes will go. */
edge_status edge_read_name(edge_reader *r, const edge_table *table, uint32_t field,
                           const char *what, long long index, const char **name, uint32_t *size);
/* Counts a list of tensors. */
edge_status edge_reader_count(edge_reader *r, const char *what, long long index, uint32_t count);
/* Zeroed memory of the model. */
void *edge_reader_array(edge_reader *r, uint64_t count, uint64_t size);

edge_status edge_read_tensors(edge_reader *r, const edge_table *subgraph);
/* Names for the tensors of subgraphs; needs the tensors of all. */
edge_status edge_read_signatures(edge_reader *r, const edge_table *root);

#endif
