/* What a server reports and what a client was told: set again where they differ. */
#include <stdio.h>
#include <string.h>

#include "support.h"

#include "flow.h"

#define TOKYO "C(SET) S(TimeZone,Asia/Tokyo) Z(I)"

/* The server at hand now has another TimeZone than others expect. */
static struct peer *client_in_tokyo(struct flow *f, struct peer *s)
{
    struct peer *c = login_tenant(f, 42);
    sends(c, "Q(SET TimeZone = 'Asia/Tokyo')");
    gets(s, "Q(SET TimeZone = 'Asia/Tokyo')");
    sends(s, TOKYO);
    gets(c, TOKYO);
    is_free(s);
    return c;
}

CONVERSATION(each_gets_its_own)
{
    struct peer *s = server(f, 1), *a = client_in_tokyo(f, s), *b = login_tenant(f, 43);
    sends(b, "Q(SELECT 1)");
    gets(s, "Q(SET TimeZone TO 'Etc/UTC') Q(SELECT 1)");
    sends(s, "C(SET) S(TimeZone,Etc/UTC) Z(I) C(SELECT 1) Z(I)");
    gets(b, "C(SELECT 1) Z(I)"); /* not a word of the SET */
    is_free(s);
    sends(b, "Q(SELECT 2)");
    gets(s, "Q(SELECT 2)");
    sends(s, "C(SELECT 2) Z(I)");
    gets(b, "C(SELECT 2) Z(I)");
    sends(a, "P(,SELECT 3) B(,) E() S");
    gets(s, "Q(SET TimeZone TO 'Asia/Tokyo') P(,SELECT 3) B(,) E() S");
    sends(s, "C(SET) S(TimeZone,Asia/Tokyo) Z(I) 1 2 C(SELECT 3) Z(I)");
    gets(a, "1 2 C(SELECT 3) Z(I)");
    is_free(s);
}

CONVERSATION(several_and_quoted)
{
    struct peer *s = server(f, 1), *a = login_tenant(f, 42), *b = login_tenant(f, 43);
    sends(a, "Q(SET DateStyle = german; SET application_name = 'it''s \\ me')");
    gets(s, "Q(SET DateStyle = german; SET application_name = 'it''s \\ me')");
    sends(s, "C(SET) S(DateStyle,German) C(SET) S(application_name,it's \\ me) Z(I)");
    gets(a, "C(SET) S(DateStyle,German) C(SET) S(application_name,it's \\ me) Z(I)");
    sends(b, "Q(SELECT 1)");
    gets(s, "Q(SET DateStyle TO 'ISO, MDY'; SET application_name TO '') Q(SELECT 1)");
    sends(s, "C(SET) S(DateStyle,ISO) C(SET) S(application_name,) Z(I) N(01000) C(SELECT 1) Z(I)");
    gets(b, "N(01000) C(SELECT 1) Z(I)");
    sends(a, "Q(SELECT 1)");
    gets(s, "Q(SET DateStyle TO 'German'; SET application_name TO  E'it''s \\\\ me') Q(SELECT 1)");
    sends(s, "C(SET) S(DateStyle,German) C(SET) S(application_name,it's \\ me) Z(I) C(SELECT 1) Z(I)");
    gets(a, "C(SELECT 1) Z(I)");
}

CONVERSATION(application_name_of_the_startup)
{
    struct peer *s = server(f, 1), *c = login_as(f, "user", "app", "database", "shop", "application_name", "till",
                                                 "options", "-c shardgate.tenant_id=42");
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SET application_name TO 'till') Q(SELECT 1)");
    sends(s, "C(SET) S(application_name,till) Z(I) C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
    holds(f, strcmp(f->last_options, "") == 0);
}

