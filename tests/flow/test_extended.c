/* The extended protocol: pipelines, errors in them, and where statements live. */
#include "support.h"

#include "flow.h"

CONVERSATION(one_cycle)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P1(,SELECT $1) B(,,7,NULL,) D(P,) E() S");
    gets(s, "P1(,SELECT $1) B(,,7,NULL,) D(P,) E() S");
    sends(s, "1 2 T(a) D(7) C(SELECT 1) Z(I)");
    gets(c, "1 2 T(a) D(7) C(SELECT 1) Z(I)");
    goes_back(s);
}

CONVERSATION(pipeline)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,SELECT 1) B(,) E() S P(,SELECT 2) B(,) D(P,) E() S P(,SELECT 3) B(,) E() S");
    gets(s, "P(,SELECT 1) B(,) E() S P(,SELECT 2) B(,) D(P,) E() S P(,SELECT 3) B(,) E() S");
    sends(s, "1 2 D(1) C(SELECT 1) Z(I) 1 2 n I Z(I)");
    is_linked(s);
    sends(s, "1 2 D(1) s Z(I)");
    gets(c, "1 2 D(1) C(SELECT 1) Z(I) 1 2 n I Z(I) 1 2 D(1) s Z(I)");
    goes_back(s);
}

CONVERSATION(error_in_pipeline)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,SELECT 1) B(,) E() P(,SELECT 1/0) B(,) E() P(,SELECT 3) B(,) E() S P(,SELECT 4) B(,) E() S");
    gets(s, "P(,SELECT 1) B(,) E() P(,SELECT 1/0) B(,) E() P(,SELECT 3) B(,) E() S P(,SELECT 4) B(,) E() S");
    sends(s, "1 2 C(SELECT 1) 1 2 E(22012) Z(I) 1 2 C(SELECT 4)");
    is_linked(s);
    sends(s, "Z(I)");
    gets(c, "1 2 C(SELECT 1) 1 2 E(22012) Z(I) 1 2 C(SELECT 4) Z(I)");
    goes_back(s);
}

CONVERSATION(error_before_sync)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,bad) B(,) E() H");
    gets(s, "P(,bad) B(,) E() H");
    sends(s, "E(42601)");
    gets(c, "E(42601)");
    sends(c, "P(,SELECT 1) B(,) E() Q(SELECT 2) H"); /* all skipped, as PostgreSQL does */
    is_linked(s);
    sends(c, "S");
    gets(s, "S");
    sends(s, "Z(I)");
    gets(c, "Z(I)");
    goes_back(s);
}

CONVERSATION(flush_without_sync)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,SELECT 1) D(S,) H");
    gets(s, "P(,SELECT 1) D(S,) H");
    sends(s, "1 t T(a)");
    gets(c, "1 t T(a)");
    is_linked(s);
    sends(c, "B(,) E(,1) H");
    gets(s, "B(,) E() H");
    sends(s, "2 D(1) s");
    gets(c, "2 D(1) s");
    is_linked(s);
    sends(c, "E() S");
    gets(s, "E() S");
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
    goes_back(s);
}

CONVERSATION(describe_then_bind)
{
    struct peer *s = server(f, 1), *other = server(f, 1), *c = login_tenant(f, 42);
    if (s->fate == FATE_FREE) { /* the last used is given first */
        struct peer *swap = s;
        s = other;
        other = swap;
    }
    sends(c, "P(,SELECT $1) D(S,) S");
    gets(s, "P(,SELECT $1) D(S,) S");
    sends(s, "1 t T(a) Z(I)");
    gets(c, "1 t T(a) Z(I)");
    is_linked(s); /* the statement is there */
    sends(c, "B(,,1) E() S");
    gets(s, "B(,,1) E() S");
    sends(s, "2 C(SELECT 1) Z(I)");
    gets(c, "2 C(SELECT 1) Z(I)");
    goes_back(s);
    gets_nothing(other);
}

