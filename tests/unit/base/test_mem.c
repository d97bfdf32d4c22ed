#include "support.h"

#include <string.h>

static void test_zero_sizes_are_real_blocks(void **state)
{
    (void)state;
    void *a = mem_alloc(0);
    void *b = mem_try_alloc(0);
    void *c = mem_try_array(0, 8);

    assert_non_null(a);
    assert_non_null(b);
    assert_non_null(c);
    b = mem_try_realloc(b, 0);
    assert_non_null(b);
    mem_free(a);
    mem_free(b);
    mem_free(c);
    mem_free(NULL);
}

static void test_zalloc_is_zero(void **state)
{
    (void)state;
    static const char zero[64];
    char *p = mem_zalloc(64);

    assert_memory_equal(p, zero, 64);
    mem_free(p);
}

static void test_strdup(void **state)
{
    (void)state;
    char *a = mem_strdup("tenant");
    char *b = mem_strndup("tenant", 3);
    char *c = mem_strndup(NULL, 0);

    assert_string_equal(a, "tenant");
    assert_string_equal(b, "ten");
    assert_string_equal(c, "");
    mem_free(a);
    mem_free(b);
    mem_free(c);
}

static void test_array_overflow(void **state)
{
    (void)state;
    size_t half = SIZE_MAX / 2;

    assert_null(mem_try_array(half, 3));
    assert_null(mem_try_array(3, half));
    assert_null(mem_try_array(SIZE_MAX, SIZE_MAX));
}

static void test_realloc_keeps_content(void **state)
{
    (void)state;
    char *p = mem_try_realloc(NULL, 4);

    assert_non_null(p);
    memcpy(p, "abc", 4);
    p = mem_try_realloc(p, 4096);
    assert_non_null(p);
    assert_string_equal(p, "abc");
    mem_free(p);
}

static void test_free_secret(void **state)
{
    (void)state;
    mem_free_secret(NULL, 0);
    mem_free_secret(NULL, 16);
    mem_free_secret(mem_strdup("password"), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_sizes_are_real_blocks),
        cmocka_unit_test(test_zalloc_is_zero),
        cmocka_unit_test(test_strdup),
        cmocka_unit_test(test_array_overflow),
        cmocka_unit_test(test_realloc_keeps_content),
        cmocka_unit_test(test_free_secret),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
