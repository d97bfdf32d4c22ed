/* How sessions end, whoever ends them, and what becomes of their servers. */
#include "support.h"

#include "flow.h"

/* ---- the client leaves -------------------------------------------------------- */

CONVERSATION(client_terminates)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    sends(s, "C(SELECT 1) Z(I)");
    sends(c, "X");
    is_closed(c);
    is_free(s);
    gets(s, "Q(SELECT 1)");
    gets(c, "C(SELECT 1) Z(I)");
}

CONVERSATION(answer_before_terminate)
{
    struct peer *a = login_tenant(f, 42), *b = login_tenant(f, 150);
    sends(a, "Q(SHOW shardgate.tenant_id) X");
    gets(a, "T(shardgate.tenant_id) D(42) C(SHOW) Z(I)");
    is_closed(a);
    sends(b, "Q(SHOW shardgate.tenant_id)");
    gets(b, "T(shardgate.tenant_id) D(150) C(SHOW) Z(I)");
}

CONVERSATION(statement_before_terminate)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1) X");
    is_closed(c);
    gets(s, "Q(SELECT 1)"); /* so that the server owes what is expected of it */
    is_abandoned(s);
}

CONVERSATION(leaves_in_a_query)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT pg_sleep(9))");
    sends(s, "T(a)");
    hangs_up(c);
    is_closed(c);
    is_abandoned(s);
}

CONVERSATION(leaves_in_a_transaction)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(BEGIN; SELECT 1)");
    sends(s, "C(BEGIN) C(SELECT 1) Z(T)");
    is_linked(s);
    sends(c, "X");
    is_abandoned(s);
}

CONVERSATION(leaves_in_a_message)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(COPY t FROM STDIN)");
    sends(s, "G");
    sends_raw(c, "d\0\0\1\0abc", 8);
    hangs_up(c);
    is_abandoned_in_message(s);
}

CONVERSATION(leaves_in_a_cycle)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,INSERT) B(,) E() H");
    sends(s, "1 2 C(INSERT 0 1)");
    hangs_up(c);
    is_abandoned(s); /* its implicit transaction is open */
}

CONVERSATION(leaves_with_a_server_of_its_own)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(a,SELECT 1) S");
    sends(s, "1 Z(I)");
    is_linked(s);
    hangs_up(c);
    is_free(s); /* given back, to be reset */
    holds(f, s->dirty_at_end);
}

CONVERSATION(breaks_while_written_to)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    c->memory.stream.watching = 0; /* the write is the first to see it */
    c->memory.broken = true;
    sends(s, "T(a) D(1)");
    is_closed(c);
    is_abandoned(s);
}

CONVERSATION(breaks_after_its_server_went)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    c->memory.stream.watching = 0;
    c->memory.broken = true;
    sends(s, "C(SELECT 1) Z(I)");
    is_closed(c);
    is_free(s);
}

/* ---- the server leaves ------------------------------------------------------------ */

CONVERSATION(server_lost_in_a_query)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    sends(s, "T(a) D(1)");
    hangs_up(s);
    gets(c, "T(a) D(1) E!(08006)");
    says(c, "check before you repeat it");
    is_closed(c);
    is_dropped(s);
}

CONVERSATION(server_lost_in_a_message)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    sends_raw(s, "D\0\0\1\0\0\1\0\0", 9);
    hangs_up(s);
    gets(c, "+9"); /* an error here would be read as a row's value */
    is_closed(c);
    is_dropped(s);
}

CONVERSATION(server_lost_in_a_transaction)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(BEGIN; SELECT 1)");
    sends(s, "C(BEGIN) C(SELECT 1) Z(T)");
    gets(c, "C(BEGIN) C(SELECT 1) Z(T)");
    hangs_up(s);
    gets(c, "E!(08006)");
    is_closed(c);
    is_dropped(s);
}

CONVERSATION(server_breaks)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    breaks(s);
    gets(c, "E!(08006)");
    is_dropped(s);
    s = server(f, 1);
    c = login_tenant(f, 42);
    s->memory.broken = true;
    sends(c, "Q(SELECT 1)");
    gets(c, "E!(08006)");
    is_closed(c);
    holds(f, s->fate != FATE_LINKED);
}

