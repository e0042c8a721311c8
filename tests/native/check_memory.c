/* Asks a region for more than half of the address space, which no sum or product may wrap to
 * something small. Ends with status 1 if anything but EDGE_LIMIT_EXCEEDED comes back.
 */
#include <stdio.h>

#include "internal.h"

int main(void) {
  const uint64_t half = SIZE_MAX / 2;
  /* Of the last three a 32-bit size_t would leave 0, 64 and 147,456. */
  const uint64_t requests[][2] = {{1, half + 1},           {2, half},     {UINT64_MAX, UINT64_MAX},
                                  {UINT64_MAX / 3, 3},     {2, half + 1}, {1, 2 * (half + 1) + 64},
                                  {half / 8192 + 9, 16384}};
  enum { COUNT = sizeof requests / sizeof *requests };
  for (int i = 0; i < COUNT; i++) {
    if (requests[i][1] <= half / requests[i][0]) continue; /* on 64 bits that is not much */
    edge_region region = {.limit = 0};
    edge_error error = {.status = EDGE_OK};
    void *memory = edge_region_alloc(&region, requests[i][0], requests[i][1], &error);
    if (memory != NULL || error.status != EDGE_LIMIT_EXCEEDED) {
      printf("request %d: status %d\n", i, (int)error.status);
      return 1;
    }
  }
  return 0;
}
