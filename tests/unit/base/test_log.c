#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char *folder;
static char path[512];

static int setup(void **state)
{
    (void)state;
    folder = test_folder_new();
    snprintf(path, sizeof(path), "%s/log", folder);
    assert_true(log_open(path, LOG_INFO, LOG_LOGFMT));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    assert_true(log_open(NULL, LOG_ERROR, LOG_LOGFMT));
    test_folder_remove(folder);
    return 0;
}

static size_t count_lines(const char *file, const char *with)
{
    char *data = test_file_read(file, NULL);
    size_t n = 0;

    for (char *line = strtok(data, "\n"); line; line = strtok(NULL, "\n"))
        n += strstr(line, with) != NULL;
    free(data);
    return n;
}

/* Starts the test early in a second, so that a few quick lines share it. */
static void wait_for_new_second(void)
{
    uint64_t left = 1000000000u - clock_mono_ns() % 1000000000u;
    struct timespec pause = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};

    nanosleep(&pause, NULL);
}

static void test_levels(void **state)
{
    (void)state;
    log_event(LOG_DEBUG, "too low");
    log_event(LOG_INFO, "info line", log_str("user", "gb app"), log_int("shard", 3));
    log_set_level(LOG_WARN);
    assert_false(log_enabled(LOG_INFO));
    assert_true(log_enabled(LOG_WARN));
    log_event(LOG_INFO, "now too low");
    log_event(LOG_ERROR, "error line");
    assert_int_equal(count_lines(path, "too low"), 0);
    assert_int_equal(count_lines(path, " level=info event=\"info line\" user=\"gb app\" shard=3"), 1);
    assert_int_equal(count_lines(path, " level=error event=\"error line\""), 1);
}

static void test_level_parse(void **state)
{
    (void)state;
    enum log_level level = LOG_DEBUG;

    assert_true(log_level_parse(STR("warn"), &level));
    assert_int_equal(level, LOG_WARN);
    assert_true(log_level_parse(STR("debug"), &level));
    assert_true(log_level_parse(STR("info"), &level));
    assert_true(log_level_parse(STR("error"), &level));
    assert_int_equal(level, LOG_ERROR);
    assert_false(log_level_parse(STR("WARN"), &level));
    assert_false(log_level_parse(STR(""), &level));
    assert_false(log_level_parse(STR("warning"), &level));
    assert_int_equal(level, LOG_ERROR);
}

static void test_error_fields(void **state)
{
    (void)state;
    struct error e;

    error_set(&e, ERR_TENANT_UNKNOWN, "no row");
    log_event(LOG_INFO, "refused", log_err(&e));
    assert_int_equal(count_lines(path, "sqlstate=SG002 error=\"the tenant is not in the shard map\" cause=\"no row\""),
                     1);
}

static void test_open_failure_keeps_old(void **state)
{
    (void)state;
    char bad[600];

    snprintf(bad, sizeof(bad), "%s/absent/log", folder);
    assert_false(log_open(bad, LOG_DEBUG, LOG_JSON));
    assert_false(log_open(folder, LOG_DEBUG, LOG_JSON));
    assert_false(log_enabled(LOG_DEBUG));
    log_event(LOG_INFO, "still here");
    assert_int_equal(count_lines(path, "event=\"still here\""), 1);
}

static void test_reopen_after_rotation(void **state)
{
    (void)state;
    char moved[600];

    snprintf(moved, sizeof(moved), "%s.1", path);
    log_event(LOG_INFO, "before");
    assert_int_equal(rename(path, moved), 0);
    log_event(LOG_INFO, "between");
    assert_true(log_reopen());
    log_event(LOG_INFO, "after");
    assert_int_equal(count_lines(moved, "event="), 2);
    assert_int_equal(count_lines(path, "event=after"), 1);

    /* Reopening fails: the open file goes on. */
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(log_reopen());
    log_event(LOG_INFO, "to the old one");
    assert_int_equal(rmdir(path), 0);
    assert_true(log_open(NULL, LOG_ERROR, LOG_LOGFMT));
    assert_true(log_reopen());
}

/* Writes lines under a name beginning with `event`, kept in two places, all within
 * one second of the limit's clock; a machine too busy for that gets another try. */
static void flood(char names[2][16], const char *event, int lines)
{
    for (int attempt = 0;; attempt++) {
        uint64_t second;

        snprintf(names[0], 16, "%s%d", event, attempt);
        snprintf(names[1], 16, "%s%d", event, attempt);
        wait_for_new_second();
        second = clock_mono_ns() / 1000000000u;
        for (int i = 0; i < lines; i++)
            log_emit(LOG_INFO, names[i % 2], (struct log_field[]){log_int("i", i), {0}});
        if (clock_mono_ns() / 1000000000u == second)
            return;
    }
}

