/* What the pages say, as pure functions of an instance's view. */
#ifndef SHARDGATE_OPS_HTTP_PAGES_H
#define SHARDGATE_OPS_HTTP_PAGES_H

#include "instance_view.h"

enum http_page { HTTP_LIVE, HTTP_READY, HTTP_HEALTH, HTTP_SHARD, HTTP_METRICS, HTTP_NONE };

/* *shard: of /shards/{id}. */
enum http_page http_page_find(const char *path, int64_t *shard);
bool http_page_needs_workers(enum http_page p);
const char *http_page_type(enum http_page p); /* Content-Type */
/* Each returns the HTTP status. */
unsigned http_render_page(enum http_page p, const struct instance_view *v, int64_t shard, struct buf *out);
unsigned http_render_ready(const struct instance_view *v, struct buf *out);
unsigned http_render_health(const struct instance_view *v, struct buf *out);
unsigned http_render_shard(const struct instance_view *v, int64_t shard, struct buf *out);
unsigned http_render_metrics(const struct instance_view *v, struct buf *out);

#endif
