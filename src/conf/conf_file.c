#include "shardgate/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_all(int fd, const char *path, size_t max, struct buf *out, struct error *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_set(e, ERR_CONFIG, "%s: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return error_set(e, ERR_CONFIG, "%s: is a directory, not a file", path);
    if (!S_ISREG(st.st_mode))
        return error_set(e, ERR_CONFIG, "%s: is not a regular file", path);
    for (;;) {
        char *to = buf_reserve(out, 4096);
        if (!to)
            return error_set(e, ERR_CONFIG, "%s: is larger than %zu bytes", path, max);
        ssize_t n = read(fd, to, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(e, ERR_CONFIG, "%s: %s", path, strerror(errno));
        if (n == 0)
            return out->len <= max || error_set(e, ERR_CONFIG, "%s: is larger than %zu bytes", path, max);
        buf_commit(out, (size_t)n);
    }
}

bool conf_read_file(const char *path, size_t max, struct buf *out, struct error *e)
{
    buf_init(out, max + 4096);
    /* Not to hang on a FIFO before fstat can refuse it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_set(e, ERR_CONFIG, "%s: %s", path, strerror(errno));
    bool good = read_all(fd, path, max, out, e);
    close(fd);
    if (!good)
        conf_wipe(out);
    return good;
}

void conf_wipe(struct buf *b)
{
    if (b->data)
        explicit_bzero(b->data, b->cap);
    buf_fini(b);
}
