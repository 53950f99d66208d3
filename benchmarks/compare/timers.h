/* The load server's timers: a heap by due time. */
#include <stdint.h>
#include <time.h>

typedef struct {
    uint64_t due;
    int fd;
    unsigned generation;
} Timer;

static Timer timers[MAX_FDS * 4];
static size_t timer_count;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void push_timer(Timer timer) {
    size_t i = timer_count++;
    for (; i && timers[(i - 1) / 2].due > timer.due; i = (i - 1) / 2)
        timers[i] = timers[(i - 1) / 2];
    timers[i] = timer;
}

static void replace_first_timer(Timer timer) {
    size_t i = 0, child;
    while ((child = 2 * i + 1) < timer_count) {
        if (child + 1 < timer_count && timers[child + 1].due < timers[child].due) child++;
        if (timers[child].due >= timer.due) break;
        timers[i] = timers[child];
        i = child;
    }
    timers[i] = timer;
}

static void pop_timer(void) {
    Timer last = timers[--timer_count];
    if (timer_count) replace_first_timer(last);
}
