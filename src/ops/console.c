#include "console.h"

#include <inttypes.h>
#include <stdio.h>

#include "shardgate/wire.h"

#include "ops_state.h"

/* Where the caller's loop has ended, its sessions have too: done, without an
 * owner, only frees. */
static void drop_call(struct console_call *c)
{
    c->owner = NULL;
    c->done(c);
}

static void on_caller(struct post *p, void *ctx)
{
    struct console_run *r = container_of(p, struct console_run, post);
    struct console_call *call = r->call;

    (void)ctx;
    mem_free(r);
    call->done(call);
}

static void put_error(struct buf *reply, const struct error *e)
{
    size_t max = reply->max;

    buf_fini(reply);
    buf_init(reply, max);
    wire_put_error(reply, e);
}

static void on_control(struct post *p, void *ctx)
{
    struct console_run *r = container_of(p, struct console_run, post);

    (void)ctx;
    if (ops_is_ending(r->ops)) {
        struct error e;
        error_set(&e, ERR_SHUTTING_DOWN, "console");
        console_done(r, &e);
        return;
    }
    r->command->run(r);
}

static void log_command(const struct console_run *r)
{
    char argument[24] = "";

    if (r->has_number)
        snprintf(argument, sizeof(argument), "%" PRId64, r->number);
    log_event(LOG_INFO, "console command", log_str("user", r->call->user), log_str("command", r->command->words[0]),
              log_str("argument", argument));
}

static void run(void *ctx, struct console_call *call)
{
    struct ops *o = ctx;
    struct console_run *r = mem_zalloc(sizeof(*r));
    struct error e;

    error_clear(&e);
    r->ops = o;
    r->call = call;
    if (!console_parse(str_from(call->text), &r->command, &r->has_number, &r->number, &e) ||
        !console_may(r->command, call->admin, call->stats, &e)) {
        console_done(r, &e);
        return;
    }
    if (r->command->right == CONSOLE_ADMIN)
        log_command(r);
    if (r->command->local) {
        r->command->run(r);
        return;
    }
    r->post.run = on_control;
    if (!loop_post(o->env.control, &r->post)) {
        error_set(&e, ERR_SHUTTING_DOWN, "the control loop has ended");
        console_done(r, &e);
    }
}

static bool describe(void *ctx, const char *text, bool no_data, struct buf *out, struct error *e)
{
    const struct console_command *c;
    bool has_number;
    int64_t number;

    (void)ctx;
    if (!console_parse(str_from(text), &c, &has_number, &number, e))
        return false;
    if (c->column_count)
        wire_put_row_description(out, c->columns, c->column_count);
    else if (no_data)
        wire_put_no_data(out);
    return true;
}

struct buf *console_out(struct console_run *r) { return &r->call->reply; }

void console_done(struct console_run *r, const struct error *e)
{
    struct buf *reply = &r->call->reply;

    if (e)
        put_error(reply, e);
    else if (r->command->tag)
        wire_put_command_complete(reply, r->command->tag);
    if (reply->failed) {
        struct error full;
        error_set(&full, ERR_OUT_OF_MEMORY, "console reply");
        put_error(reply, &full);
    }
    r->post.run = on_caller;
    if (!loop_post(r->call->loop, &r->post)) {
        drop_call(r->call);
        mem_free(r);
    }
}

void console_ask(struct console_run *r, void (*collect)(struct gather_part *p, struct ops_worker *w),
                 void (*done)(struct gather *g, void *ctx))
{
    gather_start(r->ops, &(struct gather_question){.collect = collect, .done = done, .ctx = r, .number = r->number});
}

void console_note_missing(struct console_run *r, const struct gather *g)
{
    char text[80];

    if (g->answered == g->count)
        return;
    snprintf(text, sizeof(text), "%u of %u workers did not answer in time", g->count - g->answered, g->count);
    wire_put_warning(console_out(r), "01000", str_from(text),
                     STR("What is shown lacks their part; what was asked of them follows."));
}

void console_put_parts(struct console_run *r, const struct gather *g)
{
    for (unsigned i = 0; i < g->count; i++) {
        const struct gather_part *p = &g->parts[i];
        if (!p->answered)
            continue;
        buf_append_str(console_out(r), buf_str(&p->rows));
        console_out(r)->failed |= p->rows.failed;
    }
    console_note_missing(r, g);
}

struct console_ops ops_console(struct ops *o)
{
    return (struct console_ops){.describe = describe, .run = run, .ctx = o};
}
