/*
 * What the map costs at scale: map_bench [OVERRIDES [RUNS]] (10 million, 5).
 * Builds a map, looks tenants up and publishes deltas; prints one JSON object.
 *
 * A look-up is timed over many in a row whose tenants are drawn before, as a
 * worker's are independent of each other; "dependent" makes each tenant depend on
 * the answer before, so that nothing overlaps: the worst case.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shardgate/map.h"

#define SHARDS 64
#define PROBES 2000000
#define RUNS_MAX 99

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "map_bench: %s\n", what);
    exit(1);
}

/* Numbers as they are handed out: in a row, with gaps. */
static int64_t tenant_of(uint64_t i) { return (int64_t)(i * 3 + 1000000); }

static double seconds_since(uint64_t start_ns) { return (double)(clock_mono_ns() - start_ns) / 1e9; }

static size_t resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;

    if (f) {
        if (fscanf(f, "%*u %lu", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* As if the value were used. */
static void keep(uint64_t value) { __asm__ volatile("" : : "r"(value)); }

static void add_shards(struct map_builder *b)
{
    struct error e;

    for (int16_t id = 0; id < SHARDS; id++) {
        struct map_shard s = {.id = id,
                              .region = "USA",
                              .conninfo = (char[]){"host=127.0.0.1 dbname=app user=app"},
                              .active = true,
                              .has_range = true,
                              .min = INT64_MAX - 1000 * (id + 1),
                              .max = INT64_MAX - 1000 * (id + 1) + 999};

        if (!map_builder_shard(b, &s, &e))
            die(e.cause);
    }
}

static struct map *finish(struct map_builder *b, const struct map *old)
{
    struct error e;
    struct map *m = map_builder_finish(b, old, (struct map_limits){100, 100}, &e);

    if (!m)
        die(e.cause);
    return m;
}

static struct map *build(uint64_t overrides, double *collect, double *finishing)
{
    struct map_builder *b = map_builder_new(1);
    uint64_t start = clock_mono_ns();
    struct map *m;

    add_shards(b);
    map_builder_reserve(b, overrides);
    for (uint64_t i = 0; i < overrides; i++)
        if (!map_builder_override(b, tenant_of(i), (int16_t)(i % SHARDS), MAP_OVERRIDE))
            die("out of memory");
    *collect = seconds_since(start);
    start = clock_mono_ns();
    m = finish(b, NULL);
    *finishing = seconds_since(start);
    return m;
}

static struct map *small_delta(struct map *m, double *seconds)
{
    struct map_builder *b = map_builder_delta(m, map_revision(m) + 1);
    uint64_t start = clock_mono_ns();
    struct map *next;

    for (uint64_t i = 0; i < 1000; i++)
        if (!map_builder_override(b, tenant_of(i * 7), 1, MAP_OVERRIDE))
            die("out of memory");
    next = finish(b, m);
    *seconds = seconds_since(start);
    return next;
}

/* Tenants that do not depend on each other, as those of a worker's statements. */
static double look_up(const struct map *m, const int64_t *tenants)
{
    uint64_t start = clock_mono_ns(), sum = 0;

    for (size_t i = 0; i < PROBES; i++) {
        const struct map_shard *s = map_lookup(m, tenants[i], NULL);

        sum += s ? (uint64_t)s->id : 1;
    }
    keep(sum);
    return (double)(clock_mono_ns() - start) / PROBES;
}

/* The next look-up waits for the answer of the one before. */
static double look_up_dependent(const struct map *m, const int64_t *tenants)
{
    uint64_t start = clock_mono_ns(), sum = 0;

    for (size_t i = 0; i < PROBES; i++) {
        /* The bit is never set, which the compiler cannot know. */
        const struct map_shard *s = map_lookup(m, tenants[i] + (int64_t)(sum & ((uint64_t)1 << 62)), NULL);

        sum += s ? (uint64_t)s->id : 1;
    }
    keep(sum);
    return (double)(clock_mono_ns() - start) / PROBES;
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double (*measure)(const struct map *m, const int64_t *tenants), const struct map *m,
                     const int64_t *tenants, unsigned runs)
{
    double ns[RUNS_MAX];

    for (unsigned i = 0; i < runs; i++)
        ns[i] = measure(m, tenants);
    qsort(ns, runs, sizeof(ns[0]), compare_double);
    return ns[runs / 2];
}

static void fill(int64_t *tenants, uint64_t below, int64_t step)
{
    uint64_t seed = 88172645463325252u;

    for (size_t i = 0; i < PROBES; i++)
        tenants[i] = tenant_of(random_next(&seed) % below) + step;
}

int main(int argc, char **argv)
{
    uint64_t overrides = argc > 1 ? strtoull(argv[1], NULL, 10) : 10000000;
    unsigned runs = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 5;
    int64_t *tenants = malloc(PROBES * sizeof(*tenants));
    size_t before = resident_bytes();
    double collect, finishing, delta_seconds;
    struct map *m, *delta;

    if (!tenants || overrides == 0 || runs == 0 || runs > RUNS_MAX)
        die("usage: map_bench [OVERRIDES [RUNS]]");
    m = build(overrides, &collect, &finishing);
    printf("{\"overrides\": %zu, \"load_seconds\": %.3f, \"collect_seconds\": %.3f, \"finish_seconds\": %.3f,\n",
           map_override_count(m), collect + finishing, collect, finishing);
    printf(" \"map_bytes\": %zu, \"bytes_per_override\": %.2f, \"resident_bytes_per_override\": %.2f,\n", map_bytes(m),
           (double)map_bytes(m) / (double)overrides, (double)(resident_bytes() - before) / (double)overrides);
    fill(tenants, overrides, 0);
    printf(" \"lookup_random_ns\": %.1f, ", median(look_up, m, tenants, runs));
    printf("\"lookup_dependent_ns\": %.1f, ", median(look_up_dependent, m, tenants, runs));
    fill(tenants, overrides, 1);
    printf("\"lookup_missing_ns\": %.1f, ", median(look_up, m, tenants, runs));
    fill(tenants, overrides < 10000 ? overrides : 10000, 0);
    printf("\"lookup_hot_ns\": %.1f,\n", median(look_up, m, tenants, runs));
    delta = small_delta(m, &delta_seconds);
    fill(tenants, overrides, 0);
    printf(" \"delta_of_1000_ms\": %.3f, \"lookup_random_with_overlay_ns\": %.1f, \"runs\": %u}\n", delta_seconds * 1e3,
           median(look_up, delta, tenants, runs), runs);
    map_unref(delta);
    map_unref(m);
    free(tenants);
    return 0;
}
