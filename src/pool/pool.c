/*
 * Pools: found by content, and freed when nobody needs them: no references, no
 * servers, no waiters, and no back-off to remember.
 */
#include <string.h>

#include "pool_impl.h"

/* The content that makes two pools the same, in every worker of the process. The
 * password is not part of it: a changed one is taken over. */
static bool make_id(struct buf *id, const struct node *n, const struct pool_key *key, const char *database,
                    const char *user)
{
    id->off = id->len = 0;
    buf_printf(id, "%d %d %d", n->shard_id, (int)key->mode, (int)key->settings->replication);
    buf_append(id, n->conninfo, strlen(n->conninfo) + 1);
    buf_append(id, database, strlen(database) + 1);
    buf_append(id, user, strlen(user) + 1);
    return buf_append_str(id, key->settings->options);
}

static void set_password(struct pool *p, struct str password)
{
    if (p->password && password.ptr && str_eq(str_from(p->password), password))
        return;
    if (p->password)
        mem_free_secret(p->password, strlen(p->password));
    p->password = password.ptr ? str_dup(password) : NULL;
}

static struct pool *new_pool(struct node *n, const struct pool_key *key, struct str id, char *database, char *user)
{
    struct pools *ps = n->pools;
    struct pool *p = mem_zalloc(sizeof(*p));
    p->node = n;
    p->pools = ps;
    ilist_init(&p->waiters);
    for (unsigned i = 0; i < SERVER_STATES; i++)
        ilist_init(&p->servers[i]);
    p->id = (struct str){str_dup(id), id.len};
    p->database = database;
    p->user = user;
    p->forced_database = key->forced_database;
    p->forced_user = key->forced_user;
    p->settings = key->settings;
    p->settings->refs++;
    p->mode = key->mode;
    p->unpooled = key->settings->replication != REPLICATION_NONE;
    p->always_dirty = key->mode == CONF_MODE_SESSION;
    p->size = key->size;
    p->database_limit = key->database_limit;
    p->user_limit = key->user_limit;
    p->backoff.pool = p;
    groups_join(p);
    hash_index_add(&ps->index, &p->in_index, hash_str(0, p->id));
    ilist_push_back(&n->all, &p->in_node);
    ps->pool_count++;
    return p;
}

static void unlist(struct pool *p)
{
    if (!p->retired)
        hash_index_remove(&p->pools->index, &p->in_index);
    p->retired = true;
}

static void free_pool(struct pool *p)
{
    struct pools *ps = p->pools;
    struct node *n = p->node;
    unlist(p);
    deadline_disarm(&p->reserve);
    deadline_disarm(&p->refill);
    backoff_clear(&p->backoff);
    groups_leave(p);
    ilist_remove(&p->in_node);
    ilist_remove(&p->in_queued);
    ilist_remove(&p->in_failing);
    params_unref(ps, p->params);
    settings_unref(ps, p->settings);
    if (p->password)
        mem_free_secret(p->password, strlen(p->password));
    mem_free((char *)(uintptr_t)p->id.ptr);
    mem_free(p->database);
    mem_free(p->user);
    mem_free(p);
    ps->pool_count--;
    node_maybe_free(n);
    pools_maybe_free(ps);
}

/* Ends what is idle or not yet in use; what is in use ends at checkin. */
static void drop_servers(struct pool *p, const char *why)
{
    static const enum server_state now[] = {SERVER_CONNECTING, SERVER_PROVING, SERVER_IDLE};
    static const enum server_state later[] = {SERVER_ACTIVE, SERVER_CLEANING, SERVER_HELD, SERVER_MOVING};
    for (unsigned i = 0; i < ARRAY_LEN(now); i++) {
        ILIST_EACH (link, &p->servers[now[i]]) /* what is opened instead comes before them */
            server_end(container_of(link, struct server, in_pool), LOG_DEBUG, why);
    }
    for (unsigned i = 0; i < ARRAY_LEN(later); i++) {
        ILIST_EACH (link, &p->servers[later[i]])
            container_of(link, struct server, in_pool)->retire = true;
    }
}

struct pool *pool_by_id(struct pools *ps, struct str id)
{
    for (struct hash_node *h = hash_index_first(&ps->index, hash_str(0, id)); h; h = hash_index_next(h)) {
        struct pool *p = container_of(h, struct pool, in_index);
        if (str_eq(p->id, id))
            return p;
    }
    return NULL;
}

void pool_maybe_free(struct pool *p)
{
    bool remembers = ilist_linked(&p->backoff.wake.node) && !p->retired && !p->pools->closing;
    if (!p->refs && !p->total && !p->waiting && !remembers)
        free_pool(p);
}

void pool_retire(struct pool *p)
{
    unlist(p);
    pool_hold(p);
    drop_servers(p, p->pools->closing ? "shutting down" : "the shard's map entry has changed");
    pool_fail(p, NULL);
    pool_unref(p);
}

void pool_reconnect(struct pool *p)
{
    pool_hold(p);
    drop_servers(p, "reconnect");
    pool_grow(p);
    pool_unref(p);
}

void pool_end_active(struct pool *p)
{
    static const enum server_state busy[] = {SERVER_ACTIVE, SERVER_CLEANING, SERVER_HELD};
    for (unsigned i = 0; i < ARRAY_LEN(busy); i++) {
        struct ilist *first;
        while ((first = ilist_first(&p->servers[busy[i]])))
            server_end(container_of(first, struct server, in_pool), LOG_DEBUG, "shutting down");
    }
}

bool pool_backing_off(const struct pool *p, const struct error **last)
{
    const struct backoff *b = backoff_now(&p->backoff, p->pools)         ? &p->backoff
                              : backoff_now(&p->node->backoff, p->pools) ? &p->node->backoff
                                                                         : NULL;
    if (b && last)
        *last = b->last;
    return b;
}

struct pool *pool_get(struct pools *ps, const struct pool_key *key)
{
    struct node *n = node_find(ps, key->shard->id);
    if (!n)
        n = node_new(ps, key->shard);
    struct error ignored; /* opening reports it */
    error_clear(&ignored);
    bool parsed = node_parse(n, &ignored);
    const char *named_db = parsed && !key->forced_database ? n->info.dbname : NULL;
    const char *named_user = parsed && !key->forced_user ? n->info.user : NULL;
    char *database = named_db ? mem_strdup(named_db) : str_dup(key->database);
    char *user = named_user ? mem_strdup(named_user) : str_dup(key->user);
    make_id(&ps->scratch, n, key, database, user);
    struct pool *p = pool_by_id(ps, buf_str(&ps->scratch));
    if (p) {
        mem_free(database);
        mem_free(user);
    } else {
        p = new_pool(n, key, buf_str(&ps->scratch), database, user);
    }
    if (p->size != key->size || p->database_limit != key->database_limit || p->user_limit != key->user_limit) {
        p->size = key->size;
        p->database_limit = key->database_limit;
        p->user_limit = key->user_limit;
        groups_set_limits(p);
    }
    set_password(p, key->password);
    pool_hold(p);
    return p;
}

void pool_unref(struct pool *p)
{
    p->refs--;
    pool_maybe_free(p);
}

struct node *pool_node(const struct pool *p) { return p->node; }

struct params *pool_params(const struct pool *p) { return p->params; }

enum conf_pool_mode pool_mode(const struct pool *p) { return p->mode; }
