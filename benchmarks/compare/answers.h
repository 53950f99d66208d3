/* The bytes that the load server sends. They are built once, each in VARIANTS forms that differ in
 * the ids and dates of their events; what changes in the head is written into it for each answer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EVENT_ROOM = 512, PACKED = 16384, VARIANTS = 64, ID_LENGTH = 38 };
enum { DATE_LENGTH = 29, PACED_USAGE = 100 };

/* Twenty header fields, as one large provider sends them. A run of one capital letter is written
 * anew for each answer: D the date, H random hexadecimal digits, N random decimal ones. The limits
 * are so high that no client has to slow down for them. */
#define HEAD                                                                                       \
    "HTTP/1.1 200 OK\r\n"                                                                          \
    "date: DDDDDDDDDDDDDDDDDDDDDDDDDDDDD\r\n"                                                      \
    "content-type: text/event-stream; charset=utf-8\r\n"                                           \
    "transfer-encoding: chunked\r\n"                                                               \
    "connection: keep-alive\r\n"                                                                   \
    "access-control-expose-headers: x-request-id\r\n"                                              \
    "openai-organization: bench-4x0dwz\r\n"                                                        \
    "openai-processing-ms: 1NN\r\n"                                                                \
    "openai-project: proj_b3nchb3nchb3nchb3nchb3nch\r\n"                                           \
    "openai-version: 2020-10-01\r\n"                                                               \
    "x-envoy-upstream-service-time: 2NN\r\n"                                                       \
    "x-ratelimit-limit-requests: 1000000\r\n"                                                      \
    "x-ratelimit-limit-tokens: 900000000\r\n"                                                      \
    "x-ratelimit-remaining-requests: 99NNNN\r\n"                                                   \
    "x-ratelimit-remaining-tokens: 899NNNNNN\r\n"                                                  \
    "x-ratelimit-reset-requests: 1NNms\r\n"                                                        \
    "x-ratelimit-reset-tokens: 2NNms\r\n"                                                          \
    "x-request-id: req_HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH\r\n"                                       \
    "server: cloudflare\r\n"                                                                       \
    "strict-transport-security: max-age=31536000; includeSubDomains; preload\r\n"                  \
    "cf-ray: 9HHHHHHHHHHHHHHH-FRA\r\n\r\n"
#define ID "{\"id\":\"%s\",\"object\":\"chat.completion.chunk\",\"created\":%d,\"model\":\"bench\","
#define EVENT                                                                                      \
    "data: " ID                                                                                    \
    "\"choices\":[{\"index\":0,\"delta\":%s,\"logprobs\":null,\"finish_reason\":%s}]}\n\n"
#define USAGE                                                                                      \
    "data: " ID                                                                                    \
    "\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":%ld,\"total_tokens\":%ld," \
    "\"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0}}}\n\n"
#define DONE "data: [DONE]\n\n"
#define STAMP_TEXT " t0000000000000000000"

/* Their order repeats; no word follows itself, which some clients take for a model gone astray. */
static const struct {
    const char *text, *json;
} words[] = {
    {" The", " The"},         {" answer", " answer"},   {" depends", " depends"}, {" on", " on"},
    {" what", " what"},       {" you", " you"},         {" mean", " mean"},       {" by", " by"},
    {" \"fast\"", " \\\"fast\\\""}, {":", ":"},         {"\n\n", "\\n\\n"},       {"-", "-"},
    {" through", " through"}, {"put", "put"},           {",", ","},               {" or", " or"},
    {"\n", "\\n"},            {" *", " *"},             {" la", " la"},           {"tency", "tency"},
    {".", "."},               {" In", " In"},           {" a", " a"},             {" caf\xc3\xa9", " caf\xc3\xa9"},
    {" both", " both"},       {" count", " count"},     {"\t", "\\t"},            {"s", "s"},
    {" \xe2\x82\xac", " \xe2\x82\xac"}, {"12", "12"},   {" and", " and"},         {" more", " more"},
};
enum { WORDS = sizeof words / sizeof *words };

typedef struct {
    char *bytes;
    size_t length;
} Buffer;

static char ids[VARIANTS][ID_LENGTH + 1];
static Buffer start_bytes[VARIANTS], stamped[VARIANTS], end_bytes[VARIANTS];
static size_t head_length, stamp_at, date_at;
static struct {
    size_t at;
    int hexadecimal;
} places[128];
static int place_count;

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

static int created(int variant) {
    return 1790000000 + 7 * variant;
}