CONVERSATION(server_says_why)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    sends(s, "E!(57P01,terminating connection)");
    hangs_up(s);
    gets(c, "E!(57P01)");
    says(c, "terminating connection");
    is_closed(c);
    is_dropped(s);
}

CONVERSATION(server_breaks_the_protocol)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    sends(s, "T(a)");
    sends_raw(s, "D\0\0\0\1", 5);
    gets(c, "T(a) E!(08006)");
    is_closed(c);
    is_dropped(s);
}

/* ---- we end it -------------------------------------------------------------------- */

CONVERSATION(protocol_violations)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"!\0\0\0\4", 5}, {"Q\0\0\0\3", 5}, {"Q\377\377\377\377", 5}, {"p\0\0\0\5\0", 6}, {"\0\0\0\10\4\322\26\57", 8}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct peer *c = login_tenant(f, 42), *s = server(f, 1);
        sends_raw(c, bad[i].bytes, bad[i].len);
        gets(c, "E!(08P01)");
        is_closed(c);
        s->shard = 0; /* no other's */
        /* What came before it is answered or sent. */
        c = login_tenant(f, 42);
        s = server(f, 1);
        sends(c, "Q(SHOW shardgate.tenant_id) Q(BEGIN; SELECT 1)");
        sends_raw(c, bad[i].bytes, bad[i].len);
        gets(c, "T(shardgate.tenant_id) D(42) C(SHOW) Z(I) E!(08P01)");
        gets(s, "Q(BEGIN; SELECT 1)");
        is_abandoned(s);
        s->shard = 0;
    }
}

CONVERSATION(malformed_behind_a_query)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends_raw(c, "Q\0\0\0\15SELECT 1\0P\0\0\0\7a\0b", 22);
    gets(c, "E!(08P01)");
    is_closed(c);
    holds(f, s->fate != FATE_LINKED && s->fate != FATE_FREE);
}

CONVERSATION(drain)
{
    struct peer *s = server(f, 1), *s2 = server(f, 2);
    struct peer *idle = login_tenant(f, 42), *busy = login_tenant(f, 42), *held = login(f),
                *query = login_tenant(f, 150);
    struct peer *fresh = client(f), *late;
    sends(busy, "Q(BEGIN; SELECT 1)");
    sends(s, "C(BEGIN) C(SELECT 1) Z(T)");
    sends(held, "Q(BEGIN)");
    sends(query, "Q(SELECT 1)");
    gets(busy, "C(BEGIN) C(SELECT 1) Z(T)");
    gets(held, "C(BEGIN) Z(T)");
    sessions_drain(f->ss);
    settle(f);
    gets(idle, "E!(57P01)");
    gets(fresh, "E!(57P01)");
    gets_nothing(busy);
    late = client(f);
    starts(late, "user", "app", "database", "shop");
    gets(late, "E!(57P01)");
    sends(busy, "Q(COMMIT)");
    sends(s, "C(COMMIT) Z(I)");
    gets(busy, "C(COMMIT) Z(I) E!(57P01)");
    is_closed(busy);
    is_free(s);
    sends(held, "Q(COMMIT)");
    gets(held, "C(COMMIT) Z(I) E!(57P01)");
    is_closed(held);
    holds(f, f->drained == 0);
    sends(s2, "D(1) C(SELECT 1) Z(I)");
    gets(query, "D(1) C(SELECT 1) Z(I) E!(57P01)");
    is_free(s2);
    holds(f, f->drained == 1 && sessions_count(f->ss) == 0);
    late = client(f);
    starts(late, "user", "app", "database", "shop");
    gets(late, "E!(57P01)");
    holds(f, f->drained == 1);
}

CONVERSATION(drain_when_nobody_is_there)
{
    sessions_drain(f->ss);
    holds(f, f->drained == 1);
    sessions_shutdown(f->ss);
    holds(f, f->drained == 2);
}

