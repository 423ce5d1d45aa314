/* The callback loop on libevent. "Soon" is an event that is made active.
 *
 * Events are kept and added again, as in programs that embed them in their own structures. */

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

typedef struct {
    struct event_base *base;
    uint64_t called;
    uint64_t left;
    uint64_t made; /* the length of both arrays */
    struct event *soon;
    struct event *timer;
} Calls;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

void *calls_event_new(void) {
    Calls *calls = calloc(1, sizeof *calls);
    calls->base = event_base_new();
    return calls;
}

void calls_event_free(void *self) {
    Calls *calls = self;
    event_base_free(calls->base);
    free(calls->soon);
    free(calls->timer);
    free(calls);
}

/* No event is pending, so realloc may move them. */
static void make(Calls *calls, uint64_t n) {
    if (n <= calls->made)
        return;
    calls->soon = realloc(calls->soon, n * sizeof *calls->soon);
    calls->timer = realloc(calls->timer, n * sizeof *calls->timer);
    calls->made = n;
}

static void called_soon(evutil_socket_t fd, short events, void *arg) {
    (void)fd, (void)events;
    ((Calls *)arg)->called++;
}

void calls_event_soon(void *self, uint64_t n) {
    Calls *calls = self;
    make(calls, n);
    for (uint64_t i = 0; i < n; i++) {
        event_assign(&calls->soon[i], calls->base, -1, 0, called_soon, calls);
        event_active(&calls->soon[i], 0, 0);
    }
    event_base_loop(calls->base, EVLOOP_NONBLOCK);
}

static void called_again(evutil_socket_t fd, short events, void *arg) {
    (void)fd, (void)events;
    Calls *calls = arg;
    if (--calls->left > 0)
        event_active(&calls->soon[0], 0, 0);
}

void calls_event_chain(void *self, uint64_t n) {
    Calls *calls = self;
    make(calls, 1);
    calls->left = n;
    event_assign(&calls->soon[0], calls->base, -1, 0, called_again, calls);
    event_active(&calls->soon[0], 0, 0);
    event_base_dispatch(calls->base);
}

static struct timeval after(uint64_t ns) {
    uint64_t us = (ns + 999) / 1000;
    return (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
}

static void arm(Calls *calls, const uint64_t *delays, uint64_t n) {
    make(calls, n);
    for (uint64_t i = 0; i < n; i++) {
        struct timeval delay = after(delays[i]);
        evtimer_assign(&calls->timer[i], calls->base, called_soon, calls);
        evtimer_add(&calls->timer[i], &delay);
    }
}

void calls_event_cancelled(void *self, const uint64_t *delays, uint64_t n) {
    Calls *calls = self;
    arm(calls, delays, n);
    for (uint64_t i = 0; i < n; i++)
        evtimer_del(&calls->timer[i]);
}

void calls_event_fired(void *self, const uint64_t *delays, uint64_t n) {
    Calls *calls = self;
    arm(calls, delays, n);
    event_base_dispatch(calls->base);
}

static void fired_late(evutil_socket_t fd, short events, void *arg) {
    (void)fd, (void)events;
    int64_t *late = arg;
    *late = now_ns() - *late;
}

void calls_event_late(void *self, const uint64_t *delays, uint64_t n, int64_t *late) {
    Calls *calls = self;
    make(calls, n);
    for (uint64_t i = 0; i < n; i++) {
        struct timeval delay = after(delays[i]);
        late[i] = now_ns() + (int64_t)delays[i];
        evtimer_assign(&calls->timer[i], calls->base, fired_late, &late[i]);
        evtimer_add(&calls->timer[i], &delay);
    }
    event_base_dispatch(calls->base);
}

/* One connection of a server: its event, and a word of its own. */
struct conn {
    struct event io;
    Calls *calls;
};

static void on_conn(evutil_socket_t fd, short events, void *arg) {
    (void)fd, (void)events;
    ((struct conn *)arg)->calls->called++;
}

/* The process ends without freeing the connections. */
void calls_event_watch(void *self, const int *fds, uint64_t n) {
    Calls *calls = self;
    for (uint64_t i = 0; i < n; i++) {
        struct conn *conn = malloc(sizeof *conn);
        conn->calls = calls;
        event_assign(&conn->io, calls->base, fds[i], EV_READ | EV_PERSIST, on_conn, conn);
        event_add(&conn->io, NULL);
    }
    event_base_loop(calls->base, EVLOOP_NONBLOCK);
}
