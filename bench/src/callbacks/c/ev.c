/* The callback loop on libev. "Soon" is an event that is fed to a watcher.
 *
 * Watchers are kept and restarted, as in programs that embed them in their own structures. */

#include <ev.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

typedef struct {
    struct ev_loop *loop;
    uint64_t called;
    uint64_t left;
    uint64_t made; /* the length of both arrays */
    ev_prepare *soon;
    ev_timer *timer;
} Calls;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

void *calls_ev_new(void) {
    Calls *calls = calloc(1, sizeof *calls);
    calls->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    ev_set_userdata(calls->loop, calls);
    return calls;
}

void calls_ev_free(void *self) {
    Calls *calls = self;
    ev_loop_destroy(calls->loop);
    free(calls->soon);
    free(calls->timer);
    free(calls);
}

/* No watcher is active, so realloc may move them. */
static void make(Calls *calls, uint64_t n) {
    if (n <= calls->made)
        return;
    calls->soon = realloc(calls->soon, n * sizeof *calls->soon);
    calls->timer = realloc(calls->timer, n * sizeof *calls->timer);
    calls->made = n;
}

static void called_soon(EV_P_ ev_prepare *soon, int events) {
    (void)soon, (void)events;
    ((Calls *)ev_userdata(EV_A))->called++;
}

void calls_ev_soon(void *self, uint64_t n) {
    Calls *calls = self;
    make(calls, n);
    for (uint64_t i = 0; i < n; i++) {
        ev_prepare_init(&calls->soon[i], called_soon);
        ev_feed_event(calls->loop, &calls->soon[i], EV_CUSTOM);
    }
    ev_invoke_pending(calls->loop);
}

static void called_again(EV_P_ ev_prepare *soon, int events) {
    Calls *calls = ev_userdata(EV_A);
    if (--calls->left > 0)
        ev_feed_event(EV_A_ soon, events);
}

void calls_ev_chain(void *self, uint64_t n) {
    Calls *calls = self;
    make(calls, 1);
    calls->left = n;
    ev_prepare_init(&calls->soon[0], called_again);
    ev_feed_event(calls->loop, &calls->soon[0], EV_CUSTOM);
    ev_invoke_pending(calls->loop);
}

static void fired(EV_P_ ev_timer *timer, int events) {
    (void)timer, (void)events;
    ((Calls *)ev_userdata(EV_A))->called++;
}

static void arm(Calls *calls, const uint64_t *delays, uint64_t n) {
    make(calls, n);
    for (uint64_t i = 0; i < n; i++) {
        ev_timer_init(&calls->timer[i], fired, delays[i] * 1e-9, 0.);
        ev_timer_start(calls->loop, &calls->timer[i]);
    }
}

void calls_ev_cancelled(void *self, const uint64_t *delays, uint64_t n) {
    Calls *calls = self;
    arm(calls, delays, n);
    for (uint64_t i = 0; i < n; i++)
        ev_timer_stop(calls->loop, &calls->timer[i]);
}

void calls_ev_fired(void *self, const uint64_t *delays, uint64_t n) {
    Calls *calls = self;
    arm(calls, delays, n);
    ev_run(calls->loop, 0);
}

static void fired_late(EV_P_ ev_timer *timer, int events) {
    (void)loop, (void)events;
    int64_t *late = timer->data;
    *late = now_ns() - *late;
}

void calls_ev_late(void *self, const uint64_t *delays, uint64_t n, int64_t *late) {
    Calls *calls = self;
    make(calls, n);
    for (uint64_t i = 0; i < n; i++) {
        late[i] = now_ns() + (int64_t)delays[i];
        ev_timer_init(&calls->timer[i], fired_late, delays[i] * 1e-9, 0.);
        calls->timer[i].data = &late[i];
        ev_timer_start(calls->loop, &calls->timer[i]);
    }
    ev_run(calls->loop, 0);
}

/* One connection of a server: its watcher, and a word of its own. */
struct conn {
    ev_io io;
    Calls *calls;
};

static void on_conn(EV_P_ ev_io *io, int events) {
    (void)loop, (void)events;
    ((struct conn *)io)->calls->called++;
}

/* The process ends without freeing the connections. */
void calls_ev_watch(void *self, const int *fds, uint64_t n) {
    Calls *calls = self;
    for (uint64_t i = 0; i < n; i++) {
        struct conn *conn = malloc(sizeof *conn);
        conn->calls = calls;
        ev_io_init(&conn->io, on_conn, fds[i], EV_READ);
        ev_io_start(calls->loop, &conn->io);
    }
    ev_run(calls->loop, EVRUN_NOWAIT);
}
