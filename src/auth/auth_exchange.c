/*
 * One login as a function of its messages.
 *
 * No oracle for user names
 *
 * Whoever may connect may ask "does this user exist?" by trying to log in. The
 * answer must be the same for yes and no until the password is right: the same
 * messages of the same shape and number, the same salt when asked twice, and the
 * same kind of work behind them. So an exchange for an unknown user, or for one
 * whose stored secret does not fit auth.type, is *doomed*: it runs to its end
 * and cannot succeed.
 *
 * What a doomed exchange looks like is copied from a real user, its *model*,
 * chosen by an HMAC of the name (auth_users_model): where some users have
 * verifiers of 4096 iterations, some of 100000 and some plain secrets, then names
 * that do not exist are spread over the same kinds in the same proportions. A
 * fixed shape would be right for one kind of user and tell the others apart.
 *
 *   kind of secret   SCRAM: salt and iterations      work after client-final
 *   verifier         the verifier's                  none
 *   plain            HMAC of the name, auth.scram_…  AUTH_DERIVE (PBKDF2)
 *   doomed           HMAC of the name, the model's   as the model: same PBKDF2
 *
 * Keys derived from plain secrets are not cached: a user's second login would
 * otherwise be faster than the second try of a name that does not exist.
 * Operators who want that time back store verifiers, which need no derivation.
 *
 * What is left: salts of verifiers are fixed for ever, while those made by HMAC
 * change with the salt key. With auth.salt_key set they do not change either;
 * without it they are as stable as one load of the users.
 *
 * Ownership: an exchange references the users and owns its copies of what the
 * client sent. auth_derive runs on another thread while the owner waits; it
 * touches only the exchange.
 */
#include "auth_users.h"

#include <stdlib.h>
#include <string.h>

#include "shardgate/wire.h"

#include "auth_base64.h"
#include "auth_scram.h"

#define MECHANISM "SCRAM-SHA-256"
#define DUMMY_LEN 32u

/*
 *   BEGIN --+--> WAIT_PASSWORD ----------------------+--> DERIVING --> DONE
 *           +--> WAIT_MD5 ----------------------------------------> DONE
 *           +--> WAIT_INITIAL --> WAIT_FIRST          |
 *           |         |               |               |
 *           |         +---------------+--> WAIT_FINAL +--> DERIVING --> DONE
 *           +--> DONE (trust)                         +--------------> DONE
 *   Every state may end in DONE by a failure.
 */
enum exchange_state { BEGIN, WAIT_PASSWORD, WAIT_MD5, WAIT_INITIAL, WAIT_FIRST, WAIT_FINAL, DERIVING, DONE };

static const uint32_t allowed[] = {
    [BEGIN] = FSM_TO(WAIT_PASSWORD) | FSM_TO(WAIT_MD5) | FSM_TO(WAIT_INITIAL) | FSM_TO(DONE),
    [WAIT_PASSWORD] = FSM_TO(DERIVING) | FSM_TO(DONE),
    [WAIT_MD5] = FSM_TO(DONE),
    [WAIT_INITIAL] = FSM_TO(WAIT_FIRST) | FSM_TO(WAIT_FINAL) | FSM_TO(DONE),
    [WAIT_FIRST] = FSM_TO(WAIT_FINAL) | FSM_TO(DONE),
    [WAIT_FINAL] = FSM_TO(DERIVING) | FSM_TO(DONE),
    [DERIVING] = FSM_TO(DONE),
    [DONE] = 0,
};

struct auth_exchange {
    struct auth_users *users;
    const struct auth_user *user; /* NULL: doomed */
    const char *why;              /* doomed: for the log */
    enum exchange_state state;
    enum auth_secret kind; /* of the user's secret, or of the model's */
    bool sasl;             /* the proof is SCRAM's, not a password */
    struct buf sent_name;  /* what the client's md5 hashes */
    uint8_t md5_salt[4];
    struct scram scram;
    struct buf password; /* to derive keys from */
    struct scram_keys derived;
    bool derived_good;
    char dummy[DUMMY_LEN]; /* a doomed exchange's secret */
};

static void move(struct auth_exchange *x, enum exchange_state to)
{
    if (!fsm_allows(allowed, x->state, to))
        abort(); /* a mistake of ours: auth_input refuses what a peer can send out of turn */
    x->state = to;
}

