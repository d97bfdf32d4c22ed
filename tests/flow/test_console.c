/* The admin console's clients: their commands are answered by the test. */
#include <string.h>

#include "support.h"

#include "flow.h"

CONVERSATION(simple)
{
    struct peer *c = login_as(f, "user", "boss", "database", "shardgate");
    sends(c, "Q(SHOW POOLS)");
    gets(c, "T(answer)");
    holds(f, f->console_call && f->console_call->admin && strcmp(f->console_call->text, "SHOW POOLS") == 0);
    answers(f, "D(1) D(2) C(SHOW)");
    gets(c, "D(1) D(2) C(SHOW) Z(I)");
    sends(c, "Q(DO IT)");
    answers(f, "E(42501)");
    gets(c, "E(42501) Z(I)");
    sends(c, "Q(WHAT) Q( ) Q()");
    gets(c, "E(42601) Z(I) I Z(I) I Z(I)");
}

CONVERSATION(one_at_a_time)
{
    struct peer *c = login_as(f, "user", "viewer", "database", "shardgate");
    sends(c, "Q(SHOW A) Q(SHOW B)");
    gets(c, "T(answer)");
    holds(f, strcmp(f->console_call->text, "SHOW A") == 0 && !f->console_call->admin && f->console_call->stats);
    answers(f, "C(SHOW)");
    gets(c, "C(SHOW) Z(I) T(answer)");
    holds(f, strcmp(f->console_call->text, "SHOW B") == 0);
    answers(f, "C(SHOW)");
    gets(c, "C(SHOW) Z(I)");
}

CONVERSATION(extended)
{
    struct peer *c = login_as(f, "user", "boss", "database", "shardgate");
    sends(c, "P(,SHOW A) D(S,) B(,) D(P,) E() H S");
    gets(c, "1 t T(answer) 2 T(answer)");
    answers(f, "D(1) C(SHOW)");
    gets(c, "D(1) C(SHOW) Z(I)");
    sends(c, "P(a,DO IT) D(S,a) B(p,a) E(p) C(P,p) C(S,a) E(p) D(P,p) S");
    gets(c, "1 t n 2");
    answers(f, "C(DO)");
    gets(c, "C(DO) 3 3 E(34000) Z(I)");
    sends(c, "B(,a) S D(S,a) S P(,) B(,) D(P,) E() S P(,WHAT) D(S,) S");
    gets(c, "E(26000) Z(I) E(26000) Z(I) 1 2 n I Z(I) 1 t E(42601) Z(I)");
    sends(c, "P(,DO IT) B(,) E() E() S");
    answers(f, "E(55006)");
    gets(c, "1 2 E(55006) Z(I)");
}

CONVERSATION(leaves_in_a_command)
{
    struct peer *c = login_as(f, "user", "boss", "database", "shardgate");
    sends(c, "Q(SHOW A)");
    hangs_up(c);
    is_closed(c);
    answers(f, "C(SHOW)");
}

CONVERSATION(leaves_behind_an_answer)
{
    struct peer *a = login_as(f, "user", "boss", "database", "shardgate"),
                *b = login_as(f, "user", "boss", "database", "shardgate");
    sends(a, "Q(WHAT) X");
    is_closed(a);
    sends(b, "Q()");
    gets(b, "I Z(I)");
}

CONVERSATION(told_to_go_in_a_command)
{
    struct peer *c = login_as(f, "user", "boss", "database", "shardgate");
    sends(c, "Q(SHOW X)");
    gets(c, "T(answer)");
    stalls(c);
    sessions_shutdown(f->ss);
    answers(f, "D(1) C(SHOW)");
    takes(c, 100000);
    gets(c, "E!(57P01)");
    is_closed(c);
}

CONVERSATION(violations)
{
    struct peer *c = login_as(f, "user", "boss", "database", "shardgate");
    sends(c, "F");
    gets(c, "E!(08P01)");
    c = login_as(f, "user", "boss", "database", "shardgate");
    sends_raw(c, "Q\0\0\0\3", 5);
    gets(c, "E!(08P01)");
    c = client(f);
    starts(c, "user", "app", "database", "shardgate");
    gets(c, "E!(28000)");
    is_closed(c);
}

FLOW_MAIN(TALK(simple, ""), TALK(one_at_a_time, ""), TALK(extended, ""), TALK(leaves_in_a_command, ""),
          TALK(leaves_behind_an_answer, ""), TALK_ONCE(told_to_go_in_a_command, ""), TALK(violations, ""))
