/* Waiting: for a server, and for the directory's answer about a tenant. */
#include <string.h>

#include "support.h"

#include "flow.h"

CONVERSATION(waits_for_a_server)
{
    struct peer *c = login_tenant(f, 42), *s;
    sends(c, "Q(SELECT 1) Q(SELECT 2)");
    sends(c, "Q(SELECT 3)");
    gets_nothing(c);
    holds(f, sessions_waiting(f->ss) == 1 && pool_script_waiting(f, 1) == 1);
    s = server(f, 1);
    gets(s, "Q(SELECT 1) Q(SELECT 2) Q(SELECT 3)");
    holds(f, sessions_waiting(f->ss) == 0);
    sends(s, "C(1) Z(I) C(2) Z(I) C(3) Z(I)");
    gets(c, "C(1) Z(I) C(2) Z(I) C(3) Z(I)");
    is_free(s);
}

CONVERSATION(waits_with_what_was_set)
{
    struct peer *c = login(f), *s;
    sends(c, "Q(BEGIN) Q(SET LOCAL shardgate.tenant_id = 42; SHOW shardgate.tenant_id; SELECT 1)");
    gets(c, "C(BEGIN) Z(T)");
    s = server(f, 1);
    gets(s, "Q(BEGIN)"); /* what was set is looked at again when that is answered */
    sends(s, "C(BEGIN) Z(T)");
    gets(s, "Q( SELECT 1)");
    gets(c, "C(SET) T(shardgate.tenant_id) D(42) C(SHOW)");
    sends(s, "C(SELECT 1) Z(T)");
    gets(c, "C(SELECT 1) Z(T)");
}

CONVERSATION(first_come_first_served)
{
    struct peer *a = login_tenant(f, 1), *b = login_tenant(f, 2), *s;
    sends(a, "Q(SELECT 'a')");
    sends(b, "Q(SELECT 'b')");
    s = server(f, 1);
    gets(s, "Q(SELECT 'a')");
    sends(s, "C(a) Z(I)");
    gets(s, "Q(SELECT 'b')");
    gets(a, "C(a) Z(I)");
    gets_nothing(b);
    sends(s, "C(b) Z(I)");
    gets(b, "C(b) Z(I)");
    is_free(s);
}

CONVERSATION(one_hands_to_the_next_in_the_same_read)
{
    struct peer *a = login_tenant(f, 1), *b = login_tenant(f, 2), *s = server(f, 1);
    sends(a, "Q(BEGIN) Q(SELECT 'a')");
    gets(s, "Q(BEGIN) Q(SELECT 'a')");
    sends(b, "P(,SELECT 'b') B(,) E() S Q(SHOW shardgate.tenant_id)");
    sends(s, "C(BEGIN) Z(T) D(a) C(SELECT 1) Z(T)");
    sends(a, "Q(COMMIT) Q(SELECT 'again')");
    gets(s, "Q(COMMIT) Q(SELECT 'again')");
    sends(s, "C(COMMIT) Z(I) D(again) C(SELECT 1) Z(I)");
    gets(s, "P(,SELECT 'b') B(,) E() S");
    gets(a, "C(BEGIN) Z(T) D(a) C(SELECT 1) Z(T) C(COMMIT) Z(I) D(again) C(SELECT 1) Z(I)");
    sends(s, "1 2 D(b) C(SELECT 1) Z(I)");
    gets(b, "1 2 D(b) C(SELECT 1) Z(I) T(shardgate.tenant_id) D(2) C(SHOW) Z(I)");
    is_free(s);
}

CONVERSATION(refused_after_waiting)
{
    struct peer *c = login_tenant(f, 42), *s;
    sends(c, "Q(SELECT 1) Q(SELECT 2)");
    pool_script_refuse(f, 1, ERR_QUEUE_TIMEOUT);
    settle(f);
    gets(c, "E(53300) Z(I)");
    is_open(c);
    holds(f, pool_script_waiting(f, 1) == 1); /* the next one waits for itself */
    pool_script_refuse(f, 1, ERR_SHARD_UNREACHABLE);
    settle(f);
    gets(c, "E(08006) Z(I)");
    sends(c, "P(,SELECT 3) B(,) E() S");
    pool_script_refuse(f, 1, ERR_SHARD_STARTING);
    settle(f);
    gets(c, "E(57P03) Z(I)");
    sends(c, "Q(BEGIN) Q(SELECT 4)");
    pool_script_refuse(f, 1, ERR_POOL_PAUSED_TIMEOUT);
    settle(f);
    gets(c, "C(BEGIN) Z(T) E(53300) Z(E)");
    sends(c, "Q(COMMIT)");
    gets(c, "C(ROLLBACK) Z(I)");
    sends(c, "Q(SELECT 5)");
    s = server(f, 1);
    gets(s, "Q(SELECT 5)");
}

CONVERSATION(sent_away_to_look_again)
{
    struct peer *c = login(f), *s;
    sends(c, "Q(SELECT 1 /* tenant_id=42 */)");
    pool_script_refuse(f, 1, ERR_OK);
    settle(f);
    holds(f, pool_script_waiting(f, 1) == 1);
    s = server(f, 1);
    gets(s, "Q(SELECT 1 /* tenant_id=42 */)");
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
}