static enum auth_step fail(struct auth_exchange *x, struct error *e, const char *why)
{
    move(x, DONE);
    error_set(e, ERR_AUTH_FAILED, "%s", why);
    return AUTH_FAIL;
}

static enum auth_step fail_protocol(struct auth_exchange *x, struct error *e, const char *what, const char *why)
{
    move(x, DONE);
    error_set(e, ERR_PROTOCOL, "%s: %s", what, why);
    error_detail(e, "%s: %s", what, why);
    return AUTH_FAIL;
}

static enum auth_step fail_memory(struct auth_exchange *x, struct error *e)
{
    move(x, DONE);
    error_set(e, ERR_OUT_OF_MEMORY, "no memory for a login");
    return AUTH_FAIL;
}

static enum auth_step fail_crypto(struct auth_exchange *x, struct error *e)
{
    move(x, DONE);
    error_set(e, ERR_INTERNAL, "the cryptographic library refused its work");
    return AUTH_FAIL;
}

/* The one place where a login succeeds. */
static enum auth_step finish(struct auth_exchange *x, bool proven, struct error *e)
{
    if (!x->user)
        return fail(x, e, x->why);
    if (!proven)
        return fail(x, e, "wrong password");
    move(x, DONE);
    return AUTH_OK;
}

static enum auth_step wait_for(struct auth_exchange *x, enum exchange_state state, bool sent, struct error *e)
{
    if (!sent)
        return fail_memory(x, e);
    move(x, state);
    return AUTH_CONTINUE;
}

/* ---- password and md5 ---------------------------------------------------- */

static struct str secret_of(const struct auth_exchange *x)
{
    return x->user ? x->user->secret : (struct str){x->dummy, sizeof(x->dummy)};
}

/* 32 hexadecimal digits: md5(password, user), as an md5 secret holds them. */
static bool md5_of_secret(const struct auth_exchange *x, struct str name, char out[AUTH_MD5_HEX])
{
    struct str secret = secret_of(x);
    if (x->kind != AUTH_SECRET_MD5)
        return auth_md5_hex(secret, name, out);
    memcpy(out, x->user ? secret.ptr + 3 : x->dummy, AUTH_MD5_HEX);
    return true;
}

static enum auth_step derive_from(struct auth_exchange *x, struct str password, struct error *e)
{
    if (!buf_append_str(&x->password, password))
        return fail_memory(x, e);
    move(x, DERIVING);
    return AUTH_DERIVE;
}

static enum auth_step check_password(struct auth_exchange *x, struct str password, struct error *e)
{
    char expected[AUTH_MD5_HEX], got[AUTH_MD5_HEX];
    if (password.len == 0) /* as PostgreSQL: never a password, whoever asks */
        return fail(x, e, "empty password");
    if (x->kind == AUTH_SECRET_SCRAM)
        return derive_from(x, password, e);
    if (x->kind != AUTH_SECRET_MD5)
        return finish(x, auth_same_text(password, secret_of(x)), e);
    struct str name = x->user ? x->user->name : buf_str(&x->sent_name);
    if (!md5_of_secret(x, name, expected) || !auth_md5_hex(password, name, got))
        return fail_crypto(x, e);
    return finish(x, auth_same(expected, got, sizeof(got)), e);
}

static enum auth_step check_md5(struct auth_exchange *x, struct str answer, struct error *e)
{
    char inner[AUTH_MD5_HEX], expected[3 + AUTH_MD5_HEX] = "md5";
    bool good = md5_of_secret(x, buf_str(&x->sent_name), inner) &&
                auth_md5_hex((struct str){inner, sizeof(inner)},
                             (struct str){(const char *)x->md5_salt, sizeof(x->md5_salt)}, expected + 3);
    explicit_bzero(inner, sizeof(inner));
    if (!good)
        return fail_crypto(x, e);
    return finish(x, auth_same_text(answer, (struct str){expected, sizeof(expected)}), e);
}

/* ---- SCRAM ---------------------------------------------------------------- */

