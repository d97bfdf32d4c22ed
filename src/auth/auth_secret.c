#include "auth_secret.h"

#include <string.h>

#include "auth_base64.h"
#include "auth_saslprep.h"

#define PREFIX "SCRAM-SHA-256$"

/* Takes what stands before the separator off the front of *s. */
static bool take_until(struct str *s, char separator, struct str *out)
{
    const char *p = s->len ? memchr(s->ptr, separator, s->len) : NULL;
    if (!p)
        return false;
    *out = (struct str){s->ptr, (size_t)(p - s->ptr)};
    *s = (struct str){p + 1, s->len - out->len - 1};
    return true;
}

static bool decode_key(struct str text, uint8_t out[AUTH_KEY_LEN])
{
    size_t len;
    return auth_base64_decode(text, out, AUTH_KEY_LEN, &len) && len == AUTH_KEY_LEN;
}

bool scram_keys_parse(struct str verifier, struct scram_keys *out)
{
    struct str rest = verifier, iterations, salt, stored;
    uint64_t n;
    if (!str_starts(rest, STR(PREFIX)))
        return false;
    rest = (struct str){rest.ptr + sizeof(PREFIX) - 1, rest.len - (sizeof(PREFIX) - 1)};
    if (!take_until(&rest, ':', &iterations) || !take_until(&rest, '$', &salt) || !take_until(&rest, ':', &stored))
        return false;
    if (!str_to_u64(iterations, &n) || n == 0 || n > AUTH_ITERATIONS_MAX)
        return false;
    out->iterations = (uint32_t)n;
    return auth_base64_decode(salt, out->salt, sizeof(out->salt), &out->salt_len) && out->salt_len > 0 &&
           decode_key(stored, out->stored_key) && decode_key(rest, out->server_key);
}

/* RFC 5802, chapter 3. */
bool scram_keys_derive(struct str password, struct scram_keys *keys)
{
    uint8_t salted[AUTH_KEY_LEN], client_key[AUTH_KEY_LEN];
    struct buf prepared;
    buf_init(&prepared, 0);
    bool good = auth_saslprep(password, &prepared) &&
                auth_pbkdf2(buf_str(&prepared), (struct str){(const char *)keys->salt, keys->salt_len},
                            keys->iterations, salted) &&
                auth_hmac(salted, sizeof(salted), STR("Client Key"), client_key) &&
                auth_sha256((struct str){(const char *)client_key, sizeof(client_key)}, keys->stored_key) &&
                auth_hmac(salted, sizeof(salted), STR("Server Key"), keys->server_key);
    explicit_bzero(salted, sizeof(salted));
    explicit_bzero(client_key, sizeof(client_key));
    conf_wipe(&prepared);
    return good;
}

static bool is_md5(struct str s)
{
    if (s.len != 3 + AUTH_MD5_HEX || !str_starts(s, STR("md5")))
        return false;
    for (size_t i = 3; i < s.len; i++)
        if (!(s.ptr[i] >= '0' && s.ptr[i] <= '9') && !(s.ptr[i] >= 'a' && s.ptr[i] <= 'f'))
            return false;
    return true;
}

bool auth_secret_kind(struct str secret, enum auth_secret *out)
{
    struct scram_keys keys;
    bool good = true;
    if (secret.len == 0)
        *out = AUTH_SECRET_NONE;
    else if (is_md5(secret))
        *out = AUTH_SECRET_MD5;
    else if (str_starts(secret, STR(PREFIX))) {
        *out = AUTH_SECRET_SCRAM;
        good = scram_keys_parse(secret, &keys);
        explicit_bzero(&keys, sizeof(keys));
    } else {
        *out = AUTH_SECRET_PLAIN;
    }
    return good;
}
