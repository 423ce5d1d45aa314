/* The callback loop on libuv. "Soon" is an idle handle, a timer is a timer handle.
 *
 * Handles are kept and restarted, as in programs that embed them in their own structures. */

#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <uv.h>

typedef struct {
    uv_loop_t loop;
    uint64_t called;
    uint64_t left;
    uint64_t made;       /* the length of both arrays */
    uv_idle_t **idle;
    uv_timer_t **timer;
    const uint64_t *delays;
    int64_t *late;       /* the deadlines, until they have fired */
} Calls;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

void *calls_uv_new(void) {
    Calls *calls = calloc(1, sizeof *calls);
    uv_loop_init(&calls->loop);
    calls->loop.data = calls;
    return calls;
}

static void closed(uv_handle_t *handle) {
    free(handle);
}

void calls_uv_free(void *self) {
    Calls *calls = self;
    for (uint64_t i = 0; i < calls->made; i++) {
        uv_close((uv_handle_t *)calls->idle[i], closed);
        uv_close((uv_handle_t *)calls->timer[i], closed);
    }
    uv_run(&calls->loop, UV_RUN_DEFAULT);
    uv_loop_close(&calls->loop);
    free(calls->idle);
    free(calls->timer);
    free(calls);
}

static void make(Calls *calls, uint64_t n) {
    if (n <= calls->made)
        return;
    calls->idle = realloc(calls->idle, n * sizeof *calls->idle);
    calls->timer = realloc(calls->timer, n * sizeof *calls->timer);
    for (uint64_t i = calls->made; i < n; i++) {
        calls->idle[i] = malloc(sizeof **calls->idle);
        calls->timer[i] = malloc(sizeof **calls->timer);
        uv_idle_init(&calls->loop, calls->idle[i]);
        uv_timer_init(&calls->loop, calls->timer[i]);
    }
    calls->made = n;
}

static void called_soon(uv_idle_t *idle) {
    ((Calls *)idle->loop->data)->called++;
    uv_idle_stop(idle);
}

void calls_uv_soon(void *self, uint64_t n) {
    Calls *calls = self;
    make(calls, n);
    for (uint64_t i = 0; i < n; i++)
        uv_idle_start(calls->idle[i], called_soon);
    uv_run(&calls->loop, UV_RUN_NOWAIT);
}

static void called_again(uv_idle_t *idle) {
    Calls *calls = idle->loop->data;
    uv_idle_stop(idle);
    if (--calls->left > 0)
        uv_idle_start(idle, called_again);
}

void calls_uv_chain(void *self, uint64_t n) {
    Calls *calls = self;
    make(calls, 1);
    calls->left = n;
    uv_idle_start(calls->idle[0], called_again);
    uv_run(&calls->loop, UV_RUN_DEFAULT);
}

static uint64_t ms(uint64_t ns) {
    return (ns + 999999) / 1000000;
}

static void fired(uv_timer_t *timer) {
    ((Calls *)timer->loop->data)->called++;
}

static void arm(Calls *calls, const uint64_t *delays, uint64_t n, uv_timer_cb called) {
    make(calls, n);
    for (uint64_t i = 0; i < n; i++)
        uv_timer_start(calls->timer[i], called, ms(delays[i]), 0);
}

void calls_uv_cancelled(void *self, const uint64_t *delays, uint64_t n) {
    Calls *calls = self;
    arm(calls, delays, n, fired);
    for (uint64_t i = 0; i < n; i++)
        uv_timer_stop(calls->timer[i]);
}

void calls_uv_fired(void *self, const uint64_t *delays, uint64_t n) {
    Calls *calls = self;
    arm(calls, delays, n, fired);
    uv_run(&calls->loop, UV_RUN_DEFAULT);
}

static void fired_late(uv_timer_t *timer) {
    int64_t *late = timer->data;
    *late = now_ns() - *late;
}

void calls_uv_late(void *self, const uint64_t *delays, uint64_t n, int64_t *late) {
    Calls *calls = self;
    make(calls, n);
    for (uint64_t i = 0; i < n; i++) {
        late[i] = now_ns() + (int64_t)delays[i];
        calls->timer[i]->data = &late[i];
        uv_timer_start(calls->timer[i], fired_late, ms(delays[i]), 0);
    }
    uv_run(&calls->loop, UV_RUN_DEFAULT);
}

static void on_alloc(uv_handle_t *stream, size_t suggested, uv_buf_t *buf) {
    (void)stream, (void)suggested;
    static char shared[1024];
    *buf = uv_buf_init(shared, sizeof shared);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    (void)n, (void)buf;
    ((Calls *)stream->data)->called++;
}

/* The process ends without closing the streams. */
void calls_uv_watch(void *self, const int *fds, uint64_t n) {
    Calls *calls = self;
    for (uint64_t i = 0; i < n; i++) {
        uv_pipe_t *conn = malloc(sizeof *conn);
        uv_pipe_init(&calls->loop, conn, 0);
        conn->data = calls;
        uv_pipe_open(conn, fds[i]);
        uv_read_start((uv_stream_t *)conn, on_alloc, on_read);
    }
    uv_run(&calls->loop, UV_RUN_NOWAIT);
}
