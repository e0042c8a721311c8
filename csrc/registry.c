/* Which operators there are. */
#include "operators.h"

const edge_operator *edge_operator_find(int32_t code) {
  switch (code) {
#define EDGE_OPERATOR(code, name, symbol) \
  case code:                              \
    return &edge_operator_##symbol;
#define EDGE_FOREIGN(code, name)
#include "operators.inc"
#undef EDGE_OPERATOR
#undef EDGE_FOREIGN
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
#include "operators.inc"
#undef EDGE_OPERATOR
#undef EDGE_FOREIGN
    default:
      return NULL;
  }
}
