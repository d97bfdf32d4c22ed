#include "http.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <microhttpd.h>

#include "shardgate/ops.h"

#include "http_pages.h"
#include "ops_state.h"

#define MAX_CONNECTIONS 128u
#define IDLE_SECONDS 15u
#define CONNECTION_MEMORY (16u << 10)
#define MAX_BODY (64u << 20)

struct http_request {
    struct ilist node;
    struct post post;
    struct ops *ops;
    struct MHD_Connection *connection; /* while suspended, else NULL */
    enum http_page page;
    int64_t shard;
    bool posted;   /* the control thread holds it */
    bool gone;     /* libmicrohttpd is through with it */
    bool answered; /* status and body are final */
    unsigned status;
    const char *type;
    struct buf body;
};

static void free_request(struct http_request *r)
{
    ilist_remove(&r->node);
    buf_fini(&r->body);
    mem_free(r);
}

/* ---- control thread ------------------------------------------------------ */

/* Makes the answer final and lets libmicrohttpd go on. Takes `body`. */
static void answer(struct http_request *r, unsigned status, const char *type, struct buf *body)
{
    struct http *h = &r->ops->http;
    struct MHD_Connection *suspended = NULL;

    pthread_mutex_lock(&h->lock);
    if (!r->answered) {
        r->answered = true;
        r->status = status;
        r->type = type;
        r->body = *body;
        buf_init(body, 0);
        suspended = r->connection;
        r->connection = NULL;
    }
    pthread_mutex_unlock(&h->lock);
    buf_fini(body);
    if (suspended)
        MHD_resume_connection(suspended);
}

static void answer_unavailable(struct http_request *r)
{
    struct buf body;

    buf_init(&body, 0);
    buf_append_str(&body, STR("{\"error\": \"the instance is stopping\"}\n"));
    answer(r, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json", &body);
}

static void release(struct http_request *r)
{
    struct http *h = &r->ops->http;

    pthread_mutex_lock(&h->lock);
    r->posted = false;
    if (r->gone)
        free_request(r);
    pthread_mutex_unlock(&h->lock);
}

static void render(struct http_request *r, const struct gather *g)
{
    struct buf body;
    struct instance_view *v = instance_view_new(&r->ops->env, g);

    buf_init(&body, MAX_BODY);
    unsigned status = http_render_page(r->page, v, r->shard, &body);
    instance_view_free(v);
    if (body.failed) {
        buf_fini(&body);
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    answer(r, status, http_page_type(r->page), &body);
    release(r);
}

static void on_gathered(struct gather *g, void *ctx) { render(ctx, g); }

static void on_control(struct post *p, void *ctx)
{
    struct http_request *r = container_of(p, struct http_request, post);

    (void)ctx;
    if (ops_is_ending(r->ops)) {
        answer_unavailable(r);
        release(r);
    } else if (http_page_needs_workers(r->page)) {
        gather_start(r->ops, &(struct gather_question){.collect = gather_figures, .done = on_gathered, .ctx = r});
    } else {
        render(r, NULL);
    }
}

/* ---- libmicrohttpd's thread ---------------------------------------------- */

static enum MHD_Result send_answer(struct MHD_Connection *c, unsigned status, const char *type, struct str body)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body.len, (void *)(uintptr_t)body.ptr, MHD_RESPMEM_MUST_COPY);

    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(c, status, response);
    MHD_destroy_response(response);
    return result;
}

/* Hands the request to the control thread. False: it takes none any more. */
static bool ask_control(struct http_request *r, struct MHD_Connection *c)
{
    struct http *h = &r->ops->http;
    bool sent;

    pthread_mutex_lock(&h->lock);
    sent = !h->stopping;
    if (sent) {
        r->posted = true;
        r->connection = c;
        r->post.run = on_control;
        MHD_suspend_connection(c);
    }
    pthread_mutex_unlock(&h->lock);
    if (!sent)
        return false;
    if (!loop_post(r->ops->env.control, &r->post)) {
        answer_unavailable(r);
        release(r);
    }
    return true;
}

static bool is_answered(struct http_request *r)
{
    struct http *h = &r->ops->http;

    pthread_mutex_lock(&h->lock);
    bool answered = r->answered;
    pthread_mutex_unlock(&h->lock);
    return answered;
}

static enum MHD_Result begin(struct ops *o, void **state)
{
    struct http_request *r = mem_zalloc(sizeof(*r));

