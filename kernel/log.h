/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's log, its assertions and the panic.
 *
 * ASSERT is for programmers' errors and compiles to nothing in release builds; CHECK stays where going on
 * would break isolation. No client and no guest can reach either: what they do wrong becomes an error. */
#ifndef KERNEL_LOG_H
#define KERNEL_LOG_H

#include <stdarg.h>
#include <umbra/types.h>

void log_char(char c);
void log_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void panic(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define PANIC(...) panic(__FILE__, __LINE__, __VA_ARGS__)
#define CHECK(x)                                                                                             \
    do {                                                                                                     \
        if (!(x))                                                                                            \
            PANIC("check failed: %s", #x);                                                                   \
    } while (0)
#if UMBRA_DEBUG
#define ASSERT(x) CHECK(x)
/* A refusal says why, in debug builds only: object, operation, value and limit. */
#define REFUSED(err, ...) (log_refusal(err, __VA_ARGS__), (err))
#else
#define ASSERT(x)         ((void)sizeof(x))
#define REFUSED(err, ...) (err)
#endif

extern bool log_refusals;
void log_refusal(int err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
