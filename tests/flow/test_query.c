/* Simple queries: whose server they reach, and what comes back. */
#include "support.h"

#include "flow.h"

CONVERSATION(one_query)
{
    struct peer *s = server(f, 1), *c = login_tenant(f, 42);
    sends(c, "Q(SELECT 1)");
    gets(s, "Q(SELECT 1)");
    is_linked(s);
    sends(s, "T(a) D(1) C(SELECT 1) Z(I)");
    gets(c, "T(a) D(1) C(SELECT 1) Z(I)");
    if (f->session_mode)
        is_linked(s);
    else
        is_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TALK(one_query, ""),
        TALK_SESSION(one_query, ""),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
