/* BEGIN is answered at once and sent with the first statement that needs a
 * server; a transaction has one tenant; refusals inside fail it. */
#include <stdio.h>

#include "support.h"

#include "flow.h"

#define SHOWS(tenant) "T(shardgate.tenant_id) D(" tenant ") C(SHOW) Z(I)"

CONVERSATION(held_begin)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(begin isolation level serializable)");
    gets(c, "C(BEGIN) Z(T)");
    gets_nothing(s);
    is_free(s);
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(begin isolation level serializable) Q(SELECT 1)");
    sends(s, "C(BEGIN) Z(T) C(SELECT 1) Z(T)");
    gets(c, "C(SELECT 1) Z(T)");
    is_linked(s);
    sends(c, "Q(COMMIT)");
    gets(s, "Q(COMMIT)");
    sends(s, "C(COMMIT) Z(I)");
    gets(c, "C(COMMIT) Z(I)");
    is_free(s);
}

CONVERSATION(begin_in_session_mode)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(BEGIN)");
    gets(s, "Q(BEGIN)");
    sends(s, "C(BEGIN) Z(T)");
    gets(c, "C(BEGIN) Z(T)");
}

CONVERSATION(begin_whole_in_one_pipeline)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,BEGIN) B(,) E() P(,INSERT) B(,) E() P(,COMMIT) B(,) E() S");
    gets(s, "Q(BEGIN) P(,INSERT) B(,) E() P(,COMMIT) B(,) E() S");
    sends(s, "C(BEGIN) Z(T) 1 2 C(INSERT 0 1) 1 2 C(COMMIT) Z(I)");
    gets(c, "1 2 C(BEGIN) 1 2 C(INSERT 0 1) 1 2 C(COMMIT) Z(I)");
    is_free(s);
}

CONVERSATION(begin_by_name)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(b,BEGIN) P(c,COMMIT) S");
    gets(c, "1 1 Z(I)");
    for (int i = 0; i < 2; i++) { /* kept here: no server is pinned */
        sends(c, "B(,b) E() S P(,SELECT 1) B(,) E() S");
        gets(s, "Q(BEGIN) P(,SELECT 1) B(,) E() S");
        sends(s, "C(BEGIN) Z(T) 1 2 C(SELECT 1) Z(T)");
        gets(c, "2 C(BEGIN) Z(T) 1 2 C(SELECT 1) Z(T)");
        sends(c, "B(,c) D(P,) E() S");
        gets(s, "P(,COMMIT) B(,) E() S");
        sends(s, "1 2 C(COMMIT) Z(I)");
        gets(c, "2 n C(COMMIT) Z(I)");
        is_free(s);
    }
}

CONVERSATION(commit_fails_on_server)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(c,COMMIT) S Q(BEGIN) Q(INSERT)");
    gets(s, "Q(BEGIN) Q(INSERT)");
    sends(s, "C(BEGIN) Z(T) C(INSERT 0 1) Z(T)");
    gets(c, "1 Z(I) C(BEGIN) Z(T) C(INSERT 0 1) Z(T)");
    sends(c, "B(,c) E() S");
    gets(s, "P(,COMMIT) B(,) E() S");
    sends(s, "1 2 E(23503) Z(I)");
    gets(c, "2 E(23503) Z(I)");
    is_free(s);
}

CONVERSATION(without_a_server)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(BEGIN) Q(BEGIN) Q(COMMIT) Q(COMMIT) Q(ROLLBACK) Q(BEGIN) Q(END) Q(START TRANSACTION) Q(ABORT)");
    gets(c, "C(BEGIN) Z(T) N(25001) C(BEGIN) Z(T) C(COMMIT) Z(I) N(25P01) C(COMMIT) Z(I) N(25P01) C(ROLLBACK) Z(I) "
            "C(BEGIN) Z(T) C(COMMIT) Z(I) C(START TRANSACTION) Z(T) C(ROLLBACK) Z(I)");
    gets_nothing(s);
    sends(c, "P(,BEGIN) B(,) E() P(,COMMIT) B(,) E() S");
    gets(c, "1 2 C(BEGIN) 1 2 C(COMMIT) Z(I)");
    gets_nothing(s);
}