CONVERSATION(unnamed_on_a_fresh_server)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,SELECT 1) B(,) E() S");
    gets(s, "P(,SELECT 1) B(,) E() S");
    sends(s, "1 2 C(SELECT 1) Z(I)");
    gets(c, "1 2 C(SELECT 1) Z(I)");
    is_free(s);
    sends(c, "B(,) E() S");
    gets(c, "E(26000) Z(I)");
    sends(c, "D(S,) S");
    gets(c, "E(26000) Z(I)");
    sends(c, "E() S");
    gets(c, "E(34000) Z(I)");
    sends(c, "D(P,) S");
    gets(c, "E(34000) Z(I)");
    sends(c, "C(S,) C(P,) C(S,none) S");
    gets(c, "3 3 3 Z(I)");
    gets_nothing(s);
    /* Linked, in a transaction, but nothing parsed there: refused, and the transaction fails. */
    sends(c, "Q(BEGIN) Q(SELECT 1)");
    gets(s, "Q(BEGIN) Q(SELECT 1)");
    sends(s, "C(BEGIN) Z(T) C(SELECT 1) Z(T)");
    gets(c, "C(BEGIN) Z(T) C(SELECT 1) Z(T)");
    sends(c, "B(,) E() S");
    gets(s, "P(,shardgate_refused_a_statement) S");
    sends(s, "E(42601) Z(E)");
    gets(c, "E(26000) Z(E)");
    sends(c, "Q(ROLLBACK)");
    gets(s, "Q(ROLLBACK)");
    sends(s, "C(ROLLBACK) Z(I)");
    gets(c, "C(ROLLBACK) Z(I)");
    is_free(s);
}

CONVERSATION(named_statement_pins)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(one,SELECT 1) S");
    gets(s, "P(one,SELECT 1) S");
    sends(s, "1 Z(I)");
    gets(c, "1 Z(I)");
    is_linked(s);
    sends(c, "B(,one) E() S");
    gets(s, "B(,one) E() S");
    sends(s, "2 C(SELECT 1) Z(I)");
    gets(c, "2 C(SELECT 1) Z(I)");
    is_linked(s);
    sends(c, "Q(DISCARD ALL)");
    gets(s, "Q(DISCARD ALL)");
    sends(s, "C(DISCARD ALL) Z(I)");
    gets(c, "C(DISCARD ALL) Z(I)");
    goes_back(s);
    holds(f, f->session_mode || s->dirty_at_end); /* the pool does not take the client's word */
}

CONVERSATION(named_statement_that_fails)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,bad) S");
    gets(s, "P(,bad) S");
    sends(s, "E(42601) Z(I)");
    gets(c, "E(42601) Z(I)");
    goes_back(s);
}

CONVERSATION(refused_in_pipeline)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,SELECT 1) B(,) E() P(,SELECT 2 /* tenant_id=150 */) B(,) E() S");
    gets(s, "P(,SELECT 1) B(,) E() H"); /* its answers first */
    sends(s, "1 2 C(SELECT 1)");
    gets(s, "P(,shardgate_refused_a_statement) S");
    gets(c, "1 2 C(SELECT 1) E(SG003)");
    sends(s, "E(42601) Z(I)");
    gets(c, "Z(I)");
    goes_back(s);
}

CONVERSATION(refused_without_server)
{
    struct peer *c = login(f);
    sends(c, "P(,SELECT 1) B(,) E() S");
    gets(c, "E(SG001) Z(I)");
    sends(c, "P(,SELECT 1 /* tenant_id=999 */) B(,) D(P,) E() H S");
    holds(f, f->lookups == 1 && f->lookup_tenant == 999);
    sessions_tenant_answer(f->ss, 999, NULL);
    settle(f);
    gets(c, "E(SG002) Z(I)");
    sends(c, "P(,SELECT 1 /* tenant_id=300 */) S P(,SELECT 1 /* tenant_id=a */) S");
    gets(c, "E(SG006) Z(I) E(22023) Z(I)");
}

CONVERSATION(error_then_tenant_command)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,bad) P(,SET shardgate.tenant_id = 43) B(,) E() S");
    gets(s, "P(,bad) H");
    sends(s, "E(42601)");
    gets(s, "S");
    sends(s, "Z(I)");
    gets(c, "E(42601) Z(I)");
    goes_back(s);
    sends(c, "Q(SHOW shardgate.tenant_id)");
    gets(c, "T(shardgate.tenant_id) D(42) C(SHOW) Z(I)");
}

