/* Which operators there are. */
#include "operators.h"

#include <string.h>

const edge_operator *edge_operator_find(int32_t code) {
  switch (code) {
#define EDGE_OPERATOR(code, name, symbol) \
  case code:                              \
    return &edge_operator_##symbol;
#define EDGE_FOREIGN(code, name)
#define EDGE_CUSTOM(name, symbol)
#include "operators.inc"
#undef EDGE_OPERATOR
#undef EDGE_FOREIGN
#undef EDGE_CUSTOM
    default:
      return NULL;
  }
}

const char *edge_operator_name(int32_t code) {
  switch (code) {
#define EDGE_OPERATOR(code, name, symbol) \
  case code:                              \
    return #name;
#define EDGE_FOREIGN(code, name) \
  case code:                     \
    return #name;
#define EDGE_CUSTOM(name, symbol)
#include "operators.inc"
#undef EDGE_OPERATOR
#undef EDGE_FOREIGN
#undef EDGE_CUSTOM
    default:
      return NULL;
  }
}

const edge_operator *edge_operator_custom(const char *name, size_t size) {
#define EDGE_OPERATOR(code, name, symbol)
#define EDGE_FOREIGN(code, name)
#define EDGE_CUSTOM(known, symbol) \
  if (size == sizeof(known) - 1 && memcmp(name, known, size) == 0) return &edge_operator_##symbol;
#include "operators.inc"
#undef EDGE_OPERATOR
#undef EDGE_FOREIGN
#undef EDGE_CUSTOM
  (void)name;
  (void)size;
  return NULL;
}
