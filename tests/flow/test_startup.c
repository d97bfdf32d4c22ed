/* From the first byte to the welcome. */
#include <stdio.h>
#include <string.h>

#include "support.h"

#include "flow.h"

#define TOLD                                                                                                 \
    "S(client_encoding,UTF8) S(DateStyle,ISO, MDY) S(TimeZone,Etc/UTC) S(IntervalStyle,postgres) "           \
    "S(application_name,) S(standard_conforming_strings,on) S(server_version,15.0) S(server_encoding,UTF8) " \
    "S(is_superuser,off) S(session_authorization,app) S(integer_datetimes,on) "                              \
    "S(default_transaction_read_only,off) S(in_hot_standby,off) K Z(I)"

#define TOLD_FEW                                                                                             \
    "S(client_encoding,UTF8) S(DateStyle,ISO, MDY) S(TimeZone,Etc/UTC) S(IntervalStyle,postgres) "           \
    "S(application_name,) S(standard_conforming_strings,on) S(server_version,15.0) S(server_encoding,UTF8) " \
    "S(is_superuser,off) S(session_authorization,few) S(integer_datetimes,on) "                              \
    "S(default_transaction_read_only,off) S(in_hot_standby,off) K Z(I)"

static const char ssl[] = {0, 0, 0, 8, 4, (char)0xd2, 0x16, 0x2f}, gss[] = {0, 0, 0, 8, 4, (char)0xd2, 0x16, 0x30};

CONVERSATION(welcome)
{
    struct peer *c = client(f);
    starts(c, "user", "app", "database", "shop");
    gets(c, "R " TOLD);
    holds(f, c->pid != 0 && (int32_t)c->pid > 0);
    is_open(c);
}

CONVERSATION(encryption_is_declined)
{
    struct peer *c = client(f);
    sends_raw(c, gss, sizeof gss);
    holds(f, c->memory.out.len == 1 && *buf_head(&c->memory.out) == 'N');
    sends_raw(c, ssl, sizeof ssl);
    holds(f, c->memory.out.len == 2);
    buf_consume(&c->memory.out, 2);
    starts(c, "user", "app");
    gets(c, "R " TOLD);
    holds(f, strcmp(f->last_database, "") == 0);
    c = client(f);
    for (int i = 0; i < 3; i++)
        sends_raw(c, ssl, sizeof ssl);
    buf_consume(&c->memory.out, 2);
    gets(c, "E!(08P01)");
    is_closed(c);
}

CONVERSATION(newer_protocol)
{
    struct peer *c = client(f);
    starts_with(c, 0x30002, (const char *const[]){"user", "app", "_pq_.one", "1", "_pq_.two", "2", NULL});
    gets(c, "v(196608,_pq_.one,_pq_.two) R " TOLD);
    c = client(f);
    starts_with(c, 0x30002, (const char *const[]){"user", "app", NULL});
    gets(c, "v(196608) R " TOLD);
    c = client(f);
    starts_with(c, 0x30000, (const char *const[]){"user", "app", "_pq_.one", "1", NULL});
    gets(c, "v(196608,_pq_.one) R " TOLD);
    c = client(f);
    starts_with(c, 0x20000, (const char *const[]){"user", "app", NULL});
    gets(c, "E!(0A000)");
    is_closed(c);
}

CONVERSATION(spelling)
{
    struct peer *c = client(f);
    starts(c, "user", "app", "client_encoding", "utf-8", "datestyle", "german", "TIMEZONE", "Asia/Tokyo",
           "intervalstyle", "ISO_8601", "application_name", "t\303\251l", "options",
           "-c standard_conforming_strings=0");
    gets(c,
         "R S(client_encoding,UTF8) S(DateStyle,German, DMY) S(TimeZone,Asia/Tokyo) S(IntervalStyle,iso_8601) "
         "S(application_name,t??l) S(standard_conforming_strings,off) S(server_version,15.0) S(server_encoding,UTF8) "
         "S(is_superuser,off) S(session_authorization,app) S(integer_datetimes,on) "
         "S(default_transaction_read_only,off) S(in_hot_standby,off) K Z(I)");
}

