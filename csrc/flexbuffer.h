/* A bounds-checked reader of what custom operators keep their options in: a FlexBuffer whose root
 * is a map from keys to numbers.
 *
 * The format (flatbuffers.dev/flexbuffers): the last byte is the width of the root, the one before
 * it the root's type, and before that lies the root. A map lies at its first value; the widths and
 * the distance of its keys lie before it, the types of its values behind it. Distances go back.
 */
#ifndef EDGE_FLEXBUFFER_H
#define EDGE_FLEXBUFFER_H

#include "flatbuffer.h"

typedef struct edge_flex_map {
  edge_bytes bytes;
  uint64_t values; /* of the first value */
  uint64_t keys;   /* of the first key */
  uint64_t count;
  uint32_t width; /* bytes of a value */
  uint32_t key_width;
} edge_flex_map;

/* False: no map, or one that does not lie within its bytes. */
bool edge_flex_open(edge_bytes bytes, edge_flex_map *map);
/* A number, or `absent` where the map has none of that key. False: something that is no number, or
 * that does not lie within the bytes. */
bool edge_flex_number(const edge_flex_map *map, const char *key, double absent, double *value);

#endif
