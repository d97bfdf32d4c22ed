#include "auth_saslprep.h"

#include <stdlib.h>
#include <string.h>

#include <stringprep.h>

static bool is_ascii(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] >= 0x80)
            return false;
    return true;
}

bool auth_saslprep(struct str password, struct buf *out)
{
    if (is_ascii(password))
        return buf_append_str(out, password);
    char *copy = mem_try_alloc(password.len + 1), *prepared = NULL;
    if (!copy)
        return false;
    memcpy(copy, password.ptr, password.len);
    copy[password.len] = 0;
    int rc = stringprep_profile(copy, &prepared, "SASLprep", STRINGPREP_NO_UNASSIGNED);
    mem_free_secret(copy, password.len + 1);
    if (rc == STRINGPREP_MALLOC_ERROR)
        return false;
    if (rc != STRINGPREP_OK || !*prepared) { /* not UTF-8, prohibited, or nothing left */
        free(prepared);
        return buf_append_str(out, password);
    }
    bool good = buf_append_str(out, str_from(prepared));
    explicit_bzero(prepared, strlen(prepared));
    free(prepared);
    return good;
}
