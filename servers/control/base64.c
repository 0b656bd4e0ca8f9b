/* SPDX-License-Identifier: BSD-2-Clause */
/* See base64.h. */
#include "base64.h"

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool base64_read(const char *text, uint32_t n, uint8_t *to, uint32_t room, uint32_t *bytes)
{
    uint32_t padding = 0;

    *bytes = 0;
    if (n % 4)
        return false;
    while (padding < 2 && padding < n && text[n - 1 - padding] == '=')
        padding++;
    if (n / 4 * 3 - padding > room)
        return false;
    for (uint32_t i = 0; i < n; i += 4) {
        uint32_t v = 0, last = i + 4 == n ? padding : 0;
        for (unsigned k = 0; k < 4; k++) {
            int d = k < 4 - last ? digit(text[i + k]) : 0;
            if (d < 0)
                return false;
            v = v << 6 | (uint32_t)d;
        }
        if (v & ((1u << 8 * last) - 1)) /* bits that stand for nothing */
            return false;
        for (unsigned k = 0; k < 3 - last; k++)
            to[(*bytes)++] = (uint8_t)(v >> (16 - 8 * k));
    }
    return true;
}
