/* The load server: answers chat requests with streams of prebuilt bytes, at a cost far below any
 * client's, so that a client under test is always the bottleneck.
 *
 *   server [CERT.pem KEY.pem]      listens on a free port of 127.0.0.1 and prints it
 *
 * The first part of the path says what to send, so that any client can ask for it by its base URL:
 *
 *   /burst-N/...        N tokens at once, each in an HTTP chunk of its own, as providers send them
 *   /packed-N/...       the same events in HTTP chunks of 16 KiB
 *   /paced-N-RATE/...   N tokens at RATE per second, one write each; the text of a token is " t"
 *                       and the CLOCK_MONOTONIC nanoseconds at its write
 *   /hold-N/...         N tokens, then silence until the client leaves
 *   /text-N             what an answer of N tokens says that is not paced
 *   /stats              open connections, requests and bytes of their bodies so far, as JSON
 *
 * One more number, as in /burst-N-GATE/ and /paced-N-RATE-GATE/, says how many requests must be here
 * before the first token of any of them is sent.
 *
 * Rule 1: one thread, one epoll, no allocation per token.
 * Rule 2: paced tokens keep their schedule: a late one does not move the next.
 * Rule 3: what the kernel does not take is kept, in order; a slow client gets every byte.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FDS = 65536, MAX_REQUEST = 65536 };

#include "answers.h"
#include "orders.h"
#include "timers.h"

typedef struct {
    int fd;
    unsigned generation;
    int in_use, wants_out;
    SSL *ssl;
    char *request;
    size_t request_length;
    const Buffer *shared; /* a prebuilt answer, sent first */
    size_t shared_sent;
    Buffer owned; /* what the kernel did not take of paced events */
    size_t owned_sent;
    Order order;
    int variant, at_gate;
    long tokens_left;
    uint64_t period;
} Connection;

static Connection connections[MAX_FDS];
static int epoll_fd;
static long open_connections, requests, received, at_gate;
static SSL_CTX *tls;

/* ---- connections ---- */

static void watch(Connection *c, int operation) {
    struct epoll_event e = {.events = EPOLLIN | (c->wants_out ? EPOLLOUT : 0), .data.fd = c->fd};
    epoll_ctl(epoll_fd, operation, c->fd, &e);
}

static void close_connection(Connection *c) {
    if (c->ssl) SSL_free(c->ssl);
    close(c->fd);
    free(c->request);
    free(c->owned.bytes);
    at_gate -= c->at_gate;
    unsigned generation = c->generation + 1;
    memset(c, 0, sizeof *c);
    c->generation = generation;
    open_connections--;
}

static ssize_t transmit(Connection *c, const char *bytes, size_t length) {
    if (!c->ssl) return send(c->fd, bytes, length, MSG_NOSIGNAL);
    int n = SSL_write(c->ssl, bytes, (int)(length > 1 << 20 ? 1 << 20 : length));
    if (n > 0) return n;
    int reason = SSL_get_error(c->ssl, n);
    ERR_clear_error();
    errno = reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE ? EAGAIN : EPIPE;
    return -1;
}

/* Sends from `sent` on. 1: all sent; 0: the kernel is full; -1: the connection was closed. */
static int send_rest(Connection *c, const Buffer *buffer, size_t *sent) {
    while (*sent < buffer->length) {
        ssize_t n = transmit(c, buffer->bytes + *sent, buffer->length - *sent);
        if (n < 0) {
            if (errno == EAGAIN) return 0;
            close_connection(c);
            return -1;
        }
        *sent += (size_t)n;
    }
    return 1;
}

static void flush(Connection *c) {
    int state = c->shared ? send_rest(c, c->shared, &c->shared_sent) : 1;
    if (state == 1) {
        c->shared = NULL;
        state = send_rest(c, &c->owned, &c->owned_sent);
    }
    if (state < 0) return;
    if (state == 1) c->owned.length = c->owned_sent = 0;
    if (c->wants_out != (state == 0)) {
        c->wants_out = state == 0;
        watch(c, EPOLL_CTL_MOD);
    }
}

