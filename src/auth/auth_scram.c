#include "auth_scram.h"

#include <inttypes.h>
#include <string.h>

#include "auth_base64.h"

/* Takes `x=value` and the comma after it, if any; the first letter goes to *letter. */
static bool take_attribute(struct str *s, char *letter, struct str *value, bool *more)
{
    if (s->len < 2 || s->ptr[1] != '=')
        return false;
    char c = s->ptr[0];
    if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z'))
        return false;
    const char *comma = memchr(s->ptr, ',', s->len);
    size_t len = comma ? (size_t)(comma - s->ptr) : s->len;
    *letter = c;
    *value = (struct str){s->ptr + 2, len - 2};
    *more = comma;
    *s = (struct str){s->ptr + len + (comma ? 1 : 0), s->len - len - (comma ? 1 : 0)};
    return true;
}

static bool is_nonce(struct str s)
{
    if (s.len == 0 || s.len > SCRAM_NONCE_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < 0x21 || s.ptr[i] > 0x7e || s.ptr[i] == ',')
            return false;
    return true;
}

/* "n,," or "y,,": the GS2 header. */
static const char *take_gs2_header(struct str *s, bool *y_flag)
{
    if (s->len == 0)
        return "the message is empty";
    if (s->ptr[0] == 'p')
        return "channel binding was asked for and is not offered";
    if (s->ptr[0] != 'n' && s->ptr[0] != 'y')
        return "unexpected channel-binding flag";
    if (s->len < 3 || s->ptr[1] != ',')
        return "no comma after the channel-binding flag";
    if (s->ptr[2] == 'a')
        return "an authorization identity is not supported";
    if (s->ptr[2] != ',')
        return "unexpected attribute in the GS2 header";
    *y_flag = s->ptr[0] == 'y';
    *s = (struct str){s->ptr + 3, s->len - 3};
    return NULL;
}

/* "n=user,r=nonce[,extensions]". The user name is that of the startup packet: the
 * one here is ignored, as by PostgreSQL. */
static const char *parse_first_bare(struct str s, struct str *nonce)
{
    char letter;
    struct str value;
    bool more;
    if (s.len > 0 && s.ptr[0] == 'm')
        return "the client requires an extension that is not supported";
    if (!take_attribute(&s, &letter, &value, &more) || letter != 'n' || !more)
        return "expected the attribute n (user name)";
    if (!take_attribute(&s, &letter, nonce, &more) || letter != 'r')
        return "expected the attribute r (nonce)";
    if (!is_nonce(*nonce))
        return "the nonce is empty, too long or not printable";
    while (more)
        if (!take_attribute(&s, &letter, &value, &more))
            return "malformed extension";
    return NULL;
}

static enum scram_result malformed(const char **why, const char *text)
{
    *why = text;
    return SCRAM_MALFORMED;
}

/* "r=…,s=…,i=…" behind client-first-bare and a comma. */
static bool append_server_first(struct scram *s, struct str client_nonce, const uint8_t nonce[SCRAM_SERVER_NONCE])
{
    struct buf *m = &s->auth_message;
    buf_append_str(m, STR("r="));
    s->nonce_at = m->len;
    buf_append_str(m, client_nonce);
    auth_base64_encode(m, nonce, SCRAM_SERVER_NONCE);
    s->nonce_len = m->len - s->nonce_at;
    buf_append_str(m, STR(",s="));
    auth_base64_encode(m, s->keys.salt, s->keys.salt_len);
    buf_printf(m, ",i=%" PRIu32, s->keys.iterations);
    return !m->failed;
}

void scram_init(struct scram *s)
{
    memset(s, 0, sizeof(*s));
    buf_init(&s->auth_message, (size_t)3 * SCRAM_MESSAGE_MAX);
}

void scram_fini(struct scram *s)
{
    conf_wipe(&s->auth_message);
    explicit_bzero(s, sizeof(*s));
}

enum scram_result scram_first(struct scram *s, struct str message, const uint8_t nonce[SCRAM_SERVER_NONCE],
                              struct str *server_first, const char **why)
{
    struct str client_nonce;
    if (message.len > SCRAM_MESSAGE_MAX)
        return malformed(why, "the message is too long");
    const char *problem = take_gs2_header(&message, &s->y_flag);
    if (!problem)
        problem = memchr(message.ptr, 0, message.len) ? "a zero byte is not allowed" : NULL;
    if (!problem)
        problem = parse_first_bare(message, &client_nonce);
    if (problem)
        return malformed(why, problem);
    struct buf *m = &s->auth_message;
    buf_append_str(m, message);
    buf_append_byte(m, ',');
    size_t at = m->len;
    if (!append_server_first(s, client_nonce, nonce))
        return SCRAM_NO_MEMORY;
    *server_first = (struct str){buf_head(m) + at, m->len - at};
    return SCRAM_GOOD;
}

/* "c=biws,r=nonces[,extensions],p=proof"; *without_proof ends before ",p=". */
static const char *parse_final(const struct scram *s, struct str message, struct str *without_proof, struct str *proof)
{
    char letter = 0;
    struct str rest = message, value;
    bool more = false;
    if (!take_attribute(&rest, &letter, &value, &more) || letter != 'c' || !more)
        return "expected the attribute c (channel binding)";
    if (!str_eq(value, s->y_flag ? STR("eSws") : STR("biws")))
        return "the channel binding is not that of the first message";
    if (!take_attribute(&rest, &letter, &value, &more) || letter != 'r' || !more)
        return "expected the attribute r (nonce)";
    if (!str_eq(value, (struct str){buf_head(&s->auth_message) + s->nonce_at, s->nonce_len}))
        return "the nonce does not match";
    do {
        *without_proof = (struct str){message.ptr, (size_t)(rest.ptr - message.ptr) - 1};
        if (!more || !take_attribute(&rest, &letter, &value, &more))
            return "expected the attribute p (proof)";
    } while (letter != 'p');
    if (more)
        return "something follows the proof";
    *proof = value;
    return NULL;
}

enum scram_result scram_final(struct scram *s, struct str message, const char **why)
{
    struct str without_proof, proof;
    size_t len;
    if (message.len > SCRAM_MESSAGE_MAX)
        return malformed(why, "the message is too long");
    const char *problem = parse_final(s, message, &without_proof, &proof);
    if (problem)
        return malformed(why, problem);
    if (!auth_base64_decode(proof, s->proof, sizeof(s->proof), &len) || len != sizeof(s->proof))
        return malformed(why, "the proof is not 32 bytes in base64");
    buf_append_byte(&s->auth_message, ',');
    return buf_append_str(&s->auth_message, without_proof) ? SCRAM_GOOD : SCRAM_NO_MEMORY;
}

bool scram_verify(const struct scram *s, uint8_t signature[AUTH_KEY_LEN])
{
    uint8_t key[AUTH_KEY_LEN], stored[AUTH_KEY_LEN];
    struct str message = buf_str(&s->auth_message);
    memset(signature, 0, AUTH_KEY_LEN);
    bool good = auth_hmac(s->keys.stored_key, AUTH_KEY_LEN, message, signature);
    for (size_t i = 0; i < AUTH_KEY_LEN; i++)
        key[i] = s->proof[i] ^ signature[i];
    good = good && auth_sha256((struct str){(const char *)key, sizeof(key)}, stored) &&
           auth_same(stored, s->keys.stored_key, sizeof(stored)) &&
           auth_hmac(s->keys.server_key, AUTH_KEY_LEN, message, signature);
    explicit_bzero(key, sizeof(key));
    explicit_bzero(stored, sizeof(stored));
    return good;
}
