/*
 * What sessions of all workers share: how many clients there are, in all, by
 * user and by address, and the cancel keys that are not of our own making
 * (session mode passes the server's process id on). One mutex; taken at
 * connect, login, cancel and close, never for a query.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "session_internal.h"

#define BUCKETS 4096u

struct tally { /* clients of one user or address */
    struct tally *next;
    unsigned count;
    uint32_t len;
    char name[];
};

struct key {
    struct key *next;
    uint32_t pid, key;
    uint64_t session_id;
};

struct session_hub {
    pthread_mutex_t lock;
    atomic_uint clients;
    struct tally *users[BUCKETS], *addresses[BUCKETS];
    struct key *keys[BUCKETS];
};

struct session_hub *session_hub_new(void)
{
    struct session_hub *h = mem_zalloc(sizeof *h);
    pthread_mutex_init(&h->lock, NULL);
    return h;
}

void session_hub_free(struct session_hub *h)
{
    pthread_mutex_destroy(&h->lock);
    mem_free(h);
}

unsigned session_hub_clients(const struct session_hub *h)
{
    return atomic_load_explicit(&h->clients, memory_order_relaxed);
}

static struct tally **tally_find(struct tally **table, struct str name)
{
    struct tally **at = &table[XXH3_64bits(name.ptr, name.len) % BUCKETS];
    while (*at && !((*at)->len == name.len && memcmp((*at)->name, name.ptr, name.len) == 0))
        at = &(*at)->next;
    return at;
}

/* False if there are max already. */
static bool tally_add(struct tally **table, struct str name, int64_t max)
{
    struct tally **at = tally_find(table, name);
    if (!*at) {
        *at = mem_zalloc(sizeof **at + name.len);
        (*at)->len = (uint32_t)name.len;
        memcpy((*at)->name, name.ptr, name.len);
    }
    if (max > 0 && (*at)->count >= max)
        return false;
    (*at)->count++;
    return true;
}

static void tally_remove(struct tally **table, struct str name)
{
    struct tally **at = tally_find(table, name);
    struct tally *t = *at;
    if (t && --t->count == 0) {
        *at = t->next;
        mem_free(t);
    }
}

bool hub_count(struct session_hub *h, struct str address, int64_t max, int64_t max_address, struct error *e)
{
    bool ok = false;
    pthread_mutex_lock(&h->lock);
    unsigned now = atomic_load_explicit(&h->clients, memory_order_relaxed);
    if (now >= max)
        error_set(e, ERR_TOO_MANY_CLIENTS, "limits.max_clients is %lld", (long long)max);
    else if (address.len && !tally_add(h->addresses, address, max_address))
        error_set(e, ERR_TOO_MANY_ADDRESS_CLIENTS, "limits.max_clients_per_address is %lld", (long long)max_address);
    else
        ok = true;
    if (ok)
        atomic_store_explicit(&h->clients, now + 1, memory_order_relaxed);
    pthread_mutex_unlock(&h->lock);
    return ok;
}

bool hub_count_user(struct session_hub *h, struct str user, int64_t max, struct error *e)
{
    pthread_mutex_lock(&h->lock);
    bool ok = tally_add(h->users, user, max);
    pthread_mutex_unlock(&h->lock);
    if (!ok)
        error_set(e, ERR_TOO_MANY_USER_CLIENTS, "the limit for this user is %lld", (long long)max);
    return ok;
}

void hub_uncount_user(struct session_hub *h, struct str user)
{
    pthread_mutex_lock(&h->lock);
    tally_remove(h->users, user);
    pthread_mutex_unlock(&h->lock);
}

void hub_uncount(struct session_hub *h, struct str address)
{
    pthread_mutex_lock(&h->lock);
    atomic_fetch_sub_explicit(&h->clients, 1, memory_order_relaxed);
    if (address.len)
        tally_remove(h->addresses, address);
    pthread_mutex_unlock(&h->lock);
}

static struct key **key_find(struct session_hub *h, uint32_t pid, uint32_t key)
{
    struct key **at = &h->keys[(pid ^ key) % BUCKETS];
    while (*at && !((*at)->pid == pid && (*at)->key == key))
        at = &(*at)->next;
    return at;
}

void hub_key_put(struct session_hub *h, uint32_t pid, uint32_t key, uint64_t session_id)
{
    pthread_mutex_lock(&h->lock);
    struct key *k = mem_zalloc(sizeof *k);
    *k = (struct key){h->keys[(pid ^ key) % BUCKETS], pid, key, session_id};
    h->keys[(pid ^ key) % BUCKETS] = k;
    pthread_mutex_unlock(&h->lock);
}

void hub_key_remove(struct session_hub *h, uint32_t pid, uint32_t key)
{
    pthread_mutex_lock(&h->lock);
    struct key **at = key_find(h, pid, key), *k = *at;
    if (k) {
        *at = k->next;
        mem_free(k);
    }
    pthread_mutex_unlock(&h->lock);
}

bool hub_key_find(struct session_hub *h, uint32_t pid, uint32_t key, uint64_t *session_id)
{
    pthread_mutex_lock(&h->lock);
    struct key *k = *key_find(h, pid, key);
    if (k)
        *session_id = k->session_id;
    pthread_mutex_unlock(&h->lock);
    return k != NULL;
}
