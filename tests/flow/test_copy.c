/* COPY in, out and both, by simple and extended protocol. */
#include "support.h"

#include "flow.h"

CONVERSATION(copy_in)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(COPY t FROM STDIN)");
    gets(s, "Q(COPY t FROM STDIN)");
    sends(s, "G");
    gets(c, "G");
    is_linked(s);
    sends(c, "d(one) d() d(two)");
    gets(s, "d(one) d() d(two)");
    is_linked(s);
    sends(c, "d(three) c Q(SELECT 1)");
    gets(s, "d(three) c Q(SELECT 1)");
    sends(s, "C(COPY 3) Z(I) C(SELECT 1) Z(I)");
    gets(c, "C(COPY 3) Z(I) C(SELECT 1) Z(I)");
    goes_back(s);
}

CONVERSATION(copy_in_given_up)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(COPY t FROM STDIN)");
    sends(s, "G");
    sends(c, "d(one) f(the client's reason)");
    gets(s, "Q(COPY t FROM STDIN) d(one) f(the client's reason)");
    sends(s, "E(57014) Z(I)");
    gets(c, "G E(57014) Z(I)");
    goes_back(s);
}

CONVERSATION(copy_in_fails)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(COPY t FROM STDIN)");
    sends(s, "G");
    sends(c, "d(one)");
    gets(s, "Q(COPY t FROM STDIN) d(one)");
    sends(s, "E(22P02) Z(I)");
    gets(c, "G E(22P02) Z(I)");
    goes_back(s);
    sends(c, "d(two) d(three) c"); /* sent before it knew: ignored */
    if (f->session_mode)
        gets(s, "d(two) d(three) c");
    else
        gets_nothing(s);
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SELECT 1)");
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
    goes_back(s);
}

/* libpq sends Sync behind Execute; the server, in copy mode, ignores it; and
 * another one behind CopyDone. */
CONVERSATION(copy_in_extended)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,COPY t FROM STDIN) B(,) D(P,) E() S");
    gets(s, "P(,COPY t FROM STDIN) B(,) D(P,) E() S");
    sends(s, "1 2 n G");
    gets(c, "1 2 n G");
    sends(c, "d(one) d(two)");
    gets(s, "d(one) d(two)");
    is_linked(s);
    sends(c, "c S");
    gets(s, "c S");
    sends(s, "C(COPY 2)");
    is_linked(s);
    sends(s, "Z(I)");
    gets(c, "C(COPY 2) Z(I)");
    goes_back(s);
}

CONVERSATION(copy_in_extended_with_sync_and_flush_between)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,COPY t FROM STDIN) B(,) E() H");
    gets(s, "P(,COPY t FROM STDIN) B(,) E() H");
    sends(s, "1 2 G");
    gets(c, "1 2 G");
    sends(c, "d(one) S d(two) H d(three)");
    gets(s, "d(one) S d(two) H d(three)");
    is_linked(s);
    sends(c, "c S");
    gets(s, "c S");
    sends(s, "C(COPY 3) Z(I)");
    gets(c, "C(COPY 3) Z(I)");
    goes_back(s);
}

CONVERSATION(copy_in_extended_fails)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,COPY t FROM STDIN) B(,) E() S");
    gets(s, "P(,COPY t FROM STDIN) B(,) E() S");
    sends(s, "1 2 G");
    sends(c, "d(bad)");
    gets(s, "d(bad)");
    sends(s, "E(22P02)");
    gets(c, "1 2 G E(22P02)");
    sends(c, "d(more) c S");
    gets(s, "S");
    sends(s, "Z(I)");
    gets(c, "Z(I)");
    goes_back(s);
}

CONVERSATION(copy_in_all_at_once)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "P(,COPY t FROM STDIN) B(,) E() S d(1) c S");
    gets(s, "P(,COPY t FROM STDIN) B(,) E() S d(1) c");
    sends(s, "1 2 G C(COPY 1)");
    gets(s, "S");
    sends(s, "Z(I)");
    gets(c, "1 2 G C(COPY 1) Z(I)");
    goes_back(s);
}

