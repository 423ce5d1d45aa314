/* The echo server on libuv's streams, and the chain on uv_poll. */
#include "chain.h"
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static char *buffer;
static size_t room;

static void on_closed(uv_handle_t *handle) {
    free(handle);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(buffer, (unsigned)room);
}

/* A write request, followed by the bytes that the socket did not accept. */
struct kept {
    uv_write_t request;
    char bytes[];
};

static void on_written(uv_write_t *request, int status) {
    uv_stream_t *stream = request->handle;
    free(request);
    if (status < 0 && !uv_is_closing((uv_handle_t *)stream)) {
        uv_close((uv_handle_t *)stream, on_closed);
    }
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    if (n < 0) {
        uv_close((uv_handle_t *)stream, on_closed);
        return;
    }
    if (n == 0) {
        return;
    }
    uv_buf_t bytes = uv_buf_init(buf->base, (unsigned)n);
    int written = uv_try_write(stream, &bytes, 1);
    if (written == n) {
        return;
    }
    size_t done = written < 0 ? 0 : (size_t)written;
    size_t len = (size_t)n - done;
    struct kept *kept = malloc(sizeof *kept + len);
    memcpy(kept->bytes, buf->base + done, len);
    bytes = uv_buf_init(kept->bytes, (unsigned)len);
    if (uv_write(&kept->request, stream, &bytes, 1, on_written) < 0) {
        free(kept);
        uv_close((uv_handle_t *)stream, on_closed);
    }
}

static void on_connection(uv_stream_t *listener, int status) {
    if (status < 0) {
        return;
    }
    uv_tcp_t *conn = malloc(sizeof *conn);
    uv_tcp_init(listener->loop, conn);
    if (uv_accept(listener, (uv_stream_t *)conn) < 0) {
        uv_close((uv_handle_t *)conn, on_closed);
        return;
    }
    uv_tcp_nodelay(conn, 1);
    uv_read_start((uv_stream_t *)conn, on_alloc, on_read);
}

/* `fd` is a listening socket. Returns only on an error. */
int bench_uv_echo(int fd, size_t size) {
    uv_loop_t loop;
    uv_tcp_t listener;
    room = size;
    buffer = malloc(room);
    if (uv_loop_init(&loop) < 0 || uv_tcp_init(&loop, &listener) < 0 || uv_tcp_open(&listener, fd) < 0
        || uv_listen((uv_stream_t *)&listener, 4096, on_connection) < 0) {
        return -1;
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    return -1;
}

static struct chain chain;
static uv_poll_t *polls;

static void on_pair(uv_poll_t *poll, int status, int events) {
    (void)status;
    (void)events;
    if (chain_pass(&chain, (size_t)(poll - polls))) {
        uv_stop(poll->loop);
    }
}

/* Returns the duration; negative if the loop cannot be created. */
int64_t bench_uv_chain(const int *readers, const int *writers, size_t pairs, size_t active, size_t total) {
    uv_loop_t loop;
    if (uv_loop_init(&loop) < 0) {
        return -1;
    }
    chain = (struct chain){.readers = readers, .writers = writers, .pairs = pairs, .total = total};
    polls = calloc(pairs, sizeof *polls);
    for (size_t at = 0; at < pairs; at++) {
        if (uv_poll_init(&loop, &polls[at], readers[at]) < 0
            || uv_poll_start(&polls[at], UV_READABLE, on_pair) < 0) {
            return -1;
        }
    }
    chain_start(&chain, active);
    uv_run(&loop, UV_RUN_DEFAULT);
    return chain_ns(&chain);
}
