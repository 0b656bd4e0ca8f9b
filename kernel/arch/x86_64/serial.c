/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's log device: a 16550 at COM1, polled, or where `log=com2`, `log=e9` (the port that emulators
 * take for a console) or `log=none` on the command line says. */
#include "log.h"
#include "x86.h"

#define DEBUG_PORT 0xe9

static uint16_t port = 0x3f8;

static bool has_word(const char *line, const char *word)
{
    for (; *line; line++) {
        const char *l = line, *w = word;
        while (*w && *l == *w)
            l++, w++;
        if (!*w)
            return true;
    }
    return false;
}

void log_init(const char *command_line)
{
    if (has_word(command_line, "log=com2"))
        port = 0x2f8;
    if (has_word(command_line, "log=e9"))
        port = DEBUG_PORT;
    if (has_word(command_line, "log=none"))
        port = 0;
    log_refusals = has_word(command_line, "refusals");
    if (!port || port == DEBUG_PORT)
        return;
    out8(port + 1, 0);
    out8(port + 3, 0x80);
    out8(port, 1); /* 115200 */
    out8(port + 1, 0);
    out8(port + 3, 3);
    out8(port + 2, 7);
    out8(port + 4, 3);
}

void log_char(char c)
{
    if (!port)
        return;
    if (c == '\n')
        log_char('\r');
    for (unsigned i = 0; port != DEBUG_PORT && i < 100000 && !(in8(port + 5) & 0x20); i++)
        ;
    out8(port, c);
}

void arch_halt(unsigned status)
{
    out8(0xf4, status); /* isa-debug-exit, where there is one */
    for (const char *s = "Shutdown"; *s; s++)
        out8(0x8900, *s); /* bochs */
    for (;;)
        __asm__ volatile("cli; hlt");
}