CONVERSATION(settings_make_a_pool)
{
    struct peer *s = server(f, 1), *c = login_as(f, "user", "app", "database", "shop", "timezone", "Asia/Tokyo",
                                                 "options", "-c shardgate.tenant_id=42 -c geqo=off -c a.b=c\\ d");
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SELECT 1)");
    holds(f, strcmp(f->last_options, " -c a.b=c\\ d -c geqo=off -c timezone=Asia/Tokyo") == 0);
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
}

CONVERSATION(injected_set_fails)
{
    struct peer *s = server(f, 1), *a = client_in_tokyo(f, s), *b = login_tenant(f, 43);
    sends(b, "Q(SELECT 1)");
    gets(s, "Q(SET TimeZone TO 'Etc/UTC') Q(SELECT 1)");
    sends(s, "E(22023,no such zone)");
    gets(b, "E!(22023)");
    says(b, "no such zone");
    is_closed(b);
    is_abandoned(s);
    is_open(a);
}

CONVERSATION(first_server_spells_otherwise)
{
    struct peer *c, *s = server(f, 1);
    f->have_parameters = true; /* another shard has said so */
    for (int i = 0; i < HEALTH_PARAMETERS; i++) {
        if (strcmp(health_parameter_names[i], "server_version") == 0)
            strcpy(f->parameters[i], "14.2");
        if (strcmp(health_parameter_names[i], "TimeZone") == 0)
            strcpy(f->parameters[i], "GB");
    }
    c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SELECT 1)");
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "S(TimeZone,Etc/UTC) S(server_version,15.0) C(SELECT 1) Z(I)");
    sends(c, "Q(SELECT 1)");
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
}

CONVERSATION(reported_while_idle)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42), *other;
    sends(c, "Q(BEGIN; SELECT 1)");
    sends(s, "C(BEGIN) C(SELECT 1) Z(T)");
    sends(s, "S(TimeZone,Asia/Tokyo) S(unheard_of,1) S(is_superuser,on)");
    gets(c, "C(BEGIN) C(SELECT 1) Z(T) S(TimeZone,Asia/Tokyo) S(unheard_of,1) S(is_superuser,on)");
    gets(s, "Q(BEGIN; SELECT 1)");
    sends(c, "Q(COMMIT)");
    sends(s, "C(COMMIT) Z(I)");
    gets(c, "C(COMMIT) Z(I)");
    gets(s, "Q(COMMIT)");
    other = login_tenant(f, 43);
    sends(other, "Q(SELECT 2)");
    gets(s, "Q(SET TimeZone TO 'Etc/UTC') Q(SELECT 2)");
    sends(s, "C(SET) S(TimeZone,Etc/UTC) Z(I) C(SELECT 2) Z(I)");
    gets(other, "S(is_superuser,on) C(SELECT 2) Z(I)"); /* what cannot be set is told */
}

CONVERSATION(many_dropped_in_one_read)
{
    struct peer *s = server(f, 1), *a = client_in_tokyo(f, s), *b = login_tenant(f, 43);
    sends(b, "Q(SELECT 1)");
    sends(s, "A(a) N(0) A(b) N(0) A(c) N(0) A(d) N(0) A(e) N(0) A(f) N(0) A(g) N(0) A(h) N(0) A(i) N(0) A(j) N(0) "
             "A(k) N(0) A(l) N(0) A(m) N(0) A(n) N(0) A(o) N(0) A(p) N(0) A(q) N(0) A(r) N(0) A(s) N(0) A(t) N(0) "
             "C(SET) S(TimeZone,Etc/UTC) Z(I) C(SELECT 1) Z(I)");
    gets(b, "A(a) A(b) A(c) A(d) A(e) A(f) A(g) A(h) A(i) A(j) A(k) A(l) A(m) A(n) A(o) A(p) A(q) A(r) A(s) A(t) "
            "C(SELECT 1) Z(I)");
    is_free(s);
    is_open(a);
}

