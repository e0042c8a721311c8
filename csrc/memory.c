/* Regions: allocations that go together, and memory for secrets. */
#define _GNU_SOURCE /* MADV_WIPEONFORK, MAP_ANONYMOUS */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "internal.h"

/* A block serves many small allocations or one large one. Large ones are mapped: the system gives
 * zeroed pages as they are touched. */
enum { BLOCK_SIZE = 64 * 1024, MAPPED_FROM = 1024 * 1024 };

/* Lies apart from the memory that it describes: a forked child finds that empty, and must still be
 * able to give it back. */
typedef struct edge_block {
  struct edge_block *next;
  uint8_t *memory;
  uint64_t size;
  uint64_t used;
  bool mapped;
} edge_block;

void edge_wipe(void *memory, size_t size) {
  if (memory == NULL) return;
  memset(memory, 0, size);
  /* The compiler must believe that somebody reads it. */
  __asm__ volatile("" : : "r"(memory) : "memory");
}

/* Locks as many leading pages as the system allows: the limit is often 8 MB in containers. */
static uint64_t lock_what_fits(uint8_t *memory, uint64_t size, uint64_t page) {
  if (mlock(memory, size) == 0) return size;
  uint64_t low = 0; /* pages known to lock */
  uint64_t high = size / page;
  while (low < high) {
    const uint64_t middle = low + (high - low + 1) / 2;
    if (mlock(memory, middle * page) == 0) {
      low = middle;
    } else {
      high = middle - 1;
    }
    if (munlock(memory, size) != 0) return 0;
  }
  return low > 0 && mlock(memory, low * page) == 0 ? low * page : 0;
}

static void *map_pages(uint64_t size) {
  void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

static void *map_secret(uint64_t size, uint64_t *locked) {
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  void *memory = map_pages(size);
  if (memory == NULL) return NULL;
  *locked = lock_what_fits(memory, size, page);
#ifdef MADV_DONTDUMP
  (void)madvise(memory, size, MADV_DONTDUMP);
#endif
#ifdef MADV_WIPEONFORK
  (void)madvise(memory, size, MADV_WIPEONFORK);
#endif
  return memory;
}

static uint64_t round_to_pages(uint64_t size) {
  return edge_round_up(size, (uint64_t)sysconf(_SC_PAGESIZE));
}

static void *zeroed_pages_or_heap(edge_block *block, bool secret, uint64_t *locked) {
  void *memory = NULL;
  if (secret) return map_secret(block->size, locked);
  if (block->mapped) return map_pages(block->size);
  if (posix_memalign(&memory, EDGE_ALIGN, block->size) != 0) return NULL;
  return memset(memory, 0, block->size);
}

/* A block of at least `size` bytes in front of the region's list; NULL and *error on failure. */
static edge_block *block_create(edge_region *region, uint64_t size, edge_error *error) {
  uint64_t locked = 0;
  edge_block *block = calloc(1, sizeof *block);
  if (block != NULL) {
    block->mapped = region->secret || size >= MAPPED_FROM;
    block->size = block->mapped ? round_to_pages(size) : edge_round_up(size, EDGE_ALIGN);
    block->memory = zeroed_pages_or_heap(block, region->secret, &locked);
  }
  if (block == NULL || block->memory == NULL) {
    free(block);
    edge_report(error, EDGE_OUT_OF_MEMORY, "expected %llu bytes from the system, got none",
                (unsigned long long)size);
    return NULL;
  }
  block->next = region->blocks;
  region->blocks = block;
  region->mapped += block->size;
  region->locked += locked;
  if (region->require_locked && locked < block->size) {
    edge_report(error, EDGE_LOCK_REFUSED, "expected %llu bytes of locked memory, got %llu",
                (unsigned long long)block->size, (unsigned long long)locked);
    return NULL; /* the block goes with its region */
  }
  return block;
}

void *edge_region_alloc(edge_region *region, uint64_t count, uint64_t size, edge_error *error) {
  /* Nothing is larger than half of the address space: sizes below fit size_t and ptrdiff_t. */
  const uint64_t most =
      region->limit != 0 && region->limit < SIZE_MAX / 2 ? region->limit : SIZE_MAX / 2;
  if (size != 0 && count > (most - EDGE_SLACK) / size) {
    edge_report(error, EDGE_LIMIT_EXCEEDED,
                "expected at most %llu bytes of memory, got %llu x %llu", (unsigned long long)most,
                (unsigned long long)count, (unsigned long long)size);
    return NULL;
  }
  const uint64_t wanted = edge_round_up(count * size, EDGE_ALIGN) + EDGE_SLACK;
  edge_block *block = region->blocks;
  if (block == NULL || block->size - block->used < wanted) {
    if (region->mapped + wanted > most) {
      edge_report(error, EDGE_LIMIT_EXCEEDED, "expected at most %llu bytes of memory, got %llu",
                  (unsigned long long)most, (unsigned long long)region->mapped + wanted);
      return NULL;
    }
    block = block_create(region, wanted > BLOCK_SIZE ? wanted : BLOCK_SIZE, error);
    if (block == NULL) return NULL;
  }
  uint8_t *memory = block->memory + block->used;
  block->used += wanted;
  return memory;
}

void edge_region_release(edge_region *region) {
  edge_block *block = region->blocks;
  while (block != NULL) {
    edge_block *next = block->next;
    if (region->secret) edge_wipe(block->memory, block->size);
    if (block->mapped) {
      (void)munmap(block->memory, block->size); /* unlocks as well */
    } else {
      free(block->memory);
    }
    free(block);
    block = next;
  }
  region->blocks = NULL;
  region->mapped = region->locked = 0;
}

edge_status edge_memory_map(size_t size, bool require, void **memory, size_t *locked,
                            edge_error *error) {
  const uint64_t whole = round_to_pages(size ? size : 1);
  uint64_t pages = 0;
  void *mapped = map_secret(whole, &pages);
  if (mapped == NULL) {
    return edge_fail(error, EDGE_OUT_OF_MEMORY, "expected %llu bytes from the system, got none",
                     (unsigned long long)whole);
  }
  if (require && pages < whole) {
    (void)munmap(mapped, whole);
    return edge_fail(error, EDGE_LOCK_REFUSED, "expected %llu bytes of locked memory, got %llu",
                     (unsigned long long)whole, (unsigned long long)pages);
  }
  *memory = mapped;
  if (locked != NULL) *locked = pages < size ? pages : size;
  return EDGE_OK;
}

void edge_memory_unmap(void *memory, size_t size) {
  if (memory == NULL) return;
  const uint64_t whole = round_to_pages(size ? size : 1);
  edge_wipe(memory, whole);
  (void)munmap(memory, whole);
}