CONVERSATION(large_copy_in)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(COPY t FROM STDIN)");
    sends(s, "G");
    sends(c, "d([50000]) d([10])");
    gets(s, "Q(COPY t FROM STDIN) d([50000]) d(xxxxxxxxxx)");
    sends(c, "c");
    gets(s, "c");
    sends(s, "C(COPY 2) Z(I)");
    gets(c, "G C(COPY 2) Z(I)");
    goes_back(s);
}

CONVERSATION(fails_within_a_data_message)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(COPY t FROM STDIN)");
    sends(s, "G");
    gets(c, "G");
    gets(s, "Q(COPY t FROM STDIN)");
    sends_raw(c, "d\0\0\0\10ab", 7);
    sends(s, "E(22P02) Z(I)");
    gets(c, "E(22P02) Z(I)");
    is_linked(s); /* until the message is whole */
    sends_raw(c, "cd", 2);
    gets(s, "d(abcd)");
    goes_back(s);
}

CONVERSATION(copy_out)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(COPY t TO STDOUT)");
    gets(s, "Q(COPY t TO STDOUT)");
    sends(s, "H d(one) d([5000]) c C(COPY 2) Z(I)");
    gets(c, "H d(one) d([5000]) c C(COPY 2) Z(I)");
    goes_back(s);
    sends(c, "P(,COPY t TO STDOUT) B(,) E() S");
    gets(s, "P(,COPY t TO STDOUT) B(,) E() S");
    sends(s, "1 2 H d(one)");
    is_linked(s);
    sends(s, "d(two) E(57014) Z(I)");
    gets(c, "1 2 H d(one) d(two) E(57014) Z(I)");
    goes_back(s);
}

CONVERSATION(copy_both)
{
    struct peer *s = server(f, 1);
    struct peer *c = login_as(f, "user", "app", "database", "shop", "replication", "database", "options",
                              "-c shardgate.tenant_id=42");
    sends(c, "Q(START_REPLICATION SLOT \"a\" LOGICAL 0/0 (proto_version '1'))");
    gets(s, "Q(START_REPLICATION SLOT \"a\" LOGICAL 0/0 (proto_version '1'))");
    sends(s, "W d(w1)");
    gets(c, "W d(w1)");
    sends(c, "d(r1)");
    gets(s, "d(r1)");
    sends(s, "d(w2)");
    gets(c, "d(w2)");
    sends(c, "c");
    gets(s, "c");
    sends(s, "c C(COPY 0) C(START_REPLICATION) Z(I)");
    gets(c, "c C(COPY 0) C(START_REPLICATION) Z(I)");
    is_linked(s);
    holds(f, f->last_key.settings->replication == REPLICATION_DATABASE && f->last_key.mode == CONF_MODE_SESSION);
}

CONVERSATION(copy_without_a_copy)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "d(one) c f(no) Q(SELECT 1)");
    gets(s, f->session_mode ? "d(one) c f(no) Q(SELECT 1)" : "Q(SELECT 1)");
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
    goes_back(s);
}

FLOW_MAIN(TALK_BOTH(copy_in, ""), TALK_BOTH(copy_in_given_up, ""), TALK_BOTH(copy_in_fails, ""),
          TALK_BOTH(copy_in_extended, ""), TALK_BOTH(copy_in_extended_with_sync_and_flush_between, ""),
          TALK_BOTH(copy_in_extended_fails, ""), TALK_ONCE(copy_in_all_at_once, ""),
          TALK_ONCE(large_copy_in, "limits: {io_buffer: 4096B}\n"),
          TALK_SESSION_ONCE(large_copy_in, "limits: {io_buffer: 4096B}\n"), TALK_BOTH(fails_within_a_data_message, ""),
          TALK_BOTH(copy_out, ""), TALK(copy_both, ""), TALK_SESSION(copy_both, ""), TALK_BOTH(copy_without_a_copy, ""))
