/*
 * A client that logs in: its own SCRAM and md5, straight on OpenSSL, so that
 * what it agrees with is not our code agreeing with itself.
 */
#ifndef SHARDGATE_TEST_AUTH_CLIENT_H
#define SHARDGATE_TEST_AUTH_CLIENT_H

#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "shardgate/auth.h"

#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"

/* What a login looked like from outside, and how it ended. */
struct login {
    enum auth_step step;
    struct error e;
    char shape[256]; /* "R10/23 R11/84 derive ok": message codes and lengths, steps */
    char salt[400];  /* of server-first */
    int iterations;
    bool server_proven; /* server-final had the right signature */
};

static inline void login_add(struct login *l, const char *word)
{
    size_t len = strlen(l->shape);
    snprintf(l->shape + len, sizeof(l->shape) - len, "%s%s", len ? " " : "", word);
}

/* Takes the one message of a reply: returns its code, and its data. */
static inline int take_reply(struct login *l, struct buf *reply, char *data, size_t size)
{
    char word[32];
    struct str s = buf_str(reply);
    const unsigned char *p = (const unsigned char *)s.ptr;
    assert_true(s.len >= 9 && p[0] == 'R');
    size_t len = (size_t)p[1] << 24 | (size_t)p[2] << 16 | (size_t)p[3] << 8 | p[4];
    assert_int_equal(len + 1, s.len);
    assert_true(s.len - 9 < size);
    memcpy(data, s.ptr + 9, s.len - 9);
    data[s.len - 9] = 0;
    int code = p[5] << 24 | p[6] << 16 | p[7] << 8 | p[8];
    snprintf(word, sizeof(word), "R%d/%zu", code, s.len);
    login_add(l, word);
    buf_consume(reply, reply->len);
    return code;
}

static inline size_t client_hmac(const unsigned char *key, const char *text, unsigned char out[32])
{
    unsigned len = 0;
    assert_non_null(HMAC(EVP_sha256(), key, 32, (const unsigned char *)text, strlen(text), out, &len));
    return len;
}

/* client-final for a server-first; `want` gets the server-final to expect. */
static inline void client_final(struct login *l, const char *password, const char *header, const char *server_first,
                                char *out, size_t size, char want[64])
{
    unsigned char salt[256], salted[32], key[32], stored[32], signature[32];
    char nonce[512], without[1024], message[4096], proof[64];
    const char *b64_header = header[0] == 'y' ? "eSws" : "biws";
    assert_int_equal(sscanf(server_first, "r=%500[^,],s=%390[^,],i=%d", nonce, l->salt, &l->iterations), 3);
    assert_memory_equal(nonce, CLIENT_NONCE, strlen(CLIENT_NONCE));
    assert_true(strlen(nonce) > strlen(CLIENT_NONCE) + 18);
    int n = EVP_DecodeBlock(salt, (const unsigned char *)l->salt, (int)strlen(l->salt));
    for (const char *p = l->salt + strlen(l->salt); p[-1] == '='; p--)
        n--;
    assert_true(n > 0);
    PKCS5_PBKDF2_HMAC(password, (int)strlen(password), salt, n, l->iterations, EVP_sha256(), 32, salted);
    client_hmac(salted, "Client Key", key);
    EVP_Digest(key, 32, stored, NULL, EVP_sha256(), NULL);
    snprintf(without, sizeof(without), "c=%s,r=%s", b64_header, nonce);
    snprintf(message, sizeof(message), "n=,r=" CLIENT_NONCE ",%s,%s", server_first, without);
    client_hmac(stored, message, signature);
    for (int i = 0; i < 32; i++)
        key[i] ^= signature[i];
    EVP_EncodeBlock((unsigned char *)proof, key, 32);
    snprintf(out, size, "%s,p=%s", without, proof);
    client_hmac(salted, "Server Key", key);
    client_hmac(key, message, signature);
    memcpy(want, "v=", 2);
    EVP_EncodeBlock((unsigned char *)want + 2, signature, 32);
}

static inline void client_md5(const char *password, const char *name, const char *salt, char out[40])
{
    unsigned char sum[16];
    char hex[40], text[512];
    snprintf(text, sizeof(text), "%s%s", password, name);
    EVP_Digest(text, strlen(text), sum, NULL, EVP_md5(), NULL);
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    memcpy(text, hex, 32);
    memcpy(text + 32, salt, 4);
    EVP_Digest(text, 36, sum, NULL, EVP_md5(), NULL);
    memcpy(out, "md5", 3);
    for (int i = 0; i < 16; i++)
        snprintf(out + 3 + 2 * i, 3, "%02x", sum[i]);
}

