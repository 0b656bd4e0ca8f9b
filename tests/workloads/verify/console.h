/* SPDX-License-Identifier: BSD-2-Clause */
/* The console, both ways: each line that is typed is echoed by the kernel's line discipline, then comes back
 * from this process, backwards and with its sum. Somebody must type, so this part runs only if it is named;
 * the line `end` ends it. What is typed only after the prompt makes a transcript that depends on nothing
 * else. */
#pragma once
#include "base.h"

#define ECHO_LINE_MAX 256

/* A line without its end, or nothing of one that is too long. */
static size_t read_line(char *line)
{
    size_t n = 0;

    for (;;) {
        ssize_t got = read(0, line + n, 1);
        REQUIRE(got == 1, "the console gives %zd bytes: %s", got, strerror(errno));
        if (line[n] == '\n')
            return n;
        REQUIRE(++n < ECHO_LINE_MAX, "a line of %d bytes and more was typed", ECHO_LINE_MAX);
    }
}

static void part_echo(void)
{
    char line[ECHO_LINE_MAX], answer[2 * ECHO_LINE_MAX];

    for (unsigned number = 1;; number++) {
        dprintf(1, "echo %u? ", number);
        size_t n = read_line(line);
        if (n == 3 && !memcmp(line, "end", 3))
            return;
        uint64_t sum = n;
        for (size_t i = 0; i < n; i++) {
            sum = mix(sum ^ (uint8_t)line[i]);
            answer[n - 1 - i] = line[i];
        }
        dprintf(1, "echo %.*s %016llx\n", (int)n, answer, (unsigned long long)sum);
    }
}