CONVERSATION(failed_before_a_server)
{
    struct peer *s = server(f, 1), *c = login(f);
    sends(c, "Q(BEGIN) Q(SELECT 1) Q(SELECT 2) Q(SET shardgate.tenant_id = 42) Q(SELECT 3) P(,SELECT 4) B(,) E() S");
    gets(c, "C(BEGIN) Z(T) E(SG001) Z(E) E(25P02) Z(E) E(25P02) Z(E) E(25P02) Z(E) E(25P02) Z(E)");
    sends(c, "Q(COMMIT)");
    gets(c, "C(ROLLBACK) Z(I)");
    gets_nothing(s);
    sends(c, "Q(SHOW shardgate.tenant_id)");
    gets(c, SHOWS(""));
}

CONVERSATION(set_is_rolled_back)
{
    struct peer *s = server(f, 1), *c = login(f);
    sends(c, "Q(BEGIN) Q(SET shardgate.tenant_id = 42) Q(SELECT 1)");
    gets(s, "Q(BEGIN) Q(SELECT 1)");
    sends(s, "C(BEGIN) Z(T) C(SELECT 1) Z(T)");
    gets(c, "C(BEGIN) Z(T) C(SET) Z(T) C(SELECT 1) Z(T)");
    sends(c, "Q(ROLLBACK)");
    gets(s, "Q(ROLLBACK)");
    sends(s, "C(ROLLBACK) Z(I)");
    gets(c, "C(ROLLBACK) Z(I)");
    sends(c, "Q(SHOW shardgate.tenant_id)");
    gets(c, SHOWS(""));
    /* The same, ended by COMMIT. */
    sends(c, "Q(BEGIN) Q(SET shardgate.tenant_id = 42) Q(SELECT 1)");
    gets(s, "Q(BEGIN) Q(SELECT 1)");
    sends(s, "C(BEGIN) Z(T) C(SELECT 1) Z(T)");
    sends(c, "Q(COMMIT)");
    gets(s, "Q(COMMIT)");
    sends(s, "C(COMMIT) Z(I)");
    gets(c, "C(BEGIN) Z(T) C(SET) Z(T) C(SELECT 1) Z(T) C(COMMIT) Z(I)");
    sends(c, "Q(SHOW shardgate.tenant_id)");
    gets(c, SHOWS("42"));
}

CONVERSATION(set_is_rolled_back_here)
{
    struct peer *c = login(f);
    sends(c, "Q(BEGIN) Q(SET shardgate.tenant_id = 42) Q(ROLLBACK) Q(SHOW shardgate.tenant_id)");
    gets(c, "C(BEGIN) Z(T) C(SET) Z(T) C(ROLLBACK) Z(I) " SHOWS(""));
    sends(c, "Q(BEGIN) Q(SET shardgate.tenant_id = 42) Q(COMMIT) Q(SHOW shardgate.tenant_id)");
    gets(c, "C(BEGIN) Z(T) C(SET) Z(T) C(COMMIT) Z(I) " SHOWS("42"));
    sends(c, "Q(BEGIN) Q(SET LOCAL shardgate.tenant_id = 43) Q(COMMIT) Q(SHOW shardgate.tenant_id)");
    gets(c, "C(BEGIN) Z(T) C(SET) Z(T) C(COMMIT) Z(I) " SHOWS("42"));
    sends(c, "Q(SET LOCAL shardgate.tenant_id = 43)");
    gets(c, "N(25P01) C(SET) Z(I)");
}

CONVERSATION(set_local)
{
    struct peer *s = server(f, 2), *c = login_tenant(f, 42);
    sends(c, "Q(BEGIN) Q(SET LOCAL shardgate.tenant_id = 150) Q(SELECT 1)");
    gets(s, "Q(BEGIN) Q(SELECT 1)");
    sends(s, "C(BEGIN) Z(T) C(SELECT 1) Z(T)");
    sends(c, "Q(SHOW shardgate.tenant_id)");
    gets(c, "C(BEGIN) Z(T) C(SET) Z(T) C(SELECT 1) Z(T) T(shardgate.tenant_id) D(150) C(SHOW) Z(T)");
    sends(c, "Q(COMMIT)");
    gets(s, "Q(COMMIT)");
    sends(s, "C(COMMIT) Z(I)");
    sends(c, "Q(SHOW shardgate.tenant_id)");
    gets(c, "C(COMMIT) Z(I) " SHOWS("42"));
}

