/*
 * Sessions between hostile clients and hostile servers. The input is a list of
 * steps; each is a byte that says what happens and to whom, and then what that
 * takes: an index into the messages below, a length and bytes, or nothing. The
 * scripted pool of tests/flow checks what sessions promise about servers, and at
 * the end everything must have been given back.
 */
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "flow.h"

#define STEPS_MAX 200

static const char *const client_says[] = {
    "Q(SELECT 1)",
    "Q(SELECT 1 /* tenant_id=42 */)",
    "Q(SELECT 1 /* tenant_id=150 */)",
    "Q(SELECT 1 /* tenant_id=500 */)",
    "Q(BEGIN)",
    "Q(COMMIT)",
    "Q(ROLLBACK)",
    "Q(SET shardgate.tenant_id = 42)",
    "Q(SET LOCAL shardgate.tenant_id = 150)",
    "Q(RESET shardgate.tenant_id; SHOW shardgate.tenant_id; SELECT 2)",
    "Q(SET TimeZone = 'Asia/Tokyo')",
    "Q(LISTEN a)",
    "Q(DISCARD ALL)",
    "Q()",
    "Q([5000])",
    "P(,SELECT 1)",
    "P(a,SELECT 1)",
    "P(b,BEGIN)",
    "P(b,COMMIT)",
    "P(,SET shardgate.tenant_id = 42)",
    "P(,SELECT 1 /* tenant_id=150 */)",
    "P(d,DISCARD ALL)",
    "B(,)",
    "B(,a)",
    "B(p,b)",
    "B(,d)",
    "B(,,[5000])",
    "D(S,)",
    "D(S,a)",
    "D(P,)",
    "D(P,p)",
    "E()",
    "E(p)",
    "C(S,)",
    "C(S,a)",
    "C(P,p)",
    "S",
    "S S",
    "H",
    "F",
    "d(abc)",
    "d([5000])",
    "c",
    "f(no)",
    "X",
    "Q(ROLLBACK TO a)",
    "Q(BEGIN; SELECT 1)",
    "Q(COPY t FROM STDIN)",
};
static const char *const server_says[] = {
    "Z(I)",
    "Z(T)",
    "Z(E)",
    "C(SELECT 1)",
    "C(ROLLBACK)",
    "C(COMMIT)",
    "C(BEGIN)",
    "T(a)",
    "D(1)",
    "D([5000])",
    "E(42601)",
    "E(42601,[5000])",
    "E!(57P01)",
    "N(01000)",
    "A(a)",
    "S(TimeZone,Asia/Tokyo)",
    "S(TimeZone,Etc/UTC)",
    "S(is_superuser,on)",
    "1",
    "2",
    "3",
    "n",
    "t",
    "s",
    "I",
    "G",
    "H",
    "W",
    "d(abc)",
    "c",
    "V",
    "C(SET) S(TimeZone,Etc/UTC) Z(I)",
    "C(BEGIN) Z(T)",
    "C(SELECT 1) Z(I)",
    "1 2 C(SELECT 1) Z(I)",
    "1 2 G",
    "K(1,2)",
    "R",
};

_Noreturn void flow_fail(const char *file, int line, const char *fmt, ...)
{
    va_list args;
    fprintf(stderr, "%s:%d: ", file, line);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

struct input {
    const uint8_t *p;
    size_t left;
};

static uint8_t byte(struct input *in)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->p++;
}

static void raw(struct input *in, struct peer *p)
{
    size_t n = byte(in);
    n = n < in->left ? n : in->left;
    sends_raw(p, in->p, n);
    in->p += n;
    in->left -= n;
}

/* The nth server or client, counted around. */
static struct peer *pick(struct flow *f, bool is_client, unsigned n)
{
    for (unsigned i = 0, seen = 0; i < 2 * f->peer_count; i++) {
        struct peer *p = f->peers[i % f->peer_count];
        if (p->is_client == is_client && seen++ == n)
            return p;
    }
    return f->peers[is_client ? 1 : 0];
}

static void event(struct input *in, struct flow *f, struct peer *c, struct peer *s)
{
    bool room = f->peer_count < PEERS_MAX;
    switch (byte(in) % 14) {
    case 0:
        hangs_up(c);
        break;
    case 1:
        hangs_up(s);
        break;
    case 2:
        breaks(c);
        break;
    case 3:
        breaks(s);
        break;
    case 4:
        stalls(c);
        break;
    case 5:
        stalls(s);
        break;
    case 6:
        takes(c, byte(in));
        break;
    case 7:
        takes(s, byte(in));
        break;
    case 8:
        if (room)
            server(f, (int16_t)(1 + byte(in) % 3));
        break;
    case 9:
        if (room)
            starts(client(f), "user", "app", "database", "shop");
        break;
    case 10:
        passes(f, (uint64_t)byte(in) * 1000);
        break;
    case 11:
        sessions_tenant_answer(f->ss, 500, NULL);
        break;
    case 12:
        for (int16_t shard = 1; shard <= 3; shard++) {
            if (pool_script_waiting(f, shard))
                pool_script_refuse(f, shard, byte(in) & 1 ? ERR_QUEUE_TIMEOUT : ERR_SHARD_UNREACHABLE);
        }
        break;
    default:
        f->delivery = byte(in) & 1 ? DELIVER_BYTES : DELIVER_WHOLE;
        break;
    }
    settle(f);
}

static void step(struct input *in, struct flow *f)
{
    uint8_t what = byte(in);
    struct peer *c = pick(f, true, what >> 4 & 3), *s = pick(f, false, what >> 4 & 3);
    switch (what & 7) {
    case 0:
    case 1:
    case 2:
        sends(c, client_says[byte(in) % ARRAY_LEN(client_says)]);
        break;
    case 3:
    case 4:
        sends(s, server_says[byte(in) % ARRAY_LEN(server_says)]);
        break;
    case 5:
        raw(in, c);
        break;
    case 6:
        raw(in, s);
        break;
    default:
        event(in, f, c, s);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint8_t how = byte(&in);
    struct flow f = {.trickle = how & 1};
    flow_init(&f,
              "limits: {io_buffer: 4096B, max_statement_size: 4096B}\n"
              "timeout: {client_idle: 90s, idle_in_transaction: 60s, query: 30s}\n",
              how & 2);
    server(&f, 1);
    client(&f);
    server(&f, 1);
    server(&f, 2);
    login_tenant(&f, 42);
    login_tenant(&f, 43);
    login(&f);
    for (unsigned steps = 0; in.left && steps < STEPS_MAX; steps++) {
        step(&in, &f);
        if (how & 4 && steps == 40)
            sessions_drain(f.ss);
        if (how & 4 && steps > 40 && sessions_count(f.ss) == 0)
            break;
    }
    flow_fini(&f);
    return 0;
}
