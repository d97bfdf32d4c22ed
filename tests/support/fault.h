/*
 * Memory that runs out at a chosen point. Programs named test_*_oom.c are linked
 * so that every malloc, calloc and realloc of our own code passes here; those
 * inside shared libraries do not.
 *
 *   for (long n = 0; !done; n++) {
 *       fault_malloc_after(n);         the first n succeed, then all fail
 *       done = try_the_thing();        must fail cleanly, or succeed
 *       fault_malloc_off();
 *   }
 */
#ifndef SHARDGATE_TEST_FAULT_H
#define SHARDGATE_TEST_FAULT_H

#include <stddef.h>

/* For the calling thread only. */
void fault_malloc_after(long successes);
void fault_malloc_off(void);
/* Calls since the last fault_malloc_after that were made to fail. */
long fault_malloc_failures(void);

#endif