CONVERSATION(strings_of_the_session)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SET standard_conforming_strings = off)");
    sends(s, "C(SET) S(standard_conforming_strings,off) Z(I)");
    gets(c, "C(SET) S(standard_conforming_strings,off) Z(I)");
    gets(s, "Q(SET standard_conforming_strings = off)");
    /* The backslash hides the quote now: no second statement, no comment. */
    sends(c, "Q(SELECT 'a\\'; SET shardgate.tenant_id = 1 /* tenant_id=150 */')");
    gets(s, "Q(SELECT 'a\\'; SET shardgate.tenant_id = 1 /* tenant_id=150 */')");
    sends(s, "C(SELECT 1) Z(I)");
    gets(c, "C(SELECT 1) Z(I)");
}

CONVERSATION(discard_all_without_a_server)
{
    struct peer *s = server(f, 1), *c = client_in_tokyo(f, s);
    sends(c, "Q(SET shardgate.tenant_id = 43) Q(DISCARD ALL) Q(SHOW shardgate.tenant_id)");
    gets(c, "C(SET) Z(I) S(TimeZone,Etc/UTC) C(DISCARD ALL) Z(I) T(shardgate.tenant_id) D(42) C(SHOW) Z(I)");
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SET TimeZone TO 'Etc/UTC') Q(SELECT 1)");
}

CONVERSATION(discard_all_prepared_before)
{
    struct peer *c = login_tenant(f, 42), *s = server(f, 1);
    sends(c, "P(clear,DISCARD ALL) S");
    gets(c, "1 Z(I)");
    sends(c, "Q(LISTEN a)");
    gets(s, "Q(LISTEN a)");
    sends(s, "C(LISTEN) Z(I)");
    gets(c, "C(LISTEN) Z(I)");
    is_linked(s);
    sends(c, "B(,clear) E() S");
    gets(s, "P(,DISCARD ALL) B(,) E() S");
    sends(s, "1 2 C(DISCARD ALL) Z(I)");
    gets(c, "2 C(DISCARD ALL) Z(I)");
}

CONVERSATION(pins)
{
    static const char *const texts[] = {"LISTEN a",
                                        "CREATE TEMP TABLE t (a int)",
                                        "SELECT pg_advisory_lock(1)",
                                        "PREPARE p AS SELECT 1",
                                        "LOAD 'x'",
                                        "SET work_mem = '1MB'",
                                        "DECLARE c CURSOR WITH HOLD FOR SELECT 1"};
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char say[200];
        snprintf(say, sizeof say, "Q(%s)", texts[i]);
        sends(c, say);
        gets(s, say);
        sends(s, "C(DONE) Z(I)");
        gets(c, "C(DONE) Z(I)");
        is_linked(s);
        sends(c, "Q(SELECT 1 /* tenant_id=42 */) Q(DISCARD ALL)");
        sends(s, "C(SELECT 1) Z(I)");
        sends(s, "C(DISCARD ALL) Z(I)");
        gets(c, "C(SELECT 1) Z(I) C(DISCARD ALL) Z(I)");
        gets(s, "Q(SELECT 1 /* tenant_id=42 */) Q(DISCARD ALL)");
        sends(c, "Q(DISCARD ALL)"); /* in a pipeline it was not believed */
        if (s->fate == FATE_LINKED) {
            gets(s, "Q(DISCARD ALL)");
            sends(s, "C(DISCARD ALL) Z(I)");
        }
        gets(c, "C(DISCARD ALL) Z(I)");
        is_free(s);
        holds(f, s->dirty_at_end);
    }
}

FLOW_MAIN(TALK(each_gets_its_own, ""), TALK(several_and_quoted, ""), TALK(application_name_of_the_startup, ""),
          TALK(settings_make_a_pool, ""), TALK(injected_set_fails, ""), TALK(first_server_spells_otherwise, ""),
          TALK(reported_while_idle, ""), TALK_ONCE(many_dropped_in_one_read, ""), TALK(strings_of_the_session, ""),
          TALK(discard_all_without_a_server, ""), TALK(discard_all_prepared_before, ""), TALK(pins, ""))
