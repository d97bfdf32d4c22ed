/* Commands from a session's call to the bytes of its reply, over real loops. */
#include "ops_bench.h"

#include <stdio.h>

#include "shardgate/wire.h"

struct call {
    struct console_call call; /* first: done gets this */
    struct loop *caller;
    bool done;
    char types[200];  /* of the messages of the reply */
    char rows[16000]; /* columns separated by |, rows by newline */
    char sqlstate[6], detail[240], tag[40];
};

static void read_row(struct call *c, struct str body)
{
    struct wire_row it = {body, -1};
    struct str value;
    size_t len = strlen(c->rows);

    while (wire_row_next(&it, &value) == 1)
        len += (size_t)snprintf(c->rows + len, sizeof(c->rows) - len, "%.*s|", value.ptr ? (int)value.len : 4,
                                value.ptr ? value.ptr : "NULL");
    snprintf(c->rows + len, sizeof(c->rows) - len, "\n");
}

static void read_error(struct call *c, struct str body)
{
    struct wire_error e;

    assert_true(wire_parse_error(body, &e));
    str_copy(c->sqlstate, sizeof(c->sqlstate), e.sqlstate);
    str_copy(c->detail, sizeof(c->detail), e.detail);
}

static void read_reply(struct call *c)
{
    struct wire_header h;
    size_t at = 0, n = 0;
    struct str all = buf_str(&c->call.reply);

    while (at < all.len && wire_header(all.ptr + at, all.len - at, &h) > 0) {
        struct str body = {all.ptr + at + WIRE_HEADER, h.size - WIRE_HEADER};
        if (n + 1 < sizeof(c->types))
            c->types[n++] = h.type;
        if (h.type == 'D')
            read_row(c, body);
        else if (h.type == 'E')
            read_error(c, body);
        else if (h.type == 'C')
            snprintf(c->tag, sizeof(c->tag), "%s", body.ptr);
        at += h.size;
    }
    assert_int_equal(at, all.len);
}

static void on_done(struct console_call *call)
{
    struct call *c = (struct call *)call;

    c->done = true;
    read_reply(c);
    loop_stop(c->caller);
}

/* Each call comes from a loop of its own, which runs until the reply is there. */
static void begin(struct bench *b, struct call *c, const char *text, bool admin, bool stats)
{
    struct console_ops ops = ops_console(b->ops);

    struct error e;

    memset(c, 0, sizeof(*c));
    c->caller = loop_new(&e);
    assert_non_null(c->caller);
    c->call = (struct console_call){
        .text = mem_strdup(text), .user = "op", .admin = admin, .stats = stats, .loop = c->caller, .done = on_done};
    buf_init(&c->call.reply, 0);
    ops.run(ops.ctx, &c->call);
    assert_false(c->done); /* never from within run */
}

static void finish(struct call *c)
{
    loop_run(c->caller);
    assert_true(c->done);
    loop_free(c->caller);
    mem_free(c->call.text);
    buf_fini(&c->call.reply);
}

static void command_as(struct bench *b, struct call *c, const char *text, bool admin, bool stats)
{
    begin(b, c, text, admin, stats);
    finish(c);
}

static void command(struct bench *b, struct call *c, const char *text) { command_as(b, c, text, true, true); }

#define assert_rows(c, literal) assert_string_equal((c)->rows, literal)

static void assert_error(const struct call *c, const char *sqlstate)
{
    assert_string_equal(c->types, "E");
    assert_string_equal(c->sqlstate, sqlstate);
}

