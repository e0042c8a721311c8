/* Runs files through fuzz_model.c without libFuzzer: what was found once is looked at again.
 *
 *   replay FILE...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most) {
  (void)data;
  (void)most;
  return size;
}

int main(int count, char **arguments) {
  static uint8_t bytes[1 << 20];
  for (int i = 1; i < count; i++) {
    FILE *file = fopen(arguments[i], "rb");
    if (file == NULL) return 2;
    const size_t size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    /* Said before it runs: a crash says no more. */
    printf("%s\n", arguments[i]);
    (void)fflush(stdout);
    (void)LLVMFuzzerTestOneInput(bytes, size);
  }
  return 0;
}
