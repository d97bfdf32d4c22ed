#include "support.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

/* Bytes of the pages that hold len bytes, without the guard page. */
static size_t pages_for(size_t len)
{
    size_t page = page_size();

    return (len + page - 1) / page * page;
}

static int on_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void *guard_alloc(size_t len)
{
    size_t pages = pages_for(len);
    char *base = mmap(NULL, pages + page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED || mprotect(base + pages, page_size(), PROT_NONE) != 0)
        fail_msg("guard_alloc(%zu): no memory", len);
    return base + pages - len;
}

void *guard_copy(const void *data, size_t len)
{
    char *p = guard_alloc(len);

    if (len)
        memcpy(p, data, len);
    return p;
}

void guard_free(void *p, size_t len)
{
    if (p)
        munmap((char *)p + len - pages_for(len), pages_for(len) + page_size());
}

char *test_folder_new(void)
{
    const char *tmp = getenv("TMPDIR");
    char *path = NULL;

    if (asprintf(&path, "%s/shardgate-test-XXXXXX", tmp && tmp[0] ? tmp : "/tmp") < 0 || !mkdtemp(path))
        fail_msg("no temporary folder");
    return path;
}

void test_folder_remove(char *folder)
{
    if (folder)
        nftw(folder, on_remove, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

char *test_file_read(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    char *data = NULL;
    size_t used = 0;
    size_t size = 0;

    if (!f)
        fail_msg("cannot open %s", path);
    for (;;) {
        if (size - used < 2) {
            size = size ? size * 2 : 4096;
            data = realloc(data, size);
            assert_non_null(data);
        }
        size_t n = fread(data + used, 1, size - used - 1, f);
        if (n == 0)
            break;
        used += n;
    }
    fclose(f);
    data[used] = '\0';
    if (len)
        *len = used;
    return data;
}

void test_file_write(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");

    if (!f)
        fail_msg("cannot write %s", path);
    if (len)
        assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

void test_assert_str(struct str got, const char *want, size_t want_len, const char *file, int line)
{
    if (got.len != want_len || (want_len && memcmp(got.ptr, want, want_len) != 0)) {
        print_error("got  \"%.*s\"\nwant \"%.*s\"\n", (int)got.len, got.ptr, (int)want_len, want);
        _fail(file, line);
    }
}
