/* Which processors this build is for. */
#ifndef EDGE_TARGET_H
#define EDGE_TARGET_H

#if defined(__x86_64__)
#define EDGE_X86_64 1
#else
#define EDGE_X86_64 0
#endif

#endif
