/*
 * Inspection as a table. `want` names what a text is:
 *   statements verb [=value] [later] [control] [pin names…] [comment] [rest=…]
 */
#include "support.h"

#include <stdio.h>
#include <string.h>

#include "shardgate/sql.h"

#include "sql_internal.h"

static const struct sql_rules rules = {STR("shardgate.tenant_id"), STR("tenant_id"), true};
static const struct sql_rules escapes = {STR("shardgate.tenant_id"), STR("tenant_id"), false};

static const char *const verb_name[] = {
    [SQL_VERB_EMPTY] = "empty",         [SQL_VERB_OTHER] = "other",
    [SQL_VERB_BEGIN] = "begin",         [SQL_VERB_COMMIT] = "commit",
    [SQL_VERB_ROLLBACK] = "rollback",   [SQL_VERB_ROLLBACK_TO] = "rollback_to",
    [SQL_VERB_SET_TENANT] = "set",      [SQL_VERB_SET_LOCAL_TENANT] = "set_local",
    [SQL_VERB_RESET_TENANT] = "reset",  [SQL_VERB_SHOW_TENANT] = "show",
    [SQL_VERB_RESET_ALL] = "reset_all", [SQL_VERB_DISCARD_ALL] = "discard_all",
};

struct row {
    const char *text, *want;
};

static const struct row ordinary[] = {
    {"", "0 empty"},
    {"  \n", "0 empty"},
    {";", "0 empty"},
    {" ; ;; ", "0 empty"},
    {"-- nothing", "0 empty"},
    {"/* nothing */;", "0 empty"},
    {"SELECT 1", "1 other"},
    {"SELECT 1;", "1 other"},
    {"SELECT 1 ; \n", "1 other"},
    {"SELECT 1;;", "1 other"},
    {"; SELECT 1", "1 other"},
    {"  select 1", "1 other"},
    {"(SELECT 1)", "1 other"},
    {"TABLE t", "1 other"},
    {"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 12;", "1 other"},
    {"INSERT INTO t VALUES (';', '/*', $$;$$)", "1 other"},
    {"SELECT ';' ; ", "1 other"},
    {"SELECT 1; SELECT 2", "2 other rest= SELECT 2"},
    {"SELECT 1;SELECT 2;", "2 other rest=SELECT 2;"},
    {"SELECT 1; -- x\n;SELECT 2; SELECT 3", "3 other rest= -- x\n;SELECT 2; SELECT 3"},
    {"SELECT $a$ ; $a$; SELECT ';'", "2 other rest= SELECT ';'"},
    {"SELECT 'open; SELECT 2", "1 other"},
    {"SELECT (1; SELECT 2", "1 other"},
    {"SELECT 1 /* open ; SELECT 2", "1 other"},
    {"CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2); SELECT 3", "2 other rest= SELECT 3"},
    {"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN a THEN 1 END; END; SELECT 3",
     "2 other rest= SELECT 3"},
    {"CREATE OR REPLACE PROCEDURE f() BEGIN ATOMIC SELECT x.end; SELECT 1 AS end; END; SELECT 3",
     "2 other rest= SELECT 3"},
    {"CREATE FUNCTION f(begin atomic) RETURNS int AS 'x'; SELECT 3", "2 other rest= SELECT 3"},
    {"CREATE TABLE begin (atomic int); SELECT 3", "2 other rest= SELECT 3"},
    {"SELECT begin atomic; SELECT 3", "2 other rest= SELECT 3"},
    {"SHOW ALL", "1 other"},
    {"SHOW server_version", "1 other"},
    {"DISCARD TEMP", "1 other"},
    {"DEALLOCATE ALL", "1 other"},
    {"UNLISTEN *", "1 other"},
    {"NOTIFY x", "1 other"},
    {"EXECUTE p(1)", "1 other"},
    {"DO $$ BEGIN PERFORM 1; END $$", "1 other"},
    {"\\", "1 other"},
    {"1", "1 other"},
};

