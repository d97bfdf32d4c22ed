/* Simple queries: whose server they reach, and what comes back. */
#include "support.h"

#include "flow.h"

CONVERSATION(one_query)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SELECT 1)");
    is_linked(s);
    sends(s, "T(a) D(1) C(SELECT 1) Z(I)");
    gets(c, "T(a) D(1) C(SELECT 1) Z(I)");
    goes_back(s);
    sends(c, "Q(SELECT 2)");
    gets(s, "Q(SELECT 2)");
    sends(s, "T(a,b) D(1,NULL) D(2,) C(SELECT 2) Z(I)");
    gets(c, "T(a,b) D(1,NULL) D(2,) C(SELECT 2) Z(I)");
    goes_back(s);
}

CONVERSATION(pipeline)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1) Q(SELECT 2) Q(SELECT 3)");
    gets(s, "Q(SELECT 1) Q(SELECT 2) Q(SELECT 3)");
    sends(s, "T(a) D(1) C(SELECT 1) Z(I)");
    is_linked(s);
    sends(s, "E(22012) Z(I) T(a) D(3) C(SELECT 1) Z(I)");
    gets(c, "T(a) D(1) C(SELECT 1) Z(I) E(22012) Z(I) T(a) D(3) C(SELECT 1) Z(I)");
    goes_back(s);
}

CONVERSATION(pipeline_of_tenants)
{
    struct peer *s1 = server(f, 1), *s2 = server(f, 2), *c = login(f);
    sends(c, "Q(/* tenant_id=42 */ SELECT 1) Q(/* tenant_id=42 */ SELECT 2) Q(SELECT 3 -- a\n/* tenant_id=150 */) "
             "Q(/* tenant_id='7' */ SELECT 4)");
    gets(s1, "Q(/* tenant_id=42 */ SELECT 1) Q(/* tenant_id=42 */ SELECT 2)");
    gets_nothing(s2);
    sends(s1, "C(SELECT 1) Z(I)");
    gets_nothing(s2);
    sends(s1, "C(SELECT 2) Z(I)");
    is_free(s1);
    gets(s2, "Q(SELECT 3 -- a\n/* tenant_id=150 */)");
    sends(s2, "C(SELECT 3) Z(I)");
    gets(s1, "Q(/* tenant_id='7' */ SELECT 4)");
    sends(s1, "C(SELECT 4) Z(I)");
    gets(c, "C(SELECT 1) Z(I) C(SELECT 2) Z(I) C(SELECT 3) Z(I) C(SELECT 4) Z(I)");
    is_free(s1);
    is_free(s2);
}

CONVERSATION(session_keeps_its_shard)
{
    struct peer *s1 = server(f, 1), *s2 = server(f, 2), *c = login(f);
    sends(c, "Q(/* tenant_id=42 */ SELECT 1)");
    gets(s1, "Q(/* tenant_id=42 */ SELECT 1)");
    sends(s1, "C(SELECT 1) Z(I)");
    sends(c, "Q(/* tenant_id=43 */ SELECT 2) Q(/* tenant_id=150 */ SELECT 3)");
    gets(s1, "Q(/* tenant_id=43 */ SELECT 2)");
    sends(s1, "C(SELECT 2) Z(I)");
    gets(c, "C(SELECT 1) Z(I) C(SELECT 2) Z(I) E(SG003) Z(I)");
    says(c, "session mode");
    gets_nothing(s2);
    is_linked(s1);
}

CONVERSATION(no_tenant_behind_one)
{
    struct peer *c = login(f), *s = server(f, 1);
    sends(c, "Q(/* tenant_id=42 */ SELECT 1) Q(SELECT 2)");
    gets(s, "Q(/* tenant_id=42 */ SELECT 1)");
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I) E(SG001) Z(I)");
    is_free(s);
}

