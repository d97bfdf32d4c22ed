/*
 * Listening sockets. TCP: one a worker and address, by SO_REUSEPORT. Unix, and
 * sockets that systemd passes: one, shared by all workers.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef SHARDGATE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "daemon.h"

static bool share(struct daemon *d, int fd, struct error *e)
{
    for (unsigned i = 1; i < d->worker_count; i++) {
        int copy = dup(fd);
        if (copy < 0) {
            error_set(e, ERR_INTERNAL, "dup of a listening socket: %s", strerror(errno));
            close(fd);
            return false;
        }
        worker_listen(d->workers[i], copy);
    }
    worker_listen(d->workers[0], fd);
    return true;
}

/* Sockets of systemd's socket activation; how many, or -1. */
static int listen_passed(struct daemon *d, struct error *e)
{
#ifdef SHARDGATE_SYSTEMD
    int count = sd_listen_fds(1);
    for (int i = 0; i < count; i++) {
        if (!share(d, SD_LISTEN_FDS_START + i, e))
            return -1;
    }
    if (count > 0)
        log_event(LOG_INFO, "listening", log_str("address", "systemd"), log_int("sockets", count));
    return count > 0 ? count : 0;
#else
    (void)d;
    (void)e;
    return 0;
#endif
}

static bool listen_address(struct daemon *d, const char *address, int *port, struct error *e)
{
    for (unsigned i = 0; i < d->worker_count; i++) {
        int fd = listen_tcp(address, port, (int)d->conf->listen_backlog, true, e);
        if (fd < 0)
            return false;
        worker_listen(d->workers[i], fd);
    }
    log_event(LOG_INFO, "listening", log_str("address", address), log_int("port", *port));
    return true;
}

bool daemon_listen(struct daemon *d, struct error *e)
{
    const struct conf *c = d->conf;
    int passed = listen_passed(d, e);
    if (passed != 0)
        return passed > 0;
    int port = (int)c->listen_port;
    for (size_t i = 0; i < c->listen_addresses.count; i++) {
        if (!listen_address(d, c->listen_addresses.items[i], &port, e))
            return false;
    }
    if (!c->listen_unix_directory[0])
        return true;
    int n = snprintf(d->unix_path, sizeof d->unix_path, "%s/.s.PGSQL.%d", c->listen_unix_directory, port);
    if (n >= 108) { /* sockaddr_un */
        d->unix_path[0] = 0;
        return error_set(e, ERR_CONFIG, "listen.unix_directory is too long for a Unix socket");
    }
    int fd = listen_unix(d->unix_path, (unsigned)c->listen_unix_mode, (int)c->listen_backlog, e);
    if (fd < 0) {
        d->unix_path[0] = 0;
        return false;
    }
    log_event(LOG_INFO, "listening", log_str("path", d->unix_path));
    return share(d, fd, e);
}

void daemon_unlisten(struct daemon *d)
{
    if (d->unix_path[0])
        unlink(d->unix_path);
    d->unix_path[0] = 0;
}
