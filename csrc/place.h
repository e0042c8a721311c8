/* Memory for the tensors and the scratch of a segment. */
#ifndef EDGE_PLACE_H
#define EDGE_PLACE_H

#include "internal.h"

/* The tensor whose memory this one uses. */
int32_t edge_root_of(const edge_frame *frame, int32_t tensor);
/* Gives memory to what the steps of the last segment, up to before `end`, need. */
edge_status edge_place_segment(edge_frame *frame, int32_t end, edge_error *error);

#endif