/* Two copies of a name are one event: the text counts, not the address. */
static void test_rate_limit(void **state)
{
    (void)state;
    static char names[2][16];
    char with[64];

    flood(names, "flood", 50);
    log_event(LOG_INFO, "other");
    snprintf(with, sizeof(with), "event=%s i=", names[0]);
    assert_int_equal(count_lines(path, with), 20);
    assert_int_equal(count_lines(path, "event=other"), 1);
    wait_for_new_second();
    log_emit(LOG_INFO, names[0], (struct log_field[]){{0}});
    log_emit(LOG_INFO, names[1], (struct log_field[]){{0}});
    snprintf(with, sizeof(with), "event=%s suppressed=30", names[0]);
    assert_int_equal(count_lines(path, with), 1);
    snprintf(with, sizeof(with), "event=%s", names[0]);
    assert_int_equal(count_lines(path, with), 22);
}

/* More events than slots: some lose their count, none their lines. */
static void test_many_events(void **state)
{
    (void)state;
    static char names[1000][16];

    for (int i = 0; i < 1000; i++) {
        snprintf(names[i], sizeof(names[i]), "many%d", i);
        log_emit(LOG_INFO, names[i], (struct log_field[]){{0}});
    }
    assert_int_equal(count_lines(path, "event=many"), 1000);
}

static void test_full_disk(void **state)
{
    (void)state;
    assert_true(log_open("/dev/full", LOG_INFO, LOG_LOGFMT));
    errno = 4242;
    log_event(LOG_INFO, "lost one");
    log_event(LOG_INFO, "lost two");
    assert_int_equal(errno, 4242);
    assert_true(log_open(path, LOG_INFO, LOG_LOGFMT));
    log_event(LOG_INFO, "back");
    log_event(LOG_INFO, "again");
    assert_int_equal(count_lines(path, "event=back dropped=2"), 1);
    assert_int_equal(count_lines(path, "dropped"), 1);
}

/* Stands in for a descriptor of another kind: the sink opens it by its path. */
static void open_fd(int fd, char *name, size_t size)
{
    snprintf(name, size, "/proc/self/fd/%d", fd);
    assert_true(log_open(name, LOG_INFO, LOG_LOGFMT));
}

static void test_pipe_that_nobody_reads(void **state)
{
    (void)state;
    int fds[2];
    char name[64];
    char *big = calloc(1, 6001);

    memset(big, 'x', 6000);
    assert_int_equal(pipe(fds), 0);
    open_fd(fds[1], name, sizeof(name));
    /* Returns, though 40 lines of 4 KiB do not fit the pipe. */
    for (int i = 0; i < 20; i++) {
        log_event(LOG_INFO, "pipe one", log_str("v", big));
        log_event(LOG_INFO, "pipe two", log_str("v", big));
    }
    /* Nor does a reader that went away kill us. */
    close(fds[0]);
    log_event(LOG_INFO, "pipe gone");
    assert_true(log_open(path, LOG_INFO, LOG_LOGFMT));
    close(fds[1]);
    log_event(LOG_INFO, "back");
    assert_int_equal(count_lines(path, "event=back dropped="), 1);
    free(big);
}

/* Standard error may be a socket, as under systemd. */
static void test_socket_as_stderr(void **state)
{
    (void)state;
    int fds[2];
    int saved = dup(STDERR_FILENO);
    char got[4096];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_true(saved >= 0 && dup2(fds[0], STDERR_FILENO) >= 0);
    assert_true(log_open(NULL, LOG_INFO, LOG_JSON));
    log_event(LOG_INFO, "to a socket");
    ssize_t n = read(fds[1], got, sizeof(got) - 1);
    close(fds[1]);
    log_event(LOG_INFO, "peer gone");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[0]);
    assert_true(log_open(path, LOG_INFO, LOG_LOGFMT));
    log_event(LOG_INFO, "back");
    assert_true(n > 0);
    got[n] = '\0';
    assert_non_null(strstr(got, "\"event\":\"to a socket\"}\n"));
    assert_int_equal(count_lines(path, "event=back dropped=1"), 1);
}

enum { THREADS = 4, LINES = 20 };

static void *write_lines(void *arg)
{
    for (int i = 0; i < LINES; i++)
        log_emit(LOG_INFO, arg, (struct log_field[]){log_str("pad", "0123456789 0123456789"), {0}});
    return NULL;
}

static void test_lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    static char names[THREADS][8] = {"t0", "t1", "t2", "t3"};
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, names[i]), 0);
    assert_true(log_reopen());
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count_lines(path, " pad=\"0123456789 0123456789\""), THREADS * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
        cmocka_unit_test(test_level_parse),
        cmocka_unit_test_setup_teardown(test_error_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(test_open_failure_keeps_old, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reopen_after_rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rate_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_disk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pipe_that_nobody_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_socket_as_stderr, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines_of_threads_do_not_mix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_events, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
