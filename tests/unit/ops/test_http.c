/* The HTTP server over a real socket. */
#include "ops_bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct answer {
    int status;
    char text[200000];
};
static struct answer answer;

static int free_port(void)
{
    int port = 0;
    struct error e;
    int fd = listen_tcp("127.0.0.1", &port, 1, false, &e);

    assert_true(fd >= 0);
    close(fd);
    return port;
}

static int dial(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

static void read_answer(int fd)
{
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, answer.text + len, sizeof(answer.text) - 1 - len)) > 0)
        len += (size_t)n;
    answer.text[len] = '\0';
    answer.status = 0;
    sscanf(answer.text, "HTTP/1.1 %d", &answer.status);
    close(fd);
}

static void request(int port, const char *method, const char *path)
{
    char text[300];
    int fd = dial(port);

    snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);
    send_text(fd, text);
    read_answer(fd);
}

static int start(struct bench *b)
{
    char yaml[80];
    int port = free_port();

    snprintf(yaml, sizeof(yaml), "http:\n  address: 127.0.0.1\n  port: %d\n", port);
    bench_start(b, yaml);
    return port;
}

static void test_pages(void **state)
{
    (void)state;
    struct bench b = {0};
    int port = start(&b);

    request(port, "GET", "/livez");
    assert_int_equal(answer.status, 200);
    request(port, "GET", "/readyz");
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.text, "no shard is usable"));
    request(port, "GET", "/healthz?verbose=1");
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.text, "\"workers_responding\": 2"));
    assert_non_null(strstr(answer.text, "application/json"));
    request(port, "GET", "/metrics");
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.text, "text/plain; version=0.0.4"));
    assert_non_null(strstr(answer.text, "shardgate_shard_server_connections{shard=\"3\",region=\"USA\"} 8\n"));
    request(port, "GET", "/shards/3");
    assert_int_equal(answer.status, 503);
    request(port, "GET", "/shards/99");
    assert_int_equal(answer.status, 404);
    request(port, "GET", "/nothing");
    assert_int_equal(answer.status, 404);
    request(port, "POST", "/healthz");
    assert_int_equal(answer.status, 405);
    assert_non_null(strstr(answer.text, "Allow: GET, HEAD"));
    request(port, "HEAD", "/healthz");
    assert_int_equal(answer.status, 200);
    assert_null(strstr(answer.text, "instance"));
    bench_end(&b);
}

static void test_bad_clients(void **state)
{
    (void)state;
    struct bench b = {0};
    int port = start(&b);
    int silent = dial(port), half = dial(port), gone = dial(port), garbage = dial(port);

    send_text(half, "GET /met");
    send_text(gone, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    close(gone);
    send_text(garbage, "\x16\x03\x01 nothing\r\n\r\n");
    read_answer(garbage);
    int body = dial(port);
    send_text(body, "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    read_answer(body);
    assert_int_equal(answer.status, 503);
    request(port, "GET", "/livez");
    assert_int_equal(answer.status, 200);
    close(silent);
    close(half);
    bench_end(&b);
}

static void test_stuck_worker(void **state)
{
    (void)state;
    struct bench b = {.stuck = {true, false}};
    int port = start(&b);
    int slow = dial(port);

    send_text(slow, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    request(port, "GET", "/shards/3"); /* not behind the slow page */
    assert_int_equal(answer.status, 503);
    read_answer(slow);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.text, "\nshardgate_workers_responding 1\n"));
    bench_end(&b);
}

static void test_stop_under_way(void **state)
{
    (void)state;
    struct bench b = {.stuck = {true, true}};
    int port = start(&b);
    int clients[8];

    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        clients[i] = dial(port);
        send_text(clients[i], "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    }
    bench_end(&b);
    for (size_t i = 0; i < ARRAY_LEN(clients); i++)
        close(clients[i]);
}

static void test_address_in_use(void **state)
{
    (void)state;
    struct bench b = {0};
    struct error e;
    int port = 0, taken = listen_tcp("127.0.0.1", &port, 1, false, &e);

    bench_start(&b, "http:\n  address: ''\n");
    mem_free(b.conf->http_address);
    b.conf->http_address = mem_strdup("127.0.0.1");
    b.conf->http_port = port;
    struct ops_env env = {.control = b.control, .ctx = &b, .conf = bench_conf, .map = bench_map};
    struct ops *second = ops_new(&env);
    assert_false(ops_start(second, &e));
    assert_true(e.cause[0]);
    ops_free(second);
    close(taken);
    bench_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages),          cmocka_unit_test(test_bad_clients),
        cmocka_unit_test(test_stuck_worker),   cmocka_unit_test(test_stop_under_way),
        cmocka_unit_test(test_address_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
