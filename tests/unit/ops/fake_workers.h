/*
 * The doors of pool and session as ops uses them, over plain counters: included by
 * one test, whose definitions the linker takes instead of the rooms'.
 */
#ifndef FAKE_WORKERS_H
#define FAKE_WORKERS_H

#include "shardgate/ops.h"

struct pools {
    int16_t shard;
    unsigned active;
    atomic_uint pauses, resumes, reconnects, looks;
    unsigned free_after; /* looks until active falls to 0 */
    struct shard_stats stats;
};
struct sessions {
    uint64_t id;
    bool killed;
};

bool pools_pause(struct pools *ps, int32_t shard)
{
    ps->pauses++;
    return shard == SHARD_ALL || shard == ps->shard;
}

bool pools_resume(struct pools *ps, int32_t shard)
{
    ps->resumes++;
    return shard == SHARD_ALL || shard == ps->shard;
}

bool pools_reconnect(struct pools *ps, int32_t shard)
{
    ps->reconnects++;
    return shard == SHARD_ALL || shard == ps->shard;
}

unsigned pools_active(const struct pools *ps, int32_t shard)
{
    struct pools *p = (struct pools *)(uintptr_t)ps;

    (void)shard;
    if (p->free_after && ++p->looks >= p->free_after)
        p->active = 0;
    return p->active;
}

void pools_each(struct pools *ps, void (*fn)(void *ctx, const struct pool_info *i), void *ctx)
{
    fn(ctx, &(struct pool_info){.shard_id = ps->shard, .database = "app", .user = "web", .active = ps->active});
}

void pools_each_server(struct pools *ps, void (*fn)(void *ctx, const struct server_info *i), void *ctx)
{
    fn(ctx, &(struct server_info){.id = 5, .shard_id = ps->shard, .database = "app", .user = "web", .state = "idle"});
}

void pools_each_node(struct pools *ps, void (*fn)(void *ctx, const struct node_info *i), void *ctx)
{
    fn(ctx, &(struct node_info){.shard_id = ps->shard, .servers = 4, .waiting = 1, .stats = &ps->stats});
}

size_t sessions_count(const struct sessions *ss) { return ss->id ? 1 : 0; }

size_t sessions_waiting(const struct sessions *ss)
{
    (void)ss;
    return 0;
}

bool sessions_kill(struct sessions *ss, uint64_t session_id)
{
    ss->killed |= ss->id == session_id;
    return ss->id == session_id;
}

void sessions_each(struct sessions *ss, void (*fn)(void *ctx, const struct session_info *i), void *ctx)
{
    fn(ctx, &(struct session_info){.id = ss->id,
                                   .user = "web",
                                   .database = "app",
                                   .address = "192.0.2.1",
                                   .application = "",
                                   .state = "idle",
                                   .has_tenant = true,
                                   .tenant = 42,
                                   .source = "session",
                                   .shard_id = -1});
}

unsigned session_hub_clients(const struct session_hub *h)
{
    (void)h;
    return 2;
}

#endif