CONVERSATION(drain_hands_on)
{
    struct peer *a = login_tenant(f, 1), *s = server(f, 1), *b = login_tenant(f, 2), *c = login_tenant(f, 3);
    sends(a, "P(,SELECT 1) S"); /* keeps its server, at rest */
    sends(s, "1 Z(I)");
    sends(b, "Q(SELECT 2)");
    s->memory.write_room = f->trickle ? 3 : SIZE_MAX;
    sessions_drain(f->ss);
    settle(f);
    gets(a, "1 Z(I) E!(57P01)");
    gets(c, "E!(57P01)");
    gets(s, "P(,SELECT 1) S Q(SELECT 2)");
    sends(s, "C(SELECT 1) Z(I)");
    gets(b, "C(SELECT 1) Z(I) E!(57P01)");
    is_closed(b);
    holds(f, f->drained == 1);
}

CONVERSATION(drain_hands_a_broken_one_on)
{
    struct peer *a = login_tenant(f, 1), *s = server(f, 1), *b = login_tenant(f, 2), *c = login_tenant(f, 3);
    sends(a, "P(,SELECT 1) S");
    sends(s, "1 Z(I)");
    sends(b, "Q(SELECT 2)");
    s->memory.stream.watching = 0;
    s->memory.broken = true;
    sessions_drain(f->ss); /* the end of a is that of b, its neighbour */
    settle(f);
    gets(b, "E!(08006)");
    gets(c, "E!(57P01)");
    holds(f, f->drained == 1);
}

CONVERSATION(shutdown)
{
    struct peer *s = server(f, 1), *a = login_tenant(f, 42), *b = client(f), *c = login_tenant(f, 43);
    sends(a, "Q(SELECT 1)");
    sends(s, "T(a)");
    sends(c, "Q(SELECT 2)");
    sessions_shutdown(f->ss);
    settle(f);
    gets(a, "T(a) E!(57P01)");
    gets(b, "E!(57P01)");
    gets(c, "E!(57P01)");
    is_abandoned(s);
    holds(f, f->drained == 1);
}

static void find_id(void *id, const struct session_info *i) { *(uint64_t *)id = i->id; }

CONVERSATION(kill)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    uint64_t id = 0;
    sends(c, "Q(SELECT 1)");
    sends_raw(s, "D\0\0\1\0\0\1\0\0", 9);
    sessions_each(f->ss, find_id, &id);
    holds(f, id && !sessions_kill(f->ss, id + 1));
    holds(f, sessions_kill(f->ss, id));
    settle(f);
    gets(c, "+9"); /* it is in a row */
    is_closed(c);
    is_abandoned(s);
    holds(f, !sessions_kill(f->ss, id));
    c = login_tenant(f, 42);
    sessions_each(f->ss, find_id, &id);
    holds(f, sessions_kill(f->ss, id));
    settle(f);
    gets(c, "E!(57P01)");
    is_closed(c);
}

CONVERSATION(last_word_to_a_slow_client)
{
    struct peer *c = login_tenant(f, 42);
    stalls(c);
    sends_raw(c, "!\0\0\0\4", 5);
    is_open(c);
    takes(c, 10);
    is_open(c);
    takes(c, 1000);
    gets(c, "E!(08P01)");
    is_closed(c);
    c = login_tenant(f, 42);
    stalls(c);
    sends_raw(c, "!\0\0\0\4", 5);
    is_open(c);
    passes(f, 5000);
    is_closed(c);
}

/* ---- timeouts ------------------------------------------------------------------------ */

#define TIMEOUTS "timeout: {client_login: 3s, client_idle: 60s, idle_in_transaction: 5s, query: 20s}\n"

CONVERSATION(login_timeout)
{
    struct peer *c = client(f);
    sends_raw(c, "\0\0\0\11\0\3\0", 7);
    passes(f, 2900);
    is_open(c);
    passes(f, 3001);
    gets(c, "E!(08006)");
    is_closed(c);
}

CONVERSATION(idle_timeout)
{
    struct peer *c = login_tenant(f, 42);
    passes(f, 59000);
    is_open(c);
    passes(f, 60001);
    gets(c, "E!(57P05)");
    is_closed(c);
}