static void test_shows(void **state)
{
    (void)state;
    struct bench b = {0};
    struct call c;

    b.pools[0].stats.v[SHARD_QUERIES] = 5;
    b.pools[1].stats.v[SHARD_QUERIES] = 6;
    bench_start(&b, "http:\n  address: ''\n");
    command(&b, &c, "SHOW VERSION");
    assert_rows(&c, "shardgate " SHARDGATE_VERSION "|\n");
    assert_string_equal(c.types, "DC");
    assert_string_equal(c.tag, "SHOW");
    command(&b, &c, "show pools;");
    assert_rows(&c, "0|3|app|web|transaction|0|0|0|0|0|0|no|\n1|3|app|web|transaction|0|0|0|0|0|0|no|\n");
    command(&b, &c, "SHOW CLIENTS");
    assert_non_null(strstr(c.rows, "100|0|web|app|192.0.2.1|0||idle|42|session|NULL|NULL|NULL|0|0|\n"));
    assert_non_null(strstr(c.rows, "101|1|"));
    command(&b, &c, "SHOW SERVERS");
    assert_non_null(strstr(c.rows, "5|0|3|app|web|idle|"));
    command(&b, &c, "SHOW SHARDS");
    assert_non_null(strstr(c.rows, "3|USA|iad|yes|yes|1|100|unknown|no|NULL|NULL|no|no|8|2|NULL|\n"));
    assert_non_null(strstr(c.rows, "4|USA|iad|no|no|101|200|"));
    command(&b, &c, "SHOW STATS");
    assert_non_null(strstr(c.rows, "3|USA|0|11|0|"));
    command(&b, &c, "SHOW MAP");
    assert_non_null(strstr(c.rows, "yes|off|none|no|11|"));
    command(&b, &c, "SHOW LISTS");
    assert_non_null(strstr(c.rows, "workers|2|\nclients|2|\nclients_waiting|0|\nservers|8|\nshards|2|\ntenants|1|\n"));
    command(&b, &c, "SHOW WORKERS");
    assert_rows(&c, "0|yes|1|0|4|0|\n1|yes|1|0|4|0|\n");
    command(&b, &c, "SHOW STATUS");
    assert_non_null(strstr(c.rows, "|running|no|no shard is usable|"));
    command(&b, &c, "SHOW CONFIG");
    assert_non_null(strstr(c.rows, "pool.size|20|20|"));
    assert_null(strstr(c.rows, "dbname=d"));
    command(&b, &c, "HELP");
    assert_non_null(strstr(c.rows, "SHOW TENANT n|stats|"));
    bench_end(&b);
}

static void test_tenant(void **state)
{
    (void)state;
    struct bench b = {0};
    struct call c;

    bench_start(&b, "http:\n  address: ''\n");
    command(&b, &c, "SHOW TENANT 42");
    assert_rows(&c, "42|3|USA|iad|yes|range|11|\n");
    command(&b, &c, "SHOW TENANT 7000");
    assert_rows(&c, "7000|4|USA|iad|no|override|11|\n");
    command(&b, &c, "SHOW TENANT -5");
    assert_rows(&c, "-5|NULL|NULL|NULL|NULL|none|11|\n");
    bench_end(&b);
}

static void test_rights(void **state)
{
    (void)state;
    struct bench b = {0};
    struct call c;

    bench_start(&b, "http:\n  address: ''\n");
    command_as(&b, &c, "SHOW POOLS", false, true);
    assert_string_equal(c.tag, "SHOW");
    command_as(&b, &c, "SHOW POOLS", false, false);
    assert_error(&c, "42501");
    command_as(&b, &c, "SHUTDOWN", false, true);
    assert_error(&c, "42501");
    assert_false(b.shut_down);
    command_as(&b, &c, "BEGIN", false, true);
    assert_string_equal(c.tag, "BEGIN");
    command_as(&b, &c, "NONSENSE", false, false);
    assert_error(&c, "42601");
    command_as(&b, &c, " ; ", false, false);
    assert_string_equal(c.types, "I");
    bench_end(&b);
}

static void test_actions(void **state)
{
    (void)state;
    struct bench b = {0};
    struct call c;
    struct error refused;

    bench_start(&b, "http:\n  address: ''\n");
    command(&b, &c, "KILL 101");
    assert_string_equal(c.tag, "KILL");
    assert_true(b.sessions[1].killed && !b.sessions[0].killed);
    command(&b, &c, "KILL 999");
    assert_error(&c, "42704");
    command(&b, &c, "RECONNECT 3");
    assert_string_equal(c.tag, "RECONNECT");
    assert_int_equal(b.pools[0].reconnects + b.pools[1].reconnects, 2);
    command(&b, &c, "RECONNECT 99");
    assert_error(&c, "42704");
    command(&b, &c, "PAUSE 65539"); /* 3, were it cut to 16 bits */
    assert_error(&c, "42704");
    command(&b, &c, "RESUME");
    assert_string_equal(c.tag, "RESUME");
    assert_int_equal(b.pools[0].resumes, 1);
    command(&b, &c, "RELOAD");
    assert_string_equal(c.tag, "RELOAD");
    error_set(&refused, ERR_CONFIG, "line 3");
    b.reload_error = &refused;
    command(&b, &c, "RELOAD");
    assert_error(&c, "F0000");
    command(&b, &c, "DRAIN");
    assert_true(b.drained);
    command(&b, &c, "SHUTDOWN");
    assert_string_equal(c.tag, "SHUTDOWN");
    /* From here on no worker may be asked: what it would look at may be gone. */
    command(&b, &c, "SHOW POOLS");
    assert_error(&c, "57P01");
    bench_end(&b);
    assert_true(b.shut_down);
}

