/* The echo server and the chain on libev: one level-triggered watcher for each descriptor. */
#include "chain.h"
#include <errno.h>
#include <ev.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static char *buffer;
static size_t room;

struct conn {
    ev_io io;
    char *kept;
    size_t len, at;
};

static void end(struct ev_loop *loop, struct conn *conn) {
    ev_io_stop(loop, &conn->io);
    close(conn->io.fd);
    free(conn->kept);
    free(conn);
}

static void want(struct ev_loop *loop, struct conn *conn, int events) {
    int fd = conn->io.fd;
    ev_io_stop(loop, &conn->io);
    ev_io_set(&conn->io, fd, events);
    ev_io_start(loop, &conn->io);
}

static void on_conn(struct ev_loop *loop, ev_io *io, int events) {
    struct conn *conn = (struct conn *)io;
    if (events & EV_WRITE) {
        ssize_t n = send(io->fd, conn->kept + conn->at, conn->len - conn->at, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) {
                end(loop, conn);
            }
            return;
        }
        conn->at += (size_t)n;
        if (conn->at == conn->len) {
            free(conn->kept);
            conn->kept = NULL;
            want(loop, conn, EV_READ);
        }
        return;
    }
    ssize_t n = recv(io->fd, buffer, room, 0);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            end(loop, conn);
        }
        return;
    }
    ssize_t written = send(io->fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (written == n) {
        return;
    }
    if (written < 0) {
        if (errno != EAGAIN) {
            end(loop, conn);
            return;
        }
        written = 0;
    }
    conn->len = (size_t)(n - written);
    conn->at = 0;
    conn->kept = malloc(conn->len);
    memcpy(conn->kept, buffer + written, conn->len);
    want(loop, conn, EV_WRITE);
}

static void on_listener(struct ev_loop *loop, ev_io *io, int events) {
    (void)events;
    for (;;) {
        int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct conn *conn = calloc(1, sizeof *conn);
        ev_io_init(&conn->io, on_conn, fd, EV_READ);
        ev_io_start(loop, &conn->io);
    }
}

/* `listener` is non-blocking. Returns only if the loop cannot be created. */
int bench_ev_echo(int listener, size_t size) {
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL);
    if (loop == NULL) {
        return -1;
    }
    room = size;
    buffer = malloc(room);
    ev_io io;
    ev_io_init(&io, on_listener, listener, EV_READ);
    ev_io_start(loop, &io);
    ev_run(loop, 0);
    return -1;
}

static struct chain chain;
static ev_io *watchers;

static void on_pair(struct ev_loop *loop, ev_io *io, int events) {
    (void)events;
    if (chain_pass(&chain, (size_t)(io - watchers))) {
        ev_break(loop, EVBREAK_ALL);
    }
}

/* Returns the duration; negative if the loop cannot be created. */
int64_t bench_ev_chain(const int *readers, const int *writers, size_t pairs, size_t active, size_t total) {
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL);
    if (loop == NULL) {
        return -1;
    }
    chain = (struct chain){.readers = readers, .writers = writers, .pairs = pairs, .total = total};
    watchers = calloc(pairs, sizeof *watchers);
    for (size_t at = 0; at < pairs; at++) {
        ev_io_init(&watchers[at], on_pair, readers[at], EV_READ);
        ev_io_start(loop, &watchers[at]);
    }
    chain_start(&chain, active);
    ev_run(loop, 0);
    return chain_ns(&chain);
}
