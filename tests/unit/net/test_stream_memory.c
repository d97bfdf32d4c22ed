/*
 * The memory peer: it must behave as a socket does where tests rely on it.
 */
#include "net_test.h"

struct owner {
    struct stream_memory m;
    char got[64];
    size_t len;
    int calls;
    bool eof, error, closed, echo, close_now;
};

static void on_closed(struct stream *s)
{
    struct stream_memory *m = container_of(s, struct stream_memory, stream);
    container_of(m, struct owner, m)->closed = true;
}

static void on_ready(struct stream *s, int events)
{
    struct owner *o = container_of(container_of(s, struct stream_memory, stream), struct owner, m);
    o->calls++;
    if (o->close_now) {
        stream_close(s, on_closed);
        return;
    }
    if (events & STREAM_WRITABLE) {
        struct iovec iov[2] = {{"ab", 2}, {"cd", 2}};
        o->error = stream_writev(s, iov, 2) == STREAM_ERROR;
        stream_watch(s, STREAM_READABLE);
    }
    if (!(events & STREAM_READABLE))
        return;
    ssize_t n = stream_read(s, o->got + o->len, sizeof(o->got) - o->len);
    if (n > 0)
        o->len += (size_t)n;
    o->eof = o->eof || n == 0;
    o->error = o->error || n == STREAM_ERROR;
}

static void init(struct owner *o, struct loop *l)
{
    memset(o, 0, sizeof(*o));
    stream_memory_open(&o->m, l);
    o->m.stream.ready = on_ready;
}

static void close_owner(struct owner *o)
{
    stream_close(&o->m.stream, on_closed);
    assert_false(o->closed);
    WAIT_FOR(o->m.stream.loop, o->closed);
    stream_memory_fini(&o->m);
}

static void bytes_arrive_in_chunks(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct owner o;
    init(&o, l);
    stream_memory_step(&o.m);
    assert_int_equal(o.calls, 0);
    o.m.read_chunk = 2;
    buf_append(&o.m.in, "hello", 5);
    stream_memory_step(&o.m);
    assert_int_equal(o.calls, 3);
    assert_memory_equal(o.got, "hello", 5);
    o.m.eof = true;
    stream_memory_step(&o.m); /* the owner does not close: called once, no endless loop */
    assert_true(o.eof);
    close_owner(&o);
    loop_free(l);
}

static void writes_are_short_and_then_wait(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct owner o;
    init(&o, l);
    struct iovec iov[2] = {{"abc", 3}, {"def", 3}};
    o.m.write_room = 4;
    assert_int_equal(stream_writev(&o.m.stream, iov, 2), 4);
    assert_int_equal(stream_writev(&o.m.stream, iov, 2), STREAM_AGAIN);
    assert_memory_equal(buf_head(&o.m.out), "abcd", 4);
    stream_watch(&o.m.stream, STREAM_WRITABLE);
    stream_memory_step(&o.m);
    assert_int_equal(o.calls, 0);
    o.m.write_room = 100;
    stream_memory_step(&o.m);
    assert_int_equal(o.calls, 1);
    assert_int_equal(o.m.out.len, 8);
    o.m.broken = true;
    stream_memory_step(&o.m);
    assert_true(o.error);
    assert_int_equal(stream_writev(&o.m.stream, iov, 2), STREAM_ERROR);
    assert_non_null(stream_error(&o.m.stream));
    close_owner(&o);
    loop_free(l);
}

static void nothing_is_reported_unwatched_or_closed(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    struct owner o;
    init(&o, l);
    buf_append(&o.m.in, "x", 1);
    stream_watch(&o.m.stream, 0);
    stream_memory_step(&o.m);
    assert_int_equal(o.calls, 0);
    stream_watch(&o.m.stream, STREAM_READABLE);
    o.close_now = true;
    stream_memory_step(&o.m);
    assert_int_equal(o.calls, 1);
    assert_false(o.closed);
    stream_memory_step(&o.m);
    assert_int_equal(o.calls, 1);
    WAIT_FOR(l, o.closed);
    stream_memory_fini(&o.m);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_arrive_in_chunks),
        cmocka_unit_test(writes_are_short_and_then_wait),
        cmocka_unit_test(nothing_is_reported_unwatched_or_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
