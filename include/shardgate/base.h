/*
 * base: what every room stands on. Errors, memory, strings, buffers, intrusive
 * lists, clock, log, metrics, state tables.
 *
 * Nothing here knows of PostgreSQL, sockets or threads, except that the log
 * sink and metrics may be used from any thread.
 */
#ifndef SHARDGATE_BASE_H
#define SHARDGATE_BASE_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* ---- mem ---------------------------------------------------------------- */

/* Small, fixed sizes that our own code chose: abort the process when memory is
 * exhausted, never return NULL. Zero-filled where the name says so. */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t len);

/* Sizes that a peer or a file chose: may return NULL; the caller fails that
 * peer only. mem_try_array checks count * size for overflow. */
void *mem_try_alloc(size_t size) MUST_CHECK;
void *mem_try_realloc(void *old, size_t size) MUST_CHECK;
void *mem_try_array(size_t count, size_t size) MUST_CHECK;

/* NULL is allowed. */
void mem_free(void *p);
/* Overwrites len bytes before freeing them: for passwords and keys. */
void mem_free_secret(void *p, size_t len);

/* ---- str ---------------------------------------------------------------- */

/* A borrowed slice of bytes; not NUL-terminated. ptr may be NULL when len is 0. */
struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})

struct str str_from(const char *cstring);
bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII letters only */
bool str_starts(struct str s, struct str prefix);
struct str str_trim(struct str s); /* ASCII white space at both ends */
/* Whole slice must be an optionally signed decimal in range; no white space. */
bool str_to_i64(struct str s, int64_t *out);
bool str_to_u64(struct str s, uint64_t *out);
/* Copies at most size-1 bytes and always terminates; returns false if cut. */
bool str_copy(char *dst, size_t size, struct str s);
/* An owned NUL-terminated copy; aborts on OOM, for bounded s only. */
char *str_dup(struct str s);

/* ---- buf ---------------------------------------------------------------- */

/* A growable byte queue with a hard ceiling. Appends fail (return false and set
 * the sticky `failed`) past the ceiling or when memory is exhausted, so that a
 * builder can check once at its end. */
struct buf {
    char *data; /* allocation, or NULL while empty */
    size_t off; /* first unread byte */
    size_t len; /* unread bytes from off */
    size_t cap; /* bytes allocated */
    size_t max; /* ceiling for len; 0 means SIZE_MAX/2 */
    bool failed;
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b); /* frees; b is as after buf_init */
bool buf_append(struct buf *b, const void *data, size_t len);
bool buf_append_str(struct buf *b, struct str s);
bool buf_append_byte(struct buf *b, uint8_t byte);
bool buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room for len more bytes, or NULL (then `failed` is set); buf_commit then takes what was filled. */
char *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);
void buf_consume(struct buf *b, size_t len); /* from the front */
static inline const char *buf_head(const struct buf *b) { return b->data ? b->data + b->off : ""; }
static inline struct str buf_str(const struct buf *b) { return (struct str){b->data ? b->data + b->off : "", b->len}; }
/* Gives the memory back when the buffer is empty: idle objects own no buffer. */
void buf_release_if_empty(struct buf *b);

/* ---- ilist: intrusive circular doubly linked list ----------------------- */

struct ilist {
    struct ilist *next, *prev;
};