static enum auth_step refuse_scram(struct auth_exchange *x, enum scram_result r, const char *why, struct error *e)
{
    return r == SCRAM_NO_MEMORY ? fail_memory(x, e) : fail_protocol(x, e, "malformed SCRAM message", why);
}

/* server-final: "v=signature" */
static bool put_final(struct buf *reply, const uint8_t signature[AUTH_KEY_LEN])
{
    struct buf text;
    buf_init(&text, 0);
    bool good = buf_append_str(&text, STR("v=")) && auth_base64_encode(&text, signature, AUTH_KEY_LEN) &&
                wire_put_auth_sasl_final(reply, buf_str(&text));
    buf_fini(&text);
    return good;
}

static enum auth_step verify_scram(struct auth_exchange *x, struct buf *reply, struct error *e)
{
    uint8_t signature[AUTH_KEY_LEN];
    enum auth_step step = finish(x, scram_verify(&x->scram, signature), e);
    if (step == AUTH_OK && !put_final(reply, signature)) {
        error_set(e, ERR_OUT_OF_MEMORY, "no memory for a login");
        return AUTH_FAIL;
    }
    return step;
}

static enum auth_step on_first(struct auth_exchange *x, struct str message, struct buf *reply, struct error *e)
{
    uint8_t nonce[SCRAM_SERVER_NONCE];
    struct str server_first;
    const char *why = "";
    auth_random(nonce, sizeof(nonce));
    enum scram_result r = scram_first(&x->scram, message, nonce, &server_first, &why);
    if (r != SCRAM_GOOD)
        return refuse_scram(x, r, why, e);
    return wait_for(x, WAIT_FINAL, wire_put_auth_sasl_continue(reply, server_first), e);
}

static enum auth_step on_initial(struct auth_exchange *x, struct str body, struct buf *reply, struct error *e)
{
    struct str mechanism, data;
    if (!wire_parse_sasl_initial(body, &mechanism, &data))
        return fail_protocol(x, e, "malformed SASLInitialResponse", "wrong lengths");
    if (!str_eq(mechanism, STR(MECHANISM)))
        return fail_protocol(x, e, "invalid SASL mechanism", "only " MECHANISM " is offered");
    if (!data.ptr) /* no initial response: the server asks for it with an empty challenge */
        return wait_for(x, WAIT_FIRST, wire_put_auth_sasl_continue(reply, STR("")), e);
    return on_first(x, data, reply, e);
}

static enum auth_step on_final(struct auth_exchange *x, struct str message, struct buf *reply, struct error *e)
{
    const char *why = "";
    enum scram_result r = scram_final(&x->scram, message, &why);
    if (r != SCRAM_GOOD)
        return refuse_scram(x, r, why, e);
    if (x->kind == AUTH_SECRET_SCRAM)
        return verify_scram(x, reply, e);
    return derive_from(x, secret_of(x), e);
}

/* ---- begin ---------------------------------------------------------------- */

/* What the client is shown: the user's own keys, or keys that fit no password. */
static bool set_keys(struct auth_exchange *x, const struct auth_user *shape, struct str name, int64_t iterations)
{
    struct scram_keys *k = &x->scram.keys;
    if (x->kind == AUTH_SECRET_SCRAM) {
        if (!shape || !scram_keys_parse(shape->secret, k)) /* was checked at load */
            return false;
        if (x->user)
            return true;
        auth_random(k->stored_key, sizeof(k->stored_key));
        auth_random(k->server_key, sizeof(k->server_key));
    } else {
        k->iterations = iterations > 0 && iterations <= AUTH_ITERATIONS_MAX ? (uint32_t)iterations : 4096;
        k->salt_len = AUTH_SALT_LEN;
    }
    return auth_users_salt(x->users, x->user ? x->user->name : name, k->salt, k->salt_len);
}

static void make_dummy(struct auth_exchange *x)
{
    static const char digits[] = "0123456789abcdef";
    auth_random(x->dummy, sizeof(x->dummy));
    for (size_t i = 0; i < sizeof(x->dummy); i++)
        x->dummy[i] = digits[x->dummy[i] & 15];
}