    r->ops = o;
    buf_init(&r->body, 0);
    pthread_mutex_lock(&o->http.lock);
    ilist_push_back(&o->http.requests, &r->node);
    pthread_mutex_unlock(&o->http.lock);
    *state = r;
    return MHD_YES;
}

/* Called first with the head, then for parts of a body, then for the answer; and
 * again after each resume. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *path, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    struct http_request *r = *state;

    (void)version;
    (void)upload;
    if (!r)
        return begin(ctx, state);
    if (*upload_size) {
        *upload_size = 0; /* no page takes a body */
        return MHD_YES;
    }
    if (is_answered(r))
        return send_answer(c, r->status, r->type, buf_str(&r->body));
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return send_answer(c, MHD_HTTP_METHOD_NOT_ALLOWED, "application/json",
                           STR("{\"error\": \"only GET and HEAD\"}\n"));
    r->page = http_page_find(path, &r->shard);
    if (r->page == HTTP_NONE)
        return send_answer(c, MHD_HTTP_NOT_FOUND, "application/json", STR("{\"error\": \"no such page\"}\n"));
    /* Alive as long as this thread is: a load balancer's restart rule, not a judgement. */
    if (r->page == HTTP_LIVE)
        return send_answer(c, MHD_HTTP_OK, "text/plain", STR("alive\n"));
    if (ask_control(r, c))
        return MHD_YES;
    return send_answer(c, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json",
                       STR("{\"error\": \"the instance is stopping\"}\n"));
}

static void on_completed(void *ctx, struct MHD_Connection *c, void **state, enum MHD_RequestTerminationCode code)
{
    struct ops *o = ctx;
    struct http_request *r = *state;

    (void)c;
    (void)code;
    if (!r)
        return;
    *state = NULL;
    pthread_mutex_lock(&o->http.lock);
    r->gone = true;
    if (!r->posted)
        free_request(r);
    pthread_mutex_unlock(&o->http.lock);
}

static void on_log(void *ctx, const char *fmt, va_list args) PRINTF_LIKE(2, 0);
static void on_log(void *ctx, const char *fmt, va_list args)
{
    char text[256];

    (void)ctx;
    vsnprintf(text, sizeof(text), fmt, args);
    log_event(LOG_DEBUG, "http", log_slice("text", str_trim(str_from(text))));
}

/* ---- start and stop ------------------------------------------------------ */

void http_init(struct http *h)
{
    pthread_mutex_init(&h->lock, NULL);
    ilist_init(&h->requests);
}

bool http_start(struct ops *o, struct error *e)
{
    const struct conf *c = o->env.conf(o->env.ctx);
    int port = (int)c->http_port;

    if (!c->http_address || !c->http_address[0])
        return true;
    int fd = listen_tcp(c->http_address, &port, 128, false, e);
    if (fd < 0)
        return false;
    o->http.daemon = MHD_start_daemon(
        MHD_USE_AUTO_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, (uint16_t)port, NULL, NULL,
        on_request, o, MHD_OPTION_EXTERNAL_LOGGER, on_log, o, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED, on_completed, o, MHD_OPTION_END);
    if (!o->http.daemon) {
        close(fd);
        return error_set(e, ERR_INTERNAL, "the HTTP server on %s port %d does not start", c->http_address, port);
    }
    log_event(LOG_INFO, "http listening", log_str("address", c->http_address), log_int("port", port));
    return true;
}

static struct http_request *next_unanswered(struct http *h)
{
    ILIST_EACH (node, &h->requests) {
        struct http_request *r = container_of(node, struct http_request, node);
        if (r->posted && !r->answered)
            return r;
    }
    return NULL;
}

/* No connection may be suspended when the daemon stops. */
void http_stop(struct ops *o)
{
    struct http *h = &o->http;
    struct http_request *r;

    if (!h->daemon)
        return;
    do {
        pthread_mutex_lock(&h->lock);
        h->stopping = true;
        r = next_unanswered(h);
        pthread_mutex_unlock(&h->lock);
        if (r)
            answer_unavailable(r); /* stays: the control thread, which is this one, holds it */
    } while (r);
    MHD_stop_daemon(h->daemon);
    h->daemon = NULL;
}

void http_fini(struct http *h)
{
    struct ilist *node;

    while ((node = ilist_first(&h->requests)))
        free_request(container_of(node, struct http_request, node));
    pthread_mutex_destroy(&h->lock);
}
