#include <string.h>
#include <sys/mman.h>

#include "map_private.h"

#define HUGE_PAGE ((size_t)2 << 20)
/* Below this the heap is as good, and the tests' failing allocator sees it. */
#define MAPPED_MIN ((size_t)1 << 20)
/* From here on the memory lost to rounding up to huge pages is small. */
#define HUGE_MIN ((size_t)16 << 20)

static size_t mapped_size(size_t size) { return size >= HUGE_MIN ? (size + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1) : size; }

static void *map_huge(size_t size)
{
    size_t reserved = size + HUGE_PAGE;
    char *p = mmap(NULL, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;

    if (p == MAP_FAILED)
        return NULL;
    /* The kernel gives huge pages only to aligned parts: cut off both ends. */
    before = (HUGE_PAGE - (size_t)((uintptr_t)p & (HUGE_PAGE - 1))) & (HUGE_PAGE - 1);
    if (before)
        munmap(p, before);
    munmap(p + before + size, HUGE_PAGE - before);
    (void)madvise(p + before, size, MADV_HUGEPAGE); /* a hint: works without */
    return p + before;
}

void *map_pages_alloc(size_t size)
{
    void *p;

    if (size > SIZE_MAX / 2)
        return NULL;
    if (size < MAPPED_MIN) {
        p = mem_try_alloc(size);
        if (p)
            memset(p, 0, size);
        return p;
    }
    if (size >= HUGE_MIN)
        return map_huge(mapped_size(size));
    p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void map_pages_free(void *p, size_t size)
{
    if (!p)
        return;
    if (size < MAPPED_MIN)
        mem_free(p);
    else
        munmap(p, mapped_size(size));
}