static const struct row transactions[] = {
    {"BEGIN", "1 begin"},
    {"begin;", "1 begin"},
    {"-- x\nBEGIN", "1 begin"},
    {"/* x */ BEGIN /* y */ WORK -- z", "1 begin"},
    {"BEGIN TRANSACTION", "1 begin"},
    {"BEGIN ISOLATION LEVEL SERIALIZABLE", "1 begin"},
    {"BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY", "1 begin"},
    {"BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ WRITE NOT DEFERRABLE", "1 begin"},
    {"BEGIN READ ONLY, DEFERRABLE", "1 begin"},
    {"BEGIN READ ONLY,", "1 other"},
    {"BEGIN , READ ONLY", "1 other"},
    {"BEGIN foo", "1 other"},
    {"BEGIN ISOLATION LEVEL", "1 other"},
    {"BEGIN 'x", "1 other"},
    {"\"BEGIN\"", "1 other"},
    {"BEGINX", "1 other"},
    {"START TRANSACTION", "1 begin"},
    {"START TRANSACTION READ WRITE", "1 begin"},
    {"START", "1 other"},
    {"START WORK", "1 other"},
    {"COMMIT", "1 commit"},
    {"commit work", "1 commit"},
    {"COMMIT TRANSACTION;", "1 commit"},
    {"COMMIT AND NO CHAIN", "1 commit"},
    {"COMMIT AND CHAIN", "1 other"},
    {"COMMIT AND NO", "1 other"},
    {"COMMIT PREPARED 'x'", "1 other"},
    {"END", "1 commit"},
    {"END TRANSACTION", "1 commit"},
    {"ROLLBACK", "1 rollback"},
    {"ROLLBACK WORK AND NO CHAIN", "1 rollback"},
    {"ROLLBACK AND CHAIN", "1 other"},
    {"ROLLBACK PREPARED 'x'", "1 other"},
    {"ABORT", "1 rollback"},
    {"ABORT TRANSACTION", "1 rollback"},
    {"ROLLBACK TO a", "1 rollback_to"},
    {"ROLLBACK WORK TO SAVEPOINT \"a\"", "1 rollback_to"},
    {"ROLLBACK TO savepoint", "1 rollback_to"},
    {"ROLLBACK TO", "1 other"},
    {"ROLLBACK TO a b", "1 other"},
    {"ABORT TO a", "1 other"},
    {"SAVEPOINT a", "1 other"},
    {"BEGIN; SELECT 1; COMMIT", "3 begin control rest= SELECT 1; COMMIT"},
    {"SELECT 1; COMMIT", "2 other control rest= COMMIT"},
    {"SELECT 1; SAVEPOINT a", "2 other control rest= SAVEPOINT a"},
    {"SELECT 1; RELEASE a", "2 other control rest= RELEASE a"},
    {"SELECT 1; PREPARE TRANSACTION 'x'", "2 other control rest= PREPARE TRANSACTION 'x'"},
    {"SELECT 1; ROLLBACK TO a", "2 other control rest= ROLLBACK TO a"},
    {"SELECT 1; START TRANSACTION", "2 other control rest= START TRANSACTION"},
    {"SELECT 1; ABORT", "2 other control rest= ABORT"},
    {"SELECT 1; SELECT commit", "2 other rest= SELECT commit"},
    {"BEGIN;;", "1 begin"},
};

