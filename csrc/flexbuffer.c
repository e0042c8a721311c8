/* FlexBuffers: widths of 1, 2, 4 or 8 bytes, and distances that go back from where they lie. */
#include "flexbuffer.h"

/* Types, as in the upper six bits of a type byte; the lower two are the width of what is pointed
 * at, as a power of two. */
enum {
  FLEX_NULL = 0,
  FLEX_INT = 1,
  FLEX_UINT = 2,
  FLEX_FLOAT = 3,
  FLEX_INDIRECT_INT = 6,
  FLEX_INDIRECT_UINT = 7,
  FLEX_INDIRECT_FLOAT = 8,
  FLEX_MAP = 9,
  FLEX_BOOL = 26,
};

static bool is_width(uint64_t width) {
  return width == 1 || width == 2 || width == 4 || width == 8;
}

static bool read_unsigned(edge_bytes bytes, uint64_t at, uint32_t width, uint64_t *value) {
  if (!edge_inside(bytes, at, width)) return false;
  *value = 0;
  for (uint32_t i = 0; i < width; i++) *value |= (uint64_t)bytes.data[at + i] << (8 * i);
  return true;
}

/* Follows the distance that lies at `at`. */
static bool follow(edge_bytes bytes, uint64_t at, uint32_t width, uint64_t *target) {
  uint64_t distance;
  if (!read_unsigned(bytes, at, width, &distance) || distance > at) return false;
  *target = at - distance;
  return true;
}

bool edge_flex_open(edge_bytes bytes, edge_flex_map *map) {
  if (bytes.size < 3) return false;
  const uint32_t root_width = bytes.data[bytes.size - 1];
  const uint8_t type = bytes.data[bytes.size - 2];
  uint64_t key_width;
  if (!is_width(root_width) || bytes.size < 2 + (uint64_t)root_width || type >> 2 != FLEX_MAP) {
    return false;
  }
  *map = (edge_flex_map){.bytes = bytes, .width = 1u << (type & 3)};
  const uint64_t width = map->width;
  if (!follow(bytes, bytes.size - 2 - root_width, root_width, &map->values)) return false;
  if (map->values < 3 * width) return false;
  if (!read_unsigned(bytes, map->values - width, map->width, &map->count) ||
      !read_unsigned(bytes, map->values - 2 * width, map->width, &key_width) ||
      !follow(bytes, map->values - 3 * width, map->width, &map->keys) || !is_width(key_width)) {
    return false;
  }
  map->key_width = (uint32_t)key_width;
  /* Each value has a byte for its type behind them. */
  return map->count <= bytes.size && edge_inside(bytes, map->values, map->count * (width + 1)) &&
         edge_inside(bytes, map->keys, map->count * key_width);
}

static bool same_key(edge_bytes bytes, uint64_t at, const char *key) {
  const uint64_t size = strlen(key) + 1;
  return edge_inside(bytes, at, size) && memcmp(bytes.data + at, key, size) == 0;
}

static bool read_float(edge_bytes bytes, uint64_t at, uint32_t width, double *value) {
  uint64_t bits;
  if (!read_unsigned(bytes, at, width, &bits)) return false;
  if (width == 8) {
    memcpy(value, &bits, sizeof *value);
    return true;
  }
  *value = (double)edge_load_f32(bytes.data + at);
  return width == 4;
}

static bool read_signed(edge_bytes bytes, uint64_t at, uint32_t width, double *value) {
  uint64_t bits;
  if (!read_unsigned(bytes, at, width, &bits)) return false;
  if (width < 1 || width > 8) return false;
  const uint64_t sign = UINT64_C(1) << (8 * width - 1);
  *value = bits & sign ? -(double)(sign - (bits & (sign - 1))) : (double)bits;
  return true;
}

static bool read_number(const edge_flex_map *map, uint64_t i, double *value) {
  const uint8_t packed = map->bytes.data[map->values + map->count * map->width + i];
  uint64_t at = map->values + i * map->width;
  uint32_t width = map->width;
  uint64_t whole;
  const int type = packed >> 2;
  if (type == FLEX_INDIRECT_INT || type == FLEX_INDIRECT_UINT || type == FLEX_INDIRECT_FLOAT) {
    if (!follow(map->bytes, at, width, &at)) return false;
    width = 1u << (packed & 3);
  }
  switch (type) {
    case FLEX_NULL:
      return true;
    case FLEX_INT:
    case FLEX_INDIRECT_INT:
      return read_signed(map->bytes, at, width, value);
    case FLEX_FLOAT:
    case FLEX_INDIRECT_FLOAT:
      return read_float(map->bytes, at, width, value);
    case FLEX_UINT:
    case FLEX_INDIRECT_UINT:
    case FLEX_BOOL:
      if (!read_unsigned(map->bytes, at, width, &whole)) return false;
      *value = (double)whole;
      return true;
    default:
      return false;
  }
}

bool edge_flex_number(const edge_flex_map *map, const char *key, double absent, double *value) {
  *value = absent;
  for (uint64_t i = 0; i < map->count; i++) {
    uint64_t at;
    if (!follow(map->bytes, map->keys + i * map->key_width, map->key_width, &at)) return false;
    if (same_key(map->bytes, at, key)) return read_number(map, i, value);
  }
  return true;
}