CONVERSATION(another_tenant_inside)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(BEGIN) Q(SELECT 1)");
    gets(s, "Q(BEGIN) Q(SELECT 1)");
    sends(s, "C(BEGIN) Z(T) C(SELECT 1) Z(T)");
    gets(c, "C(BEGIN) Z(T) C(SELECT 1) Z(T)");
    sends(c, "Q(SET shardgate.tenant_id = 150)");
    gets(s, "Q(shardgate_refused_a_statement)");
    gets(c, "E(SG003) Z(E)");
    sends(s, "E(42601) Z(E)");
    gets_nothing(c);
    sends(c, "Q(SELECT 2)");
    gets(s, "Q(SELECT 2)");
    sends(s, "E(25P02) Z(E)");
    gets(c, "E(25P02) Z(E)");
    sends(c, "Q(ROLLBACK)");
    gets(s, "Q(ROLLBACK)");
    sends(s, "C(ROLLBACK) Z(I)");
    gets(c, "C(ROLLBACK) Z(I)");
    goes_back(s);
}

CONVERSATION(comment_of_another_tenant_inside)
{
    struct peer *s = server(f, 1), *c = login(f);
    sends(c, "Q(/* tenant_id=42 */ BEGIN) Q(SELECT 1) Q(SELECT 2 /* tenant_id=150 */) Q(ROLLBACK)");
    gets(s, "Q(/* tenant_id=42 */ BEGIN)");
    sends(s, "C(BEGIN) Z(T)");
    gets(s, "Q(SELECT 1)"); /* the transaction's tenant is known to be meant only now */
    sends(s, "C(SELECT 1) Z(T)");
    gets(s, "Q(shardgate_refused_a_statement) Q(ROLLBACK)");
    sends(s, "E(42601) Z(E) C(ROLLBACK) Z(I)");
    gets(c, "C(BEGIN) Z(T) C(SELECT 1) Z(T) E(SG004) Z(E) C(ROLLBACK) Z(I)");
    is_free(s);
}

CONVERSATION(align_before_begin)
{
    struct peer *a = login_tenant(f, 42), *s = server(f, 1), *b = login(f);
    sends(a, "Q(SET TimeZone = 'Asia/Tokyo')");
    gets(s, "Q(SET TimeZone = 'Asia/Tokyo')");
    sends(s, "C(SET) S(TimeZone,Asia/Tokyo) Z(I)");
    is_free(s);
    sends(b, "Q(BEGIN) Q(SET shardgate.tenant_id = 42) Q(SELECT 1)");
    gets(s, "Q(SET TimeZone TO 'Etc/UTC') Q(BEGIN) Q(SELECT 1)");
    sends(s, "C(SET) S(TimeZone,Etc/UTC) Z(I) C(BEGIN) Z(T) C(SELECT 1) Z(T)");
    gets(b, "C(BEGIN) Z(T) C(SET) Z(T) C(SELECT 1) Z(T)");
    sends(b, "Q(ROLLBACK)");
    gets(s, "Q(ROLLBACK)");
    sends(s, "C(ROLLBACK) Z(I)");
    gets(b, "C(ROLLBACK) Z(I)");
    sends(b, "Q(SHOW shardgate.tenant_id)");
    gets(b, SHOWS(""));
}

CONVERSATION(begin_refused_by_the_shard)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(BEGIN READ ONLY) Q(SELECT 1)");
    gets(s, "Q(BEGIN READ ONLY) Q(SELECT 1)");
    sends(s, "E(42601,near ONLY) Z(I) C(SELECT 1) Z(I)");
    gets(c, "C(BEGIN) Z(T) E!(42601)");
    says(c, "near ONLY");
    is_closed(c);
    holds(f, s->fate != FATE_LINKED);
}

CONVERSATION(long_begin)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    char say[6000];
    snprintf(say, sizeof say, "Q(BEGIN%5000s)", "ISOLATION LEVEL SERIALIZABLE");
    sends(c, say); /* not kept: how long it is was the client's choice */
    gets(s, say);
    sends(s, "C(BEGIN) Z(T)");
    gets(c, "C(BEGIN) Z(T)");
}

FLOW_MAIN(TALK(held_begin, ""), TALK_SESSION(begin_in_session_mode, ""), TALK(begin_whole_in_one_pipeline, ""),
          TALK(begin_by_name, ""), TALK(commit_fails_on_server, ""), TALK(without_a_server, ""),
          TALK(failed_before_a_server, ""), TALK(set_is_rolled_back, ""), TALK(set_is_rolled_back_here, ""),
          TALK(set_local, ""), TALK_BOTH(another_tenant_inside, ""), TALK(comment_of_another_tenant_inside, ""),
          TALK(align_before_begin, ""), TALK_ONCE(long_begin, ""), TALK(begin_refused_by_the_shard, ""))
