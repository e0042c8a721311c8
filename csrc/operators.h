/* The operators that the core runs, one symbol each; operators.inc lists them. */
#ifndef EDGE_OPERATORS_H
#define EDGE_OPERATORS_H

#include "internal.h"

#define EDGE_OPERATOR(code, name, symbol) extern const edge_operator edge_operator_##symbol;
#define EDGE_FOREIGN(code, name)
#define EDGE_CUSTOM(name, symbol) extern const edge_operator edge_operator_##symbol;
#include "operators.inc"
#undef EDGE_OPERATOR
#undef EDGE_FOREIGN
#undef EDGE_CUSTOM

#endif
