/*
 * Profiles: what clients of one user, database and settings have in common, one
 * object a worker. An application's thousand idle connections share one.
 */
#include <string.h>

#include <xxhash.h>

#include "session_internal.h"

#define CHAINS ARRAY_LEN(((struct sessions *)0)->profiles)

static const struct conf_database *find_database(const struct conf *c, struct str name)
{
    const struct conf_database *any = NULL;
    for (size_t i = 0; i < c->database_count; i++) {
        if (str_eq(name, str_from(c->databases[i].name)))
            return &c->databases[i];
        if (strcmp(c->databases[i].name, "*") == 0)
            any = &c->databases[i];
    }
    return any;
}

const struct conf_database *profile_database(const struct sessions *ss, const struct profile *p)
{
    return find_database(ss->conf, p->database);
}

/* In transaction mode application_name is set on the server when it differs, so
 * that applications of several names can share connections. */
static struct settings *make_settings(struct sessions *ss, const struct login *l, enum conf_pool_mode mode)
{
    struct setting items[SETTINGS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < l->setting_count; i++) {
        if (mode == CONF_MODE_SESSION || !str_eq_nocase(l->settings[i].name, STR("application_name")))
            items[count++] = l->settings[i];
    }
    return settings_get(ss->pools, items, count, l->replication);
}

static enum conf_pool_mode mode_of(const struct sessions *ss, const struct login *l)
{
    if (l->replication != REPLICATION_NONE)
        return CONF_MODE_SESSION;
    if (l->user->mode != CONF_MODE_DEFAULT)
        return l->user->mode;
    const struct conf_database *d = find_database(ss->conf, l->database);
    return d && d->mode != CONF_MODE_DEFAULT ? d->mode : ss->conf->pool_mode;
}

struct profile *profile_get(struct sessions *ss, const struct login *l)
{
    enum conf_pool_mode mode = mode_of(ss, l);
    struct settings *settings = make_settings(ss, l, mode);
    uint64_t hash = XXH3_64bits_withSeed(l->user_name.ptr, l->user_name.len, (uint64_t)(uintptr_t)settings);
    hash = XXH3_64bits_withSeed(l->database.ptr, l->database.len, hash);
    struct profile **chain = &ss->profiles[hash % CHAINS];
    for (struct profile *p = *chain; p; p = p->next) {
        if (p->hash == hash && p->settings == settings && p->users == l->users && p->mode == mode &&
            str_eq(p->user_name, l->user_name) && str_eq(p->database, l->database)) {
            settings_unref(ss->pools, settings);
            p->refs++;
            return p;
        }
    }
    struct profile *p = mem_zalloc(sizeof *p);
    p->refs = 1;
    p->hash = hash;
    p->users = auth_users_ref(l->users);
    p->user = l->user;
    p->settings = settings;
    p->mode = mode;
    p->console = l->console;
    p->user_name = (struct str){str_dup(l->user_name), l->user_name.len};
    p->database = (struct str){str_dup(l->database), l->database.len};
    p->next = *chain;
    *chain = p;
    return p;
}

void profile_unref(struct sessions *ss, struct profile *p)
{
    if (--p->refs)
        return;
    struct profile **at = &ss->profiles[p->hash % CHAINS];
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    settings_unref(ss->pools, p->settings);
    auth_users_unref(p->users);
    mem_free((void *)(uintptr_t)p->user_name.ptr);
    mem_free((void *)(uintptr_t)p->database.ptr);
    mem_free(p);
}
