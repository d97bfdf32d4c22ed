#include "hash_index.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static struct hash_node *same_hash(struct hash_node *n, uint64_t hash)
{
    while (n && n->hash != hash)
        n = n->next;
    return n;
}

static void grow(struct hash_index *x)
{
    size_t size = x->size ? x->size * 2 : 16;
    struct hash_node **slots = mem_zalloc(size * sizeof(struct hash_node *));
    for (size_t i = 0; i < x->size; i++) {
        for (struct hash_node *n = x->slots[i], *next; n; n = next) {
            next = n->next;
            n->next = slots[n->hash & (size - 1)];
            slots[n->hash & (size - 1)] = n;
        }
    }
    mem_free(x->slots);
    x->slots = slots;
    x->size = size;
}

uint64_t hash_bytes(uint64_t seed, const void *data, size_t len)
{
    return XXH3_64bits_withSeed(len ? data : "", len, seed ^ len);
}

void hash_index_fini(struct hash_index *x)
{
    mem_free(x->slots);
    *x = (struct hash_index){0};
}

void hash_index_add(struct hash_index *x, struct hash_node *n, uint64_t hash)
{
    if (x->count >= x->size)
        grow(x);
    n->hash = hash;
    n->next = x->slots[hash & (x->size - 1)];
    x->slots[hash & (x->size - 1)] = n;
    x->count++;
}

void hash_index_remove(struct hash_index *x, struct hash_node *n)
{
    struct hash_node **link = &x->slots[n->hash & (x->size - 1)];
    while (*link != n)
        link = &(*link)->next;
    *link = n->next;
    n->next = NULL;
    x->count--;
}

struct hash_node *hash_index_first(const struct hash_index *x, uint64_t hash)
{
    return x->size ? same_hash(x->slots[hash & (x->size - 1)], hash) : NULL;
}

struct hash_node *hash_index_next(const struct hash_node *n) { return same_hash(n->next, n->hash); }
