/* What fuzz targets share. */
#ifndef SHARDGATE_FUZZ_H
#define SHARDGATE_FUZZ_H

#include <stdlib.h>

#include "shardgate/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An invariant: unlike assert it is there in every build. */
static inline void must(bool holds)
{
    if (!holds)
        abort();
}

static inline bool within(struct str part, struct str whole)
{
    return part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

#endif