static void move_tenant(struct flow *f, int64_t tenant, int16_t shard)
{
    struct map_builder *b = map_builder_delta(f->map, 2);
    map_builder_override(b, tenant, shard, MAP_OVERRIDE);
    struct error e;
    error_clear(&e);
    struct map *m = map_builder_finish(b, f->map, (struct map_limits){100, 100}, &e);
    holds(f, m != NULL);
    flow_set_map(f, m);
    settle(f);
}

CONVERSATION(the_tenant_moves_while_it_waits)
{
    struct peer *c = login(f), *s2;
    sends(c, "Q(SELECT 1 /* tenant_id=42 */)");
    move_tenant(f, 42, 2);
    holds(f, pool_script_waiting(f, 1) == 0 && pool_script_waiting(f, 2) == 1);
    s2 = server(f, 2);
    gets(s2, "Q(SELECT 1 /* tenant_id=42 */)");
    sends(s2, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
}

CONVERSATION(leaves_while_waiting)
{
    struct peer *c = login_tenant(f, 42), *s;
    sends(c, "Q(SELECT 1)");
    hangs_up(c);
    is_closed(c);
    holds(f, pool_script_waiting(f, 1) == 0 && sessions_count(f->ss) == 0);
    s = server(f, 1);
    gets_nothing(s);
}

CONVERSATION(killed_while_waiting)
{
    struct peer *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    sessions_shutdown(f->ss);
    settle(f);
    gets(c, "E!(57P01)");
    is_closed(c);
    holds(f, pool_script_waiting(f, 1) == 0 && f->drained == 1);
}

CONVERSATION(canceled_while_waiting)
{
    struct peer *c, *d, *s;
    struct buf welcome;
    uint8_t request[16] = {0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e};
    c = client(f);
    starts(c, "user", "app", "database", "shop", "options", "-c shardgate.tenant_id=42");
    buf_init(&welcome, 0);
    heard(c, &welcome); /* takes note of the key */
    buf_fini(&welcome);
    sends(c, "Q(SELECT 1) Q(SELECT 2)");
    for (int i = 0; i < 4; i++) {
        request[8 + i] = (uint8_t)(c->pid >> (24 - 8 * i));
        request[12 + i] = (uint8_t)(c->key >> (24 - 8 * i));
    }
    d = client(f);
    sends_raw(d, request, sizeof request);
    is_closed(d);
    gets_nothing(d);
    gets(c, "E(57014) Z(I)");
    holds(f, f->cancels == 1 && pool_script_waiting(f, 1) == 1); /* the second one was not meant */
    s = server(f, 1);
    gets(s, "Q(SELECT 2)");
    /* Now one that runs. */
    d = client(f);
    sends_raw(d, request, sizeof request);
    holds(f, s->cancels == 1);
    sends(s, "E(57014) Z(I)");
    gets(c, "E(57014) Z(I)");
    /* Idle, and a wrong key: nothing. */
    d = client(f);
    sends_raw(d, request, sizeof request);
    request[15] ^= 1;
    d = client(f);
    sends_raw(d, request, sizeof request);
    is_closed(d);
    holds(f, s->cancels == 1);
    gets_nothing(c);
}

CONVERSATION(held_input_is_bounded)
{
    struct peer *c = login_tenant(f, 42), *s;
    for (int i = 0; i < 40; i++)
        sends(c, "Q([5000])");
    holds(f, c->memory.in.len + c->pending.len > 100000); /* the rest is not read */
    s = server(f, 1);
    for (int i = 0; i < 40; i++)
        sends(s, "C(SELECT 1) Z(I)");
    struct buf got;
    buf_init(&got, 0);
    heard(s, &got);
    holds(f, got.len == 40 * strlen("Q([5000]) ") - 1);
    buf_fini(&got);
}

/* ---- the directory -------------------------------------------------------------- */

CONVERSATION(tenant_found)
{
    struct peer *c = login_tenant(f, 500), *s = server(f, 2);
    sends(c, "Q(SELECT 1) Q(SELECT 2)");
    holds(f, f->lookups == 1 && f->lookup_tenant == 500 && sessions_waiting(f->ss) == 1);
    flow_set_map(f, flow_map(f->map, true));
    gets(s, "Q(SELECT 1) Q(SELECT 2)");
    sessions_tenant_answer(f->ss, 500, NULL);
    settle(f);
    sends(s, "C(1) Z(I) C(2) Z(I)");
    gets(c, "C(1) Z(I) C(2) Z(I)");
}

CONVERSATION(tenant_not_found)
{
    struct peer *a = login_tenant(f, 500), *b = login_tenant(f, 501), *c = login_tenant(f, 500);
    sends(a, "Q(SELECT 1) Q(SELECT 2)");
    sends(b, "P(,SELECT 1) S");
    sends(c, "Q(BEGIN) Q(SELECT 1)");
    sessions_tenant_answer(f->ss, 500, NULL);
    settle(f);
    gets(a, "E(SG002) Z(I)"); /* the next statement asks anew; the directory remembers */
    gets(c, "C(BEGIN) Z(T) E(SG002) Z(E)");
    gets_nothing(b);
    says(a, "Tenant 500");
    struct error e;
    error_clear(&e);
    error_set(&e, ERR_DIRECTORY, "down");
    sessions_tenant_answer(f->ss, 501, &e);
    sessions_tenant_answer(f->ss, 500, NULL);
    settle(f);
    gets(b, "E(SG002) Z(I)");
    gets(a, "E(SG002) Z(I)");
    holds(f, f->lookups == 4 && sessions_waiting(f->ss) == 0);
}

CONVERSATION(leaves_while_it_is_looked_up)
{
    struct peer *a = login_tenant(f, 500), *b = login_tenant(f, 500);
    sends(a, "Q(SELECT 1)");
    sends(b, "Q(SELECT 1)");
    hangs_up(a);
    sessions_tenant_answer(f->ss, 500, NULL);
    settle(f);
    gets_nothing(a);
    gets(b, "E(SG002) Z(I)");
}

CONVERSATION(no_lookup)
{
    struct peer *c = login_tenant(f, 500);
    sends(c, "Q(SELECT 1)");
    gets(c, "E(SG002) Z(I)");
    holds(f, f->lookups == 0);
}

CONVERSATION(login_waits_for_the_tenant)
{
    struct peer *c = client(f), *s;
    starts(c, "user", "app", "database", "shop", "options", "-c shardgate.tenant_id=500");
    gets(c, "R");
    holds(f, f->lookups == 1);
    flow_set_map(f, flow_map(f->map, true));
    gets_nothing(c);
    s = server(f, 2);
    struct buf welcome;
    buf_init(&welcome, 0);
    heard(c, &welcome);
    holds(f, welcome.len > 4 && memcmp(buf_head(&welcome) + welcome.len - 4, "Z(I)", 4) == 0);
    buf_fini(&welcome);
    is_linked(s);
    holds(f, c->pid == (uint32_t)server_pid(&s->server));
    struct peer *d = client(f);
    starts(d, "user", "app", "database", "shop", "options", "-c shardgate.tenant_id=501");
    sessions_tenant_answer(f->ss, 501, NULL);
    settle(f);
    gets(d, "R E!(SG002)");
    is_closed(d);
    d = client(f);
    starts(d, "user", "app", "database", "shop", "options", "-c shardgate.tenant_id=150");
    pool_script_refuse(f, 2, ERR_SHARD_UNREACHABLE);
    settle(f);
    gets(d, "R E!(08006)");
    is_closed(d);
    d = client(f);
    starts(d, "user", "app", "database", "shop", "options", "-c shardgate.tenant_id=150");
    hangs_up(d);
    holds(f, pool_script_waiting(f, 2) == 0);
}

CONVERSATION(keeps_its_server_and_looks_up)
{
    struct peer *s = server(f, 2), *c = login(f);
    sends(c, "Q(/* tenant_id=150 */ LISTEN a)");
    sends(s, "C(LISTEN) Z(I)");
    gets(c, "C(LISTEN) Z(I)");
    gets(s, "Q(/* tenant_id=150 */ LISTEN a)");
    is_linked(s);
    sends(c, "Q(/* tenant_id=500 */ SELECT 1) Q(/* tenant_id=42 */ SELECT 2)");
    holds(f, f->lookups == 1 && sessions_waiting(f->ss) == 1);
    sends(s, "A(a)"); /* meanwhile */
    gets(c, "A(a)");
    sessions_tenant_answer(f->ss, 500, NULL);
    settle(f);
    gets(c, "E(SG002) Z(I) E(SG003) Z(I)");
    sends(c, "Q(/* tenant_id=500 */ SELECT 1)");
    flow_set_map(f, flow_map(f->map, true));
    gets(s, "Q(/* tenant_id=500 */ SELECT 1)"); /* it is on the shard that the session keeps */
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
    is_linked(s);
    sends(c, "Q(/* tenant_id=501 */ SELECT 1)");
    hangs_up(s);
    gets(c, "E!(08006)");
    is_closed(c);
    holds(f, sessions_waiting(f->ss) == 0);
}

FLOW_MAIN(TALK(waits_for_a_server, ""), TALK(waits_with_what_was_set, ""), TALK(first_come_first_served, ""),
          TALK(one_hands_to_the_next_in_the_same_read, ""), TALK(refused_after_waiting, ""),
          TALK(sent_away_to_look_again, ""), TALK(the_tenant_moves_while_it_waits, ""), TALK(leaves_while_waiting, ""),
          TALK(killed_while_waiting, ""), TALK(canceled_while_waiting, ""), TALK_ONCE(held_input_is_bounded, ""),
          TALK(tenant_found, ""), TALK(tenant_not_found, ""), TALK(leaves_while_it_is_looked_up, ""),
          TALK_BOTH(keeps_its_server_and_looks_up, ""), TALK(no_lookup, NO_LOOKUP),
          TALK_SESSION(login_waits_for_the_tenant, ""))
