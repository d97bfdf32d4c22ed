/*
 * What the C tests share.
 */
#ifndef SHARDGATE_TEST_SUPPORT_H
#define SHARDGATE_TEST_SUPPORT_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "shardgate/base.h"

/* len bytes that end exactly at a page which cannot be touched: a read or write
 * one byte past them is a SIGSEGV, in every build and also inside system calls.
 * Not aligned unless len is. len 0 gives a pointer that must not be read at all. */
void *guard_alloc(size_t len);
/* The same, filled with a copy of the bytes: the way to hand input to a parser. */
void *guard_copy(const void *data, size_t len);
/* len as it was given to guard_alloc; NULL is allowed. */
void guard_free(void *p, size_t len);

/* A new empty folder under the temporary directory; owned: test_folder_remove. */
char *test_folder_new(void);
void test_folder_remove(char *folder);

/* The whole file, NUL-terminated; fails the test if it cannot be read. Owned:
 * free. len may be NULL. */
char *test_file_read(const char *path, size_t *len);
void test_file_write(const char *path, const void *data, size_t len);

/* assert_str(buf_str(&b), "text") for slices. */
#define assert_str(slice, literal) test_assert_str((slice), (literal), sizeof(literal) - 1, __FILE__, __LINE__)
void test_assert_str(struct str got, const char *want, size_t want_len, const char *file, int line);

#endif