CONVERSATION(whatever_a_server_says)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1; SELECT 2)");
    gets(s, "Q(SELECT 1; SELECT 2)");
    sends(s, "N(01000) T(a) D(1) N(01000) C(SELECT 1) A(channel) T(b) C(SELECT 0) E(57014) Z(I)");
    gets(c, "N(01000) T(a) D(1) N(01000) C(SELECT 1) A(channel) T(b) C(SELECT 0) E(57014) Z(I)");
    goes_back(s);
}

CONVERSATION(after_ready_for_query)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SELECT 1)");
    sends_raw(s, "Z\0\0\0\5IN\0\0\0", 10); /* a notice has begun: the server is not handed on in it */
    is_linked(s);
    sends_raw(s, "\14C01000\0\0", 9);
    gets(c, "Z(I) N(01000)");
    goes_back(s);
}

CONVERSATION(empty_query)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q() Q(;) Q(-- nothing)");
    if (f->session_mode) {
        gets(s, "Q() Q(;) Q(-- nothing)");
        sends(s, "I Z(I) I Z(I) I Z(I)");
    }
    gets(c, "I Z(I) I Z(I) I Z(I)");
    goes_back(s);
    sends(c, "Q(BEGIN; SELECT 1) Q()");
    gets(s, "Q(BEGIN; SELECT 1) Q()");
    sends(s, "C(BEGIN) C(SELECT 1) Z(T) I Z(T)");
    gets(c, "C(BEGIN) C(SELECT 1) Z(T) I Z(T)");
}

CONVERSATION(function_call)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "F Q(SELECT 1)");
    gets(s, "F Q(SELECT 1)");
    sends(s, "V Z(I) C(SELECT 1) Z(I)");
    gets(c, "V Z(I) C(SELECT 1) Z(I)");
    goes_back(s);
}

CONVERSATION(function_call_in_failed_transaction)
{
    struct peer *c = login_tenant(f, 42), *s = server(f, 1);
    sends(c, "Q(BEGIN) Q(SET shardgate.tenant_id = a) F");
    gets(c, "C(BEGIN) Z(T) E(22023) Z(E) E(25P02) Z(E)");
    is_free(s);
}

/* ---- large messages, small buffers -------------------------------------------- */

CONVERSATION(large_row)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT repeat('x', 300000))");
    gets(s, "Q(SELECT repeat('x', 300000))");
    sends(s, "T(a) D([300000]) D(1,[100000],2) C(SELECT 2) Z(I)");
    gets(c, "T(a) D([300000]) D(1,[100000],2) C(SELECT 2) Z(I)");
    goes_back(s);
}

CONVERSATION(large_error)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1) Q(SELECT 2)");
    gets(s, "Q(SELECT 1) Q(SELECT 2)");
    sends(s, "E(42000,[3900]) Z(I) E(42000,[70000]) Z(I)");
    gets(c, "E(42000) Z(I) E(42000) Z(I)");
    goes_back(s);
}

CONVERSATION(large_query)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q([9000]) Q(SELECT 2)");
    gets(s, "Q([9000]) Q(SELECT 2)");
    sends(s, "E(42601) Z(I) C(SELECT 1) Z(I)");
    gets(c, "E(42601) Z(I) C(SELECT 1) Z(I)");
    goes_back(s);
}

CONVERSATION(too_large_query)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q([10000])");
    gets(c, "E(54000) Z(I)");
    says(c, "limits.max_statement_size");
    sends(c, "P(,[10000]) B(,) E() S");
    gets(c, "E(54000) Z(I)");
    gets_nothing(s);
    sends(c, "Q(SELECT 1) Q([10000]) Q(SELECT 2)");
    gets(s, "Q(SELECT 1)");
    sends(s, "C(SELECT 1) Z(I)");
    gets(s, "Q(SELECT 2)");
    sends(s, "C(SELECT 2) Z(I)");
    gets(c, "C(SELECT 1) Z(I) E(54000) Z(I) C(SELECT 2) Z(I)");
    goes_back(s);
}