static const struct row tenants[] = {
    {"SET shardgate.tenant_id = 42", "1 set =42"},
    {"set ShardGate.Tenant_ID to 42;", "1 set =42"},
    {"SET SESSION shardgate.tenant_id = 42", "1 set =42"},
    {"SET shardgate.tenant_id=-42", "1 set =-42"},
    {"SET shardgate.tenant_id = + 42", "1 set =42"},
    {"SET shardgate.tenant_id = '42'", "1 set =42"},
    {"SET shardgate.tenant_id = E'4\\2'", "1 set =?"},
    {"SET shardgate.tenant_id = E'a\\'b'", "1 set =a'b"},
    {"SET shardgate.tenant_id = 'a''b'", "1 set =a'b"},
    {"SET shardgate.tenant_id = '4'\n'2'", "1 set =42"},
    {"SET shardgate.tenant_id = '4' -- x\n '2'", "1 set =?"},
    {"SET shardgate.tenant_id = N'42'", "1 set =42"},
    {"SET shardgate.tenant_id = $$42$$", "1 set =42"},
    {"SET shardgate.tenant_id = $a$42$a$", "1 set =42"},
    {"SET shardgate.tenant_id = U&'42'", "1 set =?"},
    {"SET shardgate.tenant_id = X'42'", "1 set =?"},
    {"SET shardgate.tenant_id = foo", "1 set =foo"},
    {"SET shardgate.tenant_id = \"42\"", "1 set =42"},
    {"SET shardgate.tenant_id = ''", "1 set =?"},
    {"SET shardgate.tenant_id = 1, 2", "1 set =?"},
    {"SET shardgate.tenant_id = 1 + 2", "1 set =?"},
    {"SET shardgate.tenant_id = - '42'", "1 set =?"},
    {"SET shardgate.tenant_id = $1", "1 set =?"},
    {"SET shardgate.tenant_id = (42)", "1 set =?"},
    {"SET shardgate.tenant_id =", "1 set =?"},
    {"SET shardgate.tenant_id", "1 set =?"},
    {"SET shardgate.tenant_id 42", "1 set =?"},
    {"SET shardgate.tenant_id FROM CURRENT", "1 set =?"},
    {"SET shardgate.tenant_id = '42", "1 set =?"},
    {"SET shardgate.tenant_id = 0123456789012345678901234567890123456789", "1 set =?"},
    {"SET shardgate.tenant_id = 012345678901234567890123456789012345678",
     "1 set =012345678901234567890123456789012345678"},
    {"SET shardgate.tenant_id = -012345678901234567890123456789012345678", "1 set =?"},
    {"SET \"shardgate.tenant_id\" = 42", "1 set =42"},
    {"SET shardgate.\"tenant_id\" = 42", "1 set =42"},
    {"SET \"SHARDGATE\".tenant_id = 42", "1 set =42"},
    {"SET shardgate . tenant_id = 42", "1 set =42"},
    {"SET/**/shardgate/**/./**/tenant_id/**/=/**/42/**/", "1 set =42"},
    {"SET LOCAL shardgate.tenant_id = 42", "1 set_local =42"},
    {"SET LOCAL shardgate.tenant_id TO DEFAULT", "1 set_local ="},
    {"SET shardgate.tenant_id TO DEFAULT", "1 reset"},
    {"SET shardgate.tenant_id = default", "1 reset"},
    {"SET shardgate.tenant_id = 'default'", "1 set =default"},
    {"SET shardgate.tenant_id = default, 1", "1 set =?"},
    {"SET shardgate.tenant_id = default 4", "1 set =?"},
    {"RESET shardgate.tenant_id", "1 reset"},
    {"RESET \"shardgate.tenant_id\";", "1 reset"},
    {"RESET shardgate.tenant_id x", "1 other SET"},
    {"SHOW shardgate.tenant_id", "1 show"},
    {"SHOW shardgate.\"tenant_id\"", "1 show"},
    {"SHOW shardgate.tenant_id, x", "1 other"},
    {"SHOW tenant_id", "1 other"},
    {"RESET ALL", "1 reset_all SET"},
    {"DISCARD ALL;", "1 discard_all"},
    {"SET shardgate.tenant = 42", "1 other SET"},
    {"SET shardgate.tenant_id.x = 42", "1 other SET"},
    {"SET shardgate.tenant_idx = 42", "1 other SET"},
    {"SET shardgate = 42", "1 other SET"},
    {"SET U&\"shardgate.tenant_id\" = 42", "1 other SET"},
    {"SET shardgate.tenant_id = 42; SELECT 1", "2 set =42 rest= SELECT 1"},
    {"SET shardgate.tenant_id = 42; SET LOCAL shardgate.tenant_id = 43; SELECT 1",
     "3 set =42 rest= SET LOCAL shardgate.tenant_id = 43; SELECT 1"},
    {"SET shardgate.tenant_id = 42; SELECT 1; RESET shardgate.tenant_id",
     "3 set =42 later rest= SELECT 1; RESET shardgate.tenant_id"},
    {"SELECT 1; SET shardgate.tenant_id = 42", "2 other later rest= SET shardgate.tenant_id = 42"},
    {"BEGIN; SET LOCAL shardgate.tenant_id = 42; SELECT 1",
     "3 begin later control rest= SET LOCAL shardgate.tenant_id = 42; SELECT 1"},
    {"SELECT 'x; SET shardgate.tenant_id = 42;'", "1 other"},
    {"SELECT 1 -- ; SET shardgate.tenant_id = 42;", "1 other"},
    {"SELECT $$; SET shardgate.tenant_id = 42;$$", "1 other"},
};

