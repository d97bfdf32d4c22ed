/* What the configuration refuses: each row is a file and the exact message. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shardgate/conf.h"

#define D "directory: {connection: host=d}\n"

struct bad {
    const char *yaml;
    const char *want; /* after "t.yaml" */
};

static const struct bad rows[] = {
    /* YAML itself */
    {"listen: [", ":2:1: not valid YAML: did not find expected node content, while parsing a flow node"},
    {"a: b: c", ":1:5: not valid YAML: mapping values are not allowed in this context"},
    {"\tlisten: 1",
     ":1:1: not valid YAML: found character that cannot start any token, while scanning for the next token"},
    {"listen: \"abc", ":1:13: not valid YAML: found unexpected end of stream, while scanning a quoted scalar"},
    {"listen:\n  port: \"abc\n",
     ":3:1: not valid YAML: found unexpected end of stream, while scanning a quoted scalar that begins in line 2"},
    {"log: {file: \xff}", ":1:13: not valid UTF-8 text: invalid leading UTF-8 octet"},
    {"log:\n  file: \xc3(", ":2:10: not valid UTF-8 text: invalid trailing UTF-8 octet"},
    {"log: {file: &x a}", ":1:13: anchors (&) are not supported"},
    {"log: {file: *x}", ":1:13: aliases (*) are not supported; put a text that begins with * in quotes"},
    {"listen:\n  addresses: *", NULL},
    {"log: !!map {file: a}", ":1:6: tags (!) are not supported"},
    {"log: {file: !!str a}", ":1:13: tags (!) are not supported"},
    {"listen: &l\n  port: 1", ":1:9: anchors (&) are not supported"},
    {"users: &u [a]", ":1:8: anchors (&) are not supported"},
    {D "---\n" D, ":2:1: only one document (---) is allowed in the file"},
    {"listen:\n  port: 1\n  port: 2\n", ":3:3: the key \"port\" is given twice, first in line 2"},
    {"log: {file: \"a\\0b\"}", ":1:13: a zero byte is not allowed"},
    {"? [a]\n: b", ":1:3: a key must be a plain text"},
    {"[[[[[[[[[[[[[[[[[", ":1:17: the nesting is deeper than 16"},
    {"just text", ":1:1: expected sections such as listen:, found \"just text\""},
    {"- a\n- b", ":1:1: expected sections such as listen:, found a list"},
    /* keys */
    {"lisen:\n  port: 1", ":1:1: lisen: no such option; did you mean listen?"},
    {"listen:\n  prot: 1", ":2:3: listen.prot: no such option; did you mean listen.port?"},
    {"port: 6432", ":1:1: port: no such option; did you mean listen.port?"},
    {"pool:\n  max_server: 3", ":2:3: pool.max_server: no such option"},
    {"user: []", ":1:1: user: no such option; did you mean users?"},
    {"<<: {}", ":1:1: <<: no such option"},
    {"\"\": 1", ":1:1: no such option"},
    {"workers: {count: 1}", ":1:10: workers: expected an integer from 0 to 64, found a section"},
    {"listen: 6432", ":1:9: listen: expected a section, found \"6432\""},
    {"listen: [1]", ":1:9: listen: expected a section, found a list"},
    {"listen: {port: 1}\nlisten.port: 2", ":2:1: listen.port: listen.port is already given in line 1"},
    {"directory: {host_file: x}", ":1:13: directory.host_file: no such option"},
    /* numbers */
    {"listen: {port: abc}", ":1:16: listen.port: expected an integer from 0 to 65535, found \"abc\""},
    {"listen: {port: 65536}", ":1:16: listen.port: expected an integer from 0 to 65535, found \"65536\""},
    {"listen: {port: -1}", ":1:16: listen.port: expected an integer from 0 to 65535, found \"-1\""},
    {"listen: {port: 6432.0}", ":1:16: listen.port: expected an integer from 0 to 65535, found \"6432.0\""},
    {"listen: {port: 0x10}", ":1:16: listen.port: expected an integer from 0 to 65535, found \"0x10\""},
    {"listen: {port: 99999999999999999999}",
     ":1:16: listen.port: expected an integer from 0 to 65535, found \"99999999999999999999\""},
    {"listen: {port: }", ":1:16: listen.port: expected an integer from 0 to 65535, found nothing"},
    {"listen: {port: ~}", ":1:16: listen.port: expected an integer from 0 to 65535, found nothing"},
    {"listen: {port: \"\"}", ":1:16: listen.port: expected an integer from 0 to 65535, found an empty text"},
    {"listen: {port: [1]}", ":1:16: listen.port: expected an integer from 0 to 65535, found a list"},
    {"listen: {unix_mode: 778}", ":1:21: listen.unix_mode: expected octal digits from 0 to 777, found \"778\""},
    {"listen: {unix_mode: 1777}", ":1:21: listen.unix_mode: expected octal digits from 0 to 777, found \"1777\""},
    {"pool: {size: 0}", ":1:14: pool.size: expected an integer from 1 to 100000, found \"0\""},
    {"directory: {max_shard_loss: 101}",
     ":1:29: directory.max_shard_loss: expected an integer from 0 to 100, found \"101\""},
    /* durations and sizes */
    {"timeout: {query: 30}",
     ":1:18: timeout.query: expected a duration with a unit (ms, s, min, h, d) from 0 to 1d, found \"30\""},
    {"timeout: {query: 30 sec}",
     ":1:18: timeout.query: expected a duration with a unit (ms, s, min, h, d) from 0 to 1d, found \"30 sec\""},
    {"timeout: {query: 25h}",
     ":1:18: timeout.query: expected a duration with a unit (ms, s, min, h, d) from 0 to 1d, found \"25h\""},
    {"timeout: {query: -1s}",
     ":1:18: timeout.query: expected a duration with a unit (ms, s, min, h, d) from 0 to 1d, found \"-1s\""},
    {"timeout: {query: 9223372036854775807d}", ":1:18: timeout.query: expected a duration with a unit (ms, s, min, h, "
                                               "d) from 0 to 1d, found \"9223372036854775807d\""},
    {"timeout: {client_login: 0}",
     ":1:25: timeout.client_login: expected a duration with a unit (ms, s, min, h, d) from 100ms to 1h, found \"0\""},
    {"limits: {io_buffer: 64KB}",
     ":1:21: limits.io_buffer: expected a size with a unit (B, kB, MB, GB) from 4kB to 16MB, found \"64KB\""},
    {"limits: {io_buffer: 1GB}",
     ":1:21: limits.io_buffer: expected a size with a unit (B, kB, MB, GB) from 4kB to 16MB, found \"1GB\""},
    /* booleans, choices, lists */
    {"log: {connections: maybe}", ":1:20: log.connections: expected one of true, false, found \"maybe\""},
    {"pool: {mode: statement}", ":1:14: pool.mode: expected one of transaction, session, found \"statement\""},
    {"pool: {mode: sesion}",
     ":1:14: pool.mode: expected one of transaction, session, found \"sesion\"; did you mean session?"},
    {"auth: {type: scram}", ":1:14: auth.type: expected one of trust, password, md5, scram-sha-256, found \"scram\""},
    {"tenant: {sources: [startup, sett]}", ":1:29: tenant.sources: expected a list of startup, user, database, set, "
                                           "comment, found \"sett\"; did you mean set?"},
    {"tenant: {sources: \"set,coment\"}", ":1:19: tenant.sources: expected a list of startup, user, database, set, "
                                          "comment, found \"coment\"; did you mean comment?"},
    {"tenant: {sources: {a: 1}}",
     ":1:19: tenant.sources: expected a list of startup, user, database, set, comment, found a section"},
    {"listen: {addresses: [a, '']}", ":1:25: listen.addresses: an item of the list is empty"},
    {"listen: {addresses: \"a,,b\"}", ":1:21: listen.addresses: an item of the list is empty"},
    {"listen: {addresses: [[a]]}", ":1:22: listen.addresses: expected a list or a comma-separated text, found a list"},
    {"log: {file: }", ":1:13: log.file: expected a text, found nothing"},
    /* environment and files */
    {"listen: {port: \"${SG_NOT_SET}\"}", ":1:16: listen.port: the environment variable SG_NOT_SET is not set"},
    {"listen: {port: \"${SG_BAD\"}", ":1:16: listen.port: a ${ has no closing brace; write $${ for a plain ${"},
    {"listen: {port: \"${1A}\"}", ":1:16: listen.port: expected ${NAME} or ${NAME:-default}; write $${ for a plain ${"},
    {"listen: {port: \"${SG_NOT_SET:-x}\"}", ":1:16: listen.port: expected an integer from 0 to 65535, found \"x\""},
    {"directory: {connection_file: /nonexistent/file}",
     ":1:30: directory.connection_file: /nonexistent/file: No such file or directory"},
    {"directory: {connection_file: /}", ":1:30: directory.connection_file: /: is a directory, not a file"},
    {"directory: {connection_file: /dev/null}", ":1:30: directory.connection_file: /dev/null: is not a regular file"},
    {"directory: {connection: a, connection_file: b}",
     ":1:28: directory.connection_file: directory.connection is already given in line 1; give it once, as a value or "
     "as a file"},
    /* users and databases */
    {D "users: {name: a}", ":2:8: users: expected a list of sections (- name: ...), found a section"},
    {D "users: app", ":2:8: users: expected a list of sections (- name: ...), found \"app\""},
    {D "users: [app]", ":2:9: users[0]: expected a section with a name, found \"app\""},
    {D "users:\n- password: x", ":3:3: users[0]: has no name"},
    {D "users:\n- name: a\n- name: b\n  pasword: x", ":5:3: users[1].pasword: no such option; did you mean password?"},
    {D "users:\n- name: b\n  pasword_file: x",
     ":4:3: users[0].pasword_file: no such option; did you mean password_file?"},
    {D "users:\n- name: ''", ":3:9: users[0].name: expected a name of 1 to 127 bytes, found 0"},
    {D "users:\n- name: a\n  password: ''", ":4:13: users[0].password: is empty; leave the key out instead"},
    {D "users:\n- name: a\n  password: [x]", ":4:13: users[0].password: expected a text, found a list"},
    {D "users:\n- name: a\n- name: b\n- name: a", ":5:3: users: \"a\" is already in the list, in line 3"},
    {D "users: [{name: a, password: x, password_file: y}]",
     ":2:32: users[0].password_file: password is already given in line 2; give it once, as a value or as a file"},
    {D "users: [{name: a, tenants: x}]",
     ":2:28: users[0].tenants: expected tenant numbers and ranges such as 1, 5-9, found \"x\""},
    {D "users: [{name: a, tenants: 9-5}]",
     ":2:28: users[0].tenants: expected tenant numbers and ranges such as 1, 5-9, found \"9-5\""},
    {D "users: [{name: a, tenants: '1,,2'}]",
     ":2:28: users[0].tenants: expected tenant numbers and ranges such as 1, 5-9, found an empty text"},
    {D "users: [{name: a, tenants: 1-2-3}]",
     ":2:28: users[0].tenants: expected tenant numbers and ranges such as 1, 5-9, found \"1-2-3\""},
    {D "users: [{name: a, tenants: 9223372036854775808}]",
     ":2:28: users[0].tenants: expected tenant numbers and ranges such as 1, 5-9, found \"9223372036854775808\""},
    {D "users: [{name: a, tenants: []}]",
     ":2:28: users[0].tenants: the list is empty; leave the key out to allow any tenant"},
    {D "users: [{name: a, pool_mode: x}]",
     ":2:30: users[0].pool_mode: expected one of transaction, session, found \"x\""},
    {D "users: [{name: a, max_clients: -1}]",
     ":2:32: users[0].max_clients: expected an integer from 0 to 1000000, found \"-1\""},
    {D "databases: [{name: a, tenants: 1}]", ":2:23: databases[0].tenants: no such option"},
    {D "databases: [{name: a}, {name: a}]", ":2:24: databases: \"a\" is already in the list, in line 2"},
    /* relations */
    {"", ":1:1: directory.connection: is required and not given"},
    {"# nothing\n", ":1:1: directory.connection: is required and not given"},
    {"directory:\n  connection: ''", ":2:3: directory.connection: is required and not given"},
    {D "listen: {addresses: []}",
     ":2:10: listen.addresses: no address and no listen.unix_directory: there is nothing to listen on"},
    {D "listen: {unix_directory: run}", ":2:10: listen.unix_directory: expected a path that begins with /"},
    {D "listen: {port: 6433}", ": http.port: is the same as listen.port"},
    {D "http: {port: 6432}", ":2:8: http.port: is the same as listen.port"},
    {D "tenant: {user_pattern: '{user}'}",
     ":2:10: tenant.user_pattern: expected {tenant} once and {user} at most once, found \"{user}\""},
    {D "tenant: {user_pattern: '{tenant}.{tenant}'}",
     ":2:10: tenant.user_pattern: expected {tenant} once and {user} at most once, found \"{tenant}.{tenant}\""},
    {D "tenant: {user_pattern: '{database}.{tenant}'}",
     ":2:10: tenant.user_pattern: only {tenant} and {user} may stand in braces, found \"{database}.{tenant}\""},
    {D "tenant: {user_pattern: '{user}{tenant}'}",
     ":2:10: tenant.user_pattern: {tenant} and {user} need a text between them, found \"{user}{tenant}\""},
    {D "tenant: {database_pattern: '{tenant'}",
     ":2:10: tenant.database_pattern: only {tenant} and {database} may stand in braces, found \"{tenant\""},
    {D "tenant: {parameter: tenant}",
     ":2:10: tenant.parameter: expected a name with a dot, such as shardgate.tenant_id, found \"tenant\""},
    {D "tenant: {comment_key: 'a b'}", ":2:10: tenant.comment_key: expected a name such as tenant_id, found \"a b\""},
    {D "pool: {size: 5, min_size: 6}", ":2:17: pool.min_size: 6 is more than pool.size, which is 5"},
    {D "server: {version: x}", ":2:10: server.version: expected a version such as 15.0"},
    {D "admin: {database: ''}", ":2:9: admin.database: must not be empty"},
};