/* ---- sockets that are full -------------------------------------------------------- */

CONVERSATION(slow_client)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SELECT 1)");
    stalls(c);
    sends(s, "T(a) D([6000])");
    sends(s, "D([6000])");
    holds(f, s->memory.in.len > 0 && c->memory.out.len == 0); /* not read while the client takes nothing */
    takes(c, 100);
    holds(f, c->memory.out.len == 100 && s->memory.in.len > 0);
    takes(c, 100000);
    gets(c, "T(a) D([6000]) D([6000])");
    is_linked(s);
    stalls(c);
    sends(s, "C(SELECT 2) Z(I)");
    goes_back(s); /* although the client has not got its last bytes */
    gets_nothing(c);
    takes(c, 100000);
    gets(c, "C(SELECT 2) Z(I)");
}

CONVERSATION(slow_server)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    stalls(s);
    sends(c, "Q([9000]) Q(SELECT 2)");
    sends(c, "Q(SELECT 3)");
    gets_nothing(s);
    is_linked(s);
    takes(s, 100);
    holds(f, s->memory.out.len == 100);
    takes(s, 100000);
    gets(s, "Q([9000]) Q(SELECT 2) Q(SELECT 3)");
    sends(s, "C(1) Z(I) C(2) Z(I) C(3) Z(I)");
    gets(c, "C(1) Z(I) C(2) Z(I) C(3) Z(I)");
    goes_back(s);
}

CONVERSATION(next_client_of_a_slow_one)
{
    struct peer *a = login_tenant(f, 42), *b = login_tenant(f, 43), *s = server(f, 1);
    sends(a, "Q(SELECT 'a')");
    gets(s, "Q(SELECT 'a')");
    sends(b, "Q(SELECT 'b') Q(SELECT 'c')");
    holds(f, sessions_waiting(f->ss) == 1);
    stalls(a);
    sends(s, "T(a) D(a) C(SELECT 1) Z(I)");
    gets(s, "Q(SELECT 'b') Q(SELECT 'c')");
    sends(s, "T(b) D(b) C(SELECT 1) Z(I) T(c)");
    gets(b, "T(b) D(b) C(SELECT 1) Z(I) T(c)");
    gets_nothing(a);
    takes(a, 100000);
    gets(a, "T(a) D(a) C(SELECT 1) Z(I)");
    sends(s, "D(c) C(SELECT 1) Z(I)");
    gets(b, "D(c) C(SELECT 1) Z(I)");
    is_free(s);
}

FLOW_MAIN(TALK_BOTH(one_query, ""), TALK_BOTH(pipeline, ""), TALK(pipeline_of_tenants, ""),
          TALK_SESSION(session_keeps_its_shard, ""), TALK(no_tenant_behind_one, ""),
          TALK_BOTH(whatever_a_server_says, ""), TALK_ONCE(after_ready_for_query, ""), TALK_BOTH(empty_query, ""),
          TALK_BOTH(function_call, ""), TALK(function_call_in_failed_transaction, ""), TALK_SESSION_ONCE(large_row, ""),
          TALK_ONCE(large_row, "limits: {io_buffer: 4096B}\n"), TALK_ONCE(large_error, "limits: {io_buffer: 4096B}\n"),
          TALK_ONCE(large_error, ""), TALK_ONCE(large_query, "limits: {io_buffer: 4096B}\n"),
          TALK_ONCE(too_large_query, "limits: {io_buffer: 4096B, max_statement_size: 9000B}\n"),
          TALK_ONCE(slow_client, "limits: {io_buffer: 4096B}\n"),
          TALK_SESSION_ONCE(slow_client, "limits: {io_buffer: 4096B}\n"), TALK_ONCE(slow_server, ""),
          TALK_SESSION_ONCE(slow_server, ""), TALK_ONCE(next_client_of_a_slow_one, ""))
