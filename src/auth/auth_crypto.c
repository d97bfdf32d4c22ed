#include "auth_crypto.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "shardgate/auth.h"

static const unsigned char *bytes(struct str s) { return (const unsigned char *)(s.len ? s.ptr : ""); }

bool auth_hmac(const uint8_t *key, size_t key_len, struct str text, uint8_t out[AUTH_KEY_LEN])
{
    return key_len <= INT_MAX && HMAC(EVP_sha256(), key, (int)key_len, bytes(text), text.len, out, NULL);
}

bool auth_sha256(struct str text, uint8_t out[AUTH_KEY_LEN])
{
    return EVP_Digest(bytes(text), text.len, out, NULL, EVP_sha256(), NULL) == 1;
}

bool auth_pbkdf2(struct str password, struct str salt, uint32_t iterations, uint8_t out[AUTH_KEY_LEN])
{
    if (password.len > INT_MAX || salt.len > INT_MAX || iterations == 0 || iterations > INT_MAX)
        return false;
    return PKCS5_PBKDF2_HMAC((const char *)bytes(password), (int)password.len, bytes(salt), (int)salt.len,
                             (int)iterations, EVP_sha256(), AUTH_KEY_LEN, out) == 1;
}

bool auth_md5_hex(struct str a, struct str b, char out[AUTH_MD5_HEX])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char sum[16];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1 && EVP_DigestUpdate(ctx, bytes(a), a.len) == 1 &&
                EVP_DigestUpdate(ctx, bytes(b), b.len) == 1 && EVP_DigestFinal_ex(ctx, sum, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    for (size_t i = 0; good && i < sizeof(sum); i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
    OPENSSL_cleanse(sum, sizeof(sum));
    return good;
}

bool auth_same(const void *a, const void *b, size_t len) { return CRYPTO_memcmp(a, b, len) == 0; }

bool auth_same_text(struct str a, struct str b)
{
    /* Under a key that lives for this call, so that not even the lengths are compared. */
    uint8_t key[AUTH_KEY_LEN], x[AUTH_KEY_LEN], y[AUTH_KEY_LEN];
    auth_random(key, sizeof(key));
    bool same = auth_hmac(key, sizeof(key), a, x) && auth_hmac(key, sizeof(key), b, y) && auth_same(x, y, sizeof(x));
    OPENSSL_cleanse(key, sizeof(key));
    return same;
}

void auth_random(void *to, size_t len)
{
    char *p = to;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort(); /* without random numbers no login is safe */
        p += n;
        len -= (size_t)n;
    }
}
