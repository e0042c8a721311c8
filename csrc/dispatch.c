/* The tables, and which of them this machine runs. */
#include "internal.h"

/* Narrowest first. */
static const edge_kernels tables[] = {
#define EDGE_TABLE(name, bits, mr_, nr_, kr_, lhs_, dwconv_)                      \
  {                                                                               \
    .isa = #name, .cpu = bits, .mr = mr_, .nr = nr_, .kr = kr_, .lhs_size = lhs_, \
    .dwconv_size = dwconv_,
#define EDGE_KERNEL(name, type, family, from) .type##_##family = edge_##type##_##family##__##from,
#define EDGE_TABLE_END \
  }                    \
  ,
#include "kernels.inc"
#undef EDGE_TABLE
#undef EDGE_KERNEL
#undef EDGE_TABLE_END
};

static const edge_kernel_info kernels[] = {
#define EDGE_TABLE(...)
#define EDGE_KERNEL(name, type_, family_, from) \
  {.table = #name,                              \
   .isa = #from,                                \
   .type = #type_,                              \
   .family = #family_,                          \
   .symbol = "edge_" #type_ "_" #family_ "__" #from},
#define EDGE_TABLE_END
#include "kernels.inc"
#undef EDGE_TABLE
#undef EDGE_KERNEL
#undef EDGE_TABLE_END
};

enum {
  TABLES = sizeof tables / sizeof *tables,
  KERNELS = sizeof kernels / sizeof *kernels,
};

static bool runs_here(const edge_kernels *table) {
  return (table->cpu & ~edge_cpu_bits()) == 0;
}

const edge_kernels *edge_kernels_find(const char *isa) {
  for (size_t i = TABLES; i-- > 0;) {
    if (!runs_here(&tables[i])) continue;
    if (isa == NULL || strcmp(isa, tables[i].isa) == 0) return &tables[i];
  }
  return NULL;
}

void edge_cpu_describe(edge_cpu_info *info) {
  *info = (edge_cpu_info){.isa_default = edge_kernels_find(NULL)->isa,
                          .threads = edge_cpu_threads(),
                          .kernel_count = KERNELS,
                          .kernels = kernels};
  for (size_t i = TABLES; i-- > 0;) {
    if (runs_here(&tables[i])) info->isa[info->isa_count++] = tables[i].isa;
  }
}
