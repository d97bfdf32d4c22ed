/*
 * The users as an immutable snapshot: an array, and an open-addressing table of
 * indices into it. All texts are owned here, so that a snapshot outlives the
 * configuration it came from.
 *
 * Keys of the table come from the operator, not from peers, so an unkeyed hash
 * is enough: a peer can only look up.
 */
#include "auth_users.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "auth_file.h"
#include "auth_secret.h"

struct indices {
    uint32_t *items;
    uint32_t count;
};

struct auth_users {
    atomic_uint refs;
    struct auth_user *users;
    size_t count, cap;
    uint32_t *slots;            /* index + 1; 0: free */
    size_t mask;                /* slots less one; a power of two less one */
    struct indices with_secret; /* models for password and md5 */
    struct indices for_scram;
    uint8_t salt_key[AUTH_KEY_LEN];
};

static size_t find_slot(const struct auth_users *u, struct str name)
{
    size_t i = (size_t)XXH3_64bits(name.len ? name.ptr : "", name.len) & u->mask;
    while (u->slots[i] && !str_eq(u->users[u->slots[i] - 1].name, name))
        i = (i + 1) & u->mask;
    return i;
}

/* Twice the size, at most half full. */
static bool grow(struct auth_users *u)
{
    size_t cap = u->cap ? u->cap * 2 : 16;
    if (cap > UINT32_MAX / 4)
        return false;
    struct auth_user *users = mem_try_realloc(u->users, cap * sizeof(*users));
    if (!users)
        return false;
    u->users = users;
    uint32_t *slots = mem_try_array(cap * 2, sizeof(*slots));
    if (!slots)
        return false;
    memset(slots, 0, cap * 2 * sizeof(*slots));
    mem_free(u->slots);
    u->slots = slots;
    u->cap = cap;
    u->mask = cap * 2 - 1;
    for (size_t i = 0; i < u->count; i++)
        u->slots[find_slot(u, u->users[i].name)] = (uint32_t)i + 1;
    return true;
}

static struct auth_user *add_user(struct auth_users *u, struct str name, struct error *e)
{
    if (u->count == u->cap && !grow(u)) {
        error_set(e, ERR_OUT_OF_MEMORY, "no memory for more than %zu users", u->count);
        return NULL;
    }
    struct auth_user *user = &u->users[u->count];
    *user = (struct auth_user){.name = {str_dup(name), name.len}, .mode = CONF_MODE_DEFAULT};
    u->slots[find_slot(u, name)] = (uint32_t)++u->count;
    return user;
}

static bool set_secret(struct auth_user *user, struct str secret, struct error *e)
{
    if (!auth_secret_kind(secret, &user->kind))
        return error_set(e, ERR_CONFIG,
                         "the secret of user \"%.64s\" begins as a SCRAM verifier and is not a valid one",
                         user->name.ptr);
    user->secret = (struct str){str_dup(secret), secret.len};
    return true;
}

static bool copy_tenants(struct auth_user *user, const struct conf_user *from)
{
    if (from->tenant_count == 0)
        return true;
    struct conf_range *tenants = mem_try_array(from->tenant_count, sizeof(*tenants));
    if (!tenants)
        return false;
    memcpy(tenants, from->tenants, from->tenant_count * sizeof(*tenants));
    user->tenants = tenants;
    user->tenant_count = from->tenant_count;
    return true;
}

static bool add_conf_user(struct auth_users *u, const struct conf_user *from, struct error *e)
{
    struct auth_user *user = add_user(u, str_from(from->name), e);
    if (!user)
        return false;
    user->mode = from->mode;
    user->max_clients = from->max_clients;
    user->max_server_connections = from->max_server_connections;
    user->pool_size = from->pool_size;
    user->server_user = from->server_user ? mem_strdup(from->server_user) : NULL;
    user->server_password = from->server_password ? mem_strdup(from->server_password) : NULL;
    if (!copy_tenants(user, from)) /* never a user whose limits were lost */
        return error_set(e, ERR_OUT_OF_MEMORY, "no memory for the tenants of a user");
    return !from->password || set_secret(user, str_from(from->password), e);
}

struct file_load {
    struct auth_users *u;
    size_t from_conf; /* users below this index are of the YAML file */
    bool *seen;       /* of those: the auth file has named them */
};

/* A user of the YAML file takes only a missing secret from here. */
static bool on_file_user(void *arg, struct str name, struct str secret, struct error *e)
{
    struct file_load *load = arg;
    struct auth_users *u = load->u;
    size_t index = u->count ? u->slots[find_slot(u, name)] : 0;
    if (index == 0) {
        struct auth_user *user = add_user(u, name, e);
        return user && set_secret(user, secret, e);
    }
    if (index > load->from_conf || load->seen[index - 1])
        return error_set(e, ERR_CONFIG, "user \"%.*s\" is already in the file", (int)name.len, name.ptr);
    load->seen[index - 1] = true;
    return u->users[index - 1].secret.ptr || set_secret(&u->users[index - 1], secret, e);
}

static bool load_file(struct auth_users *u, const char *path, struct error *e)
{
    struct file_load load = {u, u->count, NULL};
    if (u->count && !(load.seen = mem_try_array(u->count, sizeof(*load.seen))))
        return error_set(e, ERR_OUT_OF_MEMORY, "no memory for %zu users", u->count);
    if (u->count)
        memset(load.seen, 0, u->count * sizeof(*load.seen));
    bool good = auth_file_read(path, on_file_user, &load, e);
    mem_free(load.seen);
    return good;
}