/* body of a SASLInitialResponse */
static inline void put_initial(struct buf *b, const char *mechanism, const char *data, size_t len)
{
    buf_append(b, mechanism, strlen(mechanism) + 1);
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_append_byte(b, (uint8_t)(len >> shift));
    buf_append(b, data, len);
}

/* Does what a step asks for, until it is the client's turn or the end. */
static inline enum auth_step settle(struct login *l, struct auth_exchange *x, enum auth_step step, struct buf *reply)
{
    if (step == AUTH_DERIVE) {
        login_add(l, "derive");
        auth_derive(x);
        step = auth_resume(x, reply, &l->e);
        assert_int_not_equal(step, AUTH_DERIVE);
    }
    if (step == AUTH_OK || step == AUTH_FAIL)
        login_add(l, step == AUTH_OK ? "ok" : "fail");
    return step;
}

static inline void client_scram(struct login *l, struct auth_exchange *x, const char *password, const char *header,
                                struct buf *reply)
{
    char data[2048], message[2048], want[64];
    struct buf body;
    buf_init(&body, 0);
    snprintf(message, sizeof(message), "%sn=,r=" CLIENT_NONCE, header);
    put_initial(&body, "SCRAM-SHA-256", message, strlen(message));
    l->step = settle(l, x, auth_input(x, buf_str(&body), reply, &l->e), reply);
    buf_fini(&body);
    if (l->step != AUTH_CONTINUE)
        return;
    assert_int_equal(take_reply(l, reply, data, sizeof(data)), 11);
    client_final(l, password, header, data, message, sizeof(message), want);
    l->step = settle(l, x, auth_input(x, str_from(message), reply, &l->e), reply);
    if (l->step == AUTH_OK) {
        assert_int_equal(take_reply(l, reply, data, sizeof(data)), 12);
        l->server_proven = strcmp(data, want) == 0;
    }
}

/* One whole login. `header`: the GS2 header of SCRAM. */
static inline struct login log_in(struct auth_users *users, const char *name, const char *sent_name,
                                  const char *password, enum conf_auth_type type, const char *header)
{
    struct login l = {0};
    struct buf reply;
    char data[2048], message[600];
    buf_init(&reply, 0);
    error_clear(&l.e);
    struct auth_exchange *x =
        auth_begin(users, auth_users_find(users, str_from(name)), str_from(name), type, 4096, &reply, &l.step, &l.e);
    assert_non_null(x);
    if (sent_name)
        assert_true(auth_set_sent_name(x, str_from(sent_name)));
    settle(&l, x, l.step, &reply);
    if (l.step == AUTH_CONTINUE) {
        int code = take_reply(&l, &reply, data, sizeof(data));
        if (code == 10) {
            assert_string_equal(data, "SCRAM-SHA-256");
            client_scram(&l, x, password, header, &reply);
        } else {
            assert_true(code == 3 || code == 5);
            if (code == 5)
                client_md5(password, sent_name ? sent_name : name, data, message);
            else
                snprintf(message, sizeof(message), "%s", password);
            l.step = settle(&l, x, auth_input(x, (struct str){message, strlen(message) + 1}, &reply, &l.e), &reply);
        }
    }
    assert_true(l.step == AUTH_OK || l.step == AUTH_FAIL);
    if (l.step == AUTH_FAIL)
        assert_int_equal(reply.len, 0);
    auth_free(x);
    buf_fini(&reply);
    return l;
}

static inline struct auth_users *users_of(const char *yaml)
{
    struct error e;
    struct conf *c = conf_parse("t", str_from(yaml), &e);
    if (!c)
        fail_msg("%s", e.cause);
    struct auth_users *u = auth_users_load(c, &e);
    if (!u)
        fail_msg("%s", e.cause);
    conf_unref(c);
    return u;
}

#define D "directory: {connection: d}\n"
/* Of the password "pencil", made by PostgreSQL 15. */
#define VERIFIER                                                                      \
    "SCRAM-SHA-256$4096:/2+kUy/zusYbmpW+xMrgFQ==$LYaIm9GFVDrxQuubLMRnqBbQx3QDTGP9so/" \
    "gHI1zOTI=:0mPFuQbQZyMrXdjErEkKBWr3guAowhg/oO6lkB0ls0c="
/* The md5 of "pencil" for the user md. */
#define MD5_OF_MD "md5890621e9f597c9a65ae6d9b8db02e14c"

#endif
