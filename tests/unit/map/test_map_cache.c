/* The cache file: what is written is read, and nothing else is. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <xxhash.h>

#include "map_cache.h"
#include "map_test.h"

static char *folder, *path;

static int set_up(void **state)
{
    (void)state;
    folder = test_folder_new();
    assert_true(asprintf(&path, "%s/map.cache", folder) > 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_folder_remove(folder);
    free(path);
    return 0;
}

static struct map *sample(int64_t overrides)
{
    struct map_builder *b = map_builder_new(123456789012345);
    struct map_shard s = a_range(7, INT64_MIN, -1);
    struct map *m, *next;

    s.primary = true;
    s.conninfo = (char[]){"postgresql://app:secret@db.example.com:5433/app?sslmode=require"};
    add_shard(b, s);
    s = a_shard(32767);
    s.active = false;
    s.region[0] = '\0';
    s.datacenter[0] = '\0';
    add_shard(b, s);
    for (int64_t t = 0; t < overrides; t++)
        assert_true(map_builder_override(b, t * 17, t % 2 ? 7 : 32767, MAP_OVERRIDE));
    m = finish(b, NULL);
    b = map_builder_delta(m, 123456789012346); /* with an overlay */
    assert_true(map_builder_remove(b, 17));
    assert_true(map_builder_override(b, INT64_MAX, 7, MAP_LEARNED));
    next = finish(b, m);
    map_unref(m);
    return next;
}

static void write_map(const struct map *m)
{
    struct error e = {0};

    if (!map_cache_write(m, path, &e))
        fail_msg("%s", e.cause);
}

static struct map *read_back(void)
{
    struct error e = {0};
    struct map *m = map_cache_read(path, &e);

    if (!m)
        fail_msg("%s", e.cause);
    return m;
}

static void test_round_trip(void **state)
{
    static const int64_t sizes[] = {0, 1, 2, 100, 30000, 100000}; /* some past the buffers */

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct map *m = sample(sizes[i]), *back;
        enum map_why why;
        struct stat st;

        write_map(m);
        back = read_back();
        assert_true(map_same(m, back));
        assert_int_equal(map_revision(back), 123456789012346);
        assert_int_equal(shard_of(back, INT64_MAX, &why), 7);
        assert_int_equal(why, MAP_LEARNED);
        assert_int_equal(map_primary(back)->id, 7);
        assert_string_equal(map_shard_by_id(back, 7)->region, "USA");
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        map_unref(m);
        map_unref(back);
    }
}

static int files_in_folder(void)
{
    DIR *d = opendir(folder);
    int files = 0;

    for (struct dirent *f = readdir(d); f; f = readdir(d))
        files += f->d_name[0] != '.';
    closedir(d);
    return files;
}

/* Nothing is left beside the file. */
static void test_only_one_file(void **state)
{
    struct map *m = sample(10);

    (void)state;
    write_map(m);
    write_map(m);
    map_unref(m);
    assert_int_equal(files_in_folder(), 1);
}

static void refuse_file(const void *data, size_t len)
{
    struct error e = {0};
    struct map *m;

    test_file_write(path, data, len);
    chmod(path, 0600);
    m = map_cache_read(path, &e);
    assert_null(m);
    assert_int_not_equal(e.code, ERR_OK);
    assert_true(e.cause[0]);
    assert_null(strstr(e.cause, "secret"));
}

static void test_every_byte(void **state)
{
    struct map *m = sample(20);
    size_t len;
    char *good;

    (void)state;
    write_map(m);
    good = test_file_read(path, &len);
    for (size_t i = 0; i < len; i++)
        for (int bit = 0; bit < 8; bit += 7) {
            good[i] = (char)(good[i] ^ (1 << bit));
            refuse_file(good, len);
            good[i] = (char)(good[i] ^ (1 << bit));
        }
    free(good);
    map_unref(m);
}

static void test_every_length(void **state)
{
    struct map *m = sample(20);
    size_t len;
    char *good, *longer;

    (void)state;
    write_map(m);
    good = test_file_read(path, &len);
    for (size_t i = 0; i < len; i++)
        refuse_file(good, i);
    longer = calloc(1, len + 100);
    memcpy(longer, good, len);
    for (size_t i = len + 1; i < len + 100; i++)
        refuse_file(longer, i);
    free(longer);
    free(good);
    map_unref(m);
}

/* A right checksum over wrong sizes, as from a writer with a bug. */
static void test_right_checksum(void **state)
{
    struct map *m = sample(20);
    size_t len;
    char *good;

    (void)state;
    write_map(m);
    good = test_file_read(path, &len);
    for (size_t i = 0; i + CACHE_CHECKSUM < len; i++)
        for (int flip = 1; flip < 256; flip += 127) {
            XXH128_canonical_t sum;
            struct error e = {0};
            struct map *read;

            good[i] = (char)(good[i] ^ flip);
            XXH128_canonicalFromHash(&sum, XXH3_128bits(good, len - CACHE_CHECKSUM));
            memcpy(good + len - CACHE_CHECKSUM, &sum, sizeof(sum));
            test_file_write(path, good, len);
            read = map_cache_read(path, &e); /* some bytes are free, as those of tenants */
            assert_true(read || e.cause[0]);
            map_unref(read);
            good[i] = (char)(good[i] ^ flip);
        }
    free(good);
    map_unref(m);
}

static void test_garbage(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (int n = 0; n < 200; n++) {
        uint8_t data[600];
        size_t len = random_next(&seed) % sizeof(data);

        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)random_next(&seed);
        refuse_file(data, len);
    }
}

static void expect_reason(const char *name, const char *why)
{
    struct error e = {0};

    assert_null(map_cache_read(name, &e));
    if (!strstr(e.cause, why))
        fail_msg("refused for \"%s\", not for \"%s\"", e.cause, why);
}

static void test_not_ours(void **state)
{
    struct map *m = sample(20);

    (void)state;
    expect_reason("/nonexistent/map.cache", "No such file");
    expect_reason(folder, "not a regular file");
    write_map(m);
    chmod(path, 0620);
    expect_reason(path, "others may write to it");
    chmod(path, 0600);
    map_unref(read_back());
    map_unref(m);
}

/* A write that fails leaves the old file as it was. */
static void test_failed_write(void **state)
{
    struct map *m = sample(20), *more = sample(200000), *back;
    struct error e = {0};
    struct rlimit before;

    (void)state;
    assert_false(map_cache_write(m, "/nonexistent/map.cache", &e));
    assert_non_null(strstr(e.cause, "No such file"));
    assert_false(map_cache_write(m, folder, &e)); /* a folder stands there */
    write_map(m);
    /* The disk is full, as far as this process is concerned. */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &(struct rlimit){100000, before.rlim_max}), 0);
    assert_false(map_cache_write(more, path, &e));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_non_null(strstr(e.cause, "File too large"));
    assert_int_equal(files_in_folder(), 1);
    back = read_back();
    assert_true(map_same(m, back));
    map_unref(back);
    map_unref(m);
    map_unref(more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_one_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_byte, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_right_checksum, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_garbage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_not_ours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_failed_write, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