CONVERSATION(idle_in_transaction)
{
    struct peer *s = server(f, 1), *a = login_tenant(f, 42), *b = login_tenant(f, 43);
    sends(a, "Q(BEGIN; SELECT 1)");
    passes(f, 19000);
    sends(s, "C(BEGIN) C(SELECT 1) Z(T)");
    sends(b, "Q(BEGIN)");
    passes(f, 4000);
    is_open(a);
    passes(f, 5001);
    gets(a, "C(BEGIN) C(SELECT 1) Z(T) E!(25P03)");
    gets(b, "C(BEGIN) Z(T) E!(25P03)");
    is_abandoned(s);
}

CONVERSATION(query_timeout)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    passes(f, 19000);
    is_open(c);
    passes(f, 20001);
    gets(c, "E!(57014)");
    is_closed(c);
    is_abandoned(s);
}

/* ---- limits --------------------------------------------------------------------------- */

CONVERSATION(too_many_clients)
{
    struct peer *a = login_tenant(f, 42), *b = login_tenant(f, 42), *c = client(f);
    starts(c, "user", "app", "database", "shop");
    gets(c, "E!(53300)");
    is_closed(c);
    sends(a, "X");
    c = login_tenant(f, 42);
    is_open(b);
    is_open(c);
}

CONVERSATION(too_many_from_one_address)
{
    struct peer *a = client_from(f, "192.0.2.1"), *b = client_from(f, "192.0.2.1"), *c = client_from(f, "192.0.2.2");
    struct peer *d = client_from(f, "2001:db8::1"), *e = client_from(f, "2001:db8::1"), *u = client_from(f, "unix");
    struct peer *v = client_from(f, "unix");
    starts(a, "user", "app");
    starts(b, "user", "app");
    starts(c, "user", "app");
    starts(d, "user", "app");
    starts(e, "user", "app");
    starts(u, "user", "app");
    starts(v, "user", "app");
    is_open(a);
    is_closed(b);
    is_open(c);
    is_open(d);
    is_closed(e);
    is_open(u);
    is_open(v);
    gets(b, "E!(53300)");
    says(b, "address");
}

CONVERSATION(too_many_of_one_user)
{
    struct peer *a = login_as(f, "user", "few", "database", "shop"), *b = client(f);
    starts(b, "user", "few", "database", "shop");
    gets(b, "E!(53300)");
    is_closed(b);
    sends(a, "X");
    login_as(f, "user", "few", "database", "shop");
}

FLOW_MAIN(TALK(client_terminates, ""), TALK(answer_before_terminate, ""), TALK_ONCE(statement_before_terminate, ""),
          TALK(leaves_in_a_query, ""), TALK_SESSION(leaves_in_a_query, ""), TALK_BOTH(leaves_in_a_transaction, ""),
          TALK_ONCE(leaves_in_a_message, ""), TALK_BOTH(leaves_in_a_cycle, ""),
          TALK_BOTH(leaves_with_a_server_of_its_own, ""), TALK_ONCE(breaks_while_written_to, ""),
          TALK_ONCE(breaks_after_its_server_went, ""), TALK_BOTH(server_lost_in_a_query, ""),
          TALK(server_lost_in_a_message, ""), TALK_BOTH(server_lost_in_a_transaction, ""), TALK(server_breaks, ""),
          TALK_BOTH(server_says_why, ""), TALK(server_breaks_the_protocol, ""), TALK(protocol_violations, ""),
          TALK(malformed_behind_a_query, ""), TALK(drain, ""), TALK_ONCE(drain_when_nobody_is_there, ""),
          TALK(drain_hands_on, ""), TALK_ONCE(drain_hands_a_broken_one_on, ""), TALK(shutdown, ""), TALK_ONCE(kill, ""),
          TALK_ONCE(last_word_to_a_slow_client, ""), TALK_ONCE(login_timeout, TIMEOUTS),
          TALK_ONCE(idle_timeout, TIMEOUTS), TALK_ONCE(idle_in_transaction, TIMEOUTS),
          TALK_ONCE(query_timeout, TIMEOUTS), TALK(too_many_clients, "limits: {max_clients: 2}\n"),
          TALK_ONCE(too_many_from_one_address, "limits: {max_clients_per_address: 1}\n"),
          TALK(too_many_of_one_user, ""))