static void test_table(void **state)
{
    (void)state;
    unsetenv("SG_NOT_SET");
    unsigned wrong = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error e;
        size_t len = strlen(rows[i].yaml);
        char *yaml = guard_copy(rows[i].yaml, len);
        struct conf *c = conf_parse("t.yaml", (struct str){yaml, len}, &e);
        guard_free(yaml, len);
        if (c)
            fail_msg("accepted: %s", rows[i].yaml);
        assert_int_equal(e.code, ERR_CONFIG);
        assert_memory_equal(e.cause, "t.yaml:", 7);
        if (rows[i].want && strcmp(e.cause + 6, rows[i].want) != 0)
            wrong++, print_error("%s\n  got  %s\n  want %s\n", rows[i].yaml, e.cause + 6, rows[i].want);
    }
    assert_int_equal(wrong, 0);
}

static void test_all_problems_are_told(void **state)
{
    (void)state;
    char *folder = test_folder_new(), path[512];
    struct error e;
    struct buf all;

    buf_init(&all, 0);
    snprintf(path, sizeof(path), "%s/bad.yaml", folder);
    const char yaml[] = "listen: {port: x}\nworker: 3\npool: {size: 0}\n";
    test_file_write(path, yaml, sizeof(yaml) - 1);
    assert_null(conf_check(path, &all, &e));
    assert_string_equal(error_hint_text(&e), "The file has 2 more errors.");
    assert_string_equal(e.detail, e.cause);
    assert_non_null(strstr(e.cause, "bad.yaml:1:16: listen.port: "));
    buf_append_byte(&all, 0);
    const char *second = strstr(buf_head(&all), "bad.yaml:2:1: worker: no such option; did you mean workers?\n");
    assert_non_null(second);
    assert_non_null(strstr(second, "bad.yaml:3:14: pool.size: "));
    buf_fini(&all);
    test_folder_remove(folder);
}

