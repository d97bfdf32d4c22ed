/*
 * The sessions of one worker: taking clients in, finding them by id, draining.
 *
 * A session is found by its id in O(1): the id holds the slot. Slots are reused,
 * ids are not (they carry a sequence number).
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "session_internal.h"

static void on_login_expired(struct deadline *d, void *ctx)
{
    (void)ctx;
    session_fail_code(container_of(d, struct session, deadline), ERR_LOGIN_TIMEOUT, "client_login_timeout");
}

static void on_idle_expired(struct deadline *d, void *ctx)
{
    (void)ctx;
    session_fail_code(container_of(d, struct session, deadline), ERR_CLIENT_IDLE, "client_idle_timeout");
}

static void on_transaction_expired(struct deadline *d, void *ctx)
{
    (void)ctx;
    session_fail_code(container_of(d, struct session, deadline), ERR_IDLE_IN_TRANSACTION,
                      "idle_in_transaction_timeout");
}

static void on_query_expired(struct deadline *d, void *ctx)
{
    (void)ctx;
    session_fail_code(container_of(d, struct session, deadline), ERR_QUERY_TIMEOUT, "query_timeout");
}

static void on_flush_expired(struct deadline *d, void *ctx)
{
    (void)ctx;
    session_end(container_of(d, struct session, deadline), "the client did not take the last message");
}

static void apply_conf(struct sessions *ss)
{
    const struct conf *c = ss->conf;
    ss->login_deadline.timeout_ms = (uint64_t)c->client_login_timeout;
    ss->idle_deadline.timeout_ms = (uint64_t)c->client_idle_timeout;
    ss->transaction_deadline.timeout_ms = (uint64_t)c->idle_transaction_timeout;
    ss->query_deadline.timeout_ms = (uint64_t)c->query_timeout;
    ss->timed = c->client_idle_timeout || c->idle_transaction_timeout || c->query_timeout;
    ss->rules.parameter = str_from(c->tenant_parameter);
    ss->rules.comment_key = (c->tenant_sources & CONF_SOURCE_COMMENT) ? str_from(c->tenant_comment_key) : STR("");
    ss->rules.standard_strings = true;
}

struct sessions *sessions_new(struct pools *pools, const struct conf *c, struct auth_users *users,
                              struct session_hub *hub, unsigned worker, const struct sessions_hooks *hooks)
{
    struct sessions *ss = mem_zalloc(sizeof *ss);
    ss->loop = pools_loop(pools);
    ss->pools = pools;
    ss->conf = conf_ref((struct conf *)c);
    ss->users = auth_users_ref(users);
    ss->hub = hub;
    ss->counters = pools_counters(pools);
    ss->worker = worker;
    ss->hooks = *hooks;
    ilist_init(&ss->all);
    ilist_init(&ss->misses);
    deadline_class_init(&ss->login_deadline, ss->loop, 0, on_login_expired, ss);
    deadline_class_init(&ss->idle_deadline, ss->loop, 0, on_idle_expired, ss);
    deadline_class_init(&ss->transaction_deadline, ss->loop, 0, on_transaction_expired, ss);
    deadline_class_init(&ss->query_deadline, ss->loop, 0, on_query_expired, ss);
    deadline_class_init(&ss->flush_deadline, ss->loop, 5000, on_flush_expired, ss);
    apply_conf(ss);
    ss->scratch_size = (size_t)c->io_buffer;
    ss->scratch = mem_alloc(ss->scratch_size);
    buf_init(&ss->prefix, 0);
    buf_init(&ss->reply, 0);
    return ss;
}

void sessions_free(struct sessions *ss)
{
    deadline_class_fini(&ss->login_deadline);
    deadline_class_fini(&ss->idle_deadline);
    deadline_class_fini(&ss->transaction_deadline);
    deadline_class_fini(&ss->query_deadline);
    deadline_class_fini(&ss->flush_deadline);
    buf_fini(&ss->prefix);
    buf_fini(&ss->reply);
    mem_free(ss->scratch);
    mem_free(ss->slots);
    mem_free(ss->free_slots);
    auth_users_unref(ss->users);
    conf_unref(ss->conf);
    mem_free(ss);
}

void sessions_configure(struct sessions *ss, const struct conf *c, struct auth_users *users)
{
    struct conf *old_conf = ss->conf;
    struct auth_users *old_users = ss->users;
    ss->conf = conf_ref((struct conf *)c);
    ss->users = auth_users_ref(users);
    apply_conf(ss);
    auth_users_unref(old_users);
    conf_unref(old_conf);
}

static uint64_t take_slot(struct sessions *ss, struct session *s)
{
    if (ss->free_count == 0) {
        uint32_t cap = ss->slot_cap ? ss->slot_cap * 2 : 64;
        if (cap > 1u << ID_SLOT_BITS)
            return 0;
        struct session **slots = mem_try_realloc(ss->slots, cap * sizeof *slots);
        if (!slots)
            return 0;
        ss->slots = slots;
        uint32_t *list = mem_try_realloc(ss->free_slots, cap * sizeof *list);
        if (!list)
            return 0;
        ss->free_slots = list;
        for (uint32_t i = cap; i > ss->slot_cap; i--) {
            slots[i - 1] = NULL;
            list[ss->free_count++] = i - 1;
        }
        ss->slot_cap = cap;
    }
    uint32_t slot = ss->free_slots[--ss->free_count];
    ss->slots[slot] = s;
    return (++ss->next_seq << (ID_SLOT_BITS + ID_WORKER_BITS)) | (uint64_t)ss->worker << ID_SLOT_BITS | slot;
}

static struct session *find(struct sessions *ss, uint64_t id)
{
    uint32_t slot = id_slot(id);
    struct session *s = slot < ss->slot_cap ? ss->slots[slot] : NULL;
    return s && s->id == id ? s : NULL;
}

static void set_address(struct session *s, const struct peer_address *peer)
{
    /* Kept packed; text of an address is five times as long. */
    s->port = peer->port;
    s->address_kind = peer->local ? 0 : 1;
    if (peer->local)
        return;
    unsigned a, b, c, d;
    char end;
    if (sscanf(peer->text, "%3u.%3u.%3u.%3u%c", &a, &b, &c, &d, &end) == 4 && a < 256 && b < 256 && c < 256 &&
        d < 256) {
        s->address_kind = 4;
        s->address[0] = (uint8_t)a;
        s->address[1] = (uint8_t)b;
        s->address[2] = (uint8_t)c;
        s->address[3] = (uint8_t)d;
    } else if (inet_pton(AF_INET6, peer->text, s->address) == 1) {
        s->address_kind = 6;
    }
}

