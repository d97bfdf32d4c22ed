/*
 * The loop: mailbox, reap, work, deadlines, timers, signals, its end.
 */
#include "net_test.h"

#include <pthread.h>
#include <signal.h>

/* ---- mailbox ---- */

enum { SENDERS = 2, MESSAGES = 20000 };

struct message {
    struct post post;
    int sender, number;
};
struct inbox {
    struct loop *loop;
    int last[SENDERS];
    int received;
    bool in_order;
    pthread_t thread;
};
struct sender {
    struct loop *loop;
    int index;
};

static void on_message(struct post *p, void *ctx)
{
    struct inbox *in = ctx;
    struct message *m = container_of(p, struct message, post);
    in->in_order = in->in_order && m->number == in->last[m->sender] + 1 && pthread_equal(pthread_self(), in->thread);
    in->last[m->sender] = m->number;
    free(m);
    if (++in->received == SENDERS * MESSAGES)
        loop_stop(in->loop);
}

static void *send_messages(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < MESSAGES; i++) {
        struct message *m = calloc(1, sizeof(*m));
        m->post.run = on_message;
        m->sender = s->index;
        m->number = i;
        if (!loop_post(s->loop, &m->post))
            abort();
    }
    return NULL;
}

static void mailbox_delivers_in_order_across_threads(void **state)
{
    (void)state;
    struct inbox in = {.loop = new_loop(), .last = {-1, -1}, .in_order = true, .thread = pthread_self()};
    loop_set_context(in.loop, &in);
    pthread_t threads[SENDERS];
    struct sender senders[SENDERS];
    for (int i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){in.loop, i};
        pthread_create(&threads[i], NULL, send_messages, &senders[i]);
    }
    loop_run(in.loop);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(in.received, SENDERS * MESSAGES);
    assert_true(in.in_order);
    loop_free(in.loop);
}

static void on_stop(struct post *p, void *ctx)
{
    (void)p;
    loop_stop(ctx);
}

static void on_count(struct post *p, void *ctx)
{
    (void)ctx;
    ((struct message *)(void *)p)->number++;
}

static void posts_accepted_before_the_end_run_and_later_ones_are_refused(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    loop_set_context(l, l);
    struct post stop = {.run = on_stop};
    struct message m = {.post.run = on_count};
    assert_true(loop_post(l, &stop));
    assert_true(loop_post(l, &m.post));
    loop_run(l);
    assert_int_equal(m.number, 1);
    assert_false(loop_post(l, &m.post));
    assert_int_equal(m.number, 1);
    loop_free(l);
}

/* ---- reap ---- */

struct reaped {
    struct reap reap;
    bool *in_callback;
    int *freed;
};

static void free_reaped(struct reap *r)
{
    struct reaped *x = container_of(r, struct reaped, reap);
    assert_false(*x->in_callback);
    ++*x->freed;
    free(x);
}

struct reap_test {
    struct loop *loop;
    bool in_callback;
    int freed;
};

static void on_end_self(void *ctx)
{
    struct reap_test *t = ctx;
    t->in_callback = true;
    struct reaped *x = calloc(1, sizeof(*x));
    *x = (struct reaped){{.free = free_reaped}, &t->in_callback, &t->freed};
    loop_reap(t->loop, &x->reap);
    assert_int_equal(t->freed, 0);
    t->in_callback = false;
}

static void reaped_objects_are_freed_after_the_callback(void **state)
{
    (void)state;
    struct reap_test t = {.loop = new_loop()};
    struct timer *timer = timer_new(t.loop, on_end_self, &t);
    timer_start(timer, 0, 0);
    for (int i = 0; i < 100 && t.freed == 0; i++)
        loop_turn(t.loop);
    assert_int_equal(t.freed, 1);
    timer_free(timer);
    loop_free(t.loop);
}

/* ---- work ---- */

struct job {
    struct work work;
    struct loop *loop;
    pthread_t ran_on, done_on;
    bool ran, done;
};

static void on_work(struct work *w)
{
    struct job *j = container_of(w, struct job, work);
    j->ran_on = pthread_self();
    j->ran = true;
    usleep(2000);
}

static void on_work_done(struct work *w)
{
    struct job *j = container_of(w, struct job, work);
    j->done_on = pthread_self();
    j->done = true;
    loop_stop(j->loop);
}

static void work_runs_elsewhere_and_is_done_here(void **state)
{
    (void)state;
    struct job j = {.work = {.run = on_work, .done = on_work_done}, .loop = new_loop()};
    assert_true(work_submit(j.loop, &j.work));
    loop_run(j.loop);
    assert_true(j.ran && j.done);
    assert_false(pthread_equal(j.ran_on, pthread_self()));
    assert_true(pthread_equal(j.done_on, pthread_self()));
    assert_false(work_submit(j.loop, &j.work));
    loop_free(j.loop);
}

static void the_end_waits_for_work_in_flight(void **state)
{
    (void)state;
    struct job j = {.work = {.run = on_work, .done = on_work_done}, .loop = new_loop()};
    assert_true(work_submit(j.loop, &j.work));
    loop_free(j.loop); /* without a run */
    assert_true(j.ran && j.done);
}

/* ---- signals ---- */

static void on_usr1(void *ctx, int signum)
{
    assert_int_equal(signum, SIGUSR1);
    loop_stop(ctx);
}

static void a_signal_reaches_the_loop(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    loop_set_context(l, l);
    assert_true(loop_on_signal(l, SIGUSR1, on_usr1));
    kill(getpid(), SIGUSR1);
    loop_run(l);
    loop_free(l);
}

/* ---- timers and clock ---- */

static void on_tick(void *ctx) { ++*(int *)ctx; }

static void a_timer_repeats_until_stopped(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    int ticks = 0;
    struct timer *t = timer_new(l, on_tick, &ticks);
    timer_start(t, 1, 1);
    while (ticks < 3)
        loop_turn(l);
    timer_stop(t);
    int then = ticks;
    usleep(5000);
    loop_turn(l);
    assert_int_equal(ticks, then);
    loop_stop(l);
    loop_run(l); /* ends with the timer still open */
    timer_free(t);
    loop_free(l);
}

static void the_clock_stands_still_within_a_turn(void **state)
{
    (void)state;
    struct loop *l = new_loop();
    uint64_t ms = loop_now_ms(l), ns = loop_now_ns(l);
    usleep(3000);
    assert_true(loop_now_ms(l) == ms);
    assert_true(loop_now_ns(l) - ns >= 3000000);
    loop_turn(l);
    assert_true(loop_now_ms(l) > ms);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mailbox_delivers_in_order_across_threads),
        cmocka_unit_test(posts_accepted_before_the_end_run_and_later_ones_are_refused),
        cmocka_unit_test(reaped_objects_are_freed_after_the_callback),
        cmocka_unit_test(work_runs_elsewhere_and_is_done_here),
        cmocka_unit_test(the_end_waits_for_work_in_flight),
        cmocka_unit_test(a_signal_reaches_the_loop),
        cmocka_unit_test(a_timer_repeats_until_stopped),
        cmocka_unit_test(the_clock_stands_still_within_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