/* Secrets are in nobody's error text. */
static void test_secrets_are_not_told(void **state)
{
    (void)state;
    struct error e;
    assert_null(conf_parse("t", STR("directory: {connection: {hunter2: hunter2}}"), &e));
    assert_null(strstr(e.cause, "hunter2"));
    setenv("SG_SECRET", "hunter2", 1);
    assert_null(conf_parse("t", STR("users: [{name: a, password: '${SG_SECRET}', max_clients: x}]"), &e));
    assert_null(strstr(e.cause, "hunter2"));
}

static void test_files(void **state)
{
    (void)state;
    struct error e;
    char *folder = test_folder_new(), path[512];

    assert_null(conf_load("/nonexistent/shardgate.yaml", &e));
    assert_int_equal(e.code, ERR_CONFIG);
    assert_string_equal(e.cause, "/nonexistent/shardgate.yaml: No such file or directory");
    assert_null(conf_load("/", &e));
    assert_string_equal(e.cause, "/: is a directory, not a file");
    assert_string_equal(e.detail, e.cause);

    snprintf(path, sizeof(path), "%s/large.yaml", folder);
    size_t len = (4u << 20) + 1;
    char *large = malloc(len);
    assert_non_null(large);
    memset(large, '#', len);
    test_file_write(path, large, len);
    assert_null(conf_load(path, &e));
    assert_non_null(strstr(e.cause, "large.yaml: is larger than 4194304 bytes"));
    assert_null(conf_parse("t", (struct str){large, len}, &e));
    assert_string_equal(e.cause, "t:1:1: the file is larger than 4 MiB");
    free(large);
    test_folder_remove(folder);
}