static const struct row pins[] = {
    {"SET search_path = a", "1 other SET"},
    {"SET SESSION work_mem = 1", "1 other SET"},
    {"SET LOCAL work_mem = 1", "1 other"},
    {"SET ROLE x", "1 other SET"},
    {"SET LOCAL ROLE x", "1 other"},
    {"SET SESSION AUTHORIZATION x", "1 other SET"},
    {"SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "1 other SET"},
    {"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "1 other"},
    {"SET SESSION TRANSACTION READ ONLY", "1 other"},
    {"SET CONSTRAINTS ALL DEFERRED", "1 other"},
    {"SET client_encoding = 'UTF8'", "1 other"},
    {"SET CLIENT_ENCODING TO 'UTF8'", "1 other"},
    {"SET NAMES 'UTF8'", "1 other"},
    {"SET DateStyle = ISO, DMY", "1 other"},
    {"SET \"DateStyle\" = ISO", "1 other"},
    {"SET SESSION TimeZone TO 'UTC'", "1 other"},
    {"SET TIME ZONE 'UTC'", "1 other"},
    {"SET IntervalStyle = iso_8601", "1 other"},
    {"SET application_name TO x", "1 other"},
    {"SET standard_conforming_strings = off", "1 other"},
    {"SET datestyle.x = 1", "1 other SET"},
    {"SET time = 1", "1 other SET"},
    {"SET XML OPTION DOCUMENT", "1 other SET"},
    {"SET SCHEMA 'x'", "1 other SET"},
    {"SET", "1 other SET"},
    {"RESET search_path", "1 other SET"},
    {"RESET timezone", "1 other"},
    {"RESET TIME ZONE", "1 other"},
    {"RESET TRANSACTION ISOLATION LEVEL", "1 other"},
    {"RESET SESSION AUTHORIZATION", "1 other SET"},
    {"RESET ROLE", "1 other SET"},
    {"LISTEN x", "1 other LISTEN"},
    {"/* x */ listen x;", "1 other LISTEN"},
    {"PREPARE p AS SELECT 1", "1 other PREPARE"},
    {"PREPARE transaction AS SELECT 1", "1 other PREPARE"},
    {"PREPARE TRANSACTION 'x'", "1 other"},
    {"LOAD 'x'", "1 other LOAD"},
    {"CREATE TEMP TABLE t(a int)", "1 other temp"},
    {"CREATE TEMPORARY TABLE t(a int)", "1 other temp"},
    {"CREATE LOCAL TEMP TABLE t(a int)", "1 other temp"},
    {"create global temporary table t(a int)", "1 other temp"},
    {"CREATE OR REPLACE TEMP VIEW v AS SELECT 1", "1 other temp"},
    {"CREATE TEMP SEQUENCE s", "1 other temp"},
    {"CREATE TEMP TABLE t(a int) ON COMMIT DROP", "1 other"},
    {"CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1", "1 other"},
    {"CREATE TEMP TABLE t(a int) ON COMMIT DELETE ROWS", "1 other temp"},
    {"CREATE TEMP TABLE a(x int) ON COMMIT DROP; CREATE TEMP TABLE b(x int)",
     "2 other temp rest= CREATE TEMP TABLE b(x int)"},
    {"EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", "1 other temp"},
    {"CREATE TABLE pg_temp.t(a int)", "1 other temp"},
    {"SELECT 1 INTO pg_temp.t", "1 other temp"},
    {"CREATE TABLE temp(a int)", "1 other"},
    {"SELECT 1 AS a INTO TEMP t", "1 other temp"},
    {"SELECT 1 AS a INTO TEMPORARY TABLE t", "1 other temp"},
    {"SELECT 1 INTO LOCAL TEMP t", "1 other temp"},
    {"SELECT 1 into\ntemp t", "1 other temp"},
    {"WITH x AS (SELECT 1) SELECT * INTO TEMP t FROM x", "1 other temp"},
    {"INSERT INTO temp VALUES (1)", "1 other"},
    {"INSERT INTO temperature VALUES (1)", "1 other"},
    {"SELECT temp FROM weather", "1 other"},
    {"SELECT 'INTO TEMP t'", "1 other"},
    {"DECLARE c CURSOR WITH HOLD FOR SELECT 1", "1 other cursor"},
    {"DECLARE c BINARY INSENSITIVE SCROLL CURSOR WITH HOLD FOR SELECT 1", "1 other cursor"},
    {"DECLARE c CURSOR WITHOUT HOLD FOR SELECT 1", "1 other"},
    {"DECLARE c CURSOR FOR SELECT 1", "1 other"},
    {"DECLARE c CURSOR FOR WITH hold AS (SELECT 1) SELECT * FROM hold", "1 other"},
    {"SELECT pg_advisory_lock(1)", "1 other advisory"},
    {"SELECT PG_TRY_ADVISORY_LOCK(1)", "1 other advisory"},
    {"SELECT pg_catalog.pg_advisory_lock_shared (1)", "1 other advisory"},
    {"SELECT pg_try_advisory_lock_shared/**/(1)", "1 other advisory"},
    {"SELECT \"pg_advisory_lock\"(1)", "1 other advisory"},
    {"UPDATE t SET a = 1 WHERE pg_try_advisory_lock(a)", "1 other advisory"},
    {"SELECT pg_advisory_xact_lock(1)", "1 other"},
    {"SELECT pg_try_advisory_xact_lock(1)", "1 other"},
    {"SELECT pg_advisory_unlock(1)", "1 other"},
    {"SELECT pg_advisory_lock FROM t", "1 other"},
    {"SELECT 'pg_advisory_lock(1)'", "1 other"},
    {"SELECT my_pg_advisory_lock(1)", "1 other"},
    {"SELECT set_config('a', 'b', false)", "1 other config"},
    {"SELECT Set_Config('a', 'b', $1)", "1 other config"},
    {"SELECT set_config('a', 'b', true)", "1 other"},
    {"SELECT set_config('a', (1+f(2))::text, TRUE), 1", "1 other"},
    {"SELECT set_config('a', 'b', true), set_config('a', 'b', false)", "1 other config"},
    {"SELECT set_config('a', set_config('b', 'c', true), true)", "1 other config"},
    {"SELECT set_config('a', 'b', not true)", "1 other config"},
    {"SELECT set_config('a', 'b', is_local => true)", "1 other config"},
    {"SELECT set_config('a', 'b', true", "1 other config"},
    {"CALL set_config('a', 'b', false)", "1 other config"},
    {"SELECT preset_config('a')", "1 other"},
    {"SELECT 1; LISTEN x; SET a.b = 1", "3 other SET LISTEN rest= LISTEN x; SET a.b = 1"},
};

static const struct row comment_rows[] = {
    {"/* tenant_id=42 */ SELECT 1", "1 other tenant:42"},
    {"/*tenant_id=42*/SELECT 1", "1 other tenant:42"},
    {"SELECT 1 /* tenant_id = 42 */", "1 other tenant:42"},
    {"SELECT 1 /* tenant_id = 42 */;", "1 other tenant:42"},
    {"SELECT 1; /* tenant_id = 42 */", "1 other tenant:42"},
    {"SELECT 1 /*tenant_id='42'*/", "1 other tenant:42"},
    {"SELECT 1 /*tenant_id='-42'*/", "1 other tenant:-42"},
    {"SELECT 1 /*tenant_id='%34%32'*/", "1 other tenant:42"},
    {"SELECT 1 /*tenant%5fid='42'*/", "1 other tenant:42"},
    {"SELECT 1 /*action='%2Fa%20b',framework='x%3A1',tenant_id='42',traceparent='00-1'*/", "1 other tenant:42"},
    {"SELECT 1 /*a='it\\'s, tenant_id=1',tenant_id='42'*/", "1 other tenant:42"},
    {"SELECT 1 /* a = 'b' , tenant_id = 42 , c = d */", "1 other tenant:42"},
    {"-- x\n/* tenant_id=42 */ SELECT 1", "1 other tenant:42"},
    {"SELECT 1 /* tenant_id=42 */ -- x", "1 other tenant:42"},
    {"; /* tenant_id=42 */ SELECT 1", "1 other tenant:42"},
    {"/* tenant_id=42 */", "0 empty tenant:42"},
    {"/* tenant_id=42 */ SELECT 1 /* tenant_id=42 */", "1 other tenant:42"},
    {"/* tenant_id=42 */ SELECT 1 /* tenant_id=43 */", "1 other several"},
    {"/* tenant_id=42 *//* tenant_id=43 */ SELECT 1", "1 other several"},
    {"/* tenant_id=42,tenant_id=43 */ SELECT 1", "1 other several"},
    {"/* tenant_id=0 *//* tenant_id=1 */ SELECT 1 /* tenant_id=0 */", "1 other several"},
    {"/* tenant_id=x */ SELECT 1", "1 other invalid"},
    {"/* tenant_id= */ SELECT 1", "1 other invalid"},
    {"/* tenant_id='' */ SELECT 1", "1 other invalid"},
    {"/* tenant_id=9223372036854775808 */ SELECT 1", "1 other invalid"},
    {"/* tenant_id=9223372036854775807 */ SELECT 1", "1 other tenant:9223372036854775807"},
    {"/* tenant_id='42;DROP TABLE x' */ SELECT 1", "1 other invalid"},
    {"/* tenant_id=00000000000000000000000000000000000042 */ SELECT 1", "1 other invalid"},
    {"/* tenant_id=x */ SELECT 1 /* tenant_id=42 */", "1 other invalid"},
    {"/* tenant_id=42 */ SELECT 1 /* tenant_id=x */", "1 other invalid"},
    {"/* set tenant_id=42 */ SELECT 1", "1 other"},
    {"/* tenant_id=42 please */ SELECT 1", "1 other"},
    {"/* tenant_id */ SELECT 1", "1 other"},
    {"/* tenant_id=42, */ SELECT 1", "1 other"},
    {"/* =42 */ SELECT 1", "1 other"},
    {"/* tenant_id='42 */ SELECT 1", "1 other"},
    {"/* tenant_id=42 /* x */ */ SELECT 1", "1 other"},
    {"/*+ tenant_id=42 */ SELECT 1", "1 other"},
    {"/* TENANT_ID=42 */ SELECT 1", "1 other"},
    {"/**/ SELECT 1 /***/", "1 other"},
    {"/* other='42' */ SELECT 1", "1 other"},
    {"SELECT /* tenant_id=42 */ 1", "1 other"},
    {"SELECT '/* tenant_id=42 */'", "1 other"},
    {"SELECT 1 -- /* tenant_id=42 */", "1 other"},
    {"-- tenant_id=42\nSELECT 1", "1 other"},
    {"SELECT 1 /* tenant_id=42 */ /* x */", "1 other tenant:42"},
    {"SELECT 1 /* tenant_id=42 */ + 1", "1 other"},
    {"SELECT 1 /* tenant_id=42 */ + 1 /* tenant_id=43 */", "1 other tenant:43"},
    {"/* tenant_id=42 */ SELECT 'a /* tenant_id=43 */'", "1 other tenant:42"},
    {"SELECT a+/* tenant_id=42 */", "1 other tenant:42"},
    {"SELECT 1 /* tenant_id=42", "1 other"},
    {"SELECT 1 /* tenant_id=42 */; SELECT 2", "2 other rest= SELECT 2"},
    {"SELECT 1; /* tenant_id=42 */ SELECT 2", "2 other rest= /* tenant_id=42 */ SELECT 2"},
    {"/* tenant_id=42 */ SELECT 1; SELECT 2 /* tenant_id=42 */", "2 other tenant:42 rest= SELECT 2 /* tenant_id=42 */"},
    {"BEGIN /* tenant_id=42 */", "1 begin tenant:42"},
    {"SET shardgate.tenant_id = 42 /* tenant_id=43 */", "1 set =42 tenant:43"},
};

static const struct row escape_rows[] = {
    {"SELECT 'a\\'; SELECT 2 --'", "1 other"},           {"SELECT 'a\\\\'; SELECT 2", "2 other rest= SELECT 2"},
    {"SET shardgate.tenant_id = 'a\\'b'", "1 set =a'b"}, {"SELECT E'a\\'; SELECT 2 --'", "1 other"},
    {"SELECT '\\' /* tenant_id=42 */ '", "1 other"},
};

static void render_pins(unsigned bits, char *out, size_t size)
{
    static const char *const words[] = {"SET", "LISTEN", "PREPARE", "temp", "cursor", "LOAD", "advisory", "config"};
    size_t n = 0;
    out[0] = 0;
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        if (bits >> i & 1)
            n += (size_t)snprintf(out + n, size - n, " %s", words[i]);
}

static void render_comment(const struct sql_inspection *in, char *out, size_t size)
{
    static const char *const states[] = {"", "", " invalid", " several"};
    if (in->comment == SQL_COMMENT_TENANT)
        snprintf(out, size, " tenant:%lld", (long long)in->tenant);
    else
        snprintf(out, size, "%s", states[in->comment]);
}

static void render(const struct sql_inspection *in, char *out, size_t size)
{
    char bits[128], comment[64], value[64] = "", rest[256] = "";
    render_pins(in->pins, bits, sizeof(bits));
    render_comment(in, comment, sizeof(comment));
    if (in->verb == SQL_VERB_SET_TENANT || in->verb == SQL_VERB_SET_LOCAL_TENANT)
        snprintf(value, sizeof(value), " =%s", in->value);
    if (in->rest.len > 0)
        snprintf(rest, sizeof(rest), " rest=%.*s", (int)in->rest.len, in->rest.ptr);
    snprintf(out, size, "%u %s%s%s%s%s%s%s", in->statements, verb_name[in->verb], value,
             in->tenant_command_later ? " later" : "", in->has_transaction_control ? " control" : "", bits, comment,
             rest);
}

static void assert_same(const struct sql_inspection *a, const struct sql_inspection *b)
{
    assert_int_equal(a->statements, b->statements);
    assert_int_equal(a->verb, b->verb);
    assert_string_equal(a->value, b->value);
    assert_ptr_equal(a->rest.ptr, b->rest.ptr);
    assert_int_equal(a->rest.len, b->rest.len);
    assert_int_equal(a->tenant_command_later, b->tenant_command_later);
    assert_int_equal(a->pins, b->pins);
    assert_int_equal(a->comment, b->comment);
    assert_int_equal(a->tenant, b->tenant);
    assert_int_equal(a->has_transaction_control, b->has_transaction_control);
}

/* Any cut of a text is read within its bounds, and the same with the quick scan
 * as without. */
static void inspect_prefixes(struct str text, const struct sql_rules *r)
{
    for (size_t n = 0; n <= text.len; n++) {
        struct sql_inspection quick, full;
        char *p = guard_copy(text.ptr, n);
        sql_inspect((struct str){p, n}, r, &quick);
        sql_inspect_full((struct str){p, n}, r, &full);
        if (n > 0)
            assert_same(&quick, &full);
        guard_free(p, n);
    }
}

static void check(const struct row *rows, size_t count, const struct sql_rules *r)
{
    for (size_t i = 0; i < count; i++) {
        struct sql_inspection in;
        char got[512];
        sql_inspect(str_from(rows[i].text), r, &in);
        render(&in, got, sizeof(got));
        if (strcmp(got, rows[i].want) != 0)
            print_error("text: %s\n", rows[i].text);
        assert_string_equal(got, rows[i].want);
        inspect_prefixes(str_from(rows[i].text), r);
    }
}

static void test_ordinary(void **state)
{
    (void)state;
    check(ordinary, ARRAY_LEN(ordinary), &rules);
}

static void test_transactions(void **state)
{
    (void)state;
    check(transactions, ARRAY_LEN(transactions), &rules);
}

static void test_tenants(void **state)
{
    (void)state;
    check(tenants, ARRAY_LEN(tenants), &rules);
}

static void test_pins(void **state)
{
    (void)state;
    check(pins, ARRAY_LEN(pins), &rules);
}

static void test_comments(void **state)
{
    (void)state;
    check(comment_rows, ARRAY_LEN(comment_rows), &rules);
}

static void test_escapes(void **state)
{
    (void)state;
    check(escape_rows, ARRAY_LEN(escape_rows), &escapes);
}

static void test_other_rules(void **state)
{
    (void)state;
    const struct sql_rules own = {STR("app.customer"), STR(""), true};
    struct sql_inspection in;
    sql_inspect(STR("SET app.customer = 7 /* tenant_id=42 */"), &own, &in);
    assert_int_equal(in.verb, SQL_VERB_SET_TENANT);
    assert_string_equal(in.value, "7");
    assert_int_equal(in.comment, SQL_COMMENT_NONE);
    sql_inspect(STR("SET shardgate.tenant_id = 7"), &own, &in);
    assert_int_equal(in.verb, SQL_VERB_OTHER);
    assert_int_equal(in.pins, SQL_PIN_SET);
}

/* The point of the quick scan: these are never tokenised. */
static void test_plain_verbs(void **state)
{
    (void)state;
    bool comments;
    assert_int_equal(sql_scan_quick(STR("BEGIN"), &comments), SQL_VERB_BEGIN);
    assert_int_equal(sql_scan_quick(STR(" begin ;\n"), &comments), SQL_VERB_BEGIN);
    assert_int_equal(sql_scan_quick(STR("COMMIT;"), &comments), SQL_VERB_COMMIT);
    assert_int_equal(sql_scan_quick(STR("END"), &comments), SQL_VERB_COMMIT);
    assert_int_equal(sql_scan_quick(STR("ROLLBACK "), &comments), SQL_VERB_ROLLBACK);
    assert_int_equal(sql_scan_quick(STR("BEGIN WORK"), &comments), SQL_VERB_EMPTY);
    assert_int_equal(sql_scan_quick(STR("ROLLBACKS"), &comments), SQL_VERB_EMPTY);
    assert_int_equal(sql_scan_quick(STR("SELECTED 1"), &comments), SQL_VERB_EMPTY);
    assert_int_equal(sql_scan_quick(STR(" "), &comments), SQL_VERB_EMPTY);
}

static void test_plain_texts(void **state)
{
    (void)state;
    static const char *const plain[] = {
        "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 12;",
        "SELECT abalance FROM pgbench_accounts WHERE aid = 1234567;\n",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, 1, 1, CURRENT_TIMESTAMP);",
        "select * from order_items where tenant_id = $1 and system = 'x' and attempt_count < 3",
        "SELECT n.nspname FROM pg_catalog.pg_namespace n",
        "DELETE FROM t WHERE a / b > 1 AND created_at < now()",
        "SELECT 1",
        "COPY t FROM STDIN",
    };
    bool comments;
    for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
        assert_int_equal(sql_scan_quick(str_from(plain[i]), &comments), SQL_VERB_OTHER);
        assert_false(comments);
    }
    assert_int_equal(sql_scan_quick(STR("SELECT 1 /* x */"), &comments), SQL_VERB_OTHER);
    assert_true(comments);
}

