#include "http_pages.h"

#include <string.h>

static const struct {
    const char *path;
    enum http_page page;
} pages[] = {
    {"/livez", HTTP_LIVE},
    {"/readyz", HTTP_READY},
    {"/healthz", HTTP_HEALTH},
    {"/metrics", HTTP_METRICS},
};

enum http_page http_page_find(const char *path, int64_t *shard)
{
    struct str s = str_from(path), prefix = STR("/shards/");

    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (strcmp(path, pages[i].path) == 0)
            return pages[i].page;
    }
    if (str_starts(s, prefix)) {
        s = (struct str){s.ptr + prefix.len, s.len - prefix.len};
        if (str_to_i64(s, shard))
            return HTTP_SHARD;
    }
    return HTTP_NONE;
}

bool http_page_needs_workers(enum http_page p) { return p == HTTP_HEALTH || p == HTTP_METRICS; }

const char *http_page_type(enum http_page p)
{
    return p == HTTP_METRICS ? "text/plain; version=0.0.4; charset=utf-8" : "application/json";
}

unsigned http_render_page(enum http_page p, const struct instance_view *v, int64_t shard, struct buf *out)
{
    switch (p) {
    case HTTP_READY:
        return http_render_ready(v, out);
    case HTTP_HEALTH:
        return http_render_health(v, out);
    case HTTP_SHARD:
        return http_render_shard(v, shard, out);
    case HTTP_METRICS:
        return http_render_metrics(v, out);
    case HTTP_LIVE:
    case HTTP_NONE:
        break;
    }
    return 404;
}