static enum auth_step offer(struct auth_exchange *x, enum conf_auth_type type, struct buf *reply, struct error *e)
{
    if (type == CONF_AUTH_PASSWORD)
        return wait_for(x, WAIT_PASSWORD, wire_put_auth_cleartext(reply), e);
    if (type == CONF_AUTH_MD5 && x->kind != AUTH_SECRET_SCRAM) {
        auth_random(x->md5_salt, sizeof(x->md5_salt));
        return wait_for(x, WAIT_MD5, wire_put_auth_md5(reply, x->md5_salt), e);
    }
    x->sasl = true;
    return wait_for(x, WAIT_INITIAL, wire_put_auth_sasl(reply, MECHANISM), e);
}

static enum auth_step begin(struct auth_exchange *x, const struct auth_user *user, struct str name,
                            enum conf_auth_type type, int64_t iterations, struct buf *reply, struct error *e)
{
    const struct auth_user *model = auth_users_model(x->users, type, name);
    if (type == CONF_AUTH_TRUST) {
        x->user = user;
        x->why = "unknown user";
        return finish(x, true, e);
    }
    x->user = user && auth_user_fits(user, type) ? user : NULL;
    x->why = user ? "the user's stored secret does not fit auth.type" : "unknown user";
    const struct auth_user *shape = x->user ? x->user : model;
    x->kind = shape ? shape->kind : AUTH_SECRET_PLAIN;
    make_dummy(x);
    if (!buf_append_str(&x->sent_name, name) || !set_keys(x, shape, name, iterations))
        return fail_memory(x, e);
    return offer(x, type, reply, e);
}

struct auth_exchange *auth_begin(struct auth_users *users, const struct auth_user *user, struct str name,
                                 enum conf_auth_type type, int64_t iterations, struct buf *reply, enum auth_step *step,
                                 struct error *e)
{
    struct auth_exchange *x = mem_zalloc(sizeof(*x));
    x->users = auth_users_ref(users);
    scram_init(&x->scram);
    buf_init(&x->sent_name, 0);
    buf_init(&x->password, AUTH_INPUT_MAX);
    *step = begin(x, user, name, type, iterations, reply, e);
    return x;
}

bool auth_set_sent_name(struct auth_exchange *x, struct str name)
{
    buf_consume(&x->sent_name, x->sent_name.len);
    return buf_append_str(&x->sent_name, name);
}

static enum auth_step on_password(struct auth_exchange *x, struct str body, struct error *e)
{
    struct str password;
    if (!wire_parse_password(body, &password))
        return fail_protocol(x, e, "malformed PasswordMessage", "no terminator at its end");
    return x->state == WAIT_MD5 ? check_md5(x, password, e) : check_password(x, password, e);
}

enum auth_step auth_input(struct auth_exchange *x, struct str body, struct buf *reply, struct error *e)
{
    if (x->state < WAIT_PASSWORD || x->state > WAIT_FINAL) {
        /* Nobody asked for it. The state stays: while deriving, the thread owns x. */
        error_set(e, ERR_PROTOCOL, "authentication message out of order");
        return AUTH_FAIL;
    }
    if (body.len > AUTH_INPUT_MAX)
        return fail_protocol(x, e, "authentication message", "longer than 64 KiB");
    switch (x->state) {
    case WAIT_INITIAL:
        return on_initial(x, body, reply, e);
    case WAIT_FIRST:
        return on_first(x, body, reply, e);
    case WAIT_FINAL:
        return on_final(x, body, reply, e);
    default:
        return on_password(x, body, e);
    }
}
void auth_derive(struct auth_exchange *x)
{
    x->derived = x->scram.keys;
    x->derived_good = scram_keys_derive(buf_str(&x->password), &x->derived);
}

enum auth_step auth_resume(struct auth_exchange *x, struct buf *reply, struct error *e)
{
    if (!x->derived_good)
        return fail_memory(x, e);
    if (!x->sasl)
        return finish(x, auth_same(x->derived.stored_key, x->scram.keys.stored_key, AUTH_KEY_LEN), e);
    x->scram.keys = x->derived;
    return verify_scram(x, reply, e);
}

void auth_free(struct auth_exchange *x)
{
    if (!x)
        return;
    scram_fini(&x->scram);
    conf_wipe(&x->password);
    buf_fini(&x->sent_name);
    auth_users_unref(x->users);
    mem_free_secret(x, sizeof(*x));
}
