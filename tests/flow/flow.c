/* Peers and time of the flow tests. See flow.h. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "flow.h"

#include "pool_impl.h"

static const char *const base_yaml =
    "auth: {type: trust}\n"
    "admin: {users: [boss], stats_users: [viewer]}\n"
    "users:\n"
    "  - {name: app}\n"
    "  - {name: boss}\n"
    "  - {name: viewer}\n"
    "  - {name: few, tenants: '1-9,150', max_clients: 1}\n"
    "  - {name: held, pool_mode: session, server_user: other, server_password: secret}\n";

/* ---- hooks -------------------------------------------------------------------- */

static void on_lookup(void *ctx, int64_t tenant)
{
    struct flow *f = ctx;
    f->lookups++;
    f->lookup_tenant = tenant;
}

static void on_cancel(void *ctx, unsigned worker, struct cancel_key key)
{
    struct flow *f = ctx;
    (void)worker;
    f->cancels++;
    sessions_cancel(f->ss, key);
    sessions_cancel_heard(f->ss, key);
}

static void on_drained(void *ctx) { ((struct flow *)ctx)->drained++; }

static bool on_parameters(void *ctx, char values[HEALTH_PARAMETERS][64])
{
    struct flow *f = ctx;
    memcpy(values, f->parameters, sizeof f->parameters);
    return f->have_parameters;
}

/* SHOW has one column, DO has no rows, and anything else is no command. */
static bool on_describe(void *ctx, const char *text, bool no_data, struct buf *out, struct error *e)
{
    static const char *const column[] = {"answer"};
    (void)ctx;
    if (strncmp(text, "SHOW", 4) == 0)
        return wire_put_row_description(out, column, 1);
    if (strncmp(text, "DO", 2) != 0)
        return error_set(e, ERR_SYNTAX, "no command of the test");
    return !no_data || wire_put_no_data(out);
}

static void on_run(void *ctx, struct console_call *c)
{
    struct flow *f = ctx;
    if (f->console_call)
        flow_fail(__FILE__, __LINE__, "two console commands at a time in one flow");
    f->console_call = c;
}

void answers(struct flow *f, const char *messages)
{
    struct console_call *c = f->console_call;
    if (!c)
        flow_fail(__FILE__, __LINE__, "no console command is under way");
    f->console_call = NULL;
    if (!text_encode(&c->reply, messages, false))
        flow_fail(__FILE__, __LINE__, "not understood: %s", messages);
    c->done(c);
    settle(f);
}

/* ---- making and ending ---------------------------------------------------------- */

static void add_shard(struct map_builder *b, int16_t id, int64_t min, bool active)
{
    char conninfo[64];
    struct error e;
    error_clear(&e);
    snprintf(conninfo, sizeof conninfo, "host=shard%d", id);
    struct map_shard s = {.id = id,
                          .region = "USA",
                          .conninfo = conninfo,
                          .primary = id == 1,
                          .active = active,
                          .has_range = true,
                          .min = min,
                          .max = min + (min == 1 ? 98 : 99)};
    if (!map_builder_shard(b, &s, &e))
        flow_fail(__FILE__, __LINE__, "shard: %s", e.cause);
}

struct map *flow_map(struct map *old, bool with_500)
{
    struct map_builder *b = map_builder_new(1);
    struct error e;
    error_clear(&e);
    add_shard(b, 1, 1, true);
    add_shard(b, 2, 100, true);
    add_shard(b, 3, 200, true);
    add_shard(b, 4, 300, false);
    if (with_500)
        map_builder_override(b, 500, 2, MAP_LEARNED);
    struct map *m = map_builder_finish(b, old, (struct map_limits){100, 100}, &e);
    if (!m)
        flow_fail(__FILE__, __LINE__, "map: %s", e.cause);
    return m;
}

void flow_set_map(struct flow *f, struct map *m)
{
    map_unref(f->map);
    f->map = m;
    f->pools->generation++;
    sessions_map_changed(f->ss);
    settle(f);
}

