/* What the first part of a path orders; server.c says how it is written. */
#include <stdio.h>

typedef struct {
    char kind; /* b: burst, k: packed, h: hold, p: paced */
    long tokens, gate;
    double rate;
} Order;

static int read_order(const char *path, Order *order) {
    static const struct {
        char kind;
        const char *form;
    } forms[] = {{'b', "/burst-%ld-%ld/"}, {'k', "/packed-%ld-%ld/"}, {'h', "/hold-%ld-%ld/"}};
    *order = (Order){0};
    if (sscanf(path, "/paced-%ld-%lf-%ld/", &order->tokens, &order->rate, &order->gate) >= 2) {
        order->kind = 'p';
        return order->rate > 0;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (sscanf(path, forms[i].form, &order->tokens, &order->gate) >= 1) {
            order->kind = forms[i].kind;
            return 1;
        }
    return 0;
}
