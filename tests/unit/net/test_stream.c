/*
 * Plain sockets over real loopback connections, and listening.
 */
#include "net_test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

struct peer {
    struct stream s;
    char got[256];
    size_t len;
    int events;
    bool eof, error, closed, released, write_only;
    int calls;
};

struct server {
    struct loop *loop;
    struct listener *listener;
    int accepted;
    int fds[8];
    struct peer_address last;
};

static void on_ready(struct stream *s, int events)
{
    struct peer *p = container_of(s, struct peer, s);
    p->calls++;
    p->events |= events;
    if (!(events & STREAM_READABLE))
        return;
    ssize_t n = stream_read(s, p->got + p->len, sizeof(p->got) - p->len);
    if (n > 0)
        p->len += (size_t)n;
    else if (n == 0)
        p->eof = true;
    else if (n == STREAM_ERROR)
        p->error = true;
    if (n == 0 || n == STREAM_ERROR)
        stream_watch(s, 0);
}

static void on_closed(struct stream *s) { container_of(s, struct peer, s)->closed = true; }

static void on_released(struct stream *s) { container_of(s, struct peer, s)->released = true; }

static void on_accept(void *ctx, int fd, const struct peer_address *peer)
{
    struct server *srv = ctx;
    assert_true(srv->accepted < 8);
    srv->fds[srv->accepted++] = fd;
    srv->last = *peer;
}

static void open_peer(struct peer *p, struct loop *l, int fd)
{
    struct error e;
    memset(p, 0, sizeof(*p));
    p->s.ready = on_ready;
    if (!stream_open_fd(&p->s, l, fd, &e))
        fail_msg("%s", e.cause);
}

