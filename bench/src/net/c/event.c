/* The echo server and the chain on libevent: one level-triggered event for each descriptor. */
#include "chain.h"
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

static char *buffer;
static size_t room;

struct conn {
    struct event io;
    char *kept;
    size_t len, at;
};

static void end(struct conn *conn) {
    event_del(&conn->io);
    close(event_get_fd(&conn->io));
    free(conn->kept);
    free(conn);
}

static void on_conn(evutil_socket_t fd, short events, void *arg);

static void want(struct conn *conn, short events) {
    struct event_base *base = event_get_base(&conn->io);
    int fd = event_get_fd(&conn->io);
    event_del(&conn->io);
    event_assign(&conn->io, base, fd, events | EV_PERSIST, on_conn, conn);
    event_add(&conn->io, NULL);
}

static void on_conn(evutil_socket_t fd, short events, void *arg) {
    struct conn *conn = arg;
    if (events & EV_WRITE) {
        ssize_t n = send(fd, conn->kept + conn->at, conn->len - conn->at, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) {
                end(conn);
            }
            return;
        }
        conn->at += (size_t)n;
        if (conn->at == conn->len) {
            free(conn->kept);
            conn->kept = NULL;
            want(conn, EV_READ);
        }
        return;
    }
    ssize_t n = recv(fd, buffer, room, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            end(conn);
        }
        return;
    }
    ssize_t written = send(fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (written == n) {
        return;
    }
    if (written < 0) {
        if (errno != EAGAIN) {
            end(conn);
            return;
        }
        written = 0;
    }
    conn->len = (size_t)(n - written);
    conn->at = 0;
    conn->kept = malloc(conn->len);
    memcpy(conn->kept, buffer + written, conn->len);
    want(conn, EV_WRITE);
}

static void on_listener(evutil_socket_t listener, short events, void *base) {
    (void)events;
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct conn *conn = calloc(1, sizeof *conn);
        event_assign(&conn->io, base, fd, EV_READ | EV_PERSIST, on_conn, conn);
        event_add(&conn->io, NULL);
    }
}

/* `listener` is non-blocking. Returns only if the loop cannot be created. */
int bench_event_echo(int listener, size_t size) {
    struct event_base *base = event_base_new();
    if (base == NULL) {
        return -1;
    }
    room = size;
    buffer = malloc(room);
    struct event io;
    event_assign(&io, base, listener, EV_READ | EV_PERSIST, on_listener, base);
    event_add(&io, NULL);
    event_base_dispatch(base);
    return -1;
}

static struct chain chain;
static struct event *watchers;

static void on_pair(evutil_socket_t fd, short events, void *arg) {
    (void)fd, (void)events;
    struct event *io = arg;
    if (chain_pass(&chain, (size_t)(io - watchers))) {
        event_base_loopbreak(event_get_base(io));
    }
}

/* Returns the duration; negative if the loop cannot be created. */
int64_t bench_event_chain(const int *readers, const int *writers, size_t pairs, size_t active, size_t total) {
    struct event_base *base = event_base_new();
    if (base == NULL) {
        return -1;
    }
    chain = (struct chain){.readers = readers, .writers = writers, .pairs = pairs, .total = total};
    watchers = calloc(pairs, sizeof *watchers);
    for (size_t at = 0; at < pairs; at++) {
        struct event *io = &watchers[at];
        event_assign(io, base, readers[at], EV_READ | EV_PERSIST, on_pair, io);
        event_add(io, NULL);
    }
    chain_start(&chain, active);
    event_base_dispatch(base);
    return chain_ns(&chain);
}