static void test_pause(void **state)
{
    (void)state;
    struct bench b = {0};
    struct call c;

    b.pools[0].active = 2;
    b.pools[0].free_after = 3;
    bench_start(&b, "http:\n  address: ''\ntimeout:\n  query_wait: 400ms\n");
    command(&b, &c, "PAUSE");
    assert_string_equal(c.tag, "PAUSE");
    assert_int_equal(b.pools[0].pauses, 1);
    assert_int_equal(b.pools[0].looks, 3);
    bench_end(&b);
}

static void test_pause_that_does_not_end(void **state)
{
    (void)state;
    struct bench b = {0};
    struct call c;

    b.pools[1].active = 2;
    bench_start(&b, "http:\n  address: ''\ntimeout:\n  query_wait: 200ms\n");
    command(&b, &c, "PAUSE 3");
    assert_error(&c, "55006");
    assert_non_null(strstr(c.detail, "2 server connections"));
    bench_end(&b);
}

static void test_stuck_worker(void **state)
{
    (void)state;
    struct bench b = {.stuck = {false, true}};
    struct call c;

    bench_start(&b, "http:\n  address: ''\n");
    command(&b, &c, "SHOW POOLS");
    assert_rows(&c, "0|3|app|web|transaction|0|0|0|0|0|0|no|\n");
    assert_string_equal(c.types, "DNC");
    bench_end(&b);
}

static void test_stop_under_way(void **state)
{
    (void)state;
    struct bench b = {.stuck = {false, true}, .reload_never = true};
    struct call show, reload, pause, late;

    b.pools[0].active = 1;
    bench_start(&b, "http:\n  address: ''\n");
    begin(&b, &show, "SHOW POOLS", true, true);
    begin(&b, &reload, "RELOAD", true, true);
    begin(&b, &pause, "PAUSE", true, true);
    bench_stop_loop(b.control, b.control_thread, b.ops);
    b.stopped = true;
    begin(&b, &late, "SHOW MAP", true, true);
    finish(&show);
    finish(&reload);
    finish(&pause);
    finish(&late);
    assert_string_equal(show.tag, "SHOW");
    assert_error(&reload, "57P01");
    assert_error(&pause, "57P01");
    assert_error(&late, "57P01");
    bench_end(&b);
}

static void test_describe(void **state)
{
    (void)state;
    struct bench b = {0};
    struct error e;
    struct buf out;

    bench_start(&b, "http:\n  address: ''\n");
    struct console_ops ops = ops_console(b.ops);
    buf_init(&out, 0);
    assert_true(ops.describe(ops.ctx, "SHOW POOLS", true, &out, &e));
    assert_int_equal(buf_head(&out)[0], 'T');
    buf_consume(&out, out.len);
    assert_true(ops.describe(ops.ctx, "RELOAD", true, &out, &e));
    assert_int_equal(buf_head(&out)[0], 'n');
    buf_consume(&out, out.len);
    assert_true(ops.describe(ops.ctx, "RELOAD", false, &out, &e));
    assert_int_equal(out.len, 0);
    assert_false(ops.describe(ops.ctx, "RUBBISH", true, &out, &e));
    assert_int_equal(e.code, ERR_SYNTAX);
    buf_fini(&out);
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shows),        cmocka_unit_test(test_tenant),
        cmocka_unit_test(test_rights),       cmocka_unit_test(test_actions),
        cmocka_unit_test(test_pause),        cmocka_unit_test(test_pause_that_does_not_end),
        cmocka_unit_test(test_stuck_worker), cmocka_unit_test(test_stop_under_way),
        cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