static size_t event(char *into, int variant, const char *delta, const char *reason) {
    return (size_t)snprintf(into, EVENT_ROOM, EVENT, ids[variant], created(variant), delta, reason);
}

static void append_start(Buffer *to, int variant) {
    char text[EVENT_ROOM];
    append(to, HEAD, head_length);
    append_chunk(to, text, event(text, variant, "{\"role\":\"assistant\",\"content\":\"\"}", "null"));
}

static void append_end(Buffer *to, int variant, long tokens) {
    char text[EVENT_ROOM];
    int asked = 100 + 37 * variant;
    append_chunk(to, text, event(text, variant, "{}", "\"stop\""));
    append_chunk(to, text, (size_t)snprintf(text, sizeof text, USAGE, ids[variant], created(variant),
                                            asked, tokens, asked + tokens));
    append_chunk(to, DONE, strlen(DONE));
    append(to, "0\r\n\r\n", 5);
}

/* Where a head changes. The status line has no such place. */
static void find_places(void) {
    head_length = strlen(HEAD);
    date_at = (size_t)(strstr(HEAD, ": D") - HEAD) + 2;
    for (size_t i = strcspn(HEAD, "\r"); i < head_length; i++) {
        if (HEAD[i] != 'H' && HEAD[i] != 'N') continue;
        if (place_count == sizeof places / sizeof *places) die("too many places in the head");
        places[place_count].at = i;
        places[place_count++].hexadecimal = HEAD[i] == 'H';
    }
}

static void build_common(void) {
    char text[EVENT_ROOM];
    find_places();
    for (int v = 0; v < VARIANTS; v++) {
        unsigned long long mixed = (unsigned long long)(v + 1) * 0x9e3779b97f4a7c15u;
        snprintf(ids[v], sizeof ids[v], "chatcmpl-%029llu", mixed);
        append_start(&start_bytes[v], v);
        append_end(&end_bytes[v], v, PACED_USAGE);
        append_chunk(&stamped[v], text, event(text, v, "{\"content\":\"" STAMP_TEXT "\"}", "null"));
        stamped[v].bytes[stamped[v].length] = 0;
        stamp_at = (size_t)(strstr(stamped[v].bytes, STAMP_TEXT) - stamped[v].bytes) + 2;
    }
}

static void build_answer(Buffer *answer, int variant, long tokens, size_t chunk, int ends) {
    char text[EVENT_ROOM], delta[64];
    Buffer pending = {0};
    append_start(answer, variant);
    for (long i = 0; i < tokens; i++) {
        snprintf(delta, sizeof delta, "{\"content\":\"%s\"}", words[i % WORDS].json);
        append(&pending, text, event(text, variant, delta, "null"));
        if (pending.length + EVENT_ROOM > chunk || i == tokens - 1) {
            append_chunk(answer, pending.bytes, pending.length);
            pending.length = 0;
        }
    }
    free(pending.bytes);
    if (ends) append_end(answer, variant, tokens);
}

/* An answer's variants are built when it is first asked for. */
static Buffer *answer_for(char kind, long tokens, int variant) {
    static struct {
        char kind;
        long tokens;
        Buffer variants[VARIANTS];
    } known[64];
    static int count;
    int i = 0;
    while (i < count && (known[i].kind != kind || known[i].tokens != tokens))
        i++;
    if (i == count) {
        if (count++ == 64) {
            fputs("more than 64 different answers were asked for\n", stderr);
            exit(1);
        }
        known[i].kind = kind;
        known[i].tokens = tokens;
        for (int v = 0; v < VARIANTS; v++)
            build_answer(&known[i].variants[v], v, tokens, kind == 'k' ? PACKED : 0, kind != 'h');
    }
    return &known[i].variants[variant];
}

/* What an answer of so many tokens says, for who checks it. */
static Buffer text_of(long tokens) {
    Buffer text = {0};
    for (long i = 0; i < tokens; i++)
        append(&text, words[i % WORDS].text, strlen(words[i % WORDS].text));
    return text;
}

/* Writes what changes from answer to answer into a head: some 120 bytes, and nothing is formatted. */
static void renew_head(char *head) {
    static const char digits[] = "0123456789abcdef";
    static uint64_t dice = 88172645463325252u;
    static char date[32];
    static time_t dated;
    time_t second = time(NULL);
    if (second != dated) {
        dated = second;
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&second));
    }
    memcpy(head + date_at, date, DATE_LENGTH);
    for (int i = 0; i < place_count; i++) {
        dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
        uint64_t digit = places[i].hexadecimal ? dice >> 60 : (dice >> 32) % 10;
        head[places[i].at] = digits[digit];
    }
}