CONVERSATION(tenant_commands)
{
    struct peer *c = login(f), *s = server(f, 2);
    sends(c, "P(,SET shardgate.tenant_id = 150) D(S,) B(,) D(P,) E() S");
    gets(c, "1 t n 2 n C(SET) Z(I)");
    sends(c, "P(show,SHOW shardgate.tenant_id) D(S,show) B(p,show) D(P,p) E(p) C(P,p) C(S,show) S");
    gets(c, "1 t T(shardgate.tenant_id) 2 T(shardgate.tenant_id) D(150) C(SHOW) 3 3 Z(I)");
    sends(c, "B(,show) S");
    gets(c, "E(26000) Z(I)");
    gets_nothing(s);
    /* Between others, the answers stay in order. */
    sends(c, "P(,SELECT 1) B(,) E() P(,SHOW shardgate.tenant_id) B(,) E() P(,SELECT 2) B(,) E() S");
    gets(s, "P(,SELECT 1) B(,) E() H");
    sends(s, "1 2 C(SELECT 1)");
    gets(c, "1 2 C(SELECT 1) 1 2 D(150) C(SHOW)");
    gets(s, "P(,SELECT 2) B(,) E() S");
    sends(s, "1 2 C(SELECT 2) Z(I)");
    gets(c, "1 2 C(SELECT 2) Z(I)");
    is_free(s);
    sends(c, "P(,RESET shardgate.tenant_id) B(,) E() P(,SHOW shardgate.tenant_id) B(,) E() S");
    gets(c, "1 2 C(RESET) 1 2 D() C(SHOW) Z(I)");
    sends(c, "P(,SET shardgate.tenant_id = many) B(,) E() P(,SELECT 1) B(,) E() S");
    gets(c, "1 2 E(22023) Z(I)");
    sends(c, "P(,SELECT 1; SET shardgate.tenant_id = 1) S");
    gets(c, "E(0A000) Z(I)");
}

CONVERSATION(large_values)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,INSERT) B(,,[30000],[5],NULL) E() S");
    gets(s, "P(,INSERT) B(,,[30000],xxxxx,NULL) E() S");
    sends(s, "1 2 C(INSERT 0 1) Z(I)");
    gets(c, "1 2 C(INSERT 0 1) Z(I)");
    goes_back(s);
}

CONVERSATION(long_pipeline)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    struct buf want;
    for (int i = 0; i < 40; i++)
        sends(c, "P(,SELECT 1) B(,) E() S");
    for (int i = 0; i < 40; i++)
        sends(s, "1 2 C(SELECT 1) Z(I)");
    buf_init(&want, 0);
    for (int i = 0; i < 40; i++)
        buf_printf(&want, "%s1 2 C(SELECT 1) Z(I)", i ? " " : "");
    buf_append_byte(&want, 0);
    gets(c, buf_head(&want));
    buf_fini(&want);
    goes_back(s);
}

CONVERSATION(malformed)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
        {"P\0\0\0\7a\0b", 8}, {"P\0\0\0\10a\0b\0", 9}, {"B\0\0\0\6ab", 7}, {"D\0\0\0\6Xa", 7},      {"D\0\0\0\4", 5},
        {"E\0\0\0\5\0", 6},   {"C\0\0\0\6Sa", 7},      {"Q\0\0\0\6ab", 7}, {"Q\0\0\0\10a\0b\0", 9},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct peer *c = login_tenant(f, 42);
        sends_raw(c, bad[i].bytes, bad[i].len);
        gets(c, "E!(08P01)");
        is_closed(c);
    }
}

FLOW_MAIN(TALK_BOTH(one_cycle, ""), TALK_BOTH(pipeline, ""), TALK_BOTH(error_in_pipeline, ""),
          TALK_BOTH(error_before_sync, ""), TALK_BOTH(flush_without_sync, ""), TALK_BOTH(describe_then_bind, ""),
          TALK(unnamed_on_a_fresh_server, ""), TALK_BOTH(named_statement_pins, ""),
          TALK_BOTH(named_statement_that_fails, ""), TALK_BOTH(refused_in_pipeline, ""),
          TALK(refused_without_server, ""), TALK_BOTH(error_then_tenant_command, ""), TALK(tenant_commands, ""),
          TALK_ONCE(large_values, "limits: {io_buffer: 4096B}\n"), TALK_SESSION_ONCE(large_values, ""),
          TALK_ONCE(long_pipeline, ""), TALK(malformed, ""))