void session_address(const struct session *s, char *to, size_t size)
{
    if (s->address_kind == 0)
        str_copy(to, size, STR("unix"));
    else if (s->address_kind == 4)
        snprintf(to, size, "%u.%u.%u.%u", s->address[0], s->address[1], s->address[2], s->address[3]);
    else if (s->address_kind != 6 || !inet_ntop(AF_INET6, s->address, to, (socklen_t)size))
        str_copy(to, size, STR("unknown"));
}

static struct session *attach(struct sessions *ss, struct session *s, const struct peer_address *peer)
{
    s->owner = ss;
    s->tenant = (struct route_tenant){0};
    s->connected_ms = loop_now_ms(ss->loop);
    set_address(s, peer);
    buf_init(&s->in, (size_t)ss->conf->max_statement + ss->scratch_size + INPUT_HOLD_MAX);
    buf_init(&s->out, 0);
    s->waiter.done = on_waiter_done;
    ilist_push_back(&ss->all, &s->in_owner);
    ss->count++;
    counter_add(ss->counters, COUNTER_CLIENTS_ACCEPTED, 1);
    s->stream->user = s;
    s->stream->ready = on_client_ready;
    s->state = SESSION_STARTUP;
    s->id = take_slot(ss, s);
    struct error e = {0};
    char address[64];
    session_address(s, address, sizeof address);
    if (s->id == 0)
        error_set(&e, ERR_TOO_MANY_CLIENTS, "no session slot on this worker");
    else if (ss->draining)
        error_set(&e, ERR_SHUTTING_DOWN, "draining");
    else if (hub_count(ss->hub, str_from(s->address_kind ? address : ""), ss->conf->max_clients,
                       ss->conf->max_clients_per_address, &e))
        s->counted = true;
    if (e.code) {
        /* Said in answer to the startup packet, where every driver looks for it;
         * at once only when there are far too many. */
        counter_add(ss->counters, COUNTER_CLIENTS_REFUSED, 1);
        s->refusal = (uint8_t)e.code;
        if (s->id == 0 || ss->count > 2 * (size_t)ss->conf->max_clients) {
            session_fail(s, &e);
            return s;
        }
    }
    session_arm(s);
    return s;
}

static void free_session(struct reap *r) { mem_free(container_of(r, struct session, reap)); }

void sessions_accept(struct sessions *ss, int fd, const struct peer_address *peer)
{
    struct session *s = mem_try_alloc(sizeof *s);
    struct error e;
    error_clear(&e);
    if (!s) {
        close(fd);
        log_event(LOG_ERROR, "client refused", log_str("cause", "out of memory"));
        return;
    }
    memset(s, 0, sizeof *s);
    s->reap.free = free_session;
    s->stream = &s->socket;
    if (!stream_open_fd(&s->socket, ss->loop, fd, &e)) {
        log_event(LOG_WARN, "client refused", log_err(&e));
        mem_free(s);
        return;
    }
    attach(ss, s, peer);
}