static void log_to_memory(struct flow *f)
{
    char path[64];
    f->log_fd = memfd_create("flow log", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", f->log_fd);
    if (f->log_fd < 0 || !log_open(path, LOG_ERROR, LOG_LOGFMT))
        flow_fail(__FILE__, __LINE__, "cannot open the log");
}

void flow_init(struct flow *f, const char *yaml, bool session_mode)
{
    struct error e;
    struct buf text;
    error_clear(&e);
    log_to_memory(f);
    buf_init(&text, 0);
    bool lookup = strcmp(yaml, NO_LOOKUP) != 0;
    buf_printf(&text, "directory: {connection: host=unused, lookup_on_miss: %s}\n%spool: {mode: %s}\n%s",
               lookup ? "true" : "false", base_yaml, session_mode ? "session" : "transaction", yaml);
    f->session_mode = session_mode;
    f->conf = conf_parse("flow", buf_str(&text), &e);
    buf_fini(&text);
    f->users = f->conf ? auth_users_load(f->conf, &e) : NULL;
    f->loop = f->users ? loop_new(&e) : NULL;
    if (!f->loop)
        flow_fail(__FILE__, __LINE__, "%s", e.cause);
    f->map = flow_map(NULL, false);
    pool_script_init(f);
    f->hub = session_hub_new();
    struct sessions_hooks hooks = {.lookup = on_lookup,
                                   .cancel = on_cancel,
                                   .drained = on_drained,
                                   .parameters = on_parameters,
                                   .ctx = f,
                                   .console = {.describe = on_describe, .run = on_run, .ctx = f}};
    f->ss = sessions_new(f->pools, f->conf, f->users, f->hub, 3, &hooks);
}

/* A forbidden move of a session is made and logged. */
static void check_log(struct flow *f)
{
    char text[4096] = "";
    ssize_t n = pread(f->log_fd, text, sizeof text - 1, 0);
    if (n > 0 && strstr(text, "session state"))
        flow_fail(__FILE__, __LINE__, "logged: %s", text);
    log_open("", LOG_ERROR, LOG_LOGFMT);
    close(f->log_fd);
}

void flow_fini(struct flow *f)
{
    for (unsigned i = 0; i < f->peer_count; i++) {
        if (f->peers[i]->is_client) {
            f->peers[i]->slow = false;
            f->peers[i]->memory.write_room = SIZE_MAX;
            hangs_up(f->peers[i]);
        }
    }
    if (f->console_call)
        answers(f, "C(LATE)");
    sessions_shutdown(f->ss); /* those that take no input any longer do not see the end */
    settle(f);
    if (sessions_count(f->ss) || sessions_waiting(f->ss))
        flow_fail(__FILE__, __LINE__, "%zu sessions are left, %zu wait", sessions_count(f->ss),
                  sessions_waiting(f->ss));
    if (session_hub_clients(f->hub))
        flow_fail(__FILE__, __LINE__, "%u clients are counted", session_hub_clients(f->hub));
    loop_turn(f->loop);
    sessions_free(f->ss);
    session_hub_free(f->hub);
    pool_script_fini(f);
    for (unsigned i = 0; i < f->peer_count; i++) {
        buf_fini(&f->peers[i]->pending);
        stream_memory_fini(&f->peers[i]->memory);
        mem_free(f->peers[i]);
    }
    map_unref(f->map);
    auth_users_unref(f->users);
    conf_unref(f->conf);
    loop_free(f->loop);
    check_log(f);
}

/* ---- delivery ------------------------------------------------------------------- */

static size_t piece(const struct flow *f, struct peer *p)
{
    size_t all = p->pending.len;
    if (f->delivery == DELIVER_BYTES)
        return 1;
    if (f->delivery == DELIVER_CUT && p->burst < f->cut && f->cut - p->burst < all)
        return f->cut - p->burst;
    return all;
}

static bool deliver(struct flow *f, struct peer *p)
{
    struct stream_memory *m = &p->memory;
    bool moved = false;
    if (m->stream.closing)
        buf_consume(&p->pending, p->pending.len);
    if (p->pending.len && m->in.len == 0) {
        size_t n = piece(f, p);
        buf_append(&m->in, buf_head(&p->pending), n);
        buf_consume(&p->pending, n);
        p->burst = p->pending.len ? p->burst + n : 0;
        moved = true;
    }
    if (f->trickle && !p->slow && m->write_room == 0 && (m->stream.watching & STREAM_WRITABLE)) {
        m->write_room = 3;
        moved = true;
    }
    size_t in = m->in.len, out = m->out.len;
    stream_memory_step(m);
    return moved || in != m->in.len || out != m->out.len;
}

void settle(struct flow *f)
{
    bool moved;
    do {
        moved = false;
        for (unsigned i = 0; i < f->peer_count; i++)
            moved |= deliver(f, f->peers[i]);
    } while (moved);
    loop_turn(f->loop);
}

void sends_raw(struct peer *p, const void *data, size_t len)
{
    struct flow *f = p->flow;
    buf_append(&p->pending, data, len);
    if (p->pending.len > f->longest)
        f->longest = p->pending.len;
    settle(f);
}

void sends(struct peer *p, const char *messages)
{
    struct buf b;
    buf_init(&b, 0);
    if (!text_encode(&b, messages, p->is_client))
        flow_fail(__FILE__, __LINE__, "not understood: %s", messages);
    sends_raw(p, buf_head(&b), b.len);
    buf_fini(&b);
}

void heard(struct peer *p, struct buf *text) { text_decode(text, &p->memory.out, p); }

void hangs_up(struct peer *p)
{
    p->memory.eof = true;
    settle(p->flow);
}

void breaks(struct peer *p)
{
    p->memory.broken = true;
    settle(p->flow);
}

void stalls(struct peer *p)
{
    p->slow = true;
    p->memory.write_room = 0;
}

void takes(struct peer *p, size_t bytes)
{
    p->memory.write_room = bytes;
    settle(p->flow);
}

void passes(struct flow *f, uint64_t ms)
{
    struct deadline_class *all[] = {&f->ss->login_deadline, &f->ss->idle_deadline, &f->ss->transaction_deadline,
                                    &f->ss->query_deadline, &f->ss->flush_deadline};
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        deadline_class_run(all[i], loop_now_ms(f->loop) + ms);
    settle(f);
}

/* ---- clients ---------------------------------------------------------------------- */

struct peer *client_from(struct flow *f, const char *address)
{
    if (f->peer_count == PEERS_MAX)
        flow_fail(__FILE__, __LINE__, "too many peers");
    struct peer *p = f->peers[f->peer_count++] = mem_zalloc(sizeof *p);
    struct peer_address from = {.port = 4711, .local = strcmp(address, "unix") == 0};
    str_copy(from.text, sizeof from.text, str_from(address));
    p->flow = f;
    p->is_client = true;
    buf_init(&p->pending, 0);
    stream_memory_open(&p->memory, f->loop);
    if (f->trickle)
        p->memory.write_room = 3;
    sessions_attach(f->ss, &p->memory.stream, &from);
    settle(f);
    return p;
}

struct peer *client(struct flow *f) { return client_from(f, "192.0.2.7"); }

void starts_with(struct peer *c, uint32_t version, const char *const *pairs)
{
    struct buf b;
    uint8_t head[8] = {
        0, 0, 0, 0, (uint8_t)(version >> 24), (uint8_t)(version >> 16), (uint8_t)(version >> 8), (uint8_t)version};
    buf_init(&b, 0);
    buf_append(&b, head, sizeof head);
    for (; *pairs; pairs++)
        buf_append(&b, *pairs, strlen(*pairs) + 1);
    buf_append_byte(&b, 0);
    b.data[b.off + 2] = (char)(b.len >> 8);
    b.data[b.off + 3] = (char)b.len;
    sends_raw(c, buf_head(&b), b.len);
    buf_fini(&b);
}

struct peer *login_with(struct flow *f, const char *const *pairs)
{
    struct peer *c = client(f);
    struct buf welcome;
    starts_with(c, 0x30000, pairs);
    buf_init(&welcome, 0);
    heard(c, &welcome);
    bool ok = welcome.len > 4 && memcmp(buf_head(&welcome) + welcome.len - 4, "Z(I)", 4) == 0;
    if (!ok)
        flow_fail(__FILE__, __LINE__, "no welcome: %.*s %s", (int)welcome.len, buf_head(&welcome), c->text);
    buf_fini(&welcome);
    return c;
}

struct peer *login_tenant(struct flow *f, int64_t tenant)
{
    char options[64];
    snprintf(options, sizeof options, "-c shardgate.tenant_id=%lld", (long long)tenant);
    return login_as(f, "user", "app", "database", "shop", "options", options);
}
