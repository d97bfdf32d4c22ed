/* One log line in one of two forms, bounded and safe whatever its values hold.
 * Private to base. */
#ifndef SHARDGATE_BASE_LOG_LINE_H
#define SHARDGATE_BASE_LOG_LINE_H

#include "shardgate/base.h"

#define LOG_LINE_MAX 8192

struct log_line {
    char *text;
    size_t len;
    size_t max; /* bound for head and fields; the tail's space is past it */
    enum log_format format;
    bool cut; /* something did not fit */
};

const char *log_line_level(enum log_level level);

/* text has size bytes, at least 512. Then head, fields, end, in that order. */
void log_line_begin(struct log_line *l, char *text, size_t size, enum log_format format);
void log_line_head(struct log_line *l, uint64_t wall_us, enum log_level level, const char *event);
/* A value that does not fit is cut at a character; a key that does not is left out. */
void log_line_field(struct log_line *l, const struct log_field *f);
/* Adds the counts that are not 0, cut=true where it is, and the line feed. */
size_t log_line_end(struct log_line *l, uint64_t suppressed, uint64_t dropped);

#endif