/* Sends now what can be sent now; the usual case copies nothing. */
static void send_bytes(Connection *c, const char *bytes, size_t length) {
    if (!c->wants_out) {
        ssize_t n = transmit(c, bytes, length);
        if (n == (ssize_t)length) return;
        if (n < 0 && errno != EAGAIN) {
            close_connection(c);
            return;
        }
        if (n > 0) {
            bytes += n;
            length -= (size_t)n;
        }
    }
    append(&c->owned, bytes, length);
    flush(c);
}

static void send_token(Connection *c) {
    uint64_t now = now_ns();
    Buffer *event = &stamped[c->variant];
    for (int i = 18; i >= 0; i--, now /= 10)
        event->bytes[stamp_at + (size_t)i] = (char)('0' + now % 10);
    send_bytes(c, event->bytes, event->length);
}

static void run_timers(void) {
    while (timer_count && timers[0].due <= now_ns()) {
        Timer timer = timers[0];
        Connection *c = &connections[timer.fd];
        if (!c->in_use || c->generation != timer.generation) {
            pop_timer();
            continue;
        }
        if (c->tokens_left-- > 0) {
            timer.due += c->period;
            replace_first_timer(timer);
            send_token(c);
        } else {
            pop_timer();
            send_bytes(c, end_bytes[c->variant].bytes, end_bytes[c->variant].length);
        }
    }
}

/* ---- answers ---- */

/* Gives the connection an answer with a head of its own. A head that the kernel does not take at
 * once is copied, for the next answer of this variant will write over it. */
static void give(Connection *c, Buffer *answer) {
    renew_head(answer->bytes);
    c->shared = answer;
    c->shared_sent = 0;
    flush(c);
    if (c->in_use && c->shared && c->shared_sent < head_length) {
        append(&c->owned, answer->bytes + c->shared_sent, answer->length - c->shared_sent);
        c->shared = NULL;
    }
}

static void begin(Connection *c) {
    if (c->order.kind != 'p') {
        give(c, answer_for(c->order.kind, c->order.tokens, c->variant));
        return;
    }
    static double phase;
    phase += 0.6180339887;
    if (phase >= 1) phase -= 1;
    c->tokens_left = c->order.tokens;
    c->period = (uint64_t)(1e9 / c->order.rate);
    /* On the clock's own grid: counted from the request's arrival, a client that starts its streams
     * at some speeds would get their tokens in bunches. */
    uint64_t now = now_ns(), next = now - now % c->period + c->period;
    push_timer((Timer){next + (uint64_t)(phase * (double)c->period), c->fd, c->generation});
}

/* Waits until as many are here as the order says, then begins with all of them. */
static void wait_at_gate(Connection *c) {
    static int fds[MAX_FDS];
    static unsigned generations[MAX_FDS];
    static long count;
    fds[count] = c->fd;
    generations[count++] = c->generation;
    c->at_gate = 1;
    if (++at_gate < c->order.gate) return;
    long all = count;
    count = at_gate = 0;
    for (long i = 0; i < all; i++) {
        Connection *one = &connections[fds[i]];
        if (!one->in_use || one->generation != generations[i]) continue;
        one->at_gate = 0;
        begin(one);
    }
}

/* ---- requests ---- */

static void send_body(Connection *c, const char *body, size_t length) {
    char head[128];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %zu\r\n\r\n", length);
    send_bytes(c, head, (size_t)n);
    if (c->in_use) send_bytes(c, body, length);
}

