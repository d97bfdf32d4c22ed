#include "fault.h"

#include <stdbool.h>

static _Thread_local bool armed;
static _Thread_local long left;
static _Thread_local long failures;

/* Names that the linker's --wrap option gives. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

static bool runs_out(void)
{
    if (!armed)
        return false;
    if (left > 0) {
        left--;
        return false;
    }
    failures++;
    return true;
}

void *__wrap_malloc(size_t size) { return runs_out() ? NULL : __real_malloc(size); }

void *__wrap_calloc(size_t count, size_t size) { return runs_out() ? NULL : __real_calloc(count, size); }

void *__wrap_realloc(void *old, size_t size) { return runs_out() ? NULL : __real_realloc(old, size); }

void fault_malloc_after(long successes)
{
    armed = true;
    left = successes;
    failures = 0;
}

void fault_malloc_off(void) { armed = false; }

long fault_malloc_failures(void) { return failures; }