struct session *sessions_attach(struct sessions *ss, struct stream *stream, const struct peer_address *peer)
{
    struct session *s = mem_zalloc(sizeof *s);
    s->reap.free = free_session;
    s->stream = stream;
    stream->loop = ss->loop;
    return attach(ss, s, peer);
}

/* A session that waited for the directory looks its tenant up again. */
static void look_again(struct session *s)
{
    ilist_remove(&s->in_misses);
    session_move(s, session_before_wait(s));
    session_resume(s);
}

void sessions_map_changed(struct sessions *ss)
{
    struct ilist again;
    ilist_init(&again);
    struct ilist *node;
    while ((node = ilist_pop_front(&ss->misses)) != NULL)
        ilist_push_back(&again, node);
    ILIST_EACH (link, &ss->all) {
        struct session *s = container_of(link, struct session, in_owner);
        if (session_waits_elsewhere(s)) {
            waiter_cancel(&s->waiter);
            ilist_push_back(&again, &s->in_misses);
        }
    }
    while ((node = ilist_pop_front(&again)) != NULL)
        look_again(container_of(node, struct session, in_misses));
}

void sessions_tenant_answer(struct sessions *ss, int64_t tenant, const struct error *e)
{
    /* Every session that waits for this tenant looks again; those whose tenant
     * is still unknown are refused then, for the directory has been asked. */
    struct ilist again;
    ilist_init(&again);
    ILIST_EACH (node, &ss->misses) {
        struct session *s = container_of(node, struct session, in_misses);
        if (s->pool_tenant == tenant) {
            ilist_remove(node);
            ilist_push_back(&again, node);
        }
    }
    if (e)
        log_event(LOG_WARN, "tenant look-up failed", log_int("tenant", tenant), log_err(e));
    struct ilist *node;
    while ((node = ilist_pop_front(&again)) != NULL) {
        struct session *s = container_of(node, struct session, in_misses);
        s->looked_up = true;
        look_again(s);
    }
}

static struct session *find_key(struct sessions *ss, uint32_t pid, uint32_t key)
{
    uint32_t slot = id_slot(pid);
    struct session *s = slot < ss->slot_cap ? ss->slots[slot] : NULL;
    return s && !s->own_key && s->welcomed && s->cancel_pid == pid && s->cancel_key == key ? s : NULL;
}

void sessions_cancel(struct sessions *ss, struct cancel_key key)
{
    struct session *s = key.session_id ? find(ss, key.session_id) : find_key(ss, key.pid, key.key);
    if (!s)
        return;
    if (s->state == SESSION_LINKED && s->server->expect.count > 0) {
        server_cancel(s->server);
    } else if (s->state == SESSION_WAITING && s->welcomed) {
        session_cancel_wait(s);
    }
}

void sessions_cancel_heard(struct sessions *ss, struct cancel_key key)
{
    struct session *s = find(ss, key.requester);
    if (s && s->asks_cancel && s->state < SESSION_CLOSING)
        session_end(s, "cancel request");
}

void sessions_tell_drained(struct sessions *ss)
{
    if (!ss->draining || ss->told_drained || ss->count > 0)
        return;
    ss->told_drained = true;
    if (ss->hooks.drained)
        ss->hooks.drained(ss->hooks.ctx);
}

/* The end of one session may be the end of others: its server goes to them. */
static void end_all(struct sessions *ss, bool at_rest_only, const char *cause)
{
    struct ilist todo, *node;
    ilist_init(&todo);
    while ((node = ilist_pop_front(&ss->all)) != NULL)
        ilist_push_back(&todo, node);
    while ((node = ilist_pop_front(&todo)) != NULL) {
        struct session *s = container_of(node, struct session, in_owner);
        ilist_push_back(&ss->all, node);
        if (!at_rest_only || session_at_rest(s))
            session_fail_code(s, ERR_SHUTTING_DOWN, cause);
    }
}

void sessions_drain(struct sessions *ss)
{
    ss->draining = true;
    ss->told_drained = false; /* as below: DRAIN may come before SIGTERM */
    end_all(ss, true, "drain");
    sessions_tell_drained(ss);
}

void sessions_shutdown(struct sessions *ss)
{
    ss->draining = true;
    ss->told_drained = false; /* the caller waits for it, also after a drain */
    end_all(ss, false, "shutdown");
    sessions_tell_drained(ss);
}

bool sessions_kill(struct sessions *ss, uint64_t session_id)
{
    struct session *s = find(ss, session_id);
    if (!s || s->state >= SESSION_CLOSING)
        return false;
    session_fail_code(s, ERR_KILLED, "KILL");
    return true;
}

size_t sessions_count(const struct sessions *ss) { return ss->count; }
size_t sessions_waiting(const struct sessions *ss) { return ss->waiting; }
