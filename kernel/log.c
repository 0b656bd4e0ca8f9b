/* SPDX-License-Identifier: BSD-2-Clause */
/* Formatting for the kernel's log: %s %c %d %u %x %p with l and field widths. The device is arch's log_char.
 */
#include "log.h"
#include "arch/arch.h"

bool log_refusals;

static void put_number(uint64_t v, unsigned base, unsigned width, char pad)
{
    char buffer[24];
    unsigned n = 0;

    do {
        buffer[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    for (; width > n; width--)
        log_char(pad);
    while (n)
        log_char(buffer[--n]);
}

static void put_string(const char *s)
{
    for (s = s ? s : "(null)"; *s; s++)
        log_char(*s);
}

static void log_v(const char *f, va_list ap)
{
    for (; *f; f++) {
        if (*f != '%') {
            log_char(*f);
            continue;
        }
        char pad = f[1] == '0' ? '0' : ' ';
        unsigned width = 0, longs = 0;
        for (f++; *f >= '0' && *f <= '9'; f++)
            width = width * 10 + (*f - '0');
        for (; *f == 'l'; f++)
            longs = 1;
        switch (*f) {
        case 's':
            put_string(va_arg(ap, const char *));
            break;
        case 'c':
            log_char(va_arg(ap, int));
            break;
        case 'd': {
            int64_t v = longs ? va_arg(ap, int64_t) : va_arg(ap, int);
            if (v < 0)
                log_char('-');
            put_number(v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, width, pad);
            break;
        }
        case 'u':
            put_number(longs ? va_arg(ap, uint64_t) : va_arg(ap, unsigned), 10, width, pad);
            break;
        case 'x':
            put_number(longs ? va_arg(ap, uint64_t) : va_arg(ap, unsigned), 16, width, pad);
            break;
        case 'p':
            put_number((uintptr_t)va_arg(ap, void *), 16, 0, ' ');
            break;
        case '%':
            log_char('%');
            break;
        default:
            return;
        }
    }
}

void log_printf(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    log_v(format, ap);
    va_end(ap);
}

void log_refusal(int err, const char *format, ...)
{
    va_list ap;

    if (!log_refusals)
        return;
    va_start(ap, format);
    log_printf("refused %d: ", err);
    log_v(format, ap);
    log_char('\n');
    va_end(ap);
}

void panic(const char *file, int line, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    log_printf("\numbra: PANIC at %s:%d: ", file, line);
    log_v(format, ap);
    log_char('\n');
    va_end(ap);
    arch_halt(0x7f);
}
