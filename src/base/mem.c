#include "shardgate/base.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Not by the log: it must not allocate, nor wait for a lock that we may hold. */
static _Noreturn void die_out_of_memory(size_t size)
{
    fprintf(stderr, "shardgate: out of memory while asking for %zu bytes\n", size);
    abort();
}

void *mem_try_alloc(size_t size) { return malloc(size ? size : 1); }

void *mem_try_realloc(void *old, size_t size)
{
    /* realloc(p, 0) may free p: never let it come to that. */
    return realloc(old, size ? size : 1);
}

void *mem_try_array(size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    return mem_try_alloc(total);
}

void *mem_alloc(size_t size)
{
    void *p = mem_try_alloc(size);

    if (!p)
        die_out_of_memory(size);
    return p;
}

void *mem_zalloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);

    if (!p)
        die_out_of_memory(size);
    return p;
}

char *mem_strndup(const char *s, size_t len)
{
    char *copy;

    if (len == SIZE_MAX)
        die_out_of_memory(len);
    copy = mem_alloc(len + 1);
    if (len)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *mem_strdup(const char *s) { return mem_strndup(s, strlen(s)); }

void mem_free(void *p) { free(p); }

void mem_free_secret(void *p, size_t len)
{
    if (p && len)
        explicit_bzero(p, len);
    free(p);
}