CONVERSATION(pipelined_behind_startup)
{
    struct peer *s = server(f, 1), *c = client(f);
    struct buf b;
    static const char startup[] = "\0\0\0\103\0\3\0\0user\0app\0database\0shop\0options\0-cshardgate.tenant_id=42\0";
    buf_init(&b, 0);
    buf_append(&b, startup, sizeof startup);
    text_encode(&b, "Q(SHOW shardgate.tenant_id) Q(SELECT 1)", true);
    b.data[b.off + 3] = (char)sizeof startup;
    sends_raw(c, buf_head(&b), b.len);
    buf_fini(&b);
    gets(c, "R " TOLD " T(shardgate.tenant_id) D(42) C(SHOW) Z(I)");
    gets(s, "Q(SELECT 1)");
}

CONVERSATION(tenants)
{
    struct peer *s = server(f, 2), *c = client(f);
    starts(c, "user", "app", "database", "shop", "shardgate.tenant_id", "150");
    gets(c, "R " TOLD);
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SELECT 1)");
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
    c = client(f);
    starts(c, "user", "app", "shardgate.tenant_id", "150", "options", "-c shardgate.tenant_id=151");
    gets(c, "E!(SG003)");
    is_closed(c);
    c = client(f);
    starts(c, "user", "app", "shardgate.tenant_id", "many");
    gets(c, "E!(22023)");
    c = client(f);
    starts(c, "user", "few", "shardgate.tenant_id", "150");
    is_open(c);
    sends(c, "Q(SET shardgate.tenant_id = 200) Q(SELECT 1 /* tenant_id=151 */)");
    gets(c, "R " TOLD_FEW " E(SG005) Z(I) E(SG003) Z(I)");
    sends(c, "X");
    c = client(f);
    starts(c, "user", "few", "shardgate.tenant_id", "42");
    gets(c, "E!(SG005)");
    is_closed(c);
}

#define PATTERNS "tenant: {sources: [startup, user, database, set, comment]}\n"

CONVERSATION(tenants_by_name)
{
    struct peer *s = server(f, 2), *c = client(f);
    starts(c, "user", "app.150", "database", "shop");
    gets(c, "R " TOLD);
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SELECT 1)");
    holds(f, strcmp(f->last_user, "app") == 0);
    sends(s, "C(SELECT 1) Z(I)");
    sends(c, "Q(SET shardgate.tenant_id = 42) Q(SELECT 1 /* tenant_id=42 */) Q(RESET shardgate.tenant_id) "
             "Q(SHOW shardgate.tenant_id)");
    gets(c, "C(SELECT 1) Z(I) E(SG003) Z(I) E(SG003) Z(I) C(RESET) Z(I) T(shardgate.tenant_id) D(150) C(SHOW) Z(I)");
    c = client(f);
    starts(c, "user", "app", "database", "shop/150");
    gets(c, "R " TOLD);
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SELECT 1)");
    holds(f, strcmp(f->last_database, "shop") == 0);
    sends(s, "C(SELECT 1) Z(I)");
    c = client(f);
    starts(c, "user", "app.42", "database", "shop/150");
    gets(c, "E!(SG003)");
    c = client(f);
    starts(c, "user", "app", "database", "shop/many");
    gets(c, "E!(22023)");
}

CONVERSATION(bad_parameters)
{
    static const char *const bad[][5] = {
        {"database", "shop"},
        {"user", ""},
        {"user", "app", "bad name", "1"},
        {"user", "app", "options", "-x"},
        {"user", "app", "replication", "maybe"},
        {"user", "nobody"},
    };
    static const char *const codes[] = {"E!(28000)", "E!(28000)", "E!(22023)", "E!(22023)", "E!(22023)", "E!(28P01)"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct peer *c = client(f);
        starts_with(c, 0x30000, bad[i]);
        gets(c, codes[i]);
        is_closed(c);
    }
}