static void mark_rights(struct auth_users *u, const struct conf *c)
{
    for (size_t i = 0; i < u->count; i++) {
        struct auth_user *user = &u->users[i];
        for (size_t j = 0; j < c->admin_users.count; j++)
            user->admin |= str_eq(user->name, str_from(c->admin_users.items[j]));
        for (size_t j = 0; j < c->stats_users.count; j++)
            user->stats |= str_eq(user->name, str_from(c->stats_users.items[j]));
    }
}

static bool index_models(struct auth_users *u, struct indices *out, enum conf_auth_type type)
{
    if (u->count == 0)
        return true;
    out->items = mem_try_array(u->count, sizeof(*out->items));
    for (size_t i = 0; out->items && i < u->count; i++)
        if (auth_user_fits(&u->users[i], type))
            out->items[out->count++] = (uint32_t)i;
    return out->items;
}

static bool make_salt_key(struct auth_users *u, const struct conf *c)
{
    if (!*c->auth_salt_key) {
        auth_random(u->salt_key, sizeof(u->salt_key));
        return true;
    }
    return auth_hmac((const uint8_t *)"shardgate salt", 14, str_from(c->auth_salt_key), u->salt_key);
}

static bool load(struct auth_users *u, const struct conf *c, struct error *e)
{
    for (size_t i = 0; i < c->user_count; i++)
        if (!add_conf_user(u, &c->users[i], e))
            return false;
    if (*c->auth_file && !load_file(u, c->auth_file, e))
        return false;
    mark_rights(u, c);
    if (!index_models(u, &u->with_secret, CONF_AUTH_PASSWORD) || !index_models(u, &u->for_scram, CONF_AUTH_SCRAM))
        return error_set(e, ERR_OUT_OF_MEMORY, "no memory for %zu users", u->count);
    return make_salt_key(u, c) || error_set(e, ERR_INTERNAL, "HMAC-SHA256 is not available");
}

static void free_text(const char *text)
{
    if (text)
        mem_free_secret((void *)(uintptr_t)text, strlen(text));
}

void auth_users_unref(struct auth_users *u)
{
    if (!u || atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < u->count; i++) {
        struct auth_user *user = &u->users[i];
        mem_free((void *)(uintptr_t)user->name.ptr);
        free_text(user->secret.ptr);
        free_text(user->server_user);
        free_text(user->server_password);
        mem_free((void *)(uintptr_t)user->tenants);
    }
    mem_free(u->users);
    mem_free(u->slots);
    mem_free(u->with_secret.items);
    mem_free(u->for_scram.items);
    mem_free_secret(u, sizeof(*u));
}

bool auth_user_fits(const struct auth_user *user, enum conf_auth_type type)
{
    if (type == CONF_AUTH_SCRAM)
        return user->kind == AUTH_SECRET_PLAIN || user->kind == AUTH_SECRET_SCRAM;
    return type == CONF_AUTH_TRUST || user->kind != AUTH_SECRET_NONE;
}

const struct auth_user *auth_users_model(const struct auth_users *u, enum conf_auth_type type, struct str name)
{
    const struct indices *models = type == CONF_AUTH_SCRAM ? &u->for_scram : &u->with_secret;
    uint8_t sum[AUTH_KEY_LEN];
    uint64_t choice;
    if (models->count == 0 || !auth_hmac(u->salt_key, sizeof(u->salt_key), name, sum))
        return NULL;
    memcpy(&choice, sum, sizeof(choice));
    return &u->users[models->items[choice % models->count]];
}

bool auth_users_salt(const struct auth_users *u, struct str name, uint8_t *salt, size_t len)
{
    uint8_t sum[AUTH_KEY_LEN];
    struct buf text;
    bool good = true;
    buf_init(&text, 0);
    for (size_t done = 0, block = 0; good && done < len; block++) { /* one HMAC for each 32 bytes */
        size_t n = len - done < sizeof(sum) ? len - done : sizeof(sum);
        good = buf_printf(&text, "salt %zu ", block) && buf_append_str(&text, name) &&
               auth_hmac(u->salt_key, sizeof(u->salt_key), buf_str(&text), sum);
        if (good)
            memcpy(salt + done, sum, n);
        buf_consume(&text, text.len);
        done += n;
    }
    buf_fini(&text);
    return good;
}

const struct auth_user *auth_users_find(const struct auth_users *u, struct str name)
{
    if (u->count == 0)
        return NULL;
    uint32_t index = u->slots[find_slot(u, name)];
    return index ? &u->users[index - 1] : NULL;
}

size_t auth_users_count(const struct auth_users *u) { return u->count; }

bool auth_user_may(const struct auth_user *user, int64_t tenant)
{
    size_t low = 0, high = user->tenant_count;
    if (high == 0)
        return true;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (tenant < user->tenants[middle].min)
            high = middle;
        else if (tenant > user->tenants[middle].max)
            low = middle + 1;
        else
            return true;
    }
    return false;
}

struct auth_users *auth_users_ref(struct auth_users *u)
{
    atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
    return u;
}

struct auth_users *auth_users_load(const struct conf *c, struct error *e)
{
    struct auth_users *u = mem_zalloc(sizeof(*u));
    atomic_init(&u->refs, 1);
    error_clear(e);
    if (!load(u, c, e)) {
        auth_users_unref(u);
        return NULL;
    }
    return u;
}
