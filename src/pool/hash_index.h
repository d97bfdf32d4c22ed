/*
 * An intrusive hash index by content: the caller hashes and compares. Grows by
 * doubling; not for the path of a transaction.
 */
#ifndef SHARDGATE_HASH_INDEX_H
#define SHARDGATE_HASH_INDEX_H

#include "shardgate/base.h"

struct hash_node {
    struct hash_node *next;
    uint64_t hash;
};
struct hash_index { /* zero is empty */
    struct hash_node **slots;
    size_t size; /* a power of two, or 0 */
    size_t count;
};

uint64_t hash_bytes(uint64_t seed, const void *data, size_t len);
static inline uint64_t hash_str(uint64_t seed, struct str s) { return hash_bytes(seed, s.ptr, s.len); }

void hash_index_fini(struct hash_index *x); /* the nodes are their owners' */
void hash_index_add(struct hash_index *x, struct hash_node *n, uint64_t hash);
void hash_index_remove(struct hash_index *x, struct hash_node *n); /* must be in it */
/* The nodes of one hash: for (n = hash_index_first(x, h); n; n = hash_index_next(n)). */
struct hash_node *hash_index_first(const struct hash_index *x, uint64_t hash);
struct hash_node *hash_index_next(const struct hash_node *n);

#endif