static inline void ilist_init(struct ilist *head) { head->next = head->prev = head; }
static inline bool ilist_empty(const struct ilist *head) { return head->next == head; }
/* A node that is in no list points at itself, or is zero before first use. */
static inline bool ilist_linked(const struct ilist *node) { return node->next && node->next != node; }
static inline void ilist_insert_before(struct ilist *at, struct ilist *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}
static inline void ilist_push_back(struct ilist *head, struct ilist *node) { ilist_insert_before(head, node); }
static inline void ilist_push_front(struct ilist *head, struct ilist *node) { ilist_insert_before(head->next, node); }
static inline void ilist_remove(struct ilist *node) /* idempotent */
{
    if (node->next) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        node->next = node->prev = node;
    }
}
static inline struct ilist *ilist_first(const struct ilist *head) { return head->next == head ? NULL : head->next; }
static inline struct ilist *ilist_pop_front(struct ilist *head)
{
    struct ilist *node = ilist_first(head);
    if (node)
        ilist_remove(node);
    return node;
}
/* Safe against removal of `node` in the body; not of its neighbour. */
#define ILIST_EACH(node, head)                                                         \
    for (struct ilist *node = (head)->next, *node##_next = node->next; node != (head); \
         node = node##_next, node##_next = node->next)

/* ---- clock -------------------------------------------------------------- */

/* Monotonic nanoseconds and wall-clock microseconds since 1970. */
uint64_t clock_mono_ns(void);
uint64_t clock_wall_us(void);

/* ---- err ---------------------------------------------------------------- */

enum err_code {
    ERR_OK = 0,
#define ERR(name, sqlstate, severity, message, hint) ERR_##name,
#include "shardgate/errors.def"
#undef ERR
    ERR__COUNT
};

enum err_severity { SEVERITY_ERROR, SEVERITY_FATAL };

struct err_info {
    const char *name;     /* "TENANT_REQUIRED" */
    const char *sqlstate; /* five characters */
    enum err_severity severity;
    const char *message; /* the client's primary message */
    const char *hint;    /* what to do; "" for none */
};
const struct err_info *err_info(enum err_code code);

/* One failure, with two readers: `detail` may reach the client, `cause` only
 * the log. Texts are cut at their size. Plain data; copy freely. */
struct error {
    enum err_code code;
    bool fatal;        /* the connection ends with it, whatever the table's severity */
    char message[160]; /* "" means the table's message */
    char detail[240];
    char hint[240];   /* "" means the table's hint */
    char sqlstate[6]; /* "" means the table's; set when a server's own is passed on */
    char cause[320];
};

void error_clear(struct error *e);
/* Sets code and the log's cause; other texts stay those of the table. Returns
 * false so that `return error_set(...)` reads well. */
bool error_set(struct error *e, enum err_code code, const char *cause_fmt, ...) PRINTF_LIKE(3, 4);
void error_message(struct error *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
void error_detail(struct error *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
void error_hint(struct error *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
const char *error_sqlstate(const struct error *e);
const char *error_text(const struct error *e);      /* client message */
const char *error_hint_text(const struct error *e); /* client hint, "" for none */

/* ---- log ---------------------------------------------------------------- */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

struct log_field {
    const char *key; /* NULL ends the list */
    enum { LOG_FIELD_STR, LOG_FIELD_INT } type;
    struct str s;
    int64_t i;
};
#define log_str(k, v) ((struct log_field){(k), LOG_FIELD_STR, str_from(v), 0})
#define log_slice(k, v) ((struct log_field){(k), LOG_FIELD_STR, (v), 0})
#define log_int(k, v) ((struct log_field){(k), LOG_FIELD_INT, {0}, (int64_t)(v)})
#define log_err(e) log_str("sqlstate", error_sqlstate(e)), log_str("error", error_text(e)), log_str("cause", (e)->cause)

/* The log sink is the one process-wide variable. path NULL or "" means stderr.
 * Returns false, and keeps the old sink, if the file cannot be opened. */
bool log_open(const char *path, enum log_level level, enum log_format format);
bool log_reopen(void); /* the same path again, after rotation */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
bool log_level_parse(struct str name, enum log_level *out);
/* Writes one line in one write(2); any thread. `event` is a literal and is the
 * unit of rate limiting: past 20 lines a second of one event, lines are counted
 * instead and the count follows as `suppressed=n`. */
void log_emit(enum log_level level, const char *event, const struct log_field *fields);
/* log_event(LOG_INFO, "client login", log_str("user", u), log_int("shard", 3)); */
#define log_event(level, event, ...)                                                                                   \
    do {                                                                                                               \
        if (log_enabled(level))                                                                                        \
            log_emit((level), (event), (struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){NULL, LOG_FIELD_INT, {0}, 0}}); \
    } while (0)

/* ---- metrics ------------------------------------------------------------ */

/* Counters have one writer (a worker or the control thread) and any reader. */
enum counter {
#define COUNTER(name, metric, help) COUNTER_##name,
#include "shardgate/metrics.def"
#undef COUNTER
    COUNTER__COUNT
};
/* The same, one set a shard and worker. */
enum shard_counter {
#define SHARD_COUNTER(name, metric, help) SHARD_##name,
#include "shardgate/metrics.def"
#undef SHARD_COUNTER
    SHARD_COUNTER__COUNT
};
enum shard_histogram {
#define SHARD_HISTOGRAM(name, metric, help) SHARD_##name,
#include "shardgate/metrics.def"
#undef SHARD_HISTOGRAM
    SHARD_HISTOGRAM__COUNT
};

#define HISTOGRAM_BUCKETS 16 /* upper bounds 1 µs × 4^i; the last is +Inf */
struct histogram {
    _Atomic uint64_t bucket[HISTOGRAM_BUCKETS];
    _Atomic uint64_t sum_ns;
};
struct counters {
    _Atomic uint64_t v[COUNTER__COUNT];
};
struct shard_stats {
    _Atomic uint64_t v[SHARD_COUNTER__COUNT];
    struct histogram h[SHARD_HISTOGRAM__COUNT];
};

static inline void counter_cell_add(_Atomic uint64_t *cell, uint64_t n)
{
    /* One writer: a plain add that readers see whole. */
    atomic_store_explicit(cell, atomic_load_explicit(cell, memory_order_relaxed) + n, memory_order_relaxed);
}
static inline void counter_add(struct counters *c, enum counter id, uint64_t n) { counter_cell_add(&c->v[id], n); }
static inline void shard_add(struct shard_stats *s, enum shard_counter id, uint64_t n)
{
    counter_cell_add(&s->v[id], n);
}
void histogram_observe(struct histogram *h, uint64_t ns);
uint64_t histogram_bound_ns(unsigned bucket); /* UINT64_MAX for the last */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_SHARD_COUNTER, METRIC_SHARD_HISTOGRAM };
struct metric_info {
    enum metric_type type;
    const char *metric; /* Prometheus name without the shardgate_ prefix */
    const char *help;
};
/* All metrics in the order of metrics.def; for /metrics and docs/metrics.md. */
const struct metric_info *metric_table(size_t *count);

/* ---- fsm: allowed moves of a state machine as a table -------------------- */

/* allowed[from] is a bit mask of states that may follow. */
#define FSM_TO(state) (1u << (state))
static inline bool fsm_allows(const uint32_t *allowed, unsigned from, unsigned to)
{
    return (allowed[from] >> to) & 1u;
}

#endif
