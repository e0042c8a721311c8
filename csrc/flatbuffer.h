/* A bounds-checked reader of FlatBuffers. Every byte of a model is read through it.
 *
 * The format (flatbuffers.dev/internals): a table is a position whose first four bytes say how far
 * back its vtable lies; the vtable has its own size, the table's size, and for each field the
 * field's place in the table or 0 for absent. Strings, vectors and sub-tables are reached by
 * unsigned forward offsets, so that a walk always moves ahead and cannot go round in circles.
 *
 * Opening a table checks all of its vtable, so that a scalar read later cannot leave the table. All
 * loads go through memcpy: nothing in a hostile file need be aligned. Positions are 64 bits wide
 * and sizes at most 2^31 - 1, so that no sum overflows.
 */
#ifndef EDGE_FLATBUFFER_H
#define EDGE_FLATBUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct edge_bytes {
  const uint8_t *data;
  uint64_t size;
} edge_bytes;

/* A table whose vtable and extent have been checked. `present` is false for an absent one, which
 * reads as all defaults. */
typedef struct edge_table {
  edge_bytes file;
  uint64_t position;
  uint64_t vtable;
  uint32_t vtable_size;
  uint32_t table_size;
  bool present;
} edge_table;

/* `count` elements of `element` bytes each that lie inside the file. */
typedef struct edge_vector {
  edge_bytes file;
  uint64_t position;
  uint32_t count;
  bool present;
} edge_vector;

static inline uint16_t edge_load_u16(const uint8_t *p) {
  return (uint16_t)(p[0] | (uint16_t)p[1] << 8);
}

static inline uint32_t edge_load_u32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t edge_load_u64(const uint8_t *p) {
  return (uint64_t)edge_load_u32(p) | (uint64_t)edge_load_u32(p + 4) << 32;
}

