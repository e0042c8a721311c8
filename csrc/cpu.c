/* What this process may use: instruction sets, and processors by affinity and cgroup quota. */
#define _GNU_SOURCE /* sched_getaffinity, CPU_COUNT */
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>
#if defined(__linux__) && (defined(__aarch64__) || defined(__arm__))
#include <sys/auxv.h>
#endif

#include "internal.h"

#if defined(__linux__) && (defined(__aarch64__) || defined(__arm__))
/* What the kernel says of this processor: of all its cores, where they differ. Bits by number, for
 * headers older than they. Source: Linux, arch/arm64 and arch/arm, include/uapi/asm/hwcap.h. */
static uint32_t arm_bits(void) {
#ifdef __aarch64__
  enum { ASIMDDP = 1 << 20, I8MM = 1 << 13 };
  uint32_t bits = EDGE_CPU_NEON;
  if ((getauxval(AT_HWCAP) & ASIMDDP) != 0) bits |= EDGE_CPU_NEON_DOT;
  if ((getauxval(AT_HWCAP2) & I8MM) != 0) bits |= EDGE_CPU_NEON_I8MM;
  return bits;
#else
  enum { NEON = 1 << 12 };
  return (getauxval(AT_HWCAP) & NEON) != 0 ? EDGE_CPU_NEON : EDGE_CPU_ANY;
#endif
}
#endif

uint32_t edge_cpu_bits(void) {
  uint32_t bits = 0;
#if defined(__x86_64__) || defined(__i386__)
  /* The builtin also asks whether the system saves the wide registers. */
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) bits |= EDGE_CPU_AVX2;
#elif defined(__linux__) && (defined(__aarch64__) || defined(__arm__))
  bits = arm_bits();
#elif defined(__aarch64__)
  /* NEON is part of it; of the rest, what the compiler was told that every such machine has. */
  bits = EDGE_CPU_NEON;
#ifdef __ARM_FEATURE_DOTPROD
  bits |= EDGE_CPU_NEON_DOT;
#endif
#ifdef __ARM_FEATURE_MATMUL_INT8
  bits |= EDGE_CPU_NEON_I8MM;
#endif
#endif
  return bits;
}

static int32_t affinity_count(void) {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return (int32_t)CPU_COUNT(&set);
#endif
  const long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? (int32_t)count : 1;
}

#ifdef __linux__
/* Reads a small file of the system as text; false if it is not there. */
static bool read_text(const char *path, char *text, size_t size) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const ssize_t count = read(file, text, size - 1);
  (void)close(file);
  if (count <= 0) return false;
  text[count] = '\0';
  return true;
}

/* The decimal number at *text, which moves behind it; -1 for anything else, such as "max". */
static int64_t read_number(const char **text) {
  const char *at = *text;
  while (*at == ' ') at++;
  int64_t value = *at >= '0' && *at <= '9' ? 0 : -1;
  for (; *at >= '0' && *at <= '9' && value < INT32_MAX; at++) value = value * 10 + (*at - '0');
  *text = at;
  return value;
}

static int32_t quota_threads(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) return INT32_MAX;
  return (int32_t)edge_min((quota + period - 1) / period, INT32_MAX);
}

/* "cpu.max" of a cgroup v2 folder is "QUOTA PERIOD" in microseconds, or "max PERIOD". */
static int32_t cgroup_v2_limit(const char *path) {
  char text[64];
  if (!read_text(path, text, sizeof text)) return INT32_MAX;
  const char *at = text;
  const int64_t quota = read_number(&at);
  return quota_threads(quota, read_number(&at));
}

static int32_t cgroup_v1_limit(void) {
  char quota[32];
  char period[32];
  if (!read_text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota, sizeof quota)) return INT32_MAX;
  if (!read_text("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period, sizeof period)) return INT32_MAX;
  const char *q = quota;
  const char *p = period;
  return quota_threads(read_number(&q), read_number(&p));
}

/* The tightest quota on the way from this process's own group up to the root. In a container the
 * path is usually "/" and the one file at the top counts. */
static int32_t cgroup_limit(void) {
  static const char root[] = "/sys/fs/cgroup";
  static const char file[] = "/cpu.max";
  char text[1024];
  char path[sizeof root + sizeof text + sizeof file];
  int32_t limit = cgroup_v1_limit();
  if (!read_text("/proc/self/cgroup", text, sizeof text)) return limit;
  const char *group = strstr(text, "0::");
  if (group == NULL) return limit;
  size_t length = strcspn(group + 3, "\n");
  memcpy(path, root, sizeof root - 1);
  memcpy(path + sizeof root - 1, group + 3, length);
  length += sizeof root - 1;
  while (length >= sizeof root - 1) {
    memcpy(path + length, file, sizeof file);
    limit = (int32_t)edge_min(limit, cgroup_v2_limit(path));
    do {
      length--;
    } while (length >= sizeof root && path[length] != '/');
  }
  return limit;
}
#endif

int32_t edge_cpu_threads(void) {
  int32_t threads = affinity_count();
#ifdef __linux__
  threads = (int32_t)edge_min(threads, cgroup_limit());
#endif
  return threads > 0 ? threads : 1;
}
