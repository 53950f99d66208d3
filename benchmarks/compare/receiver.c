/* The limit for anything at all: one epoll that receives, counts tokens by their marks and reads
 * their stamps where asked to.
 *
 *   receiver PORT PATH STREAMS ROUNDS STAMPED HOLD FRESH [PROMPTS]
 *
 * PROMPTS is the file of compare/prompts.py; without it every request says "hi". Reports like the other clients (clients/job.py). A token counts when its mark lies whole in one
 * read or across two.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MARK_LENGTH = 12, ROOM = 65536, STAMP_DIGITS = 19, MAX_PROMPTS = 64 };
static const char MARK[] = "{\"content\":\"";

typedef struct {
    int fd, rounds_left, begun;
    char tail[MARK_LENGTH - 1];
} Stream;

static struct sockaddr_in address;
static const char *path;
static char *prompts[MAX_PROMPTS]; /* as JSON, without the quotes around them */
static int prompt_count, epoll_fd, stamped, hold, fresh, live, begun;
static long tokens, ended, requests;
static double *delays;
static size_t delay_count, delay_room;

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void rest(double seconds) {
    struct timespec t = {0, (long)(seconds * 1e9)};
    nanosleep(&t, NULL);
}

static void saw(const char *mark) {
    tokens++;
    if (!stamped) return;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t sent = 0;
    for (int i = 0; i < STAMP_DIGITS; i++)
        sent = sent * 10 + (mark[MARK_LENGTH + 2 + i] - '0');
    if (delay_count == delay_room) {
        delay_room = delay_room ? 2 * delay_room : 65536;
        delays = realloc(delays, delay_room * sizeof *delays);
    }
    delays[delay_count++] = (double)((int64_t)t.tv_sec * 1000000000 + t.tv_nsec - sent) / 1000;
}

static void ask(Stream *s) {
    static char body[ROOM], request[ROOM + 512];
    const char *form = "{\"model\":\"bench\",\"messages\":[{\"role\":\"user\",\"content\":\"%.*s%s\"}],"
                       "\"stream\":true,\"stream_options\":{\"include_usage\":true}}";
    char number[24] = "";
    if (prompt_count) snprintf(number, sizeof number, "%ld ", requests);
    const char *prompt = prompt_count ? prompts[requests % prompt_count] : "hi";
    int size = snprintf(body, sizeof body, form, 24, number, prompt);
    int whole = snprintf(request, sizeof request,
                         "POST %s/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: "
                         "application/json\r\ncontent-length: %d\r\n\r\n%s",
                         path, size, body);
    requests++;
    s->rounds_left--;
    memset(s->tail, 0, sizeof s->tail);
    if (send(s->fd, request, (size_t)whole, MSG_NOSIGNAL) != whole) {
        perror("send");
        exit(1);
    }
}

static void connect_and_ask(Stream *s) {
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&address, sizeof address)) {
        perror("connect");
        exit(1);
    }
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &e);
    ask(s);
}

/* `bytes` has room for the tail in front of it. */
static void count(Stream *s, char *bytes, size_t length) {
    char *from = bytes - sizeof s->tail, *end = bytes + length;
    long before = tokens;
    memcpy(from, s->tail, sizeof s->tail);
    while ((from = memmem(from, (size_t)(end - from), MARK, MARK_LENGTH))) {
        saw(from);
        from += MARK_LENGTH;
    }
    memcpy(s->tail, end - sizeof s->tail, sizeof s->tail);
    if (!s->begun && tokens > before) {
        s->begun = 1;
        begun++;
    }
}

static void receive(Stream *s) {
    static char bytes[64 + ROOM];
    ssize_t n = recv(s->fd, bytes + 64, ROOM, 0);
    if (n <= 0) {
        fprintf(stderr, "the server closed a stream\n");
        exit(1);
    }
    count(s, bytes + 64, (size_t)n);
    if (n < 5 || memcmp(bytes + 64 + n - 5, "0\r\n\r\n", 5)) return;
    ended++;
    if (s->rounds_left && !fresh) {
        ask(s);
        return;
    }
    close(s->fd);
    if (s->rounds_left)
        connect_and_ask(s);
    else
        live--;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(void) {
    printf("{\"state\":\"done\",\"tokens\":%ld,\"ended\":%ld,\"latency_us\":", tokens, ended);
    if (!delay_count) {
        puts("null}");
        return;
    }
    qsort(delays, delay_count, sizeof *delays, ascending);
    size_t last = delay_count - 1;
    printf("{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f}}\n", delays[last / 2],
           delays[last * 99 / 100], delays[last * 999 / 1000]);
}

static void run(int streams) {
    struct epoll_event ready[256];
    while (live && !(hold && begun == streams)) {
        int count = epoll_wait(epoll_fd, ready, 256, -1);
        for (int i = 0; i < count; i++)
            receive(ready[i].data.ptr);
    }
}

static void cancel(Stream *all, int streams) {
    puts("{\"state\":\"held\"}");
    fflush(stdout);
    rest(0.5);
    double before = cpu();
    for (int i = 0; i < streams; i++)
        close(all[i].fd);
    printf("{\"state\":\"cancelled\",\"cpu\":%.6f}\n", cpu() - before);
    fflush(stdout);
    rest(0.5);
}

static void read_prompts(const char *name) {
    FILE *file = fopen(name, "r");
    size_t room = 0;
    ssize_t n;
    if (!file) {
        perror(name);
        exit(1);
    }
    while (prompt_count < MAX_PROMPTS && (n = getline(&prompts[prompt_count], &room, file)) > 2) {
        prompts[prompt_count][n - 2] = 0; /* the closing quote */
        prompts[prompt_count++]++;
        room = 0;
    }
    fclose(file);
}

int main(int argc, char **argv) {
    if (argc != 8 && argc != 9) {
        fputs("receiver PORT PATH STREAMS ROUNDS STAMPED HOLD FRESH [PROMPTS]\n", stderr);
        return 2;
    }
    int streams = live = atoi(argv[3]);
    path = argv[2];
    stamped = atoi(argv[5]);
    hold = atoi(argv[6]);
    fresh = atoi(argv[7]);
    if (argc == 9) read_prompts(argv[8]);
    address = (struct sockaddr_in){.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)atoi(argv[1])),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    epoll_fd = epoll_create1(0);
    Stream *all = calloc((size_t)streams, sizeof *all);
    for (int i = 0; i < streams; i++) {
        all[i].rounds_left = atoi(argv[4]);
        connect_and_ask(&all[i]);
    }
    run(streams);
    if (hold) cancel(all, streams);
    report();
}
