/* Any bytes as an auth file: each pair lies within it, and what is refused has its line. */
#include "fuzz.h"

#include <string.h>

#include "auth_file.h"

struct whole {
    struct str text;
    size_t pairs;
};

static bool on_user(void *arg, struct str name, struct str secret, struct error *e)
{
    struct whole *w = arg;
    must(name.len > 0 && name.len <= AUTH_NAME_MAX);
    must(within(name, w->text) && within(secret, w->text));
    w->pairs++;
    return w->pairs < 1000 || error_set(e, ERR_CONFIG, "enough");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e;
    char *text = malloc(size ? size : 1);
    must(text);
    if (size)
        memcpy(text, data, size);
    struct whole w = {{text, size}, 0};
    error_clear(&e);
    must(auth_file_parse("f", text, size, on_user, &w, &e) || strncmp(e.cause, "f:", 2) == 0);
    free(text);
    return 0;
}