static inline int32_t edge_load_i32(const uint8_t *p) {
  const uint32_t bits = edge_load_u32(p);
  int32_t value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline int64_t edge_load_i64(const uint8_t *p) {
  const uint64_t bits = edge_load_u64(p);
  int64_t value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline float edge_load_f32(const uint8_t *p) {
  const uint32_t bits = edge_load_u32(p);
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

static inline bool edge_inside(edge_bytes file, uint64_t position, uint64_t size) {
  return position <= file.size && size <= file.size - position;
}

/* Opens the table at `position`; false if any part of it or its vtable lies outside of the file. */
static inline bool edge_table_open(edge_bytes file, uint64_t position, edge_table *table) {
  enum { VTABLE_HEAD = 4 };
  if (!edge_inside(file, position, 4)) return false;
  const int64_t vtable = (int64_t)position - edge_load_i32(file.data + position);
  if (vtable < 0 || !edge_inside(file, (uint64_t)vtable, VTABLE_HEAD)) return false;
  const uint8_t *head = file.data + vtable;
  const uint32_t vtable_size = edge_load_u16(head);
  const uint32_t table_size = edge_load_u16(head + 2);
  if (vtable_size < VTABLE_HEAD || vtable_size % 2 != 0 || table_size < 4) return false;
  if (!edge_inside(file, (uint64_t)vtable, vtable_size)) return false;
  if (!edge_inside(file, position, table_size)) return false;
  *table = (edge_table){.file = file,
                        .position = position,
                        .vtable = (uint64_t)vtable,
                        .vtable_size = vtable_size,
                        .table_size = table_size,
                        .present = true};
  return true;
}

/* Sets *at to the field's first byte, or NULL where the field is absent. False if it is there but
 * does not fit into the table. */
static inline bool edge_table_field(const edge_table *table, uint32_t field, uint32_t size,
                                    const uint8_t **at) {
  const uint32_t slot = 4 + 2 * field;
  *at = NULL;
  if (!table->present || slot + 2 > table->vtable_size) return true;
  const uint32_t offset = edge_load_u16(table->file.data + table->vtable + slot);
  if (offset == 0) return true;
  if (offset < 4 || offset + size > table->table_size) return false;
  *at = table->file.data + table->position + offset;
  return true;
}

static inline bool edge_table_u8(const edge_table *table, uint32_t field, uint8_t absent,
                                 uint8_t *value) {
  const uint8_t *at;
  if (!edge_table_field(table, field, 1, &at)) return false;
  *value = at ? *at : absent;
  return true;
}

static inline bool edge_table_i8(const edge_table *table, uint32_t field, int8_t absent,
                                 int8_t *value) {
  uint8_t byte;
  if (!edge_table_u8(table, field, (uint8_t)absent, &byte)) return false;
  memcpy(value, &byte, 1);
  return true;
}

static inline bool edge_table_bool(const edge_table *table, uint32_t field, bool absent,
                                   bool *value) {
  uint8_t byte;
  if (!edge_table_u8(table, field, absent, &byte)) return false;
  *value = byte != 0;
  return true;
}

static inline bool edge_table_i32(const edge_table *table, uint32_t field, int32_t absent,
                                  int32_t *value) {
  const uint8_t *at;
  if (!edge_table_field(table, field, 4, &at)) return false;
  *value = at ? edge_load_i32(at) : absent;
  return true;
}

static inline bool edge_table_u32(const edge_table *table, uint32_t field, uint32_t absent,
                                  uint32_t *value) {
  const uint8_t *at;
  if (!edge_table_field(table, field, 4, &at)) return false;
  *value = at ? edge_load_u32(at) : absent;
  return true;
}

static inline bool edge_table_u64(const edge_table *table, uint32_t field, uint64_t absent,
                                  uint64_t *value) {
  const uint8_t *at;
  if (!edge_table_field(table, field, 8, &at)) return false;
  *value = at ? edge_load_u64(at) : absent;
  return true;
}

static inline bool edge_table_f32(const edge_table *table, uint32_t field, float absent,
                                  float *value) {
  const uint8_t *at;
  if (!edge_table_field(table, field, 4, &at)) return false;
  *value = at ? edge_load_f32(at) : absent;
  return true;
}

/* Follows an offset field. *position is 0 where the field is absent: no object can lie there. */
static inline bool edge_table_offset(const edge_table *table, uint32_t field, uint64_t *position) {
  const uint8_t *at;
  if (!edge_table_field(table, field, 4, &at)) return false;
  *position = 0;
  if (!at) return true;
  const uint64_t here = (uint64_t)(at - table->file.data);
  const uint64_t distance = edge_load_u32(at);
  *position = here + distance;
  return distance >= 4 && edge_inside(table->file, *position, 4);
}

static inline bool edge_table_table(const edge_table *table, uint32_t field, edge_table *value) {
  uint64_t position;
  *value = (edge_table){.file = table->file};
  if (!edge_table_offset(table, field, &position)) return false;
  return position == 0 || edge_table_open(table->file, position, value);
}

static inline bool edge_table_vector(const edge_table *table, uint32_t field, uint32_t element,
                                     edge_vector *value) {
  uint64_t position;
  *value = (edge_vector){.file = table->file};
  if (!edge_table_offset(table, field, &position)) return false;
  if (position == 0) return true;
  const uint32_t count = edge_load_u32(table->file.data + position);
  *value =
      (edge_vector){.file = table->file, .position = position + 4, .count = count, .present = true};
  return edge_inside(table->file, value->position, (uint64_t)count * element);
}

static inline const uint8_t *edge_vector_data(const edge_vector *vector) {
  return vector->present ? vector->file.data + vector->position : NULL;
}

static inline int32_t edge_vector_i32(const edge_vector *vector, uint32_t i) {
  return edge_load_i32(edge_vector_data(vector) + (uint64_t)i * 4);
}

/* Entry i of a vector of tables. */
static inline bool edge_vector_table(const edge_vector *vector, uint32_t i, edge_table *table) {
  const uint64_t here = vector->position + (uint64_t)i * 4;
  const uint64_t distance = edge_load_u32(vector->file.data + here);
  return distance >= 4 && edge_table_open(vector->file, here + distance, table);
}

#endif