static int dial(const char *address, int port)
{
    bool six = strchr(address, ':');
    int fd = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    inet_pton(six ? AF_INET6 : AF_INET, address, six ? (void *)&a6.sin6_addr : (void *)&a4.sin_addr);
    if (connect(fd, six ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4, six ? sizeof(a6) : sizeof(a4)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void start_server(struct server *srv, struct loop *l, const char *address, int *port)
{
    struct error e;
    *port = 0;
    int fd = listen_tcp(address, port, 16, false, &e);
    if (fd < 0)
        fail_msg("%s", e.cause);
    assert_true(*port > 0);
    memset(srv, 0, sizeof(*srv));
    srv->loop = l;
    srv->listener = listener_start(l, fd, on_accept, srv);
    assert_non_null(srv->listener);
}

/* One connected pair: a stream on `l` and the bare descriptor of its peer. */
static int connected(struct peer *p, struct loop *l)
{
    struct server srv;
    int port;
    start_server(&srv, l, "127.0.0.1", &port);
    int far = dial("127.0.0.1", port);
    assert_true(far >= 0);
    WAIT_FOR(l, srv.accepted == 1);
    listener_stop(srv.listener);
    open_peer(p, l, srv.fds[0]);
    return far;
}

static void close_peer(struct peer *p)
{
    stream_close(&p->s, on_closed);
    assert_false(p->closed); /* never before it returns */
    stream_close(&p->s, NULL);
    WAIT_FOR(p->s.loop, p->closed);
}

static void listens_on_v4_v6_and_both(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct server srv;
    int port, fd;

    start_server(&srv, l, "localhost", &port);
    fd = dial("127.0.0.1", port);
    WAIT_FOR(l, srv.accepted == 1);
    assert_string_equal(srv.last.text, "127.0.0.1");
    assert_true(srv.last.port > 0 && !srv.last.local);
    close(fd);
    close(srv.fds[0]);
    listener_stop(srv.listener);

    start_server(&srv, l, "*", &port);
    fd = dial("127.0.0.1", port);
    WAIT_FOR(l, srv.accepted == 1);
    assert_string_equal(srv.last.text, "127.0.0.1"); /* not ::ffff:127.0.0.1 */
    close(fd);
    close(srv.fds[0]);
    fd = dial("::1", port);
    if (fd >= 0) { /* where the machine has IPv6 */
        WAIT_FOR(l, srv.accepted == 2);
        assert_string_equal(srv.last.text, "::1");
        close(fd);
        close(srv.fds[1]);
    }
    listener_stop(srv.listener);
    loop_free(l);
}

static void a_port_in_use_and_a_bad_address_are_refused(void **state)
{
    (void)state;
    struct error e;
    int port = 0;
    int fd = listen_tcp("127.0.0.1", &port, 16, false, &e);
    assert_true(fd >= 0);
    assert_int_equal(listen_tcp("127.0.0.1", &port, 16, false, &e), -1);
    assert_non_null(strstr(e.cause, "in use"));
    assert_int_equal(listen_tcp("*", &port, 16, false, &e), -1);
    assert_int_equal(listen_tcp("192.0.2.1", &port, 16, false, &e), -1);
    assert_int_equal(listen_tcp("not an address", &port, 16, false, &e), -1);
    close(fd);
    port = 0;
    int first = listen_tcp("127.0.0.1", &port, 16, true, &e);
    int second = listen_tcp("127.0.0.1", &port, 16, true, &e);
    assert_true(first >= 0 && second >= 0);
    close(first);
    close(second);
}

static void a_stale_unix_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    (void)state;
    struct error e;
    char dir[] = "/tmp/shardgate-net-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    int fd = listen_unix(path, 0700, 16, &e);
    assert_true(fd >= 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(listen_unix(path, 0700, 16, &e), -1);
    assert_non_null(strstr(e.cause, "in use"));
    close(fd); /* leaves the file behind, as a crash does */
    fd = listen_unix(path, 0777, 16, &e);
    assert_true(fd >= 0);

    struct loop *l = new_loop();
    struct server srv = {.loop = l};
    srv.listener = listener_start(l, fd, on_accept, &srv);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    strcpy(a.sun_path, path);
    int far = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(far, (struct sockaddr *)&a, sizeof(a)), 0);
    WAIT_FOR(l, srv.accepted == 1);
    assert_true(srv.last.local);
    assert_string_equal(srv.last.text, "unix");
    struct peer p;
    open_peer(&p, l, srv.fds[0]);
    assert_int_equal(write(far, "x", 1), 1);
    WAIT_FOR(l, p.len == 1);
    close(far);
    WAIT_FOR(l, p.eof);
    close_peer(&p);
    listener_stop(srv.listener);
    loop_free(l);
    unlink(path);

    int file = open(path, O_CREAT | O_WRONLY, 0600);
    close(file);
    assert_int_equal(listen_unix(path, 0700, 16, &e), -1);
    assert_int_equal(access(path, F_OK), 0); /* not a socket: left alone */
    unlink(path);
    rmdir(dir);
    char long_path[200];
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = 0;
    assert_int_equal(listen_unix(long_path, 0700, 16, &e), -1);
}

static void bytes_go_both_ways_and_the_end_is_seen(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct peer p;
    int far = connected(&p, l);
    assert_int_equal(write(far, "hello", 5), 5);
    WAIT_FOR(l, p.len == 5);
    assert_memory_equal(p.got, "hello", 5);
    struct iovec iov[2] = {{"one", 3}, {"two", 3}};
    assert_int_equal(stream_writev(&p.s, iov, 2), 6);
    assert_int_equal(stream_writev(&p.s, iov, 1), 3);
    char back[16];
    assert_int_equal(recv(far, back, 9, MSG_WAITALL), 9);
    assert_memory_equal(back, "onetwoone", 9);
    assert_int_equal(stream_read(&p.s, back, 1), STREAM_AGAIN);
    int calls = p.calls;
    loop_turn(l);
    assert_int_equal(p.calls, calls); /* nothing to report, nothing reported */
    close(far);
    WAIT_FOR(l, p.eof);
    close_peer(&p);
    loop_free(l);
}

/* Fills the socket until it takes no more. */
static void fill(struct peer *p)
{
    static char block[65536];
    struct iovec iov = {block, sizeof(block)};
    ssize_t n;
    while ((n = stream_writev(&p->s, &iov, 1)) > 0)
        ;
    assert_int_equal(n, STREAM_AGAIN);
}

static void a_full_socket_says_again_and_then_writable(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct peer p;
    int far = connected(&p, l);
    fill(&p);
    stream_watch(&p.s, STREAM_WRITABLE);
    loop_turn(l);
    assert_int_equal(p.events, 0);
    static char sink[1 << 20];
    for (int i = 0; i < 2000 && !(p.events & STREAM_WRITABLE); i++) {
        if (recv(far, sink, sizeof(sink), MSG_DONTWAIT) < 0)
            usleep(500);
        loop_turn(l);
    }
    assert_int_equal(p.events, STREAM_WRITABLE);
    close(far);
    close_peer(&p);
    loop_free(l);
}

static void reset(int fd)
{
    struct linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    close(fd);
}

static void a_reset_reaches_an_owner_that_only_writes(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct peer p;
    int far = connected(&p, l);
    fill(&p);
    stream_watch(&p.s, STREAM_WRITABLE);
    reset(far);
    WAIT_FOR(l, p.error);
    assert_true(p.events & STREAM_READABLE);
    assert_non_null(strstr(stream_error(&p.s), "reset"));
    struct iovec iov = {"x", 1};
    assert_int_equal(stream_writev(&p.s, &iov, 1), STREAM_ERROR); /* and no SIGPIPE */
    close_peer(&p);
    loop_free(l);
}

static void bytes_before_a_reset_do_not_hang_the_reader(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct peer p;
    int far = connected(&p, l);
    char bytes[300];
    memset(bytes, 'b', sizeof(bytes));
    assert_int_equal(write(far, bytes, 200), 200);
    usleep(2000);
    reset(far);
    WAIT_FOR(l, p.error || p.eof);
    close_peer(&p);
    loop_free(l);
}

static void nothing_is_reported_while_nothing_is_watched(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct peer p;
    int far = connected(&p, l);
    stream_watch(&p.s, 0);
    assert_int_equal(write(far, "x", 1), 1);
    usleep(2000);
    for (int i = 0; i < 5; i++)
        loop_turn(l);
    assert_int_equal(p.calls, 0);
    stream_watch(&p.s, STREAM_READABLE);
    WAIT_FOR(l, p.len == 1);
    close(far);
    close_peer(&p);
    loop_free(l);
}

/* ---- a socket moves to another loop in another thread ---- */

struct move {
    struct post post, stop;
    struct loop *there;
    int fd;
    struct peer peer;
};

static void on_moved_closed(struct stream *s)
{
    on_closed(s);
    loop_stop(s->loop);
}

static void on_moved_ready(struct stream *s, int events)
{
    on_ready(s, events);
    struct peer *p = container_of(s, struct peer, s);
    if (p->len == 2 || p->eof)
        stream_close(s, on_moved_closed);
}

static void on_arrival(struct post *post, void *ctx)
{
    (void)ctx;
    struct move *m = container_of(post, struct move, post);
    open_peer(&m->peer, m->there, m->fd);
    m->peer.s.ready = on_moved_ready;
}

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static void a_socket_moves_between_loops(void **state)
{
    (void)state;
    struct loop *here = new_loop();
    struct move m = {.post.run = on_arrival, .there = new_loop()};
    struct peer p;
    int far = connected(&p, here);
    m.fd = p.s.fd;
    stream_release(&p.s, on_released);
    assert_false(p.released);
    WAIT_FOR(here, p.released);
    assert_int_equal(write(far, "ab", 2), 2);
    pthread_t thread;
    pthread_create(&thread, NULL, run_loop, m.there);
    assert_true(loop_post(m.there, &m.post));
    pthread_join(thread, NULL);
    assert_true(m.peer.closed);
    assert_memory_equal(m.peer.got, "ab", 2);
    char end;
    assert_int_equal(read(far, &end, 1), 0);
    close(far);
    loop_free(here);
    loop_free(m.there);
}

/* ---- out of descriptors ---- */

static void accepting_pauses_without_descriptors_and_resumes(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct server srv;
    int port;
    start_server(&srv, l, "127.0.0.1", &port);
    loop_turn(l);
    int far = dial("127.0.0.1", port);
    assert_true(far >= 0);

    struct rlimit old, few;
    getrlimit(RLIMIT_NOFILE, &old);
    few = old;
    few.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &few);
    int used[64], count = 0, fd;
    while ((fd = dup(far)) >= 0)
        used[count++] = fd;
    log_set_level(LOG_ERROR);
    usleep(5000);
    for (int i = 0; i < 20; i++)
        loop_turn(l);
    assert_int_equal(srv.accepted, 0);
    while (count > 0)
        close(used[--count]);
    setrlimit(RLIMIT_NOFILE, &old);
    loop_turn(l);
    assert_int_equal(srv.accepted, 0); /* it pauses */
    /* A second one, since under valgrind the accept that fails takes the first away. */
    int second = dial("127.0.0.1", port);
    WAIT_FOR(l, srv.accepted >= 1);
    loop_turn(l);
    while (srv.accepted > 0)
        close(srv.fds[--srv.accepted]);
    close(far);
    close(second);
    listener_stop(srv.listener);
    loop_free(l);
}

static void what_is_left_at_the_end_is_freed_afterwards(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct server srv;
    struct peer p;
    int port;
    int far = connected(&p, l);
    start_server(&srv, l, "127.0.0.1", &port);
    loop_stop(l);
    loop_run(l);
    stream_watch(&p.s, STREAM_READABLE | STREAM_WRITABLE); /* too late, but harmless */
    stream_close(&p.s, on_closed);
    listener_stop(srv.listener);
    loop_free(l);
    assert_false(p.closed); /* nobody is called after the end */
    char end;
    assert_int_equal(read(far, &end, 1), 0); /* the descriptor is closed all the same */
    close(far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listens_on_v4_v6_and_both),
        cmocka_unit_test(a_port_in_use_and_a_bad_address_are_refused),
        cmocka_unit_test(a_stale_unix_socket_is_replaced_and_a_live_one_is_not),
        cmocka_unit_test(bytes_go_both_ways_and_the_end_is_seen),
        cmocka_unit_test(a_full_socket_says_again_and_then_writable),
        cmocka_unit_test(a_reset_reaches_an_owner_that_only_writes),
        cmocka_unit_test(bytes_before_a_reset_do_not_hang_the_reader),
        cmocka_unit_test(nothing_is_reported_while_nothing_is_watched),
        cmocka_unit_test(a_socket_moves_between_loops),
        cmocka_unit_test(accepting_pauses_without_descriptors_and_resumes),
        cmocka_unit_test(what_is_left_at_the_end_is_freed_afterwards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
