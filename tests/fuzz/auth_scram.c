/*
 * The client's two SCRAM messages, with a newline between them, and the whole as
 * a verifier and as base64. The server's nonce is fixed, so that a corpus can hold
 * a pair that fits. Invariants: nothing proves a password but a proof; what is
 * refused has a reason; base64 that is taken encodes back to the same text.
 */
#include "fuzz.h"

#include <string.h>

#include "auth_base64.h"
#include "auth_scram.h"

static void check_base64(struct str text)
{
    uint8_t bytes[256];
    size_t len;
    struct buf again;
    if (!auth_base64_decode(text, bytes, sizeof(bytes), &len))
        return;
    buf_init(&again, 0);
    must(auth_base64_encode(&again, bytes, len));
    must(str_eq(buf_str(&again), text));
    buf_fini(&again);
}

static void check_messages(struct str first, struct str final)
{
    static const uint8_t nonce[SCRAM_SERVER_NONCE] = {0};
    struct scram s;
    struct str server_first = {0};
    const char *why = NULL;
    uint8_t signature[AUTH_KEY_LEN];
    scram_init(&s);
    s.keys.iterations = 4096;
    s.keys.salt_len = AUTH_SALT_LEN;
    memset(s.keys.stored_key, 7, sizeof(s.keys.stored_key));
    enum scram_result r = scram_first(&s, first, nonce, &server_first, &why);
    must(r != SCRAM_MALFORMED || why);
    if (r == SCRAM_GOOD) {
        must(str_starts(server_first, STR("r=")));
        r = scram_final(&s, final, &why);
        must(r != SCRAM_MALFORMED || why);
        if (r == SCRAM_GOOD)
            must(!scram_verify(&s, signature));
    }
    scram_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str all = {(const char *)data, size};
    const char *newline = size ? memchr(all.ptr, '\n', size) : NULL;
    size_t len = newline ? (size_t)(newline - all.ptr) : size;
    struct scram_keys keys;
    enum auth_secret kind;
    check_messages((struct str){all.ptr, len}, newline ? (struct str){newline + 1, size - len - 1} : (struct str){0});
    check_base64(all);
    must(auth_secret_kind(all, &kind) || kind == AUTH_SECRET_SCRAM);
    if (scram_keys_parse(all, &keys))
        must(keys.iterations > 0 && keys.salt_len > 0 && keys.salt_len <= AUTH_SALT_MAX);
    return 0;
}
