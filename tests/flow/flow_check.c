/* What the flow tests assert, and how a conversation is played. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "flow.h"

/* How the conversation at hand is delivered; for the message of a failure. */
struct play {
    const struct talk *talk;
    const struct flow *flow;
};
static struct play now;

_Noreturn void flow_fail(const char *file, int line, const char *fmt, ...)
{
    static const char *const ways[] = {"whole", "byte by byte", "cut"};
    char text[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (now.flow)
        print_error("%s, %s mode, delivered %s (%zu)%s\n", now.talk->name,
                    now.talk->in_session ? "session" : "transaction", ways[now.flow->delivery], now.flow->cut,
                    now.flow->trickle ? ", slow sockets" : "");
    print_error("%s:%d: %s\n", file, line, text);
    _fail(file, line);
    __builtin_unreachable();
}

void check_gets(struct peer *p, const char *want, const char *file, int line)
{
    struct buf got;
    buf_init(&got, 0);
    heard(p, &got);
    if (!str_eq(buf_str(&got), str_from(want)))
        flow_fail(file, line, "%s\n  got  %.*s\n  want %s\n  last error heard: %s", p->is_client ? "client" : "server",
                  (int)got.len, buf_head(&got), want, p->text);
    buf_fini(&got);
}

void check_fate(struct peer *p, enum server_fate want, const char *file, int line)
{
    static const char *const names[] = {"free", "linked", "abandoned", "abandoned in a message", "closed"};
    if (p->fate != want)
        flow_fail(file, line, "the server is %s, not %s", names[p->fate], names[want]);
}

void check_closed(struct peer *c, bool want, const char *file, int line)
{
    if (c->memory.stream.closing != want)
        flow_fail(file, line, "the client is %s", want ? "still connected" : "disconnected");
}

void check_text(struct peer *c, const char *part, const char *file, int line)
{
    if (!strstr(c->text, part))
        flow_fail(file, line, "the error says \"%s\", not \"%s\"", c->text, part);
}

/* Longest burst of the conversation. */
static size_t play(const struct talk *t, enum flow_delivery delivery, size_t cut, bool trickle)
{
    struct flow f = {.delivery = delivery, .cut = cut, .trickle = trickle};
    now = (struct play){t, &f};
    flow_init(&f, t->yaml, t->in_session);
    t->fn(&f);
    flow_fini(&f);
    now = (struct play){0};
    return f.longest;
}

void flow_play(void **state)
{
    const struct talk *t = *state;
    size_t longest = play(t, DELIVER_WHOLE, 0, false);
    if (t->once)
        return;
    play(t, DELIVER_BYTES, 0, false);
    play(t, DELIVER_WHOLE, 0, true);
    play(t, DELIVER_BYTES, 0, true);
    for (size_t cut = 1; cut < longest; cut += cut < 256 ? 1 : 61) /* long ones are long for a value's sake */
        play(t, DELIVER_CUT, cut, false);
}
