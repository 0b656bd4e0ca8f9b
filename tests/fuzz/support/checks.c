/* SPDX-License-Identifier: BSD-2-Clause */
/* The checks of check.h where there is no runner: a failed one says why and aborts, which is a finding. */
#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char note[512];

void check_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(note, sizeof(note), format, args);
    va_end(args);
}

void check_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, note[0] ? " [%s]\n" : "%s\n", note);
    abort();
}

void check_compare(const char *file, int line, const char *text, unsigned long long a, unsigned long long b,
                   bool holds)
{
    if (!holds)
        check_fail(file, line, "%s: left is %#llx, right is %#llx", text, a, b);
}

void check_strings(const char *file, int line, const char *text, const char *a, const char *b)
{
    if (strcmp(a, b))
        check_fail(file, line, "%s: left is \"%s\", right is \"%s\"", text, a, b);
}

void check_bytes(const char *file, int line, const char *text, const void *a, const void *b, size_t bytes)
{
    const uint8_t *left = a, *right = b;
    if (!memcmp(a, b, bytes))
        return;
    for (size_t i = 0; i < bytes; i++)
        if (left[i] != right[i])
            check_fail(file, line, "%s: byte %zu of %zu: left is %#x, right is %#x", text, i, bytes, left[i],
                       right[i]);
}