/* Each pattern is seen wherever it stands relative to the scan's steps. */
static void test_scan_at_every_offset(void **state)
{
    (void)state;
    static const char *const needles[] = {
        "; LISTEN x",
        "/* tenant_id=42 */",
        " , set_config('a','b','f')",
        ", pg_advisory_lock(1)",
        ", pg_try_advisory_lock(1)",
        " INTO TEMP x",
        " FROM pg_temp.x",
        " INTO tEmPorary x",
    };
    for (size_t i = 0; i < ARRAY_LEN(needles); i++) {
        for (size_t pad = 0; pad < 70; pad++) {
            char text[160];
            int n = snprintf(text, sizeof(text), "SELECT '%.*s'%s", (int)pad,
                             "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", needles[i]);
            struct sql_inspection in;
            sql_inspect((struct str){text, (size_t)n}, &rules, &in);
            assert_true(in.pins != 0 || in.comment == SQL_COMMENT_TENANT);
        }
    }
}

static void test_pin_names(void **state)
{
    (void)state;
    assert_string_equal(sql_pin_name(SQL_PIN_SET | SQL_PIN_LOAD), "SET");
    assert_string_equal(sql_pin_name(SQL_PIN_SET_CONFIG), "set_config");
    assert_string_equal(sql_pin_name(0), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary),
        cmocka_unit_test(test_transactions),
        cmocka_unit_test(test_tenants),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_comments),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_other_rules),
        cmocka_unit_test(test_plain_texts),
        cmocka_unit_test(test_plain_verbs),
        cmocka_unit_test(test_pin_names),
        cmocka_unit_test(test_scan_at_every_offset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
