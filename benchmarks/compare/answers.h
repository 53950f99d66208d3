/* The bytes that the load server sends: built once, before they are asked for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENT_ROOM = 512, PACKED = 16384 };

#define HEAD                                                                                       \
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"                        \
    "transfer-encoding: chunked\r\n\r\n"
#define EVENT                                                                                      \
    "data: "                                                                                       \
    "{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,"      \
    "\"model\":\"bench\",\"choices\":[{\"index\":0,\"delta\":%s,\"logprobs\":null,"                \
    "\"finish_reason\":%s}]}\n\n"
#define DONE "data: [DONE]\n\n"
#define STAMP_TEXT " t0000000000000000000"

typedef struct {
    char *bytes;
    size_t length;
} Buffer;

static Buffer start_bytes, end_bytes, stamped;
static size_t stamp_at;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void append(Buffer *to, const char *bytes, size_t length) {
    to->bytes = realloc(to->bytes, to->length + length + 1);
    if (!to->bytes) die("realloc");
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static void append_chunk(Buffer *to, const char *bytes, size_t length) {
    char size[24];
    append(to, size, (size_t)snprintf(size, sizeof size, "%zx\r\n", length));
    append(to, bytes, length);
    append(to, "\r\n", 2);
}

static size_t event(char *into, const char *delta, const char *reason) {
    return (size_t)snprintf(into, EVENT_ROOM, EVENT, delta, reason);
}

static void build_common(void) {
    char text[EVENT_ROOM * 2];
    append(&start_bytes, HEAD, strlen(HEAD));
    append_chunk(&start_bytes, text,
                 event(text, "{\"role\":\"assistant\",\"content\":\"\"}", "null"));
    size_t length = event(text, "{}", "\"stop\"");
    memcpy(text + length, DONE, strlen(DONE));
    append_chunk(&end_bytes, text, length + strlen(DONE));
    append(&end_bytes, "0\r\n\r\n", 5);
    append_chunk(&stamped, text, event(text, "{\"content\":\"" STAMP_TEXT "\"}", "null"));
    stamped.bytes[stamped.length] = 0;
    stamp_at = (size_t)(strstr(stamped.bytes, STAMP_TEXT) - stamped.bytes) + 2;
}

/* Two texts take turns: some clients take one text again and again for a model gone astray. */
static void build_answer(Buffer *answer, long tokens, size_t chunk, int ends) {
    char text[2][EVENT_ROOM];
    size_t length = event(text[0], "{\"content\":\" token\"}", "null");
    event(text[1], "{\"content\":\" tulip\"}", "null");
    Buffer pending = {0};
    append(answer, start_bytes.bytes, start_bytes.length);
    for (long i = 0; i < tokens; i++) {
        append(&pending, text[i % 2], length);
        if (pending.length + length > chunk || i == tokens - 1) {
            append_chunk(answer, pending.bytes, pending.length);
            pending.length = 0;
        }
    }
    free(pending.bytes);
    if (ends) append(answer, end_bytes.bytes, end_bytes.length);
}

/* Answers are built once for each (kind, tokens). */
static const Buffer *answer_for(char kind, long tokens) {
    static struct {
        char kind;
        long tokens;
        Buffer answer;
    } known[64];
    static int count;
    for (int i = 0; i < count; i++)
        if (known[i].kind == kind && known[i].tokens == tokens) return &known[i].answer;
    if (count == 64) {
        fputs("more than 64 different answers were asked for\n", stderr);
        exit(1);
    }
    known[count].kind = kind;
    known[count].tokens = tokens;
    build_answer(&known[count].answer, tokens, kind == 'k' ? PACKED : 0, kind != 'h');
    return &known[count++].answer;
}
