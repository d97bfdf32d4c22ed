/* Settings and params: equal content is one object. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool_impl.h"

static struct pools *new_pools(void)
{
    return mem_zalloc(sizeof(struct pools)); /* interning needs nothing else of it */
}

static void free_pools(struct pools *ps)
{
    assert_int_equal(ps->settings.count, 0);
    assert_int_equal(ps->params.count, 0);
    hash_index_fini(&ps->settings);
    hash_index_fini(&ps->params);
    mem_free(ps);
}

#define SETTING(n, v)                                \
    {                                                \
        {(n), sizeof(n) - 1}, { (v), sizeof(v) - 1 } \
    }

static void settings_are_one_object(void **state)
{
    (void)state;
    struct pools *ps = new_pools();
    struct setting a[] = {SETTING("TimeZone", "UTC"), SETTING("DateStyle", "ISO")};
    struct setting b[] = {SETTING("datestyle", "ISO"), SETTING("timezone", "GMT"), SETTING("TIMEZONE", "UTC")};
    struct settings *one = settings_get(ps, a, 2, REPLICATION_NONE);
    struct settings *two = settings_get(ps, b, 3, REPLICATION_NONE); /* the later of two of one name wins */
    struct settings *other = settings_get(ps, a, 2, REPLICATION_DATABASE);
    struct settings *shorter = settings_get(ps, a, 1, REPLICATION_NONE);
    struct settings *none = settings_get(ps, NULL, 0, REPLICATION_NONE);
    assert_ptr_equal(one, two);
    assert_ptr_not_equal(one, other);
    assert_ptr_not_equal(one, shorter);
    assert_int_equal(one->count, 2);
    assert_int_equal(one->refs, 2);
    assert_str(one->items[0].name, "datestyle");
    assert_str(one->items[1].value, "UTC");
    assert_str(one->options, " -c datestyle=ISO -c timezone=UTC");
    assert_int_equal(none->options.len, 0);
    assert_int_equal(none->count, 0);
    settings_unref(ps, two);
    settings_unref(ps, one);
    settings_unref(ps, other);
    settings_unref(ps, shorter);
    settings_unref(ps, none);
    free_pools(ps);
}

static void settings_values_are_escaped(void **state)
{
    (void)state;
    struct pools *ps = new_pools();
    struct setting a[] = {SETTING("search_path", "a b, \\c"), SETTING("x.y", "")};
    struct settings *s = settings_get(ps, a, 2, REPLICATION_NONE);
    char *scratch = malloc(s->options.len);
    struct wire_options it = {s->options, scratch};
    struct str name, value;
    assert_int_equal(wire_options_next(&it, &name, &value), 1);
    assert_str(name, "search_path");
    assert_str(value, "a b, \\c");
    assert_int_equal(wire_options_next(&it, &name, &value), 1);
    assert_str(value, "");
    assert_int_equal(wire_options_next(&it, &name, &value), 0);
    free(scratch);
    settings_unref(ps, s);
    free_pools(ps);
}

static void many_settings_with_few_names(void **state)
{
    (void)state;
    struct pools *ps = new_pools();
    static struct setting a[3000];
    static char names[3000][8];
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(names[i], sizeof(names[i]), "n%u", i % 700);
        a[i].name = str_from(names[i]);
        a[i].value = i >= 2300 ? STR("last") : STR("early");
    }
    struct settings *s = settings_get(ps, a, 3000, REPLICATION_NONE);
    assert_int_equal(s->count, 700);
    for (unsigned i = 0; i < s->count; i++)
        assert_str(s->items[i].value, "last");
    settings_unref(ps, s);
    free_pools(ps);
}

static void params_are_one_object(void **state)
{
    (void)state;
    struct pools *ps = new_pools();
    struct str v[PARAM__COUNT] = {[PARAM_TIMEZONE] = STR("UTC"), [PARAM_DATESTYLE] = STR("ISO, MDY")};
    struct params *a = params_get(ps, v);
    char copy[] = "UTC";
    v[PARAM_TIMEZONE] = str_from(copy);
    struct params *b = params_get(ps, v);
    assert_ptr_equal(a, b);
    struct params *paris = params_with(ps, a, PARAM_TIMEZONE, STR("Europe/Paris"));
    assert_ptr_not_equal(a, paris);
    assert_str(paris->value[PARAM_DATESTYLE], "ISO, MDY");
    struct params *back = params_with(ps, paris, PARAM_TIMEZONE, STR("UTC"));
    assert_ptr_equal(a, back);
    assert_null(a->value[PARAM_SEARCH_PATH].ptr);
    struct params *empty = params_with(ps, a, PARAM_SEARCH_PATH, STR(""));
    assert_ptr_not_equal(a, empty); /* reported as empty is not the same as not reported */
    assert_non_null(empty->value[PARAM_SEARCH_PATH].ptr);
    params_unref(ps, a);
    params_unref(ps, b);
    params_unref(ps, back);
    params_unref(ps, paris);
    params_unref(ps, empty);
    free_pools(ps);
}

static void huge_param_is_not_kept(void **state)
{
    (void)state;
    struct pools *ps = new_pools();
    static char huge[100000];
    memset(huge, 'x', sizeof(huge));
    struct params *p = params_with(ps, NULL, PARAM_SEARCH_PATH, (struct str){huge, sizeof(huge)});
    assert_null(p->value[PARAM_SEARCH_PATH].ptr);
    params_unref(ps, p);
    free_pools(ps);
}

static void names_are_found(void **state)
{
    (void)state;
    assert_int_equal(param_find(STR("timezone")), PARAM_TIMEZONE);
    assert_int_equal(param_find(STR("IN_HOT_STANDBY")), PARAM_HOT_STANDBY);
    assert_int_equal(param_find(STR("work_mem")), -1);
    for (int i = 0; i < PARAM__COUNT; i++)
        assert_int_equal(param_find(str_from(param_names[i])), i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_one_object),      cmocka_unit_test(settings_values_are_escaped),
        cmocka_unit_test(many_settings_with_few_names), cmocka_unit_test(params_are_one_object),
        cmocka_unit_test(huge_param_is_not_kept),       cmocka_unit_test(names_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
