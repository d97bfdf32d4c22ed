/*
 * COPY ... (FORMAT binary) of rows (bigint, smallint or NULL), as it arrives:
 * pieces may end anywhere. PostgreSQL documentation, COPY, "Binary Format".
 */
#ifndef SHARDGATE_COPY_BINARY_H
#define SHARDGATE_COPY_BINARY_H

#include "shardgate/base.h"

struct copy_row {
    int64_t tenant;
    int16_t shard;
    bool no_shard; /* NULL */
};

enum copy_part { COPY_SIGNATURE, COPY_EXTENSION, COPY_FIELDS, COPY_TENANT, COPY_SHARD_LENGTH, COPY_SHARD, COPY_END };

struct copy_reader {
    /* False: the reader stops; the callee has noted why. */
    bool (*on_row)(void *ctx, const struct copy_row *row);
    void *ctx;
    enum copy_part part;
    uint8_t held[24]; /* a part that is not whole yet */
    size_t held_len;
    uint32_t skip; /* bytes of the header extension still to come */
    struct copy_row row;
    uint64_t rows;
};

void copy_reader_init(struct copy_reader *r, bool (*on_row)(void *ctx, const struct copy_row *row), void *ctx);
/* False: the data is not what was asked for (e says how), or on_row refused (e is
 * not touched). */
bool copy_reader_feed(struct copy_reader *r, const char *data, size_t len, struct error *e) MUST_CHECK;
/* The trailer has come. */
bool copy_reader_ended(const struct copy_reader *r);

#endif
