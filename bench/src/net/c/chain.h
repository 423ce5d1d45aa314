/* The chain of socketpairs for the C libraries; `chain.rs` is the same for the other peers. */
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct chain {
    const int *readers, *writers;
    size_t pairs, left, fired, total;
    struct timespec begun, ended;
};

static void chain_start(struct chain *chain, size_t active) {
    clock_gettime(CLOCK_MONOTONIC, &chain->begun);
    for (size_t n = 0; n < active; n++) {
        ssize_t written = send(chain->writers[n * (chain->pairs / active)], "e", 1, MSG_NOSIGNAL);
        (void)written;
    }
    chain->left = chain->total - active;
}

/* Handles one event of pair `at`. Returns whether its byte was the last one. */
static int chain_pass(struct chain *chain, size_t at) {
    char buffer[16];
    ssize_t n = read(chain->readers[at], buffer, sizeof buffer);
    if (n <= 0) {
        return 0;
    }
    size_t on = (size_t)n < chain->left ? (size_t)n : chain->left;
    chain->fired += (size_t)n;
    chain->left -= on;
    if (on > 0) {
        size_t next = at + 1 == chain->pairs ? 0 : at + 1;
        ssize_t written = send(chain->writers[next], buffer, on, MSG_NOSIGNAL);
        (void)written;
    }
    if (chain->fired < chain->total) {
        return 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &chain->ended);
    return 1;
}

static int64_t chain_ns(const struct chain *chain) {
    return (int64_t)(chain->ended.tv_sec - chain->begun.tv_sec) * 1000000000
        + (chain->ended.tv_nsec - chain->begun.tv_nsec);
}
