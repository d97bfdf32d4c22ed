/*
 * The daemon: the control thread and all it owns. Private to main.
 */
#ifndef SHARDGATE_DAEMON_H
#define SHARDGATE_DAEMON_H

#include "shardgate/ops.h"

#include "worker.h"

struct daemon {
    struct loop *loop;
    struct conf *conf;
    struct auth_users *users;
    struct map *map;
    struct directory *directory;
    struct health *health;
    struct ops *ops;
    struct worker_shared shared;
    struct worker **workers;
    unsigned worker_count;
    enum ops_phase phase;
    uint64_t started_ms;
    unsigned drained; /* workers whose sessions are gone */
    struct timer *drain_timer, *stop_timer;
    bool exit_when_drained;
    char unix_path[128]; /* of our Unix socket, "" for none */
    bool owns_pid_file;  /* written by this process */
    int status;          /* exit status */
};

/* ---- daemon.c -------------------------------------------------------------- */
/* Runs until it is told to stop; returns the exit status. Takes c. */
int daemon_run(struct conf *c);

/* ---- daemon_listen.c --------------------------------------------------------- */
/* Opens every listening socket (or takes those of systemd) and gives them to
 * the workers. */
bool daemon_listen(struct daemon *d, struct error *e) MUST_CHECK;
void daemon_unlisten(struct daemon *d); /* removes the Unix socket's file */

/* ---- daemon_reload.c --------------------------------------------------------- */
/* Configuration and map, all or nothing; done on the control thread, later. */
void daemon_reload(struct daemon *d, void (*done)(void *ctx, const struct error *e), void *ctx);
/* What conf cannot check for itself: connection strings. */
bool daemon_check_conf(const struct conf *c, struct error *e) MUST_CHECK;
bool daemon_open_log(const struct conf *c, struct error *e) MUST_CHECK;

/* ---- daemon_stop.c ------------------------------------------------------------- */
void daemon_drain(struct daemon *d, bool then_exit);    /* SIGTERM, DRAIN */
void daemon_shutdown(struct daemon *d);                 /* SIGINT, SHUTDOWN */
void daemon_on_drained(void *ctx, struct worker *from); /* any thread */

/* ---- notify.c -------------------------------------------------------------------- */
/* systemd's notification protocol; nothing without NOTIFY_SOCKET. */
void notify_state(const char *state);

#endif