CONVERSATION(garbage)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"GET / HTTP/1.1\r\n", 16},
               {"\0\0\0\7\0\3\0", 7},
               {"\0\0\0\15\0\3\0\0user\0", 13},
               {"\0\0\0\20\0\3\0\0user\0a\0b", 16},
               {"\377\377\377\377\0\3\0\0", 8}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct peer *c = client(f);
        sends_raw(c, bad[i].bytes, bad[i].len);
        gets(c, "E!(08P01)");
        is_closed(c);
    }
    struct peer *c = client(f);
    hangs_up(c);
    is_closed(c);
    gets_nothing(c);
}

CONVERSATION(database_list)
{
    struct peer *c = client(f);
    starts(c, "user", "app", "database", "elsewhere");
    gets(c, "E!(3D000)");
    is_closed(c);
    c = login_as(f, "user", "app", "database", "shop", "shardgate.tenant_id", "42");
    sends(c, "Q(SELECT 1)");
    holds(f, strcmp(f->last_database, "real") == 0 && f->last_key.forced_database && f->last_key.size == 3);
}

/* ---- session mode: the server's own -------------------------------------------------- */

CONVERSATION(session_of_a_server)
{
    struct peer *s = server(f, 1), *c = client(f);
    starts(c, "user", "app", "database", "shop", "options", "-c shardgate.tenant_id=42 -c geqo=off", "application_name",
           "me");
    gets(c, "R S(client_encoding,UTF8) S(DateStyle,ISO, MDY) S(TimeZone,Etc/UTC) S(IntervalStyle,postgres) "
            "S(application_name,me) S(standard_conforming_strings,on) S(server_version,15.0) S(server_encoding,UTF8) "
            "S(is_superuser,off) S(session_authorization,app) S(integer_datetimes,on) "
            "S(default_transaction_read_only,off) S(in_hot_standby,off) K Z(I)");
    is_linked(s);
    holds(f, c->pid == (uint32_t)server_pid(&s->server));
    holds(f,
          strcmp(f->last_options, " -c application_name=me -c geqo=off") == 0 && f->last_key.mode == CONF_MODE_SESSION);
    sends(c, "Q(SELECT 1)");
    struct peer *d = client(f);
    uint8_t request[16] = {0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e};
    for (int i = 0; i < 4; i++) {
        request[8 + i] = (uint8_t)(c->pid >> (24 - 8 * i));
        request[12 + i] = (uint8_t)(c->key >> (24 - 8 * i));
    }
    sends_raw(d, request, sizeof request);
    holds(f, s->cancels == 1);
    sends(s, "E(57014) Z(I)");
    gets(c, "E(57014) Z(I)");
    sends(c, "X");
    is_free(s);
    holds(f, s->dirty_at_end);
    d = client(f);
    sends_raw(d, request, sizeof request); /* its key has gone with it */
    holds(f, s->cancels == 1);
}

CONVERSATION(session_without_a_tenant)
{
    struct peer *c = client(f), *s = server(f, 1);
    starts(c, "user", "app", "database", "shop");
    gets(c, "R " TOLD);
    is_free(s);
    sends(c, "Q(SELECT 1 /* tenant_id=42 */)");
    gets(s, "Q(SELECT 1 /* tenant_id=42 */)");
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
    is_linked(s);
}

CONVERSATION(session_mode_of_a_user)
{
    struct peer *s = server(f, 1), *c = login_as(f, "user", "held", "database", "shop", "shardgate.tenant_id", "42");
    is_linked(s);
    holds(f,
          strcmp(f->last_user, "other") == 0 && f->last_key.forced_user && str_eq(f->last_key.password, STR("secret")));
    is_open(c);
}

FLOW_MAIN(TALK(welcome, ""), TALK_SESSION(welcome, ""), TALK(encryption_is_declined, ""), TALK(newer_protocol, ""),
          TALK(spelling, ""), TALK(pipelined_behind_startup, ""), TALK(tenants, ""), TALK(tenants_by_name, PATTERNS),
          TALK(bad_parameters, ""), TALK(garbage, ""),
          TALK(database_list, "databases: [{name: shop, server_database: real, pool_size: 3}]\n"),
          TALK_SESSION(session_of_a_server, ""), TALK_SESSION(session_without_a_tenant, ""),
          TALK(session_mode_of_a_user, ""))
