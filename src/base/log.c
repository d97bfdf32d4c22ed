/*
 * The log sink, which any thread may use and which must hurt none of them: a
 * line is one bounded write(2) under one mutex; a sink that is full, gone or
 * slow loses lines, which are counted and told by `dropped=n` in the next one
 * that succeeds. A pipe or socket is asked for room first, so that a reader
 * who stopped reading cannot stop the daemon.
 *
 * Rate limit: a fixed table of events, found by the text of the event. Past
 * RATE_LINES in a second, lines are counted, and the count is written with the
 * first line of a later second. An event pushed out of the table by others loses
 * its count; there are more slots than events in the code.
 */
#include "shardgate/base.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "log_line.h"

enum { RATE_LINES = 20, RATE_SLOTS = 256, RATE_PROBES = 8 };

struct rate {
    const char *event; /* NULL: free */
    uint64_t second;   /* of the monotonic clock */
    uint32_t lines;    /* written in that second */
    uint64_t suppressed;
};

enum sink_kind { SINK_FILE, SINK_PIPE, SINK_SOCKET };

static struct {
    pthread_mutex_t lock;
    _Atomic int level;
    enum log_format format;
    int fd;
    enum sink_kind kind;
    bool kind_known;
    bool torn; /* the last write was cut short: start on a new line */
    uint64_t dropped;
    char path[PATH_MAX]; /* "" for stderr */
    struct rate rates[RATE_SLOTS];
} sink = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .level = LOG_INFO,
    .format = LOG_LOGFMT,
    .fd = STDERR_FILENO,
};

static enum sink_kind kind_of(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || S_ISREG(st.st_mode))
        return SINK_FILE;
    return S_ISSOCK(st.st_mode) ? SINK_SOCKET : SINK_PIPE;
}

/* O_NONBLOCK so that a FIFO without a reader is an error and not a long wait. */
static int open_path(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

/* With the lock held. */
static void use_fd(int fd)
{
    if (sink.fd != STDERR_FILENO)
        close(sink.fd);
    sink.fd = fd;
    sink.kind = kind_of(fd);
    sink.kind_known = true;
    sink.torn = false;
}

static uint32_t hash_text(const char *s)
{
    uint32_t h = 2166136261u;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 16777619u;
    return h;
}

/* The event's own slot, else a free one, else the one longest unused. */
static struct rate *rate_of(const char *event)
{
    uint32_t h = hash_text(event);
    struct rate *best = NULL;

    for (uint32_t i = 0; i < RATE_PROBES; i++) {
        struct rate *r = &sink.rates[(h + i) % RATE_SLOTS];

        if (r->event && (r->event == event || strcmp(r->event, event) == 0))
            return r;
        if (!best || (best->event && (!r->event || r->second < best->second)))
            best = r;
    }
    *best = (struct rate){.event = event};
    return best;
}

/* False if the line is over the limit; else how many were before it. */
static bool admit(const char *event, uint64_t *suppressed)
{
    struct rate *r = rate_of(event);
    uint64_t second = clock_mono_ns() / 1000000000u;

    if (r->second != second) {
        r->second = second;
        r->lines = 0;
    }
    if (r->lines >= RATE_LINES) {
        r->suppressed++;
        return false;
    }
    r->lines++;
    *suppressed = r->suppressed;
    r->suppressed = 0;
    return true;
}

static ssize_t write_once(const char *data, size_t len)
{
    struct pollfd p = {.fd = sink.fd, .events = POLLOUT};
    ssize_t n;

    if (sink.kind == SINK_SOCKET) {
        do
            n = send(sink.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n;
    }
    /* POLLERR is a pipe without a reader, whose SIGPIPE we do not want. */
    if (sink.kind == SINK_PIPE && (poll(&p, 1, 0) != 1 || p.revents != POLLOUT))
        return -1;
    do
        n = write(sink.fd, data, len);
    while (n < 0 && errno == EINTR);
    return n;
}

/* `line` has one byte before it for the line feed that ends a torn line. */
static void put_line(char *line, size_t len)
{
    size_t lead = sink.torn ? 1 : 0;
    ssize_t n;

    line[-1] = '\n';
    n = write_once(line - lead, len + lead);
    if (n == (ssize_t)(len + lead)) {
        sink.dropped = 0;
        sink.torn = false;
    } else {
        sink.dropped++;
        sink.torn = sink.torn || n > 0;
    }
}

bool log_open(const char *path, enum log_level level, enum log_format format)
{
    int fd = STDERR_FILENO;

    if (!path)
        path = "";
    if (strlen(path) >= sizeof(sink.path))
        return false;
    if (path[0]) {
        fd = open_path(path);
        if (fd < 0)
            return false;
    }
    pthread_mutex_lock(&sink.lock);
    use_fd(fd);
    memcpy(sink.path, path, strlen(path) + 1);
    sink.format = format;
    atomic_store_explicit(&sink.level, (int)level, memory_order_relaxed);
    pthread_mutex_unlock(&sink.lock);
    return true;
}

bool log_reopen(void)
{
    bool ok = true;

    pthread_mutex_lock(&sink.lock);
    if (sink.path[0]) {
        int fd = open_path(sink.path);

        ok = fd >= 0;
        if (ok)
            use_fd(fd);
    }
    pthread_mutex_unlock(&sink.lock);
    return ok;
}

void log_set_level(enum log_level level) { atomic_store_explicit(&sink.level, (int)level, memory_order_relaxed); }

bool log_enabled(enum log_level level) { return (int)level >= atomic_load_explicit(&sink.level, memory_order_relaxed); }

bool log_level_parse(struct str name, enum log_level *out)
{
    for (unsigned i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (str_eq(name, str_from(log_line_level((enum log_level)i)))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

void log_emit(enum log_level level, const char *event, const struct log_field *fields)
{
    char text[1 + LOG_LINE_MAX];
    struct log_line line;
    uint64_t suppressed;
    int saved_errno = errno; /* a log line must not change what the caller reports next */

    pthread_mutex_lock(&sink.lock);
    if (admit(event, &suppressed)) {
        if (!sink.kind_known) {
            sink.kind = kind_of(sink.fd);
            sink.kind_known = true;
        }
        /* Up to PIPE_BUF a pipe that says it has room takes the line whole. */
        log_line_begin(&line, text + 1, sink.kind == SINK_PIPE ? PIPE_BUF - 1 : LOG_LINE_MAX, sink.format);
        log_line_head(&line, clock_wall_us(), level, event);
        for (; fields->key; fields++)
            log_line_field(&line, fields);
        put_line(text + 1, log_line_end(&line, suppressed, sink.dropped));
    }
    pthread_mutex_unlock(&sink.lock);
    errno = saved_errno;
}
