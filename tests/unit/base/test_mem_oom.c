/* Memory that runs out: the try tier says so, the other aborts. */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fault.h"

static void test_try_returns_null(void **state)
{
    (void)state;
    char *old = mem_strdup("kept");

    fault_malloc_after(0);
    void *a = mem_try_alloc(10);
    void *b = mem_try_array(10, 10);
    char *c = mem_try_realloc(old, 100);
    fault_malloc_off();

    assert_null(a);
    assert_null(b);
    assert_null(c);
    assert_int_equal(fault_malloc_failures(), 3);
    assert_string_equal(old, "kept");
    mem_free(old);
}

/* The signal that ends a child which runs `body` without memory. */
static int death_without_memory(void (*body)(void))
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        fault_malloc_after(0);
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void body_alloc(void) { mem_free(mem_alloc(8)); }
static void body_zalloc(void) { mem_free(mem_zalloc(8)); }
static void body_strdup(void) { mem_free(mem_strdup("x")); }
static void body_str_dup(void) { mem_free(str_dup(STR("x"))); }
static void body_try(void) { mem_free(mem_try_alloc(8)); }

static void test_fixed_sizes_abort(void **state)
{
    (void)state;
    assert_int_equal(death_without_memory(body_alloc), SIGABRT);
    assert_int_equal(death_without_memory(body_zalloc), SIGABRT);
    assert_int_equal(death_without_memory(body_strdup), SIGABRT);
    assert_int_equal(death_without_memory(body_str_dup), SIGABRT);
    assert_int_equal(death_without_memory(body_try), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_try_returns_null),
        cmocka_unit_test(test_fixed_sizes_abort),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
