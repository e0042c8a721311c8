/* Which processors this build is for, and which instructions its compiler can be asked for. */
#ifndef EDGE_TARGET_H
#define EDGE_TARGET_H

#if defined(__x86_64__)
#define EDGE_X86_64 1
#else
#define EDGE_X86_64 0
#endif

#if defined(__aarch64__)
#define EDGE_AARCH64 1
#else
#define EDGE_AARCH64 0
#endif

/* NEON is part of aarch64. On 32-bit Arm GCC compiles single functions for it, whatever the rest is
 * compiled for, if floats go through registers at all; other compilers must have been told. */
#if defined(__arm__) && defined(__ARM_FP) && __ARM_ARCH >= 6
#if defined(__ARM_NEON) || !defined(__clang__)
#define EDGE_ARM_NEON 1
#endif
#endif
#ifndef EDGE_ARM_NEON
#define EDGE_ARM_NEON 0
#endif

#define EDGE_NEON (EDGE_AARCH64 || EDGE_ARM_NEON)

/* Dot products and int8 matrix products: GCC 10 and clang 16 compile single functions for them. */
#if EDGE_AARCH64 && ((defined(__clang__) && __clang_major__ >= 16) || \
                     (!defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 10))
#define EDGE_NEON_DOT 1
#else
#define EDGE_NEON_DOT 0
#endif

#endif
