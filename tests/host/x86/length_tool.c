/* SPDX-License-Identifier: BSD-2-Clause */
/* Helper of test_length.py: reads lines "MODE HEXBYTES" (mode 2, 4, 8), prints "STATUS LENGTH NAME" for each.
 * Each instruction is decoded from a buffer of exactly its size. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <servers/vmm/x86/decode.h>

static unsigned parse_hex(const char *text, uint8_t *bytes, unsigned room)
{
    unsigned n = 0, value;
    while (n < room && sscanf(text + 2 * n, "%2x", &value) == 1)
        bytes[n++] = (uint8_t)value;
    return n;
}

int main(void)
{
    static const char *const status[] = { "ok", "more", "invalid", "long", "unsupported" };
    unsigned mode;
    char text[64];
    while (scanf("%u %63s", &mode, text) == 2) {
        uint8_t bytes[32];
        struct x86_insn insn;
        unsigned n = parse_hex(text, bytes, sizeof(bytes));
        uint8_t *exact = malloc(n ? n : 1);
        if (!exact)
            return 1;
        memcpy(exact, bytes, n);
        enum x86_decoded d = x86_decode(exact, n, (enum x86_mode)mode, &insn);
        printf("%s %u %s\n", status[d], insn.length, x86_op_name(insn.op));
        free(exact);
    }
    return 0;
}
