/*
 * Listening sockets. Options that accepted sockets inherit (TCP_NODELAY and the
 * keepalive times) are set here once rather than on every connection.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "shardgate/net.h"

enum { KEEPALIVE_IDLE_S = 60, KEEPALIVE_INTERVAL_S = 15, KEEPALIVE_COUNT = 4 };

static void set(int fd, int level, int option, int value) { setsockopt(fd, level, option, &value, sizeof(value)); }

static int fail(int fd, struct error *e, const char *what, const char *where)
{
    int saved = errno;
    if (fd >= 0)
        close(fd);
    error_set(e, ERR_CONFIG, "cannot %s %s: %s", what, where, strerror(saved));
    return -1;
}

static int port_of(int fd)
{
    struct sockaddr_storage a;
    socklen_t len = sizeof(a);
    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return -1;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

/* One address of the list; -1 with errno set. */
static int open_address(const struct addrinfo *ai, bool dual_stack, int backlog, bool reuseport)
{
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (reuseport)
        set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (ai->ai_family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !dual_stack);
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, backlog) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int listen_tcp(const char *address, int *port, int backlog, bool reuseport, struct error *e)
{
    bool any = strcmp(address, "*") == 0;
    char service[16], where[128];
    snprintf(service, sizeof(service), "%d", *port);
    snprintf(where, sizeof(where), "%.100s port %d", address, *port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *list;
    /* `*` is one IPv6 socket that takes IPv4 too, or IPv4 where IPv6 is off. */
    int rc = getaddrinfo(any ? "::" : address, service, &hints, &list);
    if (rc != 0) {
        error_set(e, ERR_CONFIG, "cannot resolve listen address %s: %s", where, gai_strerror(rc));
        return -1;
    }
    /* A name with several addresses (localhost) means the first that works,
     * IPv4 first: that is what clients of an IPv4-only name expect. */
    int fd = -1;
    errno = EADDRNOTAVAIL;
    for (int want = 0; want < 2 && fd < 0; want++)
        for (const struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next)
            if ((ai->ai_family == AF_INET) == (want == 0))
                fd = open_address(ai, any, backlog, reuseport);
    int why = errno;
    freeaddrinfo(list);
    errno = why;
    if (fd < 0 && any && errno != EADDRINUSE && errno != EACCES)
        return listen_tcp("0.0.0.0", port, backlog, reuseport, e);
    if (fd < 0)
        return fail(-1, e, "listen on", where);
    if (*port == 0)
        *port = port_of(fd);
    return fd;
}

/* True if nobody answers at the path: refused, or there is no file. */
static bool is_stale(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return false;
    int rc = connect(fd, (const struct sockaddr *)a, sizeof(*a));
    bool stale = rc != 0 && (errno == ECONNREFUSED || errno == ENOENT); /* EAGAIN: a full queue is alive */
    close(fd);
    return stale;
}

int listen_unix(const char *path, unsigned mode, int backlog, struct error *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!str_copy(a.sun_path, sizeof(a.sun_path), str_from(path))) {
        errno = ENAMETOOLONG;
        return fail(-1, e, "listen on", path);
    }
    struct stat st;
    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode)) {
            errno = EEXIST;
            return fail(-1, e, "replace (it is not a socket)", path);
        }
        if (!is_stale(&a)) {
            errno = EADDRINUSE;
            return fail(-1, e, "listen on", path);
        }
        unlink(path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail(-1, e, "make a socket for", path);
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0)
        return fail(fd, e, "bind", path);
    /* Nobody can connect before listen, so the mode is in force from the start. */
    if (chmod(path, mode) != 0 || listen(fd, backlog) != 0) {
        int result = fail(fd, e, "listen on", path);
        unlink(path);
        return result;
    }
    return fd;
}