static void answer(Connection *c, const char *path, size_t body_length) {
    long tokens;
    if (!strncmp(path, "/stats", 6)) {
        char body[128];
        int length =
            snprintf(body, sizeof body, "{\"open\":%ld,\"requests\":%ld,\"received\":%ld}",
                     open_connections - 1, requests, received);
        send_body(c, body, (size_t)length);
        return;
    }
    if (sscanf(path, "/text-%ld", &tokens) == 1) {
        Buffer text = text_of(tokens);
        send_body(c, text.bytes, text.length);
        free(text.bytes);
        return;
    }
    if (!read_order(path, &c->order)) {
        static const char none[] = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        send_bytes(c, none, sizeof none - 1);
        return;
    }
    c->variant = (int)(requests++ % VARIANTS);
    received += (long)body_length;
    if (c->order.kind == 'p') give(c, &start_bytes[c->variant]);
    if (!c->in_use) return;
    if (c->order.gate > 1)
        wait_at_gate(c);
    else
        begin(c);
}

/* One whole request in the buffer? Then answer it; clients do not pipeline. */
static void look_for_request(Connection *c) {
    char *head_end = memmem(c->request, c->request_length, "\r\n\r\n", 4);
    if (!head_end) return;
    *head_end = 0;
    char *field = strcasestr(c->request, "\r\ncontent-length:");
    size_t body = field ? strtoul(field + 17, NULL, 10) : 0;
    size_t whole = (size_t)(head_end + 4 - c->request) + body;
    if (c->request_length < whole) {
        *head_end = '\r';
        return;
    }
    c->request_length = 0;
    char *path = strchr(c->request, ' ');
    if (path)
        answer(c, path + 1, body);
    else
        close_connection(c);
}

static void readable(Connection *c) {
    if (!c->request && !(c->request = malloc(MAX_REQUEST))) die("malloc");
    char *to = c->request + c->request_length;
    size_t room = MAX_REQUEST - c->request_length;
    ssize_t n;
    if (c->ssl) {
        n = SSL_read(c->ssl, to, (int)room);
        int reason = n > 0 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, (int)n);
        ERR_clear_error();
        if (reason == SSL_ERROR_WANT_READ || reason == SSL_ERROR_WANT_WRITE) return;
    } else {
        n = recv(c->fd, to, room, 0);
        if (n < 0 && errno == EAGAIN) return;
    }
    if (n <= 0 || (size_t)n == room) {
        close_connection(c);
        return;
    }
    c->request_length += (size_t)n;
    look_for_request(c);
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        Connection *c = &connections[fd];
        c->fd = fd;
        c->in_use = 1;
        open_connections++;
        if (tls) {
            c->ssl = SSL_new(tls);
            SSL_set_fd(c->ssl, fd);
            SSL_set_accept_state(c->ssl);
        }
        watch(c, EPOLL_CTL_ADD);
    }
}

/* ---- start ---- */

static void use_tls(const char *certificate, const char *key) {
    tls = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    if (SSL_CTX_use_certificate_chain_file(tls, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
}

static int listen_on_a_free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) || listen(fd, 8192)) die("listen");
    getsockname(fd, (struct sockaddr *)&address, &length);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static struct timespec time_to_next_timer(void) {
    uint64_t now = now_ns(), due = timer_count ? timers[0].due : now + 1000000000u;
    uint64_t wait = due > now ? due - now : 0;
    return (struct timespec){(time_t)(wait / 1000000000u), (long)(wait % 1000000000u)};
}

int main(int argc, char **argv) {
    struct rlimit files = {MAX_FDS, MAX_FDS};
    if (setrlimit(RLIMIT_NOFILE, &files)) {
        getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3) use_tls(argv[1], argv[2]);
    build_common();
    epoll_fd = epoll_create1(0);
    int listener = listen_on_a_free_port();
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, ready[1024];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        struct timespec wait = time_to_next_timer();
        int count = epoll_pwait2(epoll_fd, ready, 1024, &wait, NULL);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == listener) {
                accept_all(listener);
                continue;
            }
            Connection *c = &connections[ready[i].data.fd];
            if (c->in_use && ready[i].events & EPOLLOUT) flush(c);
            if (c->in_use && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) readable(c);
        }
        run_timers();
    }
}