static void test_bounds_of_the_tree(void **state)
{
    (void)state;
    struct error e;
    struct buf b;

    buf_init(&b, 0);
    buf_append_str(&b, STR("users: ["));
    for (int i = 0; i < 100001; i++)
        buf_append_str(&b, STR("a,"));
    buf_append_str(&b, STR("]"));
    assert_null(conf_parse("t", buf_str(&b), &e));
    assert_non_null(strstr(e.cause, "the file has more than 100000 values"));
    buf_fini(&b);
    for (int i = 0; i < 1001; i++)
        buf_printf(&b, "key%d: 1\n", i);
    assert_null(conf_parse("t", buf_str(&b), &e));
    assert_string_equal(e.cause, "t:1001:1: more than 1000 keys in one section");
    buf_fini(&b);
    buf_append_str(&b, STR("log: {file: "));
    for (int i = 0; i < 70000; i++)
        buf_append_byte(&b, 'x');
    buf_append_byte(&b, '}');
    assert_null(conf_parse("t", buf_str(&b), &e));
    assert_string_equal(e.cause, "t:1:13: log.file: the value is too long");
    buf_fini(&b);
}

/* Every prefix of a good file is read or refused, nothing else. */
static void test_every_prefix(void **state)
{
    (void)state;
    static const char yaml[] =
        "# t\nlisten: {port: 6432, addresses: [a, 'b', \"c\\x41\"]}\ndirectory:\n  connection: >-\n    host=d\n"
        "users:\n- name: \xc3\xa9\n  password: ${HOME:-x}$$y\n  tenants: [1, 5-9]\n";
    for (size_t len = 0; len < sizeof(yaml); len++) {
        struct error e;
        char *copy = guard_copy(yaml, len);
        struct conf *c = conf_parse("t", (struct str){copy, len}, &e);
        guard_free(copy, len);
        conf_unref(c);
    }
}

static void test_environment(void **state)
{
    (void)state;
    struct error e;
    setenv("SHARD_ID", "x1", 1);
    assert_null(conf_parse("t", STR(D), &e));
    assert_string_equal(e.cause, "t: environment variable SHARD_ID: expected an integer from 0 to 32767, found \"x1\"");
    setenv("SHARD_ID", "32768", 1);
    assert_null(conf_parse("t", STR(D), &e));
    unsetenv("SHARD_ID");
    setenv("REGION", "EUROPE", 1);
    assert_null(conf_parse("t", STR(D), &e));
    assert_string_equal(
        e.cause, "t: environment variable REGION: expected a code of 1 to 3 letters or digits, found \"EUROPE\"");
    unsetenv("REGION");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_all_problems_are_told),
        cmocka_unit_test(test_secrets_are_not_told),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_bounds_of_the_tree),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_environment),
    };
    unsetenv("SHARD_ID");
    unsetenv("REGION");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
